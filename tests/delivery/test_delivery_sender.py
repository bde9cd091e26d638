"""The way of a request, with a service that answers by script: order, bounds, retries, splitting, how it ends."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.pacing import Pacer
from delivery.records import Answer, Outcome, Request
from delivery.retry import RetryPolicy
from delivery.sender import Sender, Time

DELIVERED = Answer(200, awsRequestId="aws-1")
THROTTLED = Answer(400, "ThrottlingException", "Rate exceeded")
UNAVAILABLE = Answer(503, "ServiceUnavailable", "later")
RESET = Answer(None, "ConnectionClosedError", "closed")
REFUSED = Answer(400, "InvalidInputException", "invalid")
DENIED = Answer(403, "AccessDeniedException", "no")

ThreadsLeft = Callable[[], set[threading.Thread]]

# Calls that a request would make if nothing ended its retries. They cost no time, so a test ends in any case.
ENDLESS = 200_000
SOON = 10.0

START = datetime(2024, 1, 1, tzinfo=UTC)


class FakeTime:
    """A clock that moves when somebody sleeps, and when a test moves it."""

    def __init__(self, chance: float = 1.0) -> None:
        self._lock = threading.Lock()
        self._now = 0.0
        self.pauses: list[float] = []
        self.time = Time(lambda: START + timedelta(seconds=self._now), lambda: self._now, self.sleep, lambda: chance)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.pass_by(seconds)

    def pass_by(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds


class Script:
    """A service: `answer` says what becomes of each call; calls are kept in order of arrival."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self.calls: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    def __call__(self, request: Request) -> Answer:
        with self._lock:
            self.calls.append(request.requestId)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return self._answer(request)
        finally:
            with self._lock:
                self.at_once -= 1


def in_turn(*answers: Answer, then: Answer = DELIVERED) -> Callable[[Request], Answer]:
    """Give answers in the order of the calls, whosever they are."""
    rest = iter(answers)
    return lambda _: next(rest, then)


def by_request(**answers: Answer) -> Callable[[Request], Answer]:
    return lambda request: answers.get(request.requestId, DELIVERED)


def build_sender(
    put: Callable[[Request], Answer],
    in_flight: int = 1,
    attempts: int = 5,
    time: FakeTime | None = None,
    pacer: Pacer | None = None,
) -> Sender:
    retry = RetryPolicy(attempts=attempts, base=1.0, cap=5.0)
    unlimited = Pacer(1e12, lambda: 0.0, lambda _: None)
    return Sender(put, pacer or unlimited, retry, (time or FakeTime()).time, in_flight)


def request(name: str, events: int = 1) -> Request:
    ids = tuple(f"{name}-{number}" for number in range(events))
    return Request(name, "u", "s", ids, ("{}",) * events)


def requests(names: str) -> list[Request]:
    return [request(name) for name in names]


def brief(outcomes: list[Outcome]) -> list[tuple[str, str, int]]:
    return [(outcome.request.requestId, outcome.status, outcome.attempts) for outcome in outcomes]


def event_ids(outcomes: list[Outcome], status: str) -> list[str]:
    return sorted(event for outcome in outcomes if outcome.status == status for event in outcome.request.eventIds)


@pytest.fixture
def threads_left() -> ThreadsLeft:
    """Return a function that tells which threads have come since the test's start and are still there."""
    before = set(threading.enumerate())
    return lambda: set(threading.enumerate()) - before


# Order and bounds.


def test_requests_start_in_their_order() -> None:
    script = Script(in_turn(DELIVERED, THROTTLED, UNAVAILABLE))
    outcomes = list(build_sender(script).send(requests("abcd")))
    assert script.calls == ["a", "b", "b", "b", "c", "d"]
    assert brief(outcomes) == [
        ("a", "delivered", 1),
        ("b", "delivered", 3),
        ("c", "delivered", 1),
        ("d", "delivered", 1),
    ]


def test_nothing_to_send_makes_no_call() -> None:
    script = Script(in_turn())
    assert list(build_sender(script).send([])) == []
    assert script.calls == []


@pytest.mark.parametrize("in_flight", [1, 2, 5])
def test_as_many_requests_as_allowed_are_in_flight_and_no_more(in_flight: int) -> None:
    full = threading.Barrier(in_flight)

    def answer(_: Request) -> Answer:
        full.wait(SOON)  # breaks, and the test with it, unless so many calls are under way together
        return DELIVERED

    script = Script(answer)
    outcomes = list(build_sender(script, in_flight).send(requests("abcdefghijklmnopqrst")))
    assert len(outcomes) == 20
    assert script.most_at_once == in_flight


