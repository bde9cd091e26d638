"""What a task may do: the lease that the driver last gave it, and how long it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from delivery.ended_requests import EndedRequestSet
from delivery.rate.pacer import Pacer

LEASE_SECONDS: Final = 3.0
"""Seconds that a lease lasts, from the question that it answers. Tasks ask fifteen times as often."""
_LATELY: Final = 1.0
"""Seconds."""
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


class RateLease:
    """Lets a task's calls pass. Nothing passes before the driver has said so, and nothing long after it was last heard.

    A lease is a rate, and the right to send the part. It ends by itself: another attempt may have the part then, and
    other tasks the rate.

    Args:
        clock: seconds, monotonic; it goes on while the machine is suspended.

    Attributes:
        done: requests that have ended before, or that others have ended.
        stopped: the delivery is to end: calls under way finish, no other starts.
        limit: of calls, beside the rate; None where there is none.
        finishing: a request that gets no answer may be split or given up: the service answers others.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pacer = Pacer(clock)
        self._until = clock()
        self._started = self._refused_unheard = 0
        self._last_held = float("-inf")
        self.done = EndedRequestSet()
        self.stopped = self.finishing = False
        self.limit: CallLimit | None = None

    @property
    def rate(self) -> float:
        """Calls a second that may be made now."""
        self._let_end()
        return self._pacer.rate

    @property
    def is_owned(self) -> bool:
        """Whether the task may send its part at all."""
        return self._clock() < self._until

    @property
    def is_held(self) -> bool:
        """Whether no call may start at whatever rate, until the driver has been heard."""
        used_up = self.limit is not None and self._started >= self.limit.calls
        return used_up or self._refused_unheard >= _REFUSED_UNHEARD

    @property
    def was_held_lately(self) -> bool:
        """Whether it was so within the last second: how much of its rate the task used then, tells nothing."""
        return self.is_held or self._clock() < self._last_held + _LATELY

    @property
    def singly(self) -> bool:
        """Whether to call single events of different requests."""
        return self.limit is not None and self.limit.singly

    def grant(self, rate: float, *, owns: bool, asked: float | None) -> None:
        """Take what the driver gives.

        Args:
            rate: calls a second.
            owns: whether the part is the task's own.
            asked: when the question was asked that this answers: the lease holds from then on. None for what came
                without a question: it holds no longer than what was given before.
        """
        self._let_end()
        self._refused_unheard = 0
        if not owns:
            self._until = self._clock()
        elif asked is not None:
            self._until = asked + LEASE_SECONDS
        self._pacer.set_rate(rate)
        self._let_end()

    def restrict(self, limit: CallLimit | None) -> None:
        """Take the limit of calls that the driver gives, beside the rate."""
        if self.is_held:
            self._pacer.forget_pause()
            self._last_held = self._clock()
        self.limit = limit

    def wait(self) -> float:
        """Seconds until the next call may start, as far as one can tell; infinity if another word is needed."""
        self._let_end()
        return float("inf") if self.stopped or self.is_held or not self.is_owned else self._pacer.wait()

    def due(self) -> int:
        """Count the calls that may start now, if nothing else holds them up."""
        if self.wait() > 0.0:
            return 0
        due = self._pacer.due()
        return due if self.limit is None else min(due, self.limit.calls - self._started)

    def last_second(self) -> tuple[int, float]:
        """Count the calls of the last second: those made, those that might have been."""
        self._let_end()
        return self._pacer.last_second()

    def calls_ahead(self) -> float:
        """Count the calls that were made before the rates gave them."""
        self._let_end()
        return self._pacer.calls_ahead()

    def take(self) -> None:
        """A call starts now."""
        self._started += 1
        self._pacer.take()

    def note_refusal(self) -> None:
        """A call was refused."""
        self._refused_unheard += 1

    def _let_end(self) -> None:
        """Let nothing pass since the lease has ended.

        However late that shows: a process that slept meanwhile is not to make up for calls that others made.
        """
        if not self.is_owned:
            self._pacer.set_rate(0.0, self._until)
