"""What a task says: each outcome until the driver has it, what it could make; and what the answers do to it."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from delivery.call_statistics import CallStatistics
from delivery.control.task_session import TaskSession
from delivery.control.wire import LONGEST_LINE, Message, MessageMac
from delivery.http.client import LONGEST_MESSAGE
from delivery.model import Outcome, OutcomeRow, Request, Response
from delivery.rate.rate_lease import LEASE_SECONDS, RateLease
from delivery.task import row as outcome_row
from tests.delivery.clock import Clock


@dataclass
class Sender:
    """Calls as a test says; it counts how often it is told to look again."""

    calls: CallStatistics = field(default_factory=CallStatistics)
    ending: Response | None = None
    unreachable: Response | None = None
    refusal: Response | None = None
    ready: bool = False
    failing: tuple[int, int] = (0, 0)
    has_others: bool = True
    in_flight: int = 0
    starved: bool = False
    exhausted: bool = False
    pumped: int = 0
    news: int = 0

    def on_news(self) -> None:
        self.news += 1

    def pump(self) -> None:
        self.pumped += 1


class Task:
    """A talk, and what it is about."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.answers = 0
        self.rate_lease = RateLease(self.clock)
        self.sender = Sender()
        self.task_session = TaskSession(self.rate_lease, self.sender, self.clock)  # type: ignore[arg-type]

    def ask(self) -> Message:
        return json.loads(json.dumps(self.task_session.make_question()))

    def hear(self, **said: object) -> None:
        self.answers += 1
        usual = {"number": self.answers, "rate": 100.0, "owns": True, "got": 0, "stop": False, "finishing": False}
        self.task_session.apply_answer({**usual, **said})

    def report(self, *numbers: int) -> None:
        for number in numbers:
            self.task_session.report(row(number))

    def lease(self, rate: float) -> None:
        """Ask, and get so much."""
        self.hear(rate=rate, to=self.ask()["number"])

    def call(self, seconds: float, most: float = float("inf")) -> None:
        """Make as many calls as may be made, or fewer."""
        made = 0
        for millisecond in range(round(seconds * 1000)):
            self.clock.move(0.001)
            if self.rate_lease.wait() == 0.0 and made < most * (millisecond + 1) / 1000:
                self.rate_lease.take()
                made += 1


@pytest.fixture
def task() -> Task:
    return Task()


def row(number: int) -> OutcomeRow:
    return {"requestId": f"{number:064x}", "eventIds": [f"e{number}"]}


def told(question: Message) -> tuple[int, list[OutcomeRow]]:
    return question["from"], question["ended"]


# Outcomes.


def test_an_outcome_is_told_with_the_next_question_and_only_there(task: Task) -> None:
    task.report(0, 1)
    assert told(task.ask()) == (0, [row(0), row(1)])
    assert told(task.ask()) == (2, [])
    task.report(2)
    assert told(task.ask()) == (2, [row(2)])


def test_until_the_driver_says_to_have_it_an_outcome_is_kept(task: Task) -> None:
    task.report(0, 1, 2)
    task.ask()
    assert list(task.task_session.unacknowledged()) == [(0, row(0)), (1, row(1)), (2, row(2))]
    task.hear(got=2)
    assert list(task.task_session.unacknowledged()) == [(2, row(2))]
    task.hear(got=3)
    assert list(task.task_session.unacknowledged()) == []


def test_on_another_line_all_is_told_again_that_the_driver_has_not_said_to_have(task: Task) -> None:
    task.report(0, 1, 2)
    task.ask()
    task.hear(got=1)
    task.task_session.start()
    assert told(task.ask()) == (1, [row(1), row(2)])


def test_what_the_driver_has_although_its_word_was_lost_is_not_told_again(task: Task) -> None:
    task.report(0, 1)
    task.ask()
    task.task_session.start()
    task.hear(got=2)
    task.report(2)
    assert told(task.ask()) == (2, [row(2)])


def test_questions_are_numbered_through_whatever_line_they_take(task: Task) -> None:
    numbers = [task.ask()["number"], task.ask()["number"]]
    task.task_session.start()
    assert [*numbers, task.ask()["number"]] == [1, 2, 3]


# Answers.


def test_an_answer_gives_a_lease_and_the_part_from_its_question_on(task: Task) -> None:
    number = task.ask()["number"]
    task.clock.move(0.6)
    task.hear(to=number)
    assert (task.rate_lease.rate, task.rate_lease.is_owned, task.sender.pumped) == (100.0, True, 1)
    task.clock.move(LEASE_SECONDS - 0.6)
    assert (task.rate_lease.rate, task.rate_lease.is_owned) == (0.0, False)


