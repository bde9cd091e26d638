"""What a task may do: the lease and the ownership that the driver last gave it, and how long they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from delivery.budget.pacing import Pacer, whole
from delivery.channel.parts import Done

TERM: Final = 1.0
"""Seconds that a lease lasts; tasks ask five times as often."""
GRACE: Final = 3.0
"""Seconds that a task that does not hear the driver may go on sending its part."""
_REFUSED_UNHEARD: Final = 20
"""Calls that may be refused before the driver must be heard again: it knows whether the service still takes others."""


@dataclass(frozen=True, slots=True)
class CallLimit:
    """What a task may call while nobody knows whether the service takes anything.

    Attributes:
        calls: that it may have started altogether.
        singly: whether to call single events of different requests: others have been refused.
    """

    calls: int
    singly: bool


class Permit:
    """Lets a task's calls pass. Nothing passes before the driver has said so, and nothing long after it was last heard.

    While the lease holds, calls pass at its rate. When it ends and the driver is not heard, they go on at the task's
    static share of the limit, or its lease if that is less, until the part is not the task's own any more: another
    attempt may have it then.

    Args:
        clock: seconds, monotonic.
        static_rate: calls a second, were the limit shared out once and for all.

    Attributes:
        done: requests that others have ended.
        stopped: the delivery is to end: calls under way finish, no other starts.
        limit: of calls, beside the rate; None where there is none.
        finishing: a request that gets no answer may be split or given up: the service answers others.
    """

    def __init__(self, clock: Callable[[], float], static_rate: float) -> None:
        self._clock = clock
        self._static_rate = whole(static_rate)
        self._pacer = Pacer(clock)
        self._lease_until = self._owned_until = clock()
        self._started = self._refused_unheard = 0
        self._held_until = float("-inf")
        self.done = Done()
        self.stopped = self.finishing = False
        self.limit: CallLimit | None = None

    @property
    def rate(self) -> float:
        """Calls a second that may be made now."""
        self._let_end()
        return self._pacer.rate

    @property
    def owned(self) -> bool:
        """Whether the task may send its part at all."""
        return self._clock() < self._owned_until

    @property
    def held(self) -> bool:
        """Whether no call may start at whatever rate, until the driver has been heard."""
        used_up = self.limit is not None and self._started >= self.limit.calls
        return used_up or self._refused_unheard >= _REFUSED_UNHEARD

    @property
    def held_lately(self) -> bool:
        """Whether it was so within the last second: how much of its rate the task used then, tells nothing."""
        return self.held or self._clock() < self._held_until + TERM

    @property
    def singly(self) -> bool:
        """Whether to call single events of different requests."""
        return self.limit is not None and self.limit.singly

    def grant(self, rate: float, *, owns: bool, asked: float | None) -> None:
        """Take what the driver gives.

        Args:
            rate: calls a second.
            owns: whether the part is the task's own.
            asked: when the question was asked that this answers: what is given holds from then on. None for what came
                without a question: it holds no longer than what was given before.
        """
        self._let_end()
        self._refused_unheard = 0
        # Who is to have the difference has it since then, however long the answer took.
        self._pacer.set_rate(rate, asked if rate < self._pacer.rate else None)
        if asked is not None:
            self._lease_until = asked + TERM
        if not owns:
            self._owned_until = self._clock()
        elif asked is not None:
            self._owned_until = asked + GRACE

    def restrict(self, limit: CallLimit | None) -> None:
        """Take the limit of calls that the driver gives, beside the rate."""
        if self.held:
            self._pacer.forget_pause()
            self._held_until = self._clock()
        self.limit = limit

    def wait(self) -> float:
        """Seconds until the next call may start, as far as one can tell; infinity if another word is needed."""
        self._let_end()
        return float("inf") if self.stopped or self.held or not self.owned else self._pacer.wait()

    def last_second(self) -> tuple[int, float]:
        """Count the calls of the last second: those made, those that might have been."""
        self._let_end()
        return self._pacer.last_second()

    def take(self) -> None:
        """A call starts now."""
        self._started += 1
        self._pacer.take()

    def note_refusal(self) -> None:
        """A call was refused."""
        self._refused_unheard += 1

    def _let_end(self) -> None:
        """Slow down to the static rate since the lease has ended, to nothing since the ownership has.

        However late that shows: a process that slept meanwhile is not to make up for calls that others made.
        """
        if self._clock() >= self._lease_until:
            self._pacer.set_rate(min(self._pacer.rate, self._static_rate), self._lease_until)
        if not self.owned:
            self._pacer.set_rate(0.0, self._owned_until)
