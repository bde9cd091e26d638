"""What a task may do: the last lease of the driver, and until when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from delivery.ended_requests import EndedRequestSet
from delivery.rate.pacer import Pacer

LEASE_SECONDS: Final = 3.0
"""Seconds that a lease lasts after its question. Tasks ask fifteen times in this time."""
_LATELY: Final = 1.0
"""Seconds."""
_REFUSED_UNHEARD: Final = 20
"""Refused calls after which the task needs the driver: it knows whether the service still accepts other calls."""


@dataclass(frozen=True, slots=True)
class CallLimit:
    """What a task may call while it is unknown whether the service accepts anything.

    Attributes:
        calls: that it may have started in total.
        singly: whether to call single events of different requests, because calls were refused.
    """

    calls: int
    singly: bool


class RateLease:
    """Permits the calls of a task: none before the first answer of the driver, and none long after the last.

    A lease is a rate and the right to send the part. It ends by time. Then another attempt may have the part, and
    other tasks the rate.

    Args:
        clock: seconds, monotonic; it continues while the machine is suspended.

    Attributes:
        done: requests that have ended before, or that others have ended.
        stopped: the delivery ends: calls in flight finish, no other starts.
        limit: of calls, in addition to the rate; None if there is none.
        finishing: a request without an answer may be split or given up, because the service answers others.
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
        """Calls a second that the task may make now."""
        self._let_end()
        return self._pacer.rate

    @property
    def is_owned(self) -> bool:
        """Whether the task may send its part at all."""
        return self._clock() < self._until

    @property
    def is_held(self) -> bool:
        """Whether no call may start at any rate until the next answer of the driver."""
        used_up = self.limit is not None and self._started >= self.limit.calls
        return used_up or self._refused_unheard >= _REFUSED_UNHEARD

    @property
    def was_held_lately(self) -> bool:
        """Whether it was so within the last second: then the used share of the rate proves nothing."""
        return self.is_held or self._clock() < self._last_held + _LATELY

    @property
    def singly(self) -> bool:
        """Whether to call single events of different requests."""
        return self.limit is not None and self.limit.singly

    def grant(self, rate: float, *, owns: bool, asked: float | None) -> None:
        """Take an answer of the driver.

        Args:
            rate: calls a second.
            owns: whether the task owns the part.
            asked: when its question was sent: the lease counts from then. None for an answer without a question: it
                lasts no longer than the lease before.
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
        """Take the driver's limit of calls, in addition to the rate."""
        if self.is_held:
            self._pacer.forget_pause()
            self._last_held = self._clock()
        self.limit = limit

    def wait(self) -> float:
        """Seconds until the next call may start, at the present rate; infinity if the task needs another answer."""
        self._let_end()
        return float("inf") if self.stopped or self.is_held or not self.is_owned else self._pacer.wait()

    def due(self) -> int:
        """Count the calls that may start now, if nothing else prevents them."""
        if self.wait() > 0.0:
            return 0
        due = self._pacer.due()
        return due if self.limit is None else min(due, self.limit.calls - self._started)

    def last_second(self) -> tuple[int, float]:
        """Count the calls of the last second: those made, and those that were possible."""
        self._let_end()
        return self._pacer.last_second()

    def calls_ahead(self) -> float:
        """Count the calls that were made before the rates allowed them."""
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
        """Permit nothing, because the lease has ended.

        This counts from the end of the lease: a process that slept must not catch up calls that others made.
        """
        if not self.is_owned:
            self._pacer.set_rate(0.0, self._until)
