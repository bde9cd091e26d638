"""One budget: shares by age and by want, leases that end by themselves, and never more at once than there are."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.rate.lease_budget import LeaseBudget, shares
from tests.delivery.clock import Clock

TERM, LIMIT = 3.0, 90.0
ONE_CALL = 0.125
"""Seconds, at the least, until what a task gives up right after a call is free."""
ROUNDING = 1e-5

WANTS = st.one_of(st.just(inf), st.just(0.0), st.floats(0.1, 2000.0), st.integers(1, 600).map(float))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def budget(clock: Clock) -> LeaseBudget:
    return LeaseBudget(clock, LIMIT, TERM)


class Ask:
    """Tasks ask for what is to be had; each hears an answer, and confirms it when it asks again."""

    def __init__(self, budget: LeaseBudget, clock: Clock, pause: float = ONE_CALL) -> None:
        self.budget, self.clock, self.pause = budget, clock, pause
        self.answers: dict[str, int] = {}

    def __call__(self, task: str, wants: float = inf, target: float = LIMIT, *, hears: bool = True) -> float:
        number = self.answers.get(task, 0)
        if hears:
            self.budget.confirm(task, number, 1.0)
            self.clock.move(self.pause)
        self.answers[task] = number + 1
        return self.budget.ask(task, wants, target, number + 1)

    def again(self, task: str) -> float:
        """Ask at once, and confirm nothing."""
        return self(task, hears=False)


@pytest.fixture
def ask(budget: LeaseBudget, clock: Clock) -> Ask:
    return Ask(budget, clock)


# Shares.


@pytest.mark.parametrize(
    ("limit", "wants", "expected"),
    [
        pytest.param(500.0, [inf], [500.0], id="one gets all"),
        pytest.param(90.0, [inf, inf], [60.0, 30.0], id="the second counts half"),
        pytest.param(110.0, [inf, inf, inf], [60.0, 30.0, 20.0], id="the third a third"),
        pytest.param(90.0, [20.0, inf], [20.0, 70.0], id="what one does not want another gets"),
        pytest.param(90.0, [inf, 20.0], [70.0, 20.0], id="in either order"),
        pytest.param(110.0, [inf, 3.0, inf], [80.0, 3.0, 27.0], id="shared out as the whole was"),
        pytest.param(90.0, [10.0, 10.0], [10.0, 10.0], id="nobody gets more than it wants"),
        pytest.param(90.0, [0.0, inf], [0.0, 90.0], id="nothing where nothing is wanted"),
        pytest.param(0.0, [inf, 3.0], [0.0, 0.0], id="nothing of nothing"),
        pytest.param(90.0, [], [], id="nobody"),
        pytest.param(5.0, [inf, inf], [3.0, 2.0], id="whole calls"),
        pytest.param(5.5, [inf, inf], [3.5, 2.0], id="but for the first one's"),
        pytest.param(3.0, [inf] * 5, [1.0, 0.0, 1.0, 0.0, 1.0], id="one each for some where there are more tasks"),
        pytest.param(0.5, [0.0, inf, inf], [0.0, 0.5, 0.0], id="less than one is one task's"),
    ],
)
def test_shares(limit: float, wants: list[float], expected: list[float]) -> None:
    assert shares(limit, wants) == expected


@given(st.floats(0.1, 2000.0), st.lists(WANTS, max_size=40))
def test_shares_are_all_of_the_limit_or_all_that_is_wanted(limit: float, wants: list[float]) -> None:
    given_ = shares(limit, wants)
    assert sum(given_) == pytest.approx(min(limit, sum(wants)))
    assert all(0.0 <= share < want + 1.0 for share, want in zip(given_, wants, strict=True) if want)
    assert all(share == 0.0 for share, want in zip(given_, wants, strict=True) if not want)
    assert sum(bool(share % 1.0) for share in given_) <= 1


# Leases.


def test_a_task_alone_is_leased_all(ask: Ask) -> None:
    assert ask("a") == 90.0


def test_who_comes_later_waits_until_there_is_something_to_have(ask: Ask) -> None:
    assert ask("a") == 90.0
    assert ask("b") == 0.0  # a goes on at 90
    assert ask("a") == 60.0
    assert ask("b") == 0.0  # nobody knows whether a has heard that
    assert ask("a") == 60.0
    assert ask("b") == 30.0


def test_what_a_task_does_not_want_any_more_is_the_others_when_it_has_confirmed(ask: Ask) -> None:
    settle(ask)
    assert ask("a", 8.0) == 8.0
    assert ask("b") == 30.0
    assert ask("a", 8.0) == 8.0
    assert ask("b") == 82.0


def test_what_a_task_wants_is_rounded_up_to_whole_calls(ask: Ask) -> None:
    assert ask("a", 7.2) == 8.0


def settle(ask: Ask, *tasks: str) -> None:
    """Have tasks ask until each has its share."""
    for _ in range(4):
        for task in tasks or ("a", "b"):
            ask(task)


def test_a_target_that_falls_is_shared_out_anew_as_each_asks(ask: Ask) -> None:
    """It is aimed at, and may be passed for a moment; the limit is not. So nobody has to wait for anybody."""
    settle(ask)
    assert ask("a", target=40.0) == 10.0
    assert ask("b", target=40.0) == 14.0
    assert ask("a", target=40.0) == 26.0


def test_a_target_of_nothing_stops_all_and_all_go_on_then(ask: Ask) -> None:
    settle(ask)
    assert (ask("a", target=0.0), ask("b", target=0.0)) == (0.0, 0.0)
    assert (ask("a", target=0.0), ask("b", target=0.0)) == (0.0, 0.0)
    assert (ask("a"), ask("b")) == (60.0, 30.0)


@pytest.mark.parametrize("ahead", [0.0, 1.0, 22.5])
def test_what_is_released_is_free_when_its_rate_has_given_the_calls_that_were_made(
    budget: LeaseBudget, clock: Clock, ask: Ask, ahead: float
) -> None:
    ask("a"), ask("b")
    budget.release("a", ahead)
    if ahead:
        clock.move(ahead / 90.0 - 0.001)
        assert ask.again("b") == 0.0
        budget.release("a", ahead)  # it says so until it is answered
        assert budget.seconds_to_free() == pytest.approx(0.001)
        clock.move(0.002)
    assert ask.again("b") == 90.0


def test_so_is_what_is_lowered(clock: Clock, ask: Ask) -> None:
    settle(ask)
    assert ask.budget.seconds_to_free() is None
    ask("a", 50.0)
    ask.budget.confirm("a", ask.answers["a"], 6.0)
    assert ask.again("b") == 30.0
    assert ask.budget.seconds_to_free() == pytest.approx(0.1)
    clock.move(0.1 + ROUNDING)
    assert ask.again("b") == 40.0


def test_nobody_is_missed_who_never_came(budget: LeaseBudget) -> None:
    budget.release("a", 1.0)
    budget.lose("a")
    assert budget.short(90.0) == []


# Answers that are not heard, or late.


def test_a_lease_that_was_lowered_counts_until_the_lower_one_is_confirmed(ask: Ask) -> None:
    ask("a")
    ask("b")
    for _ in range(20):
        assert ask("a", hears=False) == 60.0
        assert ask("b") == 0.0
    ask("a")
    assert ask("b") == 30.0


def test_or_until_it_has_ended(ask: Ask, clock: Clock) -> None:
    ask("a")
    clock.move(TERM / 2)
    ask("a", 50.0, hears=False)
    assert ask("b") == 0.0
    clock.move(TERM / 2)
    assert ask("b") == 40.0
    clock.move(TERM / 2)
    assert ask("b") == 90.0


def test_a_confirmation_that_comes_late_confirms_what_was_heard_and_no_more(budget: LeaseBudget, ask: Ask) -> None:
    ask("a", 10.0), ask("a", 80.0, hears=False), ask("a", 5.0, hears=False)
    budget.confirm("a", 2, 0.0)
    assert ask("b") == 10.0
    budget.confirm("a", 1, 0.0)
    assert ask("b") == 10.0
    budget.confirm("a", 3, 0.0)
    assert ask("b") == 85.0


def test_nobody_is_confirmed_who_never_came(budget: LeaseBudget, ask: Ask) -> None:
    budget.confirm("a", 1, 0.0)
    assert ask("b") == 90.0


# Tasks that are not heard.


def test_what_a_dead_task_held_is_free_when_its_lease_has_ended(clock: Clock, ask: Ask) -> None:
    ask("dead")
    assert ask.again("a") == 0.0
    clock.move(TERM - 0.01)
    assert ask.again("a") == 0.0
    clock.move(0.01)
    assert ask.again("a") == 90.0


def test_a_task_whose_line_broke_keeps_its_lease_to_its_end_and_gets_no_share(
    budget: LeaseBudget, clock: Clock, ask: Ask
) -> None:
    settle(ask, "lost", "a")
    budget.lose("lost")
    assert ask("a") == 30.0
    clock.move(TERM)
    assert ask("a") == 90.0


def test_a_task_that_is_lost_gets_its_share_again_when_it_is_heard(budget: LeaseBudget, ask: Ask) -> None:
    settle(ask)
    budget.lose("a")
    settle(ask)
    assert [ask("a"), ask("b")] == [60.0, 30.0]


def test_a_dead_task_counts_for_nothing_in_the_end(clock: Clock, ask: Ask) -> None:
    """Of a hundred attempts that died before, a newcomer's share does not tell."""
    for number in range(100):
        ask(f"dead-{number}")
    clock.move(TERM)
    settle(ask)
    assert [ask("a"), ask("b")] == [60.0, 30.0]


