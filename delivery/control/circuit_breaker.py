"""Whether the service takes calls at all: a circuit breaker for a whole delivery, on the driver.

Half open, it grants calls one by one: at the start, until somebody has answered and one call was acknowledged; and
again where calls are refused one after another, until one is acknowledged. Closed, it leaves calls to the rate alone.
Open, it ends the delivery: so many refusals in a row say more about the service than about the events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from delivery.call_statistics import CallStatistics
from delivery.rate.rate_lease import LEASE_SECONDS, CallLimit

MOST_REFUSED: Final = 100
"""Calls that are refused in a row, over all tasks, before the delivery ends."""
_DOUBTFUL: Final = 20
"""Calls that are refused in a row before each other is granted. The events of one bad request alone are 19 calls."""
_FRESH: Final = 1.0
"""Seconds: an acknowledgement is news only from a task that was heard within them. It may have ended long ago else."""
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
"""Seconds between two calls, doubling, while nobody has answered."""


@dataclass(slots=True)
class _Caller:
    """A task.

    Attributes:
        last_heard: when it was last heard.
        calls: what it had called then.
        granted: calls that it may have started altogether.
        ready: it could start one more, when it was last heard, and has been granted none since.
        limited: it was last told of a limit.
    """

    last_heard: float
    calls: CallStatistics = field(default_factory=CallStatistics)
    granted: int = 0
    ready: bool = False
    limited: bool = False


class CircuitBreaker:
    """Says how many calls may be made before it is known, or while it is in doubt, that the service takes any.

    Args:
        clock: seconds, monotonic.
        trusted: the service is known to take calls: refusals never end the delivery, however many.

    Attributes:
        acknowledged: when a call was last acknowledged, as far as is heard; None while none was.
    """

    def __init__(self, clock: Callable[[], float], *, trusted: bool = False) -> None:
        self._clock = clock
        self._trusted = trusted
        self._callers: dict[str, _Caller] = {}
        self._half_open = True
        self._refused = self._answered = self._pauses = 0
        self._granting_since = self._next_grant = clock()
        self.acknowledged: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the delivery is to end."""
        return not self._trusted and self._refused >= MOST_REFUSED

    def hear(self, name: str, calls: CallStatistics, *, ready: bool) -> bool:
        """Learn what a task has called so far.

        Args:
            name: the task's.
            calls: all of its calls.
            ready: whether it could start one more, were it not for the rate and this.

        Returns:
            Whether a call was acknowledged just now.
        """
        now = self._clock()
        caller = self._callers.setdefault(name, _Caller(now))
        fresh = now - caller.last_heard < _FRESH
        before, caller.calls = caller.calls, calls
        caller.last_heard, caller.ready = now, ready
        acknowledged = calls.acknowledged > before.acknowledged
        self._refused = calls.refusedInARow if acknowledged else self._refused + calls.refused - before.refused
        if acknowledged and fresh:
            self.acknowledged, self._half_open = now, False
        if self._half_open:
            self._count_answers(calls, before)
        elif self._refused >= _DOUBTFUL and not self._trusted:
            self._open_half()
        return acknowledged and fresh

    def grant(self, name: str, *, may_call: bool = True) -> CallLimit | None:
        """Say what a task may call; None where only the rate limits it. To be asked for each answer to it.

        Args:
            name: the task's.
            may_call: it has the part, and a rate. If not, it gives back what it was granted: others wait for it.
        """
        caller = self._callers.setdefault(name, _Caller(self._clock()))
        caller.limited = self._half_open
        if not may_call:
            caller.granted = min(caller.granted, caller.calls.attempts)
        if not self._half_open:
            return None
        free = self._free()
        if may_call and caller.ready and free > 0:
            if not self._under_way():
                self._granting_since = self._clock()
            ready = sum(each.ready for each in self._callers.values())
            caller.granted = max(caller.granted, caller.calls.attempts) + max(free // ready, 1)
            caller.ready = False
        return CallLimit(caller.granted, singly=self._refused > 0 and not self._trusted)

    def uninformed(self) -> list[str]:
        """Name the tasks that are to be told at once what they may call now."""
        if not self._half_open:
            return [name for name, caller in self._callers.items() if caller.limited]
        free = self._free()
        ready = [name for name, caller in self._callers.items() if caller.limited and caller.ready]
        return [name for name, caller in self._callers.items() if not caller.limited] + ready[: max(free, 0)]

    def leave(self, name: str) -> None:
        """A task makes no more calls: what it was granted and did not use is free."""
        caller = self._callers[name]
        caller.granted, caller.ready = 0, False

    def _open_half(self) -> None:
        """Grant each call again: what is under way counts as granted."""
        self._half_open, self._answered, self._pauses = True, 0, 0
        self._granting_since = self._next_grant = self._clock()
        for caller in self._callers.values():
            caller.granted = caller.calls.attempts

    def _count_answers(self, calls: CallStatistics, before: CallStatistics) -> None:
        answered = calls.answered - before.answered
        self._answered += answered
        if self._answered and self._trusted:
            self._half_open = False
        elif not self._answered and calls.ended > before.ended:
            self._next_grant = self._clock() + min(_FIRST_PAUSE * 2.0**self._pauses, _LONGEST_PAUSE)
            self._pauses += 1

    def _free(self) -> int:
        """Calls that may be granted now.

        One alone at first, one more for each answer, so that they double; and one more for each second in which those
        that were granted have not ended, since they may have met a task or a request that hangs.
        """
        now = self._clock()
        if not self._answered and now < self._next_grant:
            return 0
        under_way = self._under_way()
        at_once = 1 + self._answered + (int(now - self._granting_since) if under_way else 0)
        if not self._trusted:
            at_once = min(at_once, MOST_REFUSED - self._refused)
        return at_once - under_way

    def _under_way(self) -> int:
        """Calls that were granted and have not ended, as far as is heard, of tasks that may still make them."""
        now = self._clock()
        active = (caller for caller in self._callers.values() if now - caller.last_heard < LEASE_SECONDS)
        return sum(max(caller.granted, caller.calls.attempts) - caller.calls.ended for caller in active)