def test_a_late_answer_gives_what_is_left_of_it_and_a_later_one_more(task: Task) -> None:
    first = task.ask()["number"]
    task.clock.move(LEASE_SECONDS)
    second = task.ask()["number"]
    task.hear(to=first)
    assert not task.rate_lease.is_owned
    task.hear(to=second)
    assert task.rate_lease.is_owned


def test_word_without_a_question_and_answers_to_another_lines_questions_give_no_time(task: Task) -> None:
    number = task.ask()["number"]
    task.task_session.start()
    task.hear()
    task.hear(to=number)
    assert not task.rate_lease.is_owned


def test_an_answer_is_good_once(task: Task) -> None:
    number = task.ask()["number"]
    task.hear(to=number)
    task.clock.move(LEASE_SECONDS)
    task.hear(to=number)
    assert not task.rate_lease.is_owned


def test_the_driver_learns_which_answer_was_heard_last(task: Task) -> None:
    """Whether it was asked for or not, and on whatever line."""
    first, second = task.ask(), task.ask()
    task.hear(to=first["number"], number=7)
    third = task.ask()
    task.hear(number=9)
    task.task_session.start()
    assert [each["heard"] for each in (first, second, third, task.ask())] == [0, 0, 7, 9]


def test_what_has_ended_before_is_left_out_piece_by_piece(task: Task) -> None:
    task.hear(done="//////////8=", rate=0.0)  # eight bytes of ones
    assert task.rate_lease.done.has("f" * 64) and not task.rate_lease.done.has("0" * 64)
    task.hear(done="AAAAAAAAAAA=")
    assert task.rate_lease.done.has("f" * 64) and task.rate_lease.done.has("0" * 64)


# What is asked at once.


def test_who_was_told_a_piece_asks_for_the_next_one_at_once(task: Task) -> None:
    task.hear(done="AAAAAAAAAAA=", rate=0.0)
    assert task.sender.news == 1
    task.hear()
    assert task.sender.news == 1


def test_who_is_to_make_fewer_calls_confirms_it_at_once(task: Task) -> None:
    """Others wait for them."""
    task.lease(100.0)
    task.lease(99.0)
    assert task.sender.news == 0
    task.lease(90.0)
    assert task.sender.news == 1
    task.lease(200.0)
    assert task.sender.news == 1


def test_many_outcomes_are_told_in_questions_of_bounded_length_one_after_the_other(task: Task) -> None:
    sizes, count = [], 2_000
    for number in range(count):
        task.task_session.report({**row(number), "eventIds": [f"{number:064x}"] * 10})
    while list(task.task_session.unacknowledged()):
        before = task.sender.news
        question = task.ask()
        sizes.append(len(json.dumps(question)))
        more = question["from"] + len(question["ended"])
        task.hear(got=more, to=question["number"])
        assert task.sender.news == before + (more < count)
    assert len(sizes) > 3 and max(sizes) < 300_000


def test_who_has_more_to_tell_than_a_question_holds_is_neither_idle_nor_gone_before_it_has_told_it(task: Task) -> None:
    """Whoever has the part next is told what the driver knows."""
    for number in range(1_000):
        task.task_session.report({**row(number), "eventIds": [f"{number:064x}"] * 10})
    task.task_session.leave(complete=True)
    said = []
    while list(task.task_session.unacknowledged()):
        question = task.ask()
        said.append((question["idle"], question["gone"]))
        task.task_session.apply_answer({"got": question["from"] + len(question["ended"])})
    assert len(said) > 2 and said == [(False, False)] * (len(said) - 1) + [(True, True)]
    assert task.task_session.over


def test_the_longest_question_fits_a_line(task: Task) -> None:
    """Whatever its outcomes hold: JSON makes twelve bytes of some characters."""
    worst = "\U0001f6d2" * 256
    refusal = Response(400, "InvalidInputException", "\U0001f6d2" * LONGEST_MESSAGE, "aws")
    request = Request("f" * 64, worst, worst, (worst,) * 10, ("{}",) * 10)
    for _ in range(200):
        task.task_session.report(outcome_row(Outcome(request, "refused", refusal, 3, datetime.now(UTC), 7)))
    task.sender.refusal = refusal
    line = MessageMac(b"key").sign(task.task_session.make_question())
    assert 1_000_000 < len(line) <= LONGEST_LINE