# Who is to be told at once.


def test_who_is_leased_notably_less_than_there_is_is_short(budget: LeaseBudget, ask: Ask) -> None:
    settle(ask)
    assert budget.short(90.0) == []
    budget.release("a", 1.0)
    assert budget.short(90.0) == []
    ask.clock.move(ONE_CALL)
    assert budget.short(90.0) == ["b"]
    assert ask("b") == 90.0
    assert budget.short(90.0) == []


def test_who_waits_for_what_another_gives_up_is_short_when_that_is_confirmed(budget: LeaseBudget, ask: Ask) -> None:
    settle(ask)
    ask("a", 10.0)
    assert budget.short(90.0) == []
    ask("a", 10.0)
    assert budget.short(90.0) == ["b"]


def test_who_wants_no_more_is_not_short(budget: LeaseBudget, ask: Ask) -> None:
    for _ in range(4):
        ask("a"), ask("b", 5.0)
    budget.release("a", 1.0)
    assert budget.short(90.0) == []


def test_who_cannot_be_told_is_not_short(budget: LeaseBudget, clock: Clock, ask: Ask) -> None:
    settle(ask, "a", "lost", "silent")
    budget.release("a", 1.0)
    budget.lose("lost")
    clock.move(ONE_CALL)
    assert budget.short(90.0) == ["silent"]
    clock.move(TERM)
    assert budget.short(90.0) == []