@pytest.mark.parametrize("in_flight", [1, 3])
def test_requests_are_taken_as_there_is_room_for_them(in_flight: int) -> None:
    taken = 0

    def endless() -> Iterator[Request]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield request(f"r{number}")

    outcomes = build_sender(Script(in_turn()), in_flight).send(endless())
    assert taken == 0
    for given_out in range(1, 30):
        next(outcomes)
        assert taken <= given_out + in_flight
    outcomes.close()  # type: ignore[attr-defined]


def test_the_first_outcome_comes_after_the_first_batch_in_flight() -> None:
    taken: list[str] = []
    source = (taken.append(each.requestId) or each for each in requests("abcdefghij"))  # type: ignore[func-returns-value]
    outcomes = build_sender(Script(in_turn()), in_flight=4).send(source)
    next(outcomes)
    assert taken == ["a", "b", "c", "d", "e"]


def test_a_slow_request_holds_up_nobody_elses_outcome() -> None:
    release = threading.Event()

    def answer(each: Request) -> Answer:
        if each.requestId == "a":
            assert release.wait(SOON)
        return DELIVERED

    outcomes = build_sender(Script(answer), in_flight=2).send(requests("abcd"))
    assert {next(outcomes).request.requestId for _ in range(3)} == {"b", "c", "d"}
    release.set()
    assert brief(list(outcomes)) == [("a", "delivered", 1)]


# Retries.


def test_a_delivered_request_tells_of_its_calls() -> None:
    time = FakeTime(chance=0.5)

    answers = in_turn(THROTTLED, UNAVAILABLE, THROTTLED)

    def put(each: Request) -> Answer:
        time.pass_by(0.25)
        return answers(each)

    (outcome,) = build_sender(put, time=time).send(requests("a"))
    assert outcome == Outcome(
        request=request("a"),
        status="delivered",
        answer=DELIVERED,
        attempts=4,
        throttled=2,
        retried=3,
        # Three calls of 0.25 s, and pauses of half of 1, 2 and 4 s.
        startedAt=START + timedelta(seconds=0.75 + 0.5 + 1.0 + 2.0),
        latencyMs=250,
    )
    assert time.pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    "fault", [THROTTLED, UNAVAILABLE, RESET, Answer(429, "Anything"), Answer(500, "InternalFailure")]
)
def test_passing_faults_are_called_again(fault: Answer) -> None:
    script = Script(in_turn(fault))
    (outcome,) = build_sender(script).send(requests("a"))
    assert (outcome.status, outcome.attempts, outcome.answer) == ("delivered", 2, DELIVERED)


def test_a_refused_request_of_one_event_is_not_called_again() -> None:
    script = Script(in_turn(then=REFUSED))
    (outcome,) = build_sender(script).send(requests("a"))
    assert (outcome.status, outcome.attempts, outcome.answer) == ("refused", 1, REFUSED)
    assert script.calls == ["a"]


def test_every_call_waits_for_the_pacer_retries_and_parts_of_a_split_too() -> None:
    time, at = FakeTime(chance=0.0), []
    answers = in_turn(DELIVERED, THROTTLED, UNAVAILABLE, REFUSED)

    def put(each: Request) -> Answer:
        at.append(time.time.monotonic())
        return answers(each)

    pacer = Pacer(4, time.time.monotonic, time.sleep)
    list(build_sender(put, time=time, pacer=pacer).send([request("a"), request("b", events=2), request("c")]))
    assert at == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5]


# How it ends before all is sent.


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_out_of_retries_leaves_it_and_the_rest_pending_without_a_call(attempts: int) -> None:
    script, time = Script(by_request(c=UNAVAILABLE)), FakeTime()
    outcomes = list(build_sender(script, attempts=attempts, time=time).send(requests("abcdef")))
    assert brief(outcomes) == [
        ("a", "delivered", 1),
        ("b", "delivered", 1),
        ("c", "pending", attempts),
        ("d", "pending", 0),
        ("e", "pending", 0),
        ("f", "pending", 0),
    ]
    assert script.calls == ["a", "b", *["c"] * attempts]
    assert time.pauses == [1.0, 2.0, 4.0, 5.0][: attempts - 1]  # none after the last call
    assert outcomes[2].answer == UNAVAILABLE
    assert outcomes[3] == Outcome(request("d"), "pending")


def test_out_of_retries_for_throttling_counts_them() -> None:
    (outcome,) = build_sender(Script(in_turn(then=THROTTLED)), attempts=3).send(requests("a"))
    assert (outcome.status, outcome.attempts, outcome.throttled) == ("pending", 3, 3)


