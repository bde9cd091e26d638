"""Attempts at parts and their driver, over lines that break: nobody doubles, nothing is lost, nothing is told twice."""

from __future__ import annotations

import json
from collections import Counter, deque
from dataclasses import dataclass, field
from hashlib import sha256

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from delivery.budget.permit import GRACE, Permit
from delivery.calls import Calls
from delivery.channel.dispatcher import Dispatcher
from delivery.channel.messages import Message
from delivery.channel.talk import Talk
from delivery.records import Answer, Row
from tests.delivery.clock import Clock

REQUESTS = 6
PARTS = (0, 1)


def requests(part: int) -> list[str]:
    return [sha256(f"{part}-{number}".encode()).hexdigest() for number in range(REQUESTS)]


@dataclass
class Sender:
    """Makes a part's calls, one step at a time, whatever the rate."""

    permit: Permit
    left: deque[str]
    under_way: list[str] = field(default_factory=list)
    calls: Calls = field(default_factory=Calls)
    starved: bool = True
    exhausted: bool = False
    ending: Answer | None = None
    unreachable: Answer | None = None

    @property
    def in_flight(self) -> int:
        return len(self.under_way)

    def pump(self) -> None:
        pass

    def start(self) -> str | None:
        """Start a call, if one may start and there is one to make."""
        while self.permit.owned and not self.permit.stopped and self.left:
            request = self.left.popleft()
            if not self.permit.done.has(request):
                self.under_way.append(request)
                return request
        return None


class Attempt:
    """An attempt and its line; messages are under way until a test delivers them."""

    def __init__(self, name: str, part: int, clock: Clock) -> None:
        self.name, self.part = name, part
        self.permit = Permit(clock, 1.0)
        self.sender = Sender(self.permit, deque(requests(part)))
        self.talk = Talk(self.permit, self.sender, clock)  # type: ignore[arg-type]
        self.reported: list[Row] = []
        self.known: set[str] = set()
        """What the driver knew to have ended when it last gave the part."""
        self.to_driver: deque[str] = deque()
        self.to_task: deque[str] = deque()

    def ask(self) -> None:
        self.to_driver.append(json.dumps(self.talk.question()))

    def end_call(self) -> None:
        row = {"requestId": self.sender.under_way.pop(0), "status": "delivered", "eventIds": [self.name]}
        self.reported.append(row)
        self.talk.report(row)

    def leave_if_done(self) -> None:
        over = not self.sender.left or self.permit.stopped
        if over and not self.sender.under_way and not self.talk.leaving:
            self.talk.leave(complete=not self.permit.stopped)