def test_who_is_told_to_stop_does_not_start_again(task: Task) -> None:
    task.hear(stop=True)
    task.hear(stop=False)
    assert task.rate_lease.stopped


def test_who_was_hung_up_on_makes_no_call_until_the_driver_is_heard_again(task: Task) -> None:
    task.lease(100.0)
    task.task_session.handle_hang_up()
    assert (task.rate_lease.is_owned, task.rate_lease.rate, task.rate_lease.stopped, task.sender.pumped) == (
        False,
        0.0,
        False,
        2,
    )
    task.task_session.start()
    task.lease(100.0)
    assert (task.rate_lease.is_owned, task.rate_lease.rate) == (True, 100.0)


def test_who_gives_the_driver_up_stops(task: Task) -> None:
    task.task_session.give_up()
    assert (task.rate_lease.stopped, task.sender.pumped) == (True, 1)


# Leaving.


def test_who_leaves_says_so_until_the_driver_has_everything(task: Task) -> None:
    task.report(0, 1)
    assert (task.ask()["gone"], task.task_session.over) == (False, False)
    task.task_session.leave(complete=True)
    question = task.ask()
    assert (question["gone"], question["complete"]) == (True, True)
    task.hear(got=1)  # the answer to an earlier question
    assert not task.task_session.over
    task.task_session.apply_answer({"got": 1})
    assert not task.task_session.over
    task.task_session.apply_answer({"got": 2})
    assert task.task_session.over


def test_who_leaves_takes_no_more_orders(task: Task) -> None:
    task.task_session.leave(complete=False)
    question = task.ask()
    task.hear(to=question["number"])
    assert (question["complete"], task.rate_lease.is_owned, task.sender.pumped) == (False, False, 0)


# What is told of the calls.


def test_calls_and_their_ends_are_told_and_the_services_words_are_not(task: Task) -> None:
    task.sender.calls = CallStatistics(1, 2, 1, 2, 1, 2, 0.05)
    task.sender.ending = Response(403, "AccessDeniedException", "user u-17 may not")
    task.sender.unreachable = Response(None, "ConnectTimeoutError", "http://u-17@host")
    question = task.ask()
    assert CallStatistics(**question["calls"]) == task.sender.calls
    assert question["ending"] == {"httpStatus": 403, "errorCode": "AccessDeniedException"}
    assert question["unreachable"] == {"httpStatus": None, "errorCode": "ConnectTimeoutError"}
    assert "u-17" not in json.dumps(question)


def test_whether_calls_are_under_way_is_told(task: Task) -> None:
    assert task.ask()["idle"]
    task.sender.in_flight = 1
    assert not task.ask()["idle"]


# What is wanted.


def test_who_has_nothing_yet_wants_what_there_is(task: Task) -> None:
    assert task.ask()["wants"] is None
    task.lease(0.0)
    assert task.ask()["wants"] is None


def test_who_has_nothing_left_to_start_wants_nothing(task: Task) -> None:
    task.lease(100.0)
    task.sender.exhausted = True
    assert task.ask()["wants"] == 0.0


def test_who_is_held_back_by_its_lease_alone_wants_three_times_as_much(task: Task) -> None:
    task.lease(100.0)
    task.call(0.8)
    task.sender.starved = True
    assert task.ask()["wants"] == 302.0


def test_who_is_held_back_by_something_else_wants_a_little_more_than_it_makes(task: Task) -> None:
    task.lease(100.0)
    task.call(0.9, most=40.0)
    assert task.ask()["wants"] == pytest.approx(2.0 + 1.1 * 36)


def test_who_waited_for_the_rate_once_but_did_not_use_its_lease_up_does_not_want_more(task: Task) -> None:
    task.lease(100.0)
    task.call(0.9, most=40.0)
    task.sender.starved = True
    assert task.ask()["wants"] == pytest.approx(2.0 + 1.1 * 36)


def test_whether_it_was_held_back_is_asked_anew_for_each_question(task: Task) -> None:
    task.lease(100.0)
    task.call(0.8)
    task.sender.starved = True
    task.ask()
    assert task.ask()["wants"] < 100.0


def test_who_makes_nothing_wants_enough_to_show_that_it_would_make_more(task: Task) -> None:
    task.lease(100.0)
    task.clock.move(0.9)
    assert task.ask()["wants"] == 2.0
