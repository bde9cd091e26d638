"""Attempts at a part and their driver, over lines that break: nothing is called twice, nothing is lost or doubled."""

from __future__ import annotations

import json
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

import pytest

from delivery.call_statistics import CallStatistics
from delivery.control.dispatcher import Dispatcher
from delivery.control.task_session import TaskSession
from delivery.control.wire import Message
from delivery.model import OutcomeRow, Response
from delivery.rate.aimd import AimdRateController
from delivery.rate.rate_lease import LEASE_SECONDS, RateLease
from tests.delivery.clock import Clock

NAMES = [sha256(str(number).encode()).hexdigest() for number in range(20)]
"""Of the part's requests."""


@dataclass
class Sender:
    """Makes a part's calls, one step at a time, whatever the rate."""

    rate_lease: RateLease
    left: deque[str]
    under_way: list[str] = field(default_factory=list)
    calls: CallStatistics = field(default_factory=CallStatistics)
    starved: bool = True
    exhausted: bool = False
    ending: Response | None = None
    unreachable: Response | None = None
    refusal: Response | None = None
    ready: bool = False
    failing: tuple[int, int] = (0, 0)
    has_others: bool = True
    on_news: Callable[[], None] = lambda: None

    @property
    def in_flight(self) -> int:
        return len(self.under_way)

    def pump(self) -> None:
        pass

    def start(self) -> str | None:
        """Start a call, if one may start and there is one to make."""
        while self.rate_lease.is_owned and not self.rate_lease.stopped and self.left:
            request = self.left.popleft()
            if not self.rate_lease.done.has(request):
                self.under_way.append(request)
                return request
        return None


