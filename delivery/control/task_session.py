"""What a task says to its driver, and what it does with the answers. `task_connection` brings the messages."""

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
"""Calls a second that a task is to have beyond what it makes: it could not show otherwise that it would make more."""
_SPARE: Final = 1.1
"""Times the calls that it makes: what a task is to have that something else than its lease holds back."""
_USED_UP: Final = 0.95
"""Of a lease: from here on it is the lease that holds back."""
_STEP: Final = 3.0
"""Times its lease: what a task is to have next that its lease holds back."""
_LOWER: Final = 0.98
"""Times its last lease: the driver is to hear at once that a task makes so much less, since others wait for it."""
_MOST_TOLD: Final = 262_144
"""Characters of outcomes in a question, and what the last one has beyond them."""


class TaskSession:
    """A task's side of the conversation: outcomes are told until the driver has said to have them, once each.

    Args:
        rate_lease: kept up to date.
        sender: whose calls are told, and who is to look again when the permit has changed.
        clock: seconds, monotonic.

    Attributes:
        leaving: the task makes no more calls.
        complete: its part is complete.
        over: the driver knows that the task is leaving, and all that it had to tell.
    """

    def __init__(self, rate_lease: RateLease, sender: Sender, clock: Callable[[], float]) -> None:
        self._rate_lease = rate_lease
        self._sender = sender
        self._clock = clock
        self._rows: deque[OutcomeRow] = deque()
        """Outcomes that the driver has not acknowledged; the first is number `_acknowledged`."""
        self._acknowledged = self._reported = 0
        self._question_times: dict[int, float] = {}
        """When the questions that are not answered yet were asked, by number."""
        self._question_number = self._answer_number = 0
        self.leaving = self.complete = self.over = False

    def report(self, row: OutcomeRow) -> None:
        """Take an outcome, to be told with the next question."""
        self._rows.append(row)

    def unacknowledged(self) -> Iterator[tuple[int, OutcomeRow]]:
        """Give what the driver has not said to have, with its numbers."""
        yield from enumerate(self._rows, self._acknowledged)

    def leave(self, *, complete: bool) -> None:
        """Make no more calls."""
        self.leaving, self.complete = True, complete

    def start(self) -> None:
        """Begin anew on another connection: what was told on the last may not have arrived."""
        self._reported = self._acknowledged
        self._question_times.clear()

    def make_question(self) -> Message:
        """Ask for the next lease, and tell what is new."""
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
        """Take what the driver gives; ask again at once where there is more to tell, to be told or to be confirmed."""
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
        """Make no call until the driver has been heard again: it has ended, or has not heard this task for long.

        So a task whose machine stood still together with its clock learns that its lease has ended.
        """
        self._rate_lease.grant(0.0, owns=False, asked=None)
        self._sender.pump()

    def give_up(self) -> None:
        """Stop: the driver has been silent for too long."""
        self._rate_lease.stopped = True
        self._sender.pump()

    @property
    def _has_unreported(self) -> bool:
        """Whether there is more to tell than the last question held: who has the part next must know of all of it."""
        return self._reported < self._acknowledged + len(self._rows)

    def _unreported_rows(self) -> Iterator[OutcomeRow]:
        """Give the outcomes that the driver has not been told on this connection, as many as a question holds."""
        room = _MOST_TOLD
        for row in islice(self._rows, self._reported - self._acknowledged, None):
            if room <= 0:
                return
            room -= _message_length(row)
            yield row

    def _wanted_rate(self) -> float | None:
        """Calls a second that would be made; None where nobody can say, because none may be."""
        starved, self._sender.starved = self._sender.starved, False
        if self._sender.exhausted:
            return 0.0
        if not self._rate_lease.rate or self._rate_lease.was_held_lately:
            return None
        calls, permitted = self._rate_lease.last_second()
        # A lease that was used up grows step by step: a task at its calls in flight uses up a small one at times, too.
        is_used_up = starved and calls + 1 > _USED_UP * permitted
        return _MORE + (_STEP * self._rate_lease.rate if is_used_up else _SPARE * calls)


def _message_length(row: OutcomeRow) -> int:
    """Say about how many characters an outcome takes in a message."""
    texts = (each for value in row.values() for each in (value if isinstance(value, list | tuple) else [value]))
    return sum(len(text) + 20 if isinstance(text, str) else 20 for text in texts)


def _error_message(answer: Response | None) -> Message | None:
    return None if answer is None else {"httpStatus": answer.httpStatus, "errorCode": answer.errorCode}


def _refusal_message(refusal: Response | None) -> Message | None:
    message = _error_message(refusal)
    return None if refusal is None or message is None else {**message, "errorMessage": refusal.errorMessage}