@pytest.mark.parametrize(
    "answer", [DENIED, Answer(404, "ResourceNotFoundException"), Answer(None, "NoCredentialsError")]
)
def test_a_hopeless_answer_stops_the_sending_at_once(answer: Answer) -> None:
    script = Script(by_request(c=answer))
    outcomes = list(build_sender(script).send(requests("abcdef")))
    assert script.calls == ["a", "b", "c"]
    assert event_ids(outcomes, "delivered") == ["a-0", "b-0"]
    assert event_ids(outcomes, "pending") == ["c-0", "d-0", "e-0", "f-0"]
    assert [outcome.answer for outcome in outcomes] == [DELIVERED, DELIVERED, answer, None, None, None]


def test_a_stop_leaves_the_parts_of_a_split_that_were_not_called_pending() -> None:
    script = Script(by_request(r=REFUSED, **{"r.1": DENIED}))
    outcomes = list(build_sender(script).send([request("r", events=4)]))
    assert script.calls == ["r", "r.1"]
    assert brief(outcomes) == [("r.1", "pending", 2), ("r.2", "pending", 0)]
    assert event_ids(outcomes, "pending") == ["r-0", "r-1", "r-2", "r-3"]


def test_a_stop_ends_the_retries_of_the_others_in_flight() -> None:
    retrying = threading.Event()

    def answer(each: Request) -> Answer:
        if each.requestId == "a":
            retrying.set()
            return UNAVAILABLE
        assert retrying.wait(SOON)
        return DENIED

    script = Script(answer)
    outcomes = list(build_sender(script, in_flight=2, attempts=ENDLESS).send(requests("abcd")))
    assert event_ids(outcomes, "pending") == ["a-0", "b-0", "c-0", "d-0"]
    assert len(script.calls) < ENDLESS
    assert sum(outcome.attempts for outcome in outcomes) == len(script.calls)


def test_who_waits_for_the_pacer_when_the_sending_stops_makes_no_call() -> None:
    stopped, both_wait = threading.Event(), threading.Barrier(3)

    def sleep(_: float) -> None:
        both_wait.wait(SOON)
        assert stopped.wait(SOON)

    def deny(_: Request) -> Answer:
        both_wait.wait(SOON)
        return DENIED

    script = Script(deny)
    outcomes = build_sender(script, in_flight=3, pacer=Pacer(1, lambda: 0.0, sleep)).send(requests("abc"))
    assert next(outcomes).answer == DENIED
    stopped.set()
    assert [(outcome.status, outcome.attempts) for outcome in outcomes] == [("pending", 0)] * 2
    assert len(script.calls) == 1


# Exceptions: they surface, they do not wait for others' retries, they leave no thread behind.


