"""A circuit breaker for a whole delivery, on the driver: does the service accept calls at all?

Half open, it grants each call: at the start until one call is acknowledged, and again after many refusals in a row
until one call is acknowledged. Closed, it leaves calls to the rate. Open, it ends the delivery, because so many
refusals in a row say more about the service than about the events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from delivery.call_statistics import CallStatistics
from delivery.rate.rate_lease import LEASE_SECONDS, CallLimit

MOST_REFUSED: Final = 100
"""Refusals in a row, over all tasks, that end the delivery."""
_DOUBTFUL: Final = 20
"""Refusals in a row after which each call needs a grant. One bad request of ten events makes 19 of them."""
_FRESH: Final = 1.0
"""Seconds: an acknowledgement counts as recent only if the task was heard within them."""
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
"""Seconds between two calls while nobody has answered; they double."""


@dataclass(slots=True)
class _Caller:
    """A task.

    Attributes:
        last_heard: when its last message came.
        calls: its calls at that time.
        granted: calls that it may have started in total.
        ready: at its last message it could start one more, and it got no grant since.
        limited: its last answer had a limit.
    """

    last_heard: float
    calls: CallStatistics = field(default_factory=CallStatistics)
    granted: int = 0
    ready: bool = False
    limited: bool = False


class CircuitBreaker:
    """Says how many calls may be made while it is unknown or in doubt whether the service accepts any.

    Args:
        clock: seconds, monotonic.
        trusted: the service is known to accept calls, so refusals never end the delivery.

    Attributes:
        acknowledged: when the driver last heard of an acknowledged call; None if never.
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
        """Whether the delivery must end."""
        return not self._trusted and self._refused >= MOST_REFUSED

    def hear(self, name: str, calls: CallStatistics, *, ready: bool) -> bool:
        """Take in the calls of a task so far.

        Args:
            name: of the task.
            calls: all of its calls.
            ready: whether it could start one more, if the rate and this breaker allowed it.

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
        """Say what a task may call; None if only the rate limits it. Called for each answer to the task.

        Args:
            name: of the task.
            may_call: it has the part, and a rate. If not, it loses its grants, because others wait for them.
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
        """Name the tasks that need an answer at once, because they may call now."""
        if not self._half_open:
            return [name for name, caller in self._callers.items() if caller.limited]
        free = self._free()
        ready = [name for name, caller in self._callers.items() if caller.limited and caller.ready]
        return [name for name, caller in self._callers.items() if not caller.limited] + ready[: max(free, 0)]

    def leave(self, name: str) -> None:
        """A task makes no more calls: its unused grants are free."""
        caller = self._callers[name]
        caller.granted, caller.ready = 0, False

    def _open_half(self) -> None:
        """Begin to grant each call: calls in flight count as granted."""
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

        First one alone, then one more for each answer, so that they double. One more for each second in which granted
        calls have not ended, because a task or a request may hang.
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
        """Granted calls that have not ended as far as the driver knows, of tasks that may still make them."""
        now = self._clock()
        active = (caller for caller in self._callers.values() if now - caller.last_heard < LEASE_SECONDS)
        return sum(max(caller.granted, caller.calls.attempts) - caller.calls.ended for caller in active)