def test_a_trifle_is_not_worth_a_message(clock: Clock) -> None:
    budget = LeaseBudget(clock, 600.0, TERM)
    budget.ask("a", inf, 500.0, 1)
    assert budget.short(509.0) == []
    assert budget.short(511.0) == ["a"]


# Never more than there are.


class Task:
    """What a task believes that it may make: its answers come in order, late, or not at all when its line breaks."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.on_the_way: list[tuple[int, float, float]] = []
        """Answers: their numbers, when they were asked for, their rates."""
        self.answers = self.heard = 0
        self.rate, self.until = 0.0, 0.0

    def hear(self) -> None:
        if self.on_the_way:
            self.heard, asked, self.rate = self.on_the_way.pop(0)
            self.until = asked + TERM

    @property
    def making(self) -> float:
        return self.rate if self.clock.now < self.until else 0.0


STEPS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from("abcd"), WANTS),
    st.tuples(st.just("hear"), st.sampled_from("abcd")),
    st.tuples(st.just("break"), st.sampled_from("abcd")),
    st.tuples(st.just("gone"), st.sampled_from("abcd")),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 0.2, 0.7, 1.1, 3.0])),
)


@given(st.sampled_from([0.5, 3.0, 90.0, 512.5]), st.sampled_from([0.3, 1.0]), st.lists(STEPS, max_size=80))
def test_tasks_together_never_believe_that_they_may_make_more_than_the_limit(
    limit: float, aimed_at: float, steps: list[tuple[str, ...]]
) -> None:
    """However late each hears; whoever dies, leaves, or loses answers together with its line."""
    clock = Clock()
    budget = LeaseBudget(clock, limit, TERM)
    tasks = {name: Task(clock) for name in "abcd"}
    for what, *rest in steps:
        if what == "wait":
            clock.move(float(rest[0]))
            continue
        name = str(rest[0])
        task = tasks[name]
        match what:
            case "ask":
                budget.confirm(name, task.heard, 0.0)
                task.answers += 1
                rate = budget.ask(name, float(rest[1]), limit * aimed_at, task.answers)
                task.on_the_way.append((task.answers, clock.now, rate))
            case "hear":
                task.hear()
            case "break":
                task.on_the_way.clear()
                budget.lose(name)
            case "gone":
                budget.release(name, 0.0)
                tasks[name] = Task(clock)
        assert sum(task.making for task in tasks.values()) <= limit + ROUNDING


@given(st.lists(WANTS.filter(bool), min_size=1, max_size=8))
def test_when_all_have_asked_for_some_seconds_nothing_is_left_that_anybody_wants(wants: list[float]) -> None:
    clock = Clock()
    ask = Ask(LeaseBudget(clock, LIMIT, TERM), clock, pause=0.0)
    for _ in range(6):
        leased = [ask(str(number), want) for number, want in enumerate(wants)]
        clock.move(1.0)
    assert sum(leased) == pytest.approx(min(90.0, sum(wants)), abs=len(wants))
    assert ask.budget.short(90.0) == []