class RetryingForEver:
    """Answers `b` with 503 for ever, others by `answer` as soon as `b` was called; a test sees that b's calls end."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self._answer = answer
        self.called = threading.Event()
        self.calls = 0

    def __call__(self, each: Request) -> Answer:
        if each.requestId == "b":
            self.calls += 1
            self.called.set()
            return UNAVAILABLE
        assert self.called.wait(SOON)
        return self._answer(each)


def broken(_: Request) -> Answer:
    raise ZeroDivisionError("a mistake in put")


@pytest.mark.parametrize("names", ["ab", "ba", "abcdefgh"])
def test_a_mistake_in_put_surfaces_while_others_retry(names: str, threads_left: ThreadsLeft) -> None:
    put = RetryingForEver(broken)
    with pytest.raises(ZeroDivisionError):
        list(build_sender(put, in_flight=2, attempts=ENDLESS).send(requests(names)))
    assert put.calls < ENDLESS
    assert threads_left() == set()


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_exception_of_the_source_surfaces_while_others_retry(
    error: type[BaseException], threads_left: ThreadsLeft
) -> None:
    put = RetryingForEver(in_turn())

    def source() -> Iterator[Request]:
        yield request("b")
        assert put.called.wait(SOON)
        raise error

    with pytest.raises(error):
        list(build_sender(put, in_flight=2, attempts=ENDLESS).send(source()))
    assert put.calls < ENDLESS
    assert threads_left() == set()


def test_closing_the_outcomes_ends_the_sending(threads_left: ThreadsLeft) -> None:
    put = RetryingForEver(in_turn())
    outcomes = build_sender(put, in_flight=2, attempts=ENDLESS).send(requests("abcd"))
    assert next(outcomes).status == "delivered"
    outcomes.close()  # type: ignore[attr-defined]
    assert put.calls < ENDLESS
    assert threads_left() == set()


def test_no_thread_is_left_after_the_last_outcome(threads_left: ThreadsLeft) -> None:
    list(build_sender(Script(in_turn()), in_flight=4).send(requests("abcdefgh")))
    assert threads_left() == set()


# Splitting.


def refuse(*poison: str) -> Callable[[Request], Answer]:
    return lambda each: REFUSED if set(poison) & set(each.eventIds) else DELIVERED


# The calls for a poison at each place: 10 is split in 5 and 5, 5 in 2 and 3, 3 in 1 and 2.
@pytest.mark.parametrize(("place", "calls"), [*enumerate([7, 7, 7, 9, 9, 7, 7, 7, 9, 9])])
def test_a_poison_stands_alone_and_its_neighbours_are_delivered(place: int, calls: int) -> None:
    script = Script(refuse(f"r-{place}"))
    outcomes = list(build_sender(script).send([request("r", events=10)]))
    assert event_ids(outcomes, "refused") == [f"r-{place}"]
    assert event_ids(outcomes, "delivered") == [f"r-{each}" for each in range(10) if each != place]
    assert sum(outcome.attempts for outcome in outcomes) == len(script.calls) == calls
    (refused,) = [outcome for outcome in outcomes if outcome.status == "refused"]
    assert refused.answer == REFUSED


def test_a_request_of_poison_alone_is_refused_event_by_event() -> None:
    script = Script(in_turn(then=REFUSED))
    outcomes = list(build_sender(script).send([request("r", events=10)]))
    assert [outcome.request.eventIds for outcome in outcomes] == [(f"r-{each}",) for each in range(10)]
    assert {outcome.status for outcome in outcomes} == {"refused"}
    assert sum(outcome.attempts for outcome in outcomes) == len(script.calls) == 19


def test_the_calls_of_a_refused_whole_are_counted_once() -> None:
    script = Script(in_turn(THROTTLED, REFUSED, THROTTLED))
    outcomes = list(build_sender(script).send([request("r", events=2)]))
    assert script.calls == ["r", "r", "r.1", "r.1", "r.2"]
    assert [(each.attempts, each.throttled, each.retried) for each in outcomes] == [(4, 2, 2), (1, 0, 0)]


def test_a_split_sends_the_same_events_as_the_whole() -> None:
    sent: list[Request] = []

    def put(each: Request) -> Answer:
        sent.append(each)
        return REFUSED if len(each.events) > 2 else DELIVERED

    whole = Request("r", None, "session", ("x", "y", "z"), ('{"n":1}', '{"n":2}', '{"n":3}'))
    list(build_sender(put).send([whole]))
    assert sent == [
        whole,
        Request("r.1", None, "session", ("x",), ('{"n":1}',)),
        Request("r.2", None, "session", ("y", "z"), ('{"n":2}', '{"n":3}')),
    ]


# Conservation, over whatever the service does.

sizes = st.lists(st.integers(1, 10), max_size=8)
faults = st.lists(st.sampled_from([None, THROTTLED, UNAVAILABLE, RESET]), max_size=30)


class Judge:
    """Refuses poison, has its faults call by call, and keeps what it acknowledged and what it refused alone."""

    def __init__(self, poison: set[str], answers: list[Answer | None]) -> None:
        self._poison = poison
        self._answers = iter(answers)
        self._lock = threading.Lock()
        self.calls = 0
        self.throttled = 0
        self.acknowledged: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def __call__(self, each: Request) -> Answer:
        with self._lock:
            self.calls += 1
            answer = next(self._answers, None)
            self.throttled += answer is THROTTLED
            if answer is not None:
                return answer
            if self._poison & set(each.eventIds):
                self.refused.update(each.eventIds if len(each.eventIds) == 1 else ())
                return REFUSED
            self.acknowledged.update(each.eventIds)
            return DELIVERED


@settings(max_examples=150, deadline=None)
@given(data=st.data(), sizes=sizes, faults=faults, in_flight=st.integers(1, 4), stop=st.booleans())
def test_conservation(
    data: st.DataObject, sizes: list[int], faults: list[Answer | None], in_flight: int, stop: bool
) -> None:
    all_requests = [request(f"r{number}", size) for number, size in enumerate(sizes)]
    ids = [event for each in all_requests for event in each.eventIds]
    poison = data.draw(st.sets(st.sampled_from(ids), max_size=6)) if ids else set()
    judge = Judge(poison, [*faults, *([DENIED] if stop else [])])
    attempts = data.draw(st.sampled_from([2, len(faults) + 1]))

    outcomes = list(build_sender(judge, in_flight, attempts).send(all_requests))

    ended = Counter(event for outcome in outcomes for event in outcome.request.eventIds)
    assert ended == Counter(ids)
    assert Counter(event_ids(outcomes, "delivered")) == judge.acknowledged
    assert Counter(event_ids(outcomes, "refused")) == judge.refused
    assert sum(outcome.attempts for outcome in outcomes) == judge.calls
    assert sum(outcome.throttled for outcome in outcomes) == judge.throttled
    names = [outcome.request.requestId for outcome in outcomes]
    assert len(names) == len(set(names))
    if not stop and attempts > len(faults):
        assert event_ids(outcomes, "pending") == []
        assert event_ids(outcomes, "refused") == sorted(poison)