class Attempt:
    """An attempt and its line; messages are under way until a test delivers them."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.rate_lease = RateLease(clock)
        self.sender = Sender(self.rate_lease, deque(NAMES))
        self.task_session = TaskSession(self.rate_lease, self.sender, clock)  # type: ignore[arg-type]
        self.reported: list[OutcomeRow] = []
        self.known: set[str] = set()
        """What the driver knew to have ended when it last gave the part."""
        self.to_driver: deque[str] = deque()
        self.to_task: deque[str] = deque()

    def ask(self) -> None:
        self.to_driver.append(json.dumps(self.task_session.make_question()))

    def end_call(self) -> None:
        row = {"requestId": self.sender.under_way.pop(0), "status": "delivered", "eventIds": [self.name]}
        self.reported.append(row)
        self.task_session.report(row)

    def leave_if_done(self) -> None:
        over = not self.sender.left or self.rate_lease.stopped
        if over and not self.sender.under_way and not self.task_session.leaving:
            self.task_session.leave(complete=not self.rate_lease.stopped)


class Conversation:
    """A driver and the attempts at one part that talk to it; each step is one thing that may happen next.

    Messages are delivered one at a time, in either direction, or are lost together when a line breaks.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.dispatcher = Dispatcher(AimdRateController(100.0, self.clock), self.clock)
        self.attempts: list[Attempt] = []
        self.everybody: list[Attempt] = []
        self.told: list[OutcomeRow] = []
        self.called: Counter[str] = Counter()
        self.come()

    def step(self, what: str, which: int) -> None:
        if what == "come":
            self.come()
        elif what == "wait":
            self.clock.move(LEASE_SECONDS / 5)
        elif self.attempts:
            getattr(self, what)(self.attempts[which % len(self.attempts)])
        self.check()

    def check(self) -> None:
        """See that at most one attempt believes that it owns the part."""
        assert sum(attempt.rate_lease.is_owned for attempt in self.everybody) <= 1

    # What may happen.

    def come(self) -> None:
        attempt = Attempt(f"attempt-{len(self.everybody)}", self.clock)
        self.everybody.append(attempt)
        self.attempts.append(attempt)
        self.connect(attempt)

    def ask(self, attempt: Attempt) -> None:
        attempt.ask()

    def hear(self, attempt: Attempt) -> None:
        """Deliver a question."""
        if attempt.to_driver:
            question = json.loads(attempt.to_driver.popleft())
            self.say(attempt, {**self.dispatcher.handle_message(attempt.name, question), "to": question["number"]})

    def tell_unasked(self, attempt: Attempt) -> None:
        self.say(attempt, self.dispatcher.answer(attempt.name))

    def obey(self, attempt: Attempt) -> None:
        """Deliver an answer."""
        if attempt.to_task:
            answer = json.loads(attempt.to_task.popleft())
            attempt.known.update(answer["known"])
            attempt.task_session.apply_answer(answer)

    def start(self, attempt: Attempt) -> None:
        """Start a call."""
        request = attempt.sender.start()
        if request is not None:
            assert request not in attempt.known
            self.called[request] += 1

    def end(self, attempt: Attempt) -> None:
        """End a call."""
        if attempt.sender.under_way:
            attempt.end_call()

    def break_line(self, attempt: Attempt) -> None:
        attempt.to_driver.clear()
        attempt.to_task.clear()
        self.dispatcher.lose(attempt.name)
        self.connect(attempt)

    def advance(self, attempt: Attempt) -> None:
        """Let it talk and call, as far as it gets."""
        self.exchange(attempt)
        self.start(attempt)
        while attempt.sender.under_way:
            attempt.end_call()
        attempt.leave_if_done()
        self.exchange(attempt)
        if attempt.task_session.over:
            self.attempts.remove(attempt)

    def die(self, attempt: Attempt) -> None:
        self.attempts.remove(attempt)
        if len(self.everybody) % 2:
            self.dispatcher.lose(attempt.name)

    # How it ends.

    def come_to_the_end(self) -> None:
        """Let everybody talk and call: all have gone soon, and nothing is left of the part."""
        if not self.attempts:
            self.come()
        for _ in range(100):
            for attempt in list(self.attempts):
                self.advance(attempt)
                self.check()
            self.clock.move(0.1)
        assert not self.attempts, "they wait for each other"
        assert set(self.called) == set(NAMES)

    def come_back_through_spark(self) -> None:
        """What living attempts could not tell, the driver takes from what they give back."""
        for attempt in self.attempts:
            for number, row in attempt.task_session.unacknowledged():
                self.dispatcher.accept(attempt.name, number, row)

    def outcomes(self) -> tuple[Counter[str], Counter[str], Counter[str]]:
        """What the living have reported, what the driver knows, what anybody has reported."""
        self.make_durable()
        living = [row for attempt in self.everybody if self.lives(attempt) for row in attempt.reported]
        return ids(living), ids(self.told), ids([row for attempt in self.everybody for row in attempt.reported])

    # Beside.

    def connect(self, attempt: Attempt) -> None:
        self.dispatcher.add_attempt(attempt.name, 0)
        attempt.task_session.start()

    def say(self, attempt: Attempt, answer: Message) -> None:
        self.make_durable()
        known = [row["requestId"] for row in self.told] if "done" in answer else []
        attempt.to_task.append(json.dumps({**answer, "known": known}))

    def exchange(self, attempt: Attempt) -> None:
        attempt.ask()
        while attempt.to_driver or attempt.to_task:
            self.hear(attempt)
            self.obey(attempt)

    def make_durable(self) -> None:
        self.told += self.dispatcher.take()
        self.dispatcher.confirm_durable()

    def lives(self, attempt: Attempt) -> bool:
        return attempt in self.attempts or attempt.task_session.over


def ids(rows: list[OutcomeRow]) -> Counter[str]:
    """Which attempt has ended which request, how often."""
    return Counter(f"{row['eventIds'][0]} {row['requestId']}" for row in rows)


def converse(seed: int, *more: str) -> Conversation:
    """Do 250 steps in a random order, then come to one end or the other."""
    chance = random.Random(seed)
    often = ["ask", "ask", "hear", "hear", "obey", "obey", "start", "end", "break_line"] * 2
    what = [*often, "advance", "come", "tell_unasked", *more]
    conversation = Conversation()
    for _ in range(250):
        step = chance.choice(what)
        if step != "come" or len(conversation.attempts) < 3:
            conversation.step(step, chance.randrange(3))
    if seed % 2:
        conversation.come_to_the_end()
    else:
        conversation.come_back_through_spark()
    return conversation


@pytest.mark.parametrize("seed", range(120))
def test_while_nobody_falls_silent_each_request_is_called_once_and_told_once(seed: int) -> None:
    """Time stands still, so nobody loses its part; lines break, attempts come, in whatever order."""
    conversation = converse(seed)
    assert set(conversation.called.values()) == {1}
    living, told, all_ = conversation.outcomes()
    assert living == told == all_


@pytest.mark.parametrize("seed", range(120))
def test_whoever_dies_or_falls_silent_nothing_is_lost_and_what_is_known_is_not_called_again(seed: int) -> None:
    conversation = converse(seed, "wait", "wait", "die")
    living, told, all_ = conversation.outcomes()
    assert living <= told <= all_
    assert set(all_.values()) <= {1}
