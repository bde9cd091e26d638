"""The questions of a task to its driver, and what it does with the answers. `task_connection` brings the messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from delivery.control.wire import Message
from delivery.model import OutcomeRow, Response
from delivery.rate.rate_lease import CallLimit, RateLease
from delivery.sender.sender import Sender

_MORE: Final = 2.0
"""Calls a second that a task wants beyond those it makes, so that it can show that it would make more."""
_SPARE: Final = 1.1
"""Factor: a task whose lease does not limit it wants its present calls times this."""
_USED_UP: Final = 0.95
"""Share of a lease: above it, the lease limits the task."""
_STEP: Final = 3.0
"""Factor: a task that is limited by its lease wants the lease times this."""
_LOWER: Final = 0.98
"""Share of the last lease: if a task wants less, it says so at once, because others wait for the rate."""
_MOST_TOLD: Final = 262_144
"""Characters of outcomes in a question; the last outcome may exceed them."""


class TaskSession:
    """The task's side of the protocol: it sends outcomes until the driver confirms them.

    Args:
        rate_lease: kept up to date.
        sender: its calls are reported, and it looks again when the lease has changed.
        clock: seconds, monotonic.

    Attributes:
        leaving: the task makes no more calls.
        complete: its part is complete.
        over: the driver knows that the task is leaving, and has all outcomes.
    """

    def __init__(self, rate_lease: RateLease, sender: Sender, clock: Callable[[], float]) -> None:
        self._rate_lease = rate_lease
        self._sender = sender
        self._clock = clock
        self._rows: deque[OutcomeRow] = deque()
        """Outcomes that the driver has not confirmed yet; the first is number `_acknowledged`."""
        self._acknowledged = self._reported = 0
        self._question_times: dict[int, float] = {}
        """The times of unanswered questions, by number."""
        self._question_number = self._answer_number = 0
        self.leaving = self.complete = self.over = False

    def report(self, row: OutcomeRow) -> None:
        """Take an outcome; the next question holds it."""
        self._rows.append(row)

    def unacknowledged(self) -> Iterator[tuple[int, OutcomeRow]]:
        """Return the outcomes that the driver has not confirmed, with their numbers."""
        yield from enumerate(self._rows, self._acknowledged)

    def leave(self, *, complete: bool) -> None:
        """Make no more calls."""
        self.leaving, self.complete = True, complete

    def start(self) -> None:
        """Start again on a new connection: messages on the last one may not have arrived."""
        self._reported = self._acknowledged
        self._question_times.clear()

    def make_question(self) -> Message:
        """Ask for the next lease, and report what is new."""
        rows = list(self._unreported_rows())
        first, self._reported = self._reported, self._reported + len(rows)
        self._question_number += 1
        self._question_times[self._question_number] = self._clock()
        return {
            "number": self._question_number,
            "heard": self._answer_number,
            "from": first,
            "ended": rows,
            "wants": self._wanted_rate(),
            "ahead": self._rate_lease.calls_ahead(),
            "calls": self._sender.calls.values(),
            "idle": not self._sender.in_flight and not self._has_unreported,
            "gone": self.leaving and not self._has_unreported,
            "complete": self.complete,
            "ending": _error_message(self._sender.ending),
            "unreachable": _error_message(self._sender.unreachable),
            "refusal": _refusal_message(self._sender.refusal),
            "ready": self._sender.ready,
            "failing": self._sender.failing,
            "others": self._sender.has_others,
        }

    def apply_answer(self, answer: Message) -> None:
        """Take an answer. Ask again at once if there is more to send, to get or to confirm."""
        while self._acknowledged < answer["got"]:
            self._rows.popleft()
            self._acknowledged += 1
        self._reported = max(self._reported, self._acknowledged)
        ask_again = self._has_unreported
        if self.leaving:
            self.over = self.over or ("rate" not in answer and not self._rows)
        elif "rate" in answer:
            ask_again = ask_again or "done" in answer or answer["rate"] < _LOWER * self._rate_lease.rate
            self._take_lease(answer)
        if ask_again:
            self._sender.on_news()

    def _take_lease(self, answer: Message) -> None:
        self._answer_number = answer["number"]
        if "done" in answer:
            self._rate_lease.done.add(answer["done"])
        self._rate_lease.stopped = self._rate_lease.stopped or answer["stop"]
        limit = answer.get("limit")
        self._rate_lease.restrict(None if limit is None else CallLimit(**limit))
        self._rate_lease.finishing = answer["finishing"]
        asked_at = self._question_times.pop(answer.get("to", 0), None)
        self._rate_lease.grant(answer["rate"], owns=answer["owns"], asked=asked_at)
        self._sender.pump()

    def handle_hang_up(self) -> None:
        """Make no call until the next answer: the driver has ended, or has not heard this task for long.

        So a task whose machine and clock stood still learns that its lease has ended.
        """
        self._rate_lease.grant(0.0, owns=False, asked=None)
        self._sender.pump()

    def give_up(self) -> None:
        """Stop: the driver has been silent for too long."""
        self._rate_lease.stopped = True
        self._sender.pump()

    @property
    def _has_unreported(self) -> bool:
        """Whether more outcomes exist than the last question held: the next owner of the part must know all of them."""
        return self._reported < self._acknowledged + len(self._rows)

    def _unreported_rows(self) -> Iterator[OutcomeRow]:
        """Return outcomes that were not sent on this connection, as many as a question holds."""
        room = _MOST_TOLD
        for row in islice(self._rows, self._reported - self._acknowledged, None):
            if room <= 0:
                return
            room -= _message_length(row)
            yield row

    def _wanted_rate(self) -> float | None:
        """Calls a second that the task would make; None if it cannot say, because it may make none."""
        starved, self._sender.starved = self._sender.starved, False
        if self._sender.exhausted:
            return 0.0
        if not self._rate_lease.rate or self._rate_lease.was_held_lately:
            return None
        calls, permitted = self._rate_lease.last_second()
        # A used-up lease grows in steps: a task limited by its calls in flight sometimes uses up a small one, too.
        is_used_up = starved and calls + 1 > _USED_UP * permitted
        return _MORE + (_STEP * self._rate_lease.rate if is_used_up else _SPARE * calls)


def _message_length(row: OutcomeRow) -> int:
    """Estimate how many characters an outcome takes in a message."""
    texts = (each for value in row.values() for each in (value if isinstance(value, list | tuple) else [value]))
    return sum(len(text) + 20 if isinstance(text, str) else 20 for text in texts)


def _error_message(answer: Response | None) -> Message | None:
    return None if answer is None else {"httpStatus": answer.httpStatus, "errorCode": answer.errorCode}


def _refusal_message(refusal: Response | None) -> Message | None:
    message = _error_message(refusal)
    return None if refusal is None or message is None else {**message, "errorMessage": refusal.errorMessage}
