"""The driver's side of a delivery: its answers to the tasks, and what it knows of them.

No sockets and no threads: `server` brings the messages, one at a time.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

from delivery.call_statistics import CallStatistics
from delivery.control.circuit_breaker import CircuitBreaker
from delivery.control.partition_ownership import PartitionOwnership
from delivery.control.wire import Message
from delivery.model import UNANSWERED, OutcomeRow, Response
from delivery.rate.aimd import AimdRateController
from delivery.rate.lease_budget import LeaseBudget
from delivery.rate.rate_lease import LEASE_SECONDS

_UNREACHABLE: Final = 5.0
"""Seconds after which a service that never answered counts as unreachable."""
_DURABLE_WITHIN: Final = 1.5
"""Seconds. While an older outcome is not durable, no call starts: this limits what a crash can send twice. Receipts are
written every second, so a store that takes up to 0.4 s delays nothing."""
_ACTIVE: Final = 2.0
"""Seconds after its last message in which a task counts as active."""
_ANSWERS: Final = 3.0
"""Seconds after an acknowledgement in which a service counts as answering."""
_SETTLED_AFTER: Final = 2.0
"""Seconds: a refusal is final if another call is acknowledged so much later, by the times of the driver. Tasks report
what ended up to a second ago."""
_FEW: Final = 3
"""Requests without an answer that are not an outage, even if no call was acknowledged after they first failed."""


@dataclass(slots=True)
class _AttemptState:
    """One attempt of Spark at a part.

    Attributes:
        part: the number of the part.
        outcomes: how many of its outcomes have come.
        answers_sent: how many answers it got; each has its number.
        owning_answer: the number of the last answer that gave it the part.
        may_send: whether the last answer let it send.
        ended_told: how many ended requests of the part it has sent, or got on this connection.
        ended_confirmed: how many of these it has for certain; on a new connection it gets the rest.
        ended_answer: the number of the last answer that had some of them.
        wanted_rate: calls a second that it could make; infinity if only its lease limits it.
        has_left: it makes no more calls.
        last_heard: when its last message came.
        calls: its calls.
        failing: the requests without an answer: those that failed before another was acknowledged, and the others.
        has_others: whether it has any other request.
    """

    part: int
    outcomes: int = 0
    answers_sent: int = 0
    owning_answer: int = 0
    may_send: bool = False
    ended_told: int = 0
    ended_confirmed: int = 0
    ended_answer: int = 0
    wanted_rate: float = 0.0
    has_left: bool = False
    last_heard: float = 0.0
    calls: CallStatistics = field(default_factory=CallStatistics)
    failing: tuple[int, int] = (0, 0)
    has_others: bool = True


@dataclass(frozen=True, slots=True)
class ServiceHistory:
    """What is known of a service before it is called.

    Attributes:
        acknowledged: it has acknowledged events of this batch before, so it may refuse the few that are left.
        working: the user says that it works, so events that it refuses or does not answer are at fault, even if these
            are all.
    """

    acknowledged: bool = False
    working: bool = False


@dataclass(frozen=True, slots=True)
class DeliveryProgress:
    """The progress of a delivery.

    Attributes:
        delivered: events.
        refused: events.
        max_rate: calls a second that are never exceeded.
        target: calls a second that the delivery aims at now.
        why: where the target comes from.
        calls: of all tasks; the latency is the mean of the active tasks.
        tasks: how many are active now.
    """

    delivered: int
    refused: int
    max_rate: float
    target: float
    why: str
    calls: CallStatistics
    tasks: int


class Dispatcher:
    """Leases the budget, decides who sends what, takes in outcomes, and ends the delivery.

    Args:
        rate_controller: calls a second for all tasks together; it keeps what it learnt from one delivery to the next.
        clock: seconds, monotonic.
        service_history: what is known of the service before it is called.

    Attributes:
        stopped: the tasks must end.
        ending: the answer that stopped the delivery early; None if none has.
    """

    def __init__(
        self,
        rate_controller: AimdRateController,
        clock: Callable[[], float] = time.monotonic,
        service_history: ServiceHistory = ServiceHistory(),
    ) -> None:
        self._clock = clock
        self._service_history = service_history
        self._breaker = CircuitBreaker(clock, trusted=service_history.working)
        self._rate_controller = rate_controller
        self._budget = LeaseBudget(clock, rate_controller.max_rate, LEASE_SECONDS)
        self._parts = PartitionOwnership(clock, LEASE_SECONDS)
        self._attempts: dict[str, _AttemptState] = {}
        self._rows: list[OutcomeRow] = []
        self._writing: list[OutcomeRow] = []
        """Handed over and not durable yet."""
        self._provisional: deque[tuple[float, OutcomeRow]] = deque()
        """Provisional refusals, each with its time: the service may refuse everything."""
        self._refusal: Response | None = None
        self._rows_since = self._writing_since = float("inf")
        """When the oldest of them came."""
        self._unanswered_since: float | None = None
        self._events = {"delivered": 0, "refused": 0}
        self._begun: Counter[int] = Counter()
        self.stopped = False
        self.ending: Response | None = None

    def add_attempt(self, name: str, part: int) -> None:
        """An attempt connects, for the first time or again."""
        if name not in self._attempts:
            self._attempts[name] = _AttemptState(part)
            self._parts.add_attempt(part, name)
        self.lose(name)

    def handle_message(self, name: str, message: Message) -> Message:
        """Take in the question of an attempt, and answer it."""
        attempt = self._attempts[name]
        attempt.last_heard = self._clock()
        self._budget.confirm(name, message["heard"], message["ahead"])
        for number, row in enumerate(message["ended"], message["from"]):
            self.accept(name, number, row)
        if message["heard"] >= attempt.ended_answer:
            attempt.ended_confirmed = attempt.ended_told
        attempt.failing, attempt.has_others = tuple(message["failing"]), message["others"]
        self._learn(name, attempt, message)
        self._end_if(message)
        if message["gone"]:
            self._budget.release(name, message["ahead"])
            self._go(name, attempt, complete=message["complete"])
        if attempt.has_left:
            return {"got": attempt.outcomes}
        if message["idle"] and message["heard"] > attempt.owning_answer:
            self._parts.leave(attempt.part, name)
        attempt.wanted_rate = float("inf") if message["wants"] is None else message["wants"]
        self._parts.renew(attempt.part, name)
        return self.answer(name)

    def answer(self, name: str) -> Message:
        """Tell an attempt what it may do from now on, with or without a question."""
        attempt = self._attempts[name]
        attempt.answers_sent += 1
        answer: Message = {"number": attempt.answers_sent, "got": attempt.outcomes, "finishing": self._answers_others()}
        answer["owns"] = self._parts.owns(attempt.part, name)
        answer["stop"] = self.stopped or self._parts.is_complete(attempt.part)
        if answer["owns"]:
            attempt.owning_answer = attempt.answers_sent
            self._tell_ended(attempt, answer)
        knows_all = attempt.ended_told == len(self._parts.ended_log(attempt.part))
        attempt.may_send = answer["owns"] and not self.stopped and knows_all
        wants = attempt.wanted_rate if attempt.may_send else 0.0
        answer["rate"] = self._budget.ask(name, wants, self._rate(), attempt.answers_sent)
        limit = self._breaker.grant(name, may_call=answer["rate"] > 0.0)
        if attempt.may_send:
            answer["limit"] = limit and asdict(limit)
        return answer

    def attempts_to_inform(self) -> list[str]:
        """Name the attempts that need an answer at once: they could get a notably higher rate, or other grants."""
        if self.stopped:
            return []
        informed = self._budget.short(self._rate())
        uninformed = [name for name in self._breaker.uninformed() if self._may_call(name)]
        return [*informed, *(name for name in uninformed if name not in informed)]

    def seconds_to_more(self) -> float | None:
        """Say when `attempts_to_inform` may name others without a new message; None if it will not."""
        return None if self.stopped else self._budget.seconds_to_free()

    def lose(self, name: str) -> None:
        """The connection of an attempt broke: the attempt may continue for a while, or be dead."""
        self._budget.lose(name)
        attempt = self._attempts[name]
        attempt.may_send, attempt.ended_told, attempt.ended_answer = False, attempt.ended_confirmed, 0

    def accept(self, name: str, number: int, row: OutcomeRow) -> None:
        """Take in an outcome of an attempt by its number, unless it came before."""
        attempt = self._attempts[name]
        if number != attempt.outcomes:
            return
        attempt.outcomes += 1
        ended = self._parts.ended_log(attempt.part)
        has_all = attempt.ended_told == len(ended)
        ended.add(row["requestId"])
        attempt.ended_told = len(ended) if has_all else attempt.ended_told
        if row["status"] == "delivered" or self._service_history.working:
            self._settle([row])
        else:
            self._provisional.append((self._clock(), row))

    def take(self) -> list[OutcomeRow]:
        """Hand over the outcomes since the last time; the caller makes them durable."""
        self._writing, self._writing_since = self._rows, self._rows_since
        self._rows, self._rows_since = [], float("inf")
        return self._writing

    def confirm_durable(self) -> None:
        """Note that the handed-over outcomes are durable."""
        self._writing, self._writing_since = [], float("inf")

    def take_call_starts(self) -> Mapping[int, int]:
        """Hand over how many calls began in which slot of time, as reported since the last time."""
        begun, self._begun = self._begun, Counter()
        return begun

    def has_rows(self) -> bool:
        """Whether there are outcomes to make durable."""
        return bool(self._rows or self._writing)

    def give_back(self, rows: list[OutcomeRow]) -> None:
        """Take back outcomes that were handed over and could not be made durable."""
        self._rows, self._rows_since = rows + self._rows, min(self._writing_since, self._rows_since)
        self.confirm_durable()

    def conclude(self) -> None:
        """Decide about provisional refusals when all tasks have ended.

        If the delivery was stopped early, they are forgotten, and the next run sends their events again. They are also
        forgotten if nothing shows that the service accepts any event.
        """
        rows, self._provisional = [row for _, row in self._provisional], deque()
        if self.stopped:
            return
        takes_any = self._events["delivered"] > 0 or self._service_history.working
        stand = [row for row in rows if takes_any or (self._service_history.acknowledged and not _is_unanswered(row))]
        self._settle(stand)
        if len(stand) < len(rows):
            self._end(self._refusal if not all(map(_is_unanswered, rows)) else _answer_of(rows[-1]))

    def stop(self) -> None:
        """End the delivery: calls in flight finish, no other starts."""
        self.stopped = True

    def progress(self) -> DeliveryProgress:
        """Return the progress of the delivery."""
        calls = CallStatistics()
        for attempt in self._attempts.values():
            calls.add(attempt.calls)
        now = self._clock()
        active = self._active(now)
        latencies = [one.calls.latency for one in active if one.calls.answered] or [0.0]
        calls.latency = sum(latencies) / len(latencies)
        return DeliveryProgress(
            **self._events,
            max_rate=self._rate_controller.max_rate,
            target=self._rate(),
            why=self._why(),
            calls=calls,
            tasks=len(active),
        )

    def _rate(self) -> float:
        return 0.0 if self._undurable_seconds() > _DURABLE_WITHIN else self._rate_controller.rate()

    def _why(self) -> str:
        """Say where the rate comes from."""
        seconds = self._undurable_seconds()
        if seconds > _DURABLE_WITHIN:
            return f"receipts are not written for {seconds:.0f} s"
        return self._rate_controller.why()

    def _undurable_seconds(self) -> float:
        """Return the age of the oldest outcome that is not durable; minus infinity if there is none."""
        return self._clock() - min(self._writing_since, self._rows_since)

    def _settle(self, rows: Iterable[OutcomeRow]) -> None:
        """Accept outcomes as final: they must be made durable."""
        for row in rows:
            self._events[row["status"]] += len(row["eventIds"])
            self._rows.append(row)
        if self._rows:
            self._rows_since = min(self._rows_since, self._clock())

    def _tell_ended(self, attempt: _AttemptState, answer: Message) -> None:
        """Add a piece of the ended requests of a part, if its owner lacks any: it sends when it has all."""
        ended = self._parts.ended_log(attempt.part)
        if attempt.ended_told < len(ended):
            answer["done"], attempt.ended_told = ended.piece(attempt.ended_told)
            attempt.ended_answer = attempt.answers_sent

    def _answers_others(self) -> bool:
        """Whether requests without an answer are at fault: others get answers, or got them and none is left."""
        now, acknowledged = self._clock(), self._breaker.acknowledged
        if acknowledged is not None and now - acknowledged < _ANSWERS:
            return True
        active = self._active(now)
        may_work = acknowledged is not None or self._service_history.working
        if any(attempt.has_others for attempt in active) or not may_work:
            return False
        seen = sum(attempt.failing[0] for attempt in active)
        unseen = sum(attempt.failing[1] for attempt in active)
        return self._service_history.working or unseen <= max(_FEW, seen)

    def _may_call(self, name: str) -> bool:
        attempt = self._attempts[name]
        return attempt.may_send and not attempt.has_left

    def _active(self, now: float) -> list[_AttemptState]:
        return [one for one in self._attempts.values() if not one.has_left and now - one.last_heard < _ACTIVE]

    def _learn(self, name: str, attempt: _AttemptState, message: Message) -> None:
        calls = CallStatistics(**message["calls"])
        if message["refusal"]:
            self._refusal = Response(**message["refusal"])
        if self._breaker.hear(name, calls, ready=message["ready"]):
            while self._provisional and self._provisional[0][0] <= self._clock() - _SETTLED_AFTER:
                self._settle([self._provisional.popleft()[1]])
        throttled = calls.throttled - attempt.calls.throttled
        answered = calls.answered - attempt.calls.answered
        self._rate_controller.note(answered - throttled, throttled)
        for slot, count in calls.begun.items():
            self._begun[slot] += count - attempt.calls.begun.get(slot, 0)
        attempt.calls = calls

    def _end_if(self, message: Message) -> None:
        """End the delivery because of an answer that no retry can change, or because nobody answers."""
        if message["ending"]:
            self._end(Response(**message["ending"]))
        if self._breaker.is_open:
            self._end(self._refusal)
        if any(attempt.calls.answered for attempt in self._attempts.values()):
            self._unanswered_since = None
        elif message["unreachable"]:
            now = self._clock()
            self._unanswered_since = now if self._unanswered_since is None else self._unanswered_since
            if now - self._unanswered_since >= _UNREACHABLE:
                self._end(Response(**message["unreachable"]))

    def _end(self, answer: Response | None) -> None:
        self.ending = self.ending or answer
        self.stop()

    def _go(self, name: str, attempt: _AttemptState, *, complete: bool) -> None:
        self._breaker.leave(name)
        if complete:
            self._parts.mark_complete(attempt.part)
        self._parts.remove_attempt(attempt.part, name)
        attempt.has_left = True


def _is_unanswered(row: OutcomeRow) -> bool:
    return bool(row["errorCode"] == UNANSWERED)


def _answer_of(row: OutcomeRow) -> Response:
    """Say how the last call of an unanswered event ended; the message goes to tables only."""
    return Response(row["httpStatus"], row["errorCode"])