class Conversation(RuleBasedStateMachine):
    """Time stands still, so nobody loses its part for silence: each request has to be called once.

    Messages are delivered one at a time, in either direction, or are lost together when a line breaks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.dispatcher = Dispatcher(100.0, 1.0, self.clock)
        self.attempts: list[Attempt] = []
        self.told: list[Row] = []
        self.everybody: list[Attempt] = []
        self.called: Counter[str] = Counter()

    # What may happen.

    @rule(part=st.sampled_from(PARTS))
    def come(self, part: int) -> None:
        attempt = Attempt(f"attempt-{len(self.everybody)}", part, self.clock)
        self.everybody.append(attempt)
        self.attempts.append(attempt)
        self.connect(attempt)

    @rule(data=st.data())
    @precondition(lambda self: self.attempts)
    def ask(self, data: st.DataObject) -> None:
        self.one_of_them(data).ask()

    @rule(data=st.data())
    @precondition(lambda self: self.attempts)
    def deliver_a_question(self, data: st.DataObject) -> None:
        self.hear(self.one_of_them(data))

    @rule(data=st.data())
    @precondition(lambda self: self.attempts)
    def deliver_an_answer(self, data: st.DataObject) -> None:
        self.obey(self.one_of_them(data))

    @rule(data=st.data())
    @precondition(lambda self: self.attempts)
    def talk_for_a_while(self, data: st.DataObject) -> None:
        self.exchange(self.one_of_them(data))

    @rule(data=st.data())
    @precondition(lambda self: self.attempts)
    def tell_unasked(self, data: st.DataObject) -> None:
        attempt = self.one_of_them(data)
        self.say(attempt, self.dispatcher.answer(attempt.name))

    @rule(data=st.data())
    @precondition(lambda self: self.attempts)
    def start_a_call(self, data: st.DataObject) -> None:
        self.call(self.one_of_them(data))

    @rule(data=st.data())
    @precondition(lambda self: self.attempts)
    def end_a_call(self, data: st.DataObject) -> None:
        attempt = self.one_of_them(data)
        if attempt.sender.under_way:
            attempt.end_call()

    @rule(data=st.data())
    @precondition(lambda self: self.attempts)
    def break_a_line(self, data: st.DataObject) -> None:
        attempt = self.one_of_them(data)
        attempt.to_driver.clear()
        attempt.to_task.clear()
        self.dispatcher.lose(attempt.name)
        self.connect(attempt)

    @rule()
    def make_durable(self) -> None:
        self.told += self.dispatcher.take()

    @rule()
    def come_to_the_end(self) -> None:
        """Let everybody talk and call: all have gone soon, and nothing is left."""
        parts = {attempt.part for attempt in self.attempts}
        for _ in range(200):
            if not self.attempts:
                break
            for attempt in list(self.attempts):
                self.advance(attempt)
        assert not self.attempts, "they wait for each other"
        assert all(self.called[request] for part in parts for request in requests(part))

    # What must hold.

    @invariant()
    def at_most_one_believes_that_it_owns_a_part(self) -> None:
        for part in PARTS:
            assert sum(attempt.permit.owned for attempt in self.attempts if attempt.part == part) <= 1

    @invariant()
    def no_request_is_called_twice(self) -> None:
        assert all(times == 1 for times in self.called.values())

    def teardown(self) -> None:
        """What is not told comes back through Spark; then the driver has each outcome, once."""
        for attempt in self.everybody:
            for number, row in attempt.talk.untold():
                self.dispatcher.accept(attempt.name, number, row)
        self.make_durable()
        assert outcomes(self.told) == outcomes([row for attempt in self.everybody for row in attempt.reported])

    # How.

    def one_of_them(self, data: st.DataObject) -> Attempt:
        return data.draw(st.sampled_from(self.attempts))

    def connect(self, attempt: Attempt) -> None:
        self.dispatcher.come(attempt.name, attempt.part)
        attempt.talk.start()

    def hear(self, attempt: Attempt) -> None:
        if attempt.to_driver:
            question = json.loads(attempt.to_driver.popleft())
            self.say(attempt, {**self.dispatcher.hear(attempt.name, question), "to": question["number"]})

    def say(self, attempt: Attempt, answer: Message) -> None:
        self.make_durable()
        known = [row["requestId"] for row in self.told] if "done" in answer else []
        attempt.to_task.append(json.dumps({**answer, "known": known}))

    def obey(self, attempt: Attempt) -> None:
        if attempt.to_task:
            answer = json.loads(attempt.to_task.popleft())
            attempt.known.update(answer["known"])
            attempt.talk.obey(answer)

    def exchange(self, attempt: Attempt) -> None:
        attempt.ask()
        while attempt.to_driver or attempt.to_task:
            self.hear(attempt)
            self.obey(attempt)

    def call(self, attempt: Attempt) -> None:
        request = attempt.sender.start()
        if request is not None:
            assert request not in attempt.known
            self.called[request] += 1

    def advance(self, attempt: Attempt) -> None:
        self.exchange(attempt)
        self.call(attempt)
        while attempt.sender.under_way:
            attempt.end_call()
        attempt.leave_if_done()
        self.exchange(attempt)
        if attempt.talk.over:
            self.attempts.remove(attempt)


class Crashes(Conversation):
    """Time passes, processes die: a request may be called twice then, by two attempts, if the driver knew of no end."""

    def __init__(self) -> None:
        super().__init__()
        self.dead: list[Attempt] = []

    @rule(seconds=st.sampled_from([0.1, 1.0, GRACE / 2, GRACE]))
    def wait(self, seconds: float) -> None:
        self.clock.move(seconds)

    @rule(data=st.data(), noticed=st.booleans())
    @precondition(lambda self: self.attempts)
    def die(self, data: st.DataObject, noticed: bool) -> None:
        attempt = self.one_of_them(data)
        self.attempts.remove(attempt)
        self.dead.append(attempt)
        if noticed:
            self.dispatcher.lose(attempt.name)

    def advance(self, attempt: Attempt) -> None:
        self.clock.move(0.05)
        super().advance(attempt)

    @invariant()
    def no_request_is_called_twice(self) -> None:
        """By one attempt."""
        for request, times in self.called.items():
            assert times <= sum(request in requests(attempt.part) for attempt in self.everybody)

    def teardown(self) -> None:
        self.make_durable()
        for attempt in self.everybody:
            if attempt not in self.dead:
                for number, row in attempt.talk.untold():
                    self.dispatcher.accept(attempt.name, number, row)
        self.make_durable()
        living = [row for attempt in self.everybody if attempt not in self.dead for row in attempt.reported]
        lost = [row for attempt in self.dead for row in attempt.reported]
        assert outcomes(living) <= outcomes(self.told) <= outcomes(living + lost)


def outcomes(rows: list[Row]) -> Counter[tuple[str, str]]:
    """Which attempt has ended which request, how often."""
    return Counter((row["eventIds"][0], row["requestId"]) for row in rows)


for _machine in (Conversation, Crashes):
    _machine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestConversation = Conversation.TestCase
TestCrashes = Crashes.TestCase
