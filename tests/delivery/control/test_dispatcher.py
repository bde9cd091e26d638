"""What the driver answers: leases, ownership, outcomes each once, the pause while nothing is durable, the end."""

import json
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import pytest

from delivery.call_statistics import CallStatistics
from delivery.control.dispatcher import Dispatcher, ServiceHistory
from delivery.control.wire import Message
from delivery.ended_requests import EndedRequestSet
from delivery.model import OutcomeRow, Response
from delivery.rate.aimd import AimdRateController
from delivery.rate.rate_lease import LEASE_SECONDS
from tests.delivery.clock import Clock
from tests.delivery.control.questions import question

LIMIT = 90.0
ONE_CALL = 0.125
"""Seconds, at the least: what a task gives up is free when its next call would have been due."""
DENIED = {"httpStatus": 403, "errorCode": "AccessDeniedException"}
UNKNOWN = ServiceHistory()
NOBODY = {"httpStatus": None, "errorCode": "EndpointConnectionError"}


def name(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()


def row(number: int, status: str = "delivered", events: int = 1) -> OutcomeRow:
    ids = [f"e{number}-{n}" for n in range(events)]
    return {"requestId": name(number), "status": status, "eventIds": ids, "errorCode": None, "httpStatus": 400}


class Driver:
    """A dispatcher, and attempts that ask it; an attempt hears each answer at once, unless a test says otherwise."""

    def __init__(self, start: float = 100.0, trust: ServiceHistory = UNKNOWN) -> None:
        self.clock = Clock(start)
        self.dispatcher = Dispatcher(AimdRateController(LIMIT, self.clock), self.clock, trust)
        self.numbers: dict[str, int] = {}
        self.heard: dict[str, int] = {}

    def come(self, *attempts: str, part: int = 0) -> None:
        for attempt in attempts:
            self.dispatcher.add_attempt(attempt, part)

    def ask(self, attempt: str, *, hears: bool = True, **said: Any) -> Message:
        number = self.numbers[attempt] = self.numbers.get(attempt, 0) + 1
        heard = self.heard.get(attempt, 0)
        answer = self.dispatcher.handle_message(attempt, question(**{"number": number, "heard": heard, **said}))
        if hears and "number" in answer:
            self.heard[attempt] = answer["number"]
        return json.loads(json.dumps(answer))

    def rates(self, *attempts: str) -> list[float]:
        return [self.ask(attempt)["rate"] for attempt in attempts]

    def done(self, answer: Message) -> EndedRequestSet:
        done = EndedRequestSet()
        done.add(answer["done"])
        return done


@pytest.fixture
def driver() -> Driver:
    return Driver()


@pytest.fixture
def pair(driver: Driver) -> Driver:
    """Two attempts, at a part each, which have asked for all that they can get for a while."""
    driver.come("a", part=1)
    driver.come("b", part=2)
    for _ in range(5):
        driver.rates("a", "b")
        driver.clock.move(0.5)
    driver.rates("a", "b")
    return driver


# Leases.


def test_an_attempt_alone_gets_its_part_and_the_whole_limit(driver: Driver) -> None:
    driver.come("a")
    answer = driver.ask("a")
    assert (answer["owns"], answer["rate"], answer["stop"], answer["got"]) == (True, LIMIT, False, 0)


def test_attempts_at_different_parts_share_the_limit(pair: Driver) -> None:
    assert pair.rates("a", "b") == [60.0, 30.0]


def test_who_wants_less_leaves_it_to_the_others_who_are_told_when_it_has_confirmed(pair: Driver) -> None:
    pair.ask("a", wants=10.0)
    assert pair.dispatcher.attempts_to_inform() == []
    pair.ask("a", wants=10.0)
    pair.clock.move(ONE_CALL)
    assert pair.dispatcher.attempts_to_inform() == ["b"]
    assert pair.dispatcher.answer("b")["rate"] == 80.0
    assert pair.dispatcher.attempts_to_inform() == []


def test_who_is_told_unasked_gets_no_more_than_it_said_that_it_wants(pair: Driver) -> None:
    pair.ask("b", wants=40.0)
    pair.ask("a", wants=10.0), pair.ask("a", wants=10.0)
    pair.clock.move(ONE_CALL)
    assert pair.dispatcher.answer("b")["rate"] == 40.0


def test_what_an_attempt_held_that_has_gone_is_free_when_its_rate_has_given_the_calls_that_it_made(
    pair: Driver,
) -> None:
    pair.ask("a", gone=True, ahead=1.0)
    assert pair.ask("b")["rate"] == 30.0
    assert 0.0 < pair.dispatcher.seconds_to_more() <= ONE_CALL
    pair.clock.move(ONE_CALL)
    assert pair.ask("b")["rate"] == LIMIT
    assert pair.dispatcher.seconds_to_more() is None


def test_an_attempt_whose_line_broke_keeps_its_lease_to_its_end(pair: Driver) -> None:
    pair.dispatcher.lose("a")
    assert pair.ask("b")["rate"] == 30.0
    pair.clock.move(LEASE_SECONDS)
    assert pair.ask("b")["rate"] == LIMIT


def test_an_attempt_that_dies_without_a_word_gives_its_lease_back_as_well(pair: Driver) -> None:
    pair.clock.move(LEASE_SECONDS)
    assert pair.ask("b")["rate"] == LIMIT


def test_what_is_throttled_brings_the_rate_down_for_all(pair: Driver) -> None:
    pair.clock.move(1.0)
    pair.ask("a", calls=asdict(CallStatistics(answered=90, throttled=30)))
    assert pair.dispatcher.progress().target == pytest.approx(0.99 * 60)
    assert pair.dispatcher.progress().why == "throttled at 60/s 0 s ago"
    pair.rates("b", "a")
    assert sum(pair.rates("b", "a")) == pytest.approx(0.99 * 60)


def test_calls_are_told_as_totals_so_none_is_counted_twice(pair: Driver) -> None:
    calls = asdict(CallStatistics(answered=30, throttled=10))
    pair.ask("a", calls=calls)
    target = pair.dispatcher.progress().target
    for _ in range(10):
        pair.clock.move(0.2)
        pair.ask("a", calls=calls)
    assert pair.dispatcher.progress().target >= target
    assert pair.dispatcher.progress().calls.throttled == 10


# Outcomes.


def test_outcomes_are_taken_in_their_order_and_once(driver: Driver) -> None:
    driver.come("a")
    assert driver.ask("a", ended=[row(0), row(1)])["got"] == 2
    assert driver.ask("a", **{"from": 2}, ended=[row(2)])["got"] == 3
    assert [each["requestId"] for each in driver.dispatcher.take()] == [name(0), name(1), name(2)]
    assert driver.dispatcher.take() == []


def test_what_is_told_again_is_taken_once(driver: Driver) -> None:
    driver.come("a")
    driver.ask("a", ended=[row(0), row(1)])
    assert driver.ask("a", ended=[row(0), row(1), row(2)])["got"] == 3
    assert len(driver.dispatcher.take()) == 3


def test_what_comes_before_its_time_is_not_taken(driver: Driver) -> None:
    driver.come("a")
    assert driver.ask("a", **{"from": 1}, ended=[row(1)])["got"] == 0
    assert not driver.dispatcher.has_rows()


def test_attempts_count_their_outcomes_each_for_itself(driver: Driver) -> None:
    driver.come("a", "b")
    driver.ask("a", ended=[row(0)])
    assert driver.ask("b", ended=[row(1)])["got"] == 1
    assert len(driver.dispatcher.take()) == 2


def test_an_attempt_that_comes_again_is_known(driver: Driver) -> None:
    driver.come("a")
    driver.ask("a", ended=[row(0)])
    driver.dispatcher.lose("a")
    driver.come("a")
    assert driver.ask("a", ended=[row(0), row(1)])["got"] == 2
    assert len(driver.dispatcher.take()) == 2


def test_what_spark_brings_in_the_end_is_taken_by_its_number_too(driver: Driver) -> None:
    driver.come("a")
    driver.ask("a", ended=[row(0)])
    for number in range(3):
        driver.dispatcher.accept("a", number, row(number))
    assert [each["requestId"] for each in driver.dispatcher.take()] == [name(0), name(1), name(2)]


def test_outcomes_that_could_not_be_made_durable_come_again_before_later_ones(driver: Driver) -> None:
    driver.come("a")
    driver.ask("a", ended=[row(0), row(1)])
    rows = driver.dispatcher.take()
    driver.ask("a", **{"from": 2}, ended=[row(2)])
    driver.dispatcher.give_back(rows)
    assert driver.dispatcher.has_rows()
    assert [each["requestId"] for each in driver.dispatcher.take()] == [name(0), name(1), name(2)]


# The pause while outcomes are not durable.


def told_until(driver: Driver, until: float, begin: int = 0) -> int:
    """Have an attempt tell an outcome every 0.1 s; say how many it has told."""
    while driver.clock.now < until - 1e-9:
        driver.ask("a", **{"from": begin}, ended=[row(begin)])
        begin += 1
        driver.clock.move(0.1)
    return begin


def test_no_call_starts_while_an_outcome_has_not_been_durable_for_a_second_and_a_half(pair: Driver) -> None:
    pair.ask("a", ended=[row(0)], calls=asdict(CallStatistics(acknowledged=1)))
    for _ in range(15):
        assert pair.rates("a", "b") == [60.0, 30.0]
        pair.clock.move(0.1)
    pair.clock.move(0.01)
    assert pair.rates("a", "b") == [0.0, 0.0]
    assert pair.dispatcher.attempts_to_inform() == []
    assert pair.dispatcher.progress().target == 0.0
    pair.dispatcher.take()
    assert pair.rates("a", "b") == [0.0, 0.0], "it is written now, and not durable yet"
    assert (pair.dispatcher.progress().target, pair.dispatcher.progress().why) == (
        0.0,
        "receipts are not written for 2 s",
    )
    pair.dispatcher.confirm_durable()
    assert pair.rates("a", "b") == [60.0, 30.0]


def test_the_oldest_outcome_counts_whatever_came_later(driver: Driver) -> None:
    driver.come("a")
    told_until(driver, driver.clock.now + 1.6)
    assert driver.ask("a", **{"from": 16})["rate"] == 0.0


def test_outcomes_that_are_being_written_count_since_they_were_heard(driver: Driver) -> None:
    """A store that needs long: what comes meanwhile waits behind it, and does not start the time anew."""
    driver.come("a")
    begin = driver.clock.now
    number = told_until(driver, begin + 1.0)
    rows = driver.dispatcher.take()
    number = told_until(driver, begin + 1.5, number)
    assert driver.ask("a", **{"from": number})["rate"] == LIMIT
    number = told_until(driver, begin + 1.6, number)
    assert driver.ask("a", **{"from": number})["rate"] == 0.0
    driver.dispatcher.confirm_durable()
    assert driver.ask("a", **{"from": number})["rate"] == LIMIT, "the oldest that is left came at 1.0"
    driver.clock.move(0.8)
    assert driver.ask("a", **{"from": number})["rate"] == LIMIT
    driver.clock.move(0.2)
    assert driver.ask("a", **{"from": number})["rate"] == 0.0
    assert len(rows) == 10 and len(driver.dispatcher.take()) == 6


def test_outcomes_given_back_count_since_they_were_heard(driver: Driver) -> None:
    driver.come("a")
    driver.ask("a", ended=[row(0)])
    driver.clock.move(1.0)
    rows = driver.dispatcher.take()
    driver.ask("a", **{"from": 1}, ended=[row(1)])
    driver.clock.move(0.4)
    driver.dispatcher.give_back(rows)
    assert driver.ask("a", **{"from": 2})["rate"] == LIMIT
    driver.clock.move(0.2)
    assert driver.ask("a", **{"from": 2})["rate"] == 0.0


def test_nothing_pauses_while_there_is_nothing_to_be_made_durable(driver: Driver) -> None:
    driver.come("a")
    driver.clock.move(1000.0)
    assert driver.ask("a")["rate"] == LIMIT


# Several attempts at one part.


def test_a_second_attempt_waits_until_the_first_makes_no_calls_and_knows_that_it_is_not_to(driver: Driver) -> None:
    driver.come("a")
    driver.ask("a")
    driver.come("b")
    assert not driver.ask("b")["owns"]
    assert not driver.ask("a")["owns"]
    assert not driver.ask("b")["owns"]  # a calls may be under way
    assert not driver.ask("a", idle=True)["owns"]
    assert driver.ask("b")["owns"]


def test_an_attempt_without_a_call_under_way_may_start_one_before_it_hears_that_it_is_not_to(driver: Driver) -> None:
    """At a low rate it is idle most of the time."""
    driver.come("a")
    driver.ask("a", idle=True)
    driver.come("b")
    driver.ask("a", idle=True, hears=False)
    assert not driver.ask("b")["owns"]
    driver.ask("a", idle=True, hears=False)  # it asked before the last answer came
    assert not driver.ask("b")["owns"]
    driver.ask("a")
    driver.ask("a", idle=True)
    assert driver.ask("b")["owns"]


def test_an_attempt_whose_answer_was_lost_with_the_line_is_told_again(driver: Driver) -> None:
    driver.come("a")
    driver.ask("a", hears=False)  # it owns the part, and does not know yet
    driver.come("b")
    driver.dispatcher.lose("a")
    driver.come("a")
    assert not driver.ask("a", idle=True)["owns"]
    assert not driver.ask("b")["owns"]
    driver.ask("a", idle=True)
    assert driver.ask("b")["owns"]


def test_a_second_attempt_is_told_what_the_first_has_sent(driver: Driver) -> None:
    driver.come("a")
    driver.ask("a", ended=[row(0), {**row(1), "requestId": f"{name(1)}.2"}])
    driver.ask("a", gone=True)
    driver.come("b")
    done = driver.done(driver.ask("b"))
    assert (done.has(name(0)), done.has_part_of(name(1)), done.has(name(2))) == (True, True, False)


def test_what_an_attempt_told_itself_it_is_not_told_on_another_line(driver: Driver) -> None:
    """Three million requests, and a driver that was silent for a moment."""
    driver.come("a")
    driver.ask("a")
    for number in range(50):
        assert "done" not in driver.ask("a", **{"from": number}, ended=[row(number)])
        if number % 7 == 0:
            driver.dispatcher.lose("a")
            driver.come("a")
    assert driver.ask("a", **{"from": 50})["rate"] == LIMIT


def test_what_an_attempt_was_told_is_told_again_until_it_has_confirmed(driver: Driver) -> None:
    driver.come("a", "b")
    driver.ask("a", ended=[row(0)])
    driver.ask("a", **{"from": 1}, gone=True)
    assert driver.done(driver.ask("b", hears=False)).has(name(0))
    driver.come("b")  # its line broke, which the driver has not noticed
    assert driver.done(driver.ask("b")).has(name(0))
    assert "done" not in driver.ask("b")
    driver.come("b")
    assert "done" not in driver.ask("b")


def test_on_another_line_an_attempt_is_told_what_others_have_told_meanwhile_and_no_more(driver: Driver) -> None:
    """An earlier attempt's last outcomes come late, among its own."""
    driver.come("a", "b")
    driver.ask("a", ended=[row(0)])
    driver.ask("a", **{"from": 1}, idle=True)
    driver.ask("b")
    driver.ask("b", ended=[row(1)])
    driver.ask("a", **{"from": 1}, ended=[row(2)])  # its call was under way for long
    answer = driver.ask("b", **{"from": 1}, ended=[row(3)])
    done = driver.done(answer)
    assert (answer["rate"], done.has(name(0)), done.has(name(2))) == (LIMIT, False, True)
    driver.ask("b", **{"from": 2}, ended=[row(4)])
    driver.dispatcher.lose("b")
    driver.come("b")
    assert "done" not in driver.ask("b", **{"from": 3})


def test_a_long_list_is_told_in_pieces_and_nothing_is_sent_before_it_is_complete(driver: Driver) -> None:
    driver.come("a", "b")
    driver.ask("a")
    for number in range(40_000):
        driver.dispatcher.accept("a", number, {**row(number), "requestId": f"{number:064x}"[::-1]})
    driver.ask("a", gone=True)
    answers = [driver.ask("b") for _ in range(4)]
    assert [len(answer.get("done", "")) for answer in answers] == [174_764, 174_764, 77_144, 0]
    assert [answer["rate"] for answer in answers] == [0.0, 0.0, LIMIT, LIMIT]
    assert all(answer["owns"] for answer in answers)
    done = EndedRequestSet()
    for answer in answers[:3]:
        done.add(answer["done"])
    assert all(done.has(f"{number:064x}"[::-1]) for number in range(40_000))


def test_an_attempt_that_gets_its_part_back_is_told_what_the_other_has_sent(driver: Driver) -> None:
    driver.come("a", "b")
    driver.ask("a")
    driver.ask("a", idle=True)
    driver.ask("b")
    driver.ask("b", ended=[row(0)])
    driver.ask("b", **{"from": 1}, gone=True)
    assert driver.done(driver.ask("a")).has(name(0))


@pytest.mark.parametrize("silence", ["lost", "silent"])
def test_a_part_whose_owner_is_not_heard_is_the_seconds_after_the_grace(driver: Driver, silence: str) -> None:
    driver.come("a")
    driver.ask("a")
    driver.come("b")
    if silence == "lost":
        driver.dispatcher.lose("a")
    for _ in range(round(LEASE_SECONDS / 0.5)):
        assert not driver.ask("b")["owns"]
        driver.clock.move(0.5)
    answer = driver.ask("b")
    assert answer["owns"] and answer["rate"] == LIMIT


def test_a_first_attempt_gets_its_part_back_from_a_second_that_died(driver: Driver) -> None:
    driver.come("a")
    driver.ask("a")
    driver.come("b")
    driver.ask("a"), driver.ask("a", idle=True), driver.ask("b")
    driver.dispatcher.lose("b")
    for _ in range(round(LEASE_SECONDS / 0.25)):
        assert not driver.ask("a", idle=True)["owns"]
        driver.clock.move(0.25)
    assert driver.ask("a", idle=True)["owns"]


def test_word_without_a_question_keeps_no_silent_owner_alive(driver: Driver) -> None:
    driver.come("a")
    driver.ask("a")
    driver.come("b")
    for _ in range(round(LEASE_SECONDS / 0.5)):
        driver.dispatcher.answer("a")
        driver.clock.move(0.5)
    assert driver.ask("b")["owns"]


def test_what_an_attempt_held_whose_part_was_taken_is_free_when_it_has_let_go(pair: Driver) -> None:
    pair.come("c", part=1)
    assert pair.ask("a")["rate"] == 0.0
    assert pair.ask("b")["rate"] == 30.0  # a's answer is on its way
    pair.ask("a")
    pair.clock.move(ONE_CALL)
    assert pair.ask("b")["rate"] == LIMIT


def test_who_waits_for_a_part_that_is_complete_need_not(driver: Driver) -> None:
    driver.come("a", "b")
    driver.ask("a")
    driver.ask("b")
    driver.ask("b", gone=True, complete=True)
    answer = driver.ask("a", idle=True)
    assert (answer["owns"], answer["stop"]) == (False, True)
    driver.come("c")
    assert driver.ask("c")["stop"]


def test_who_waits_for_a_part_that_was_left_gets_it(driver: Driver) -> None:
    driver.come("a", "b")
    driver.ask("b")
    driver.ask("b", gone=True)
    answer = driver.ask("a")
    assert (answer["owns"], answer["stop"]) == (True, False)


# The end.


def test_an_attempt_that_has_gone_is_told_what_came_and_nothing_else(driver: Driver) -> None:
    driver.come("a")
    driver.ask("a")
    for _ in range(3):  # the answer may be lost with the line
        assert driver.ask("a", ended=[row(0)], gone=True, complete=True) == {"got": 1}
    assert driver.dispatcher.progress().tasks == 0


def test_who_stops_the_delivery_stops_all(pair: Driver) -> None:
    pair.dispatcher.stop()
    assert [pair.dispatcher.answer(attempt)["stop"] for attempt in "ab"] == [True, True]
    assert [pair.ask(attempt)["rate"] for attempt in "ab"] == [0.0, 0.0]
    assert pair.dispatcher.attempts_to_inform() == []
    assert pair.dispatcher.ending is None


def test_an_answer_that_no_retry_mends_ends_the_delivery(pair: Driver) -> None:
    assert pair.ask("a", ending=DENIED)["stop"]
    assert pair.ask("b", ending=NOBODY)["stop"]
    assert pair.dispatcher.ending == Response(403, "AccessDeniedException")


@pytest.mark.parametrize("start", [0.0, 100.0])
def test_a_service_that_answered_nobody_for_five_seconds_is_not_there(start: float) -> None:
    driver = Driver(start)
    driver.come("a")
    for _ in range(10):
        assert not driver.ask("a", unreachable=NOBODY)["stop"]
        driver.clock.move(0.5)
    assert driver.ask("a", unreachable=NOBODY)["stop"]
    assert driver.dispatcher.ending == Response(None, "EndpointConnectionError")


def test_a_service_that_answered_anybody_is_there(pair: Driver) -> None:
    pair.ask("a", calls=asdict(CallStatistics(answered=1)))
    for _ in range(100):
        assert not pair.ask("b", unreachable=NOBODY)["stop"]
        pair.clock.move(0.5)


# Progress.


def test_progress_counts_events_and_the_calls_of_all_who_ever_came(pair: Driver) -> None:
    pair.ask(
        "a",
        ended=[row(0, events=10), row(1, "refused")],
        calls=asdict(CallStatistics(2, 5, 3, 4, 1, 4, 0.1)),
        gone=True,
    )
    pair.ask("b", ended=[row(2, events=3)], calls=asdict(CallStatistics(1, 1, 0, 1, 0, 1, 0.3)))
    progress = pair.dispatcher.progress()
    assert (progress.delivered, progress.refused, progress.tasks) == (13, 0, 1), "the refusal is provisional"
    assert progress.calls == CallStatistics(3, 6, 3, 5, 1, 5, 0.3)
    pair.dispatcher.conclude()
    assert pair.dispatcher.progress().refused == 1


def test_who_was_not_heard_for_long_takes_no_part(pair: Driver) -> None:
    assert pair.dispatcher.progress().tasks == 2
    pair.clock.move(1.5)
    pair.ask("b")
    pair.clock.move(1.5)
    assert pair.dispatcher.progress().tasks == 1


def test_progress_before_anything_has_happened_says_the_limit(driver: Driver) -> None:
    progress = driver.dispatcher.progress()
    assert (progress.target, progress.why, progress.tasks, progress.calls) == (LIMIT, "--max-rate", 0, CallStatistics())


def test_when_calls_began_is_handed_over_once_however_often_it_is_told(pair: Driver) -> None:
    pair.ask("a", calls=asdict(CallStatistics(begun={1000: 3, 1001: 2})))
    pair.ask("b", calls=asdict(CallStatistics(begun={1001: 5})))
    pair.ask("a", calls=asdict(CallStatistics(begun={1000: 3, 1001: 4, 1002: 1})))
    assert pair.dispatcher.take_call_starts() == {1000: 3, 1001: 9, 1002: 1}
    pair.ask("a", calls=asdict(CallStatistics(begun={1001: 4, 1002: 2})))
    assert pair.dispatcher.take_call_starts() == {1002: 1, 1001: 0}


# Refusals, and requests without an answer.


def told_refused(number: int, code: str = "InvalidInputException") -> OutcomeRow:
    return {**row(number, "refused"), "errorCode": code}


def kept(driver: Driver) -> list[str]:
    return [each["requestId"] for each in driver.dispatcher.take()]


def test_a_refusal_stands_when_another_call_is_acknowledged_later(driver: Driver) -> None:
    driver.come("a")
    driver.ask("a", ended=[told_refused(0)])
    for acknowledged in range(1, 11):
        assert kept(driver) == []
        driver.clock.move(0.21)
        driver.ask("a", calls=asdict(CallStatistics(acknowledged=acknowledged)), **{"from": 1})
    assert kept(driver) == [name(0)]


def test_an_acknowledgement_that_was_long_on_its_way_lets_no_refusal_stand(driver: Driver) -> None:
    driver.come("a", part=1)
    driver.come("b", part=2)
    driver.ask("b")
    driver.ask("a", ended=[told_refused(0)])
    driver.clock.move(2.5)
    driver.ask("b", calls=asdict(CallStatistics(acknowledged=1)))
    assert kept(driver) == []


@pytest.mark.parametrize("stopped", [False, True])
def test_at_the_end_refusals_stand_where_anything_was_acknowledged_and_nobody_ended_it(
    driver: Driver, stopped: bool
) -> None:
    driver.come("a")
    driver.ask("a", ended=[row(0), told_refused(1), told_refused(2, "unanswered")], gone=True, complete=True)
    if stopped:
        driver.dispatcher.stop()
    driver.dispatcher.conclude()
    assert kept(driver) == [name(number) for number in range(1 if stopped else 3)]
    assert driver.dispatcher.ending is None


@pytest.mark.parametrize(
    ("trust", "stand", "ending"),
    [
        (ServiceHistory(), [], "InvalidInputException"),
        (ServiceHistory(acknowledged=True), [1], "InvalidInputException"),
        (ServiceHistory(working=True), [1, 2], None),
    ],
)
def test_where_nothing_was_acknowledged_what_is_known_of_the_service_decides(
    trust: ServiceHistory, stand: list[int], ending: str | None
) -> None:
    driver = Driver(trust=trust)
    driver.come("a")
    refusal = {"httpStatus": 400, "errorCode": "InvalidInputException", "errorMessage": "words"}
    driver.ask("a", ended=[told_refused(1), told_refused(2, "unanswered")], refusal=refusal, gone=True, complete=True)
    driver.dispatcher.conclude()
    assert kept(driver) == [name(number) for number in stand]
    assert (driver.dispatcher.ending and driver.dispatcher.ending.errorCode) == ending


def test_requests_without_an_answer_may_be_given_up_while_others_get_one(pair: Driver) -> None:
    assert not pair.ask("a")["finishing"]
    pair.ask("b", calls=asdict(CallStatistics(acknowledged=1)))
    assert pair.ask("a", failing=[0, 5])["finishing"]
    for _ in range(4):
        pair.clock.move(0.9)
        pair.ask("b", calls=asdict(CallStatistics(acknowledged=1)))
    assert not pair.ask("a", failing=[0, 5])["finishing"]


@pytest.mark.parametrize(
    ("a", "b", "others", "finishing"),
    [
        ([0, 1], [0, 2], False, True),
        ([0, 1], [0, 3], False, False),
        ([0, 5], [5, 0], False, True),
        ([0, 6], [5, 0], False, False),
        ([5, 0], [5, 0], True, False),
    ],
)
def test_or_where_none_are_left_and_few_have_not_seen_one(
    pair: Driver, a: list[int], b: list[int], others: bool, finishing: bool
) -> None:
    acknowledged = asdict(CallStatistics(acknowledged=1))
    for _ in range(10):
        pair.ask("a", failing=a, others=others, calls=acknowledged)
        pair.ask("b", failing=b, others=False)
        pair.clock.move(0.5)
    assert pair.ask("b", failing=b, others=False)["finishing"] == finishing


def test_never_where_nothing_was_ever_acknowledged(pair: Driver) -> None:
    for attempt in "ab":
        answer = pair.ask(attempt, failing=[0, 1], others=False)
    assert not answer["finishing"]
