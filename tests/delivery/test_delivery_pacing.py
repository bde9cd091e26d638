"""Calls of one task: evenly spaced, whatever the number of threads, and never a burst."""

import itertools
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.pacing import Pacer

ROUNDING = 1e-9


class Clock:
    """Stands still but for those who sleep, and for what a test adds."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def starts(pacer: Pacer, clock: Clock, calls: int, work: Callable[[int], float] = lambda _: 0.0) -> list[float]:
    """When each of a plain loop's calls starts; call n takes work(n) seconds."""
    found = []
    for number in range(calls):
        pacer.wait()
        found.append(clock.now)
        clock.now += work(number)
    return found


def most_in_a_second(times: list[float]) -> int:
    ordered = sorted(times)
    return max(sum(start <= time < start + 1.0 - ROUNDING for time in ordered) for start in ordered)


def test_calls_are_evenly_spaced_from_the_first_moment_on() -> None:
    clock = Clock(100.0)
    assert starts(Pacer(4, clock.read, clock.sleep), clock, 6) == [100.0, 100.25, 100.5, 100.75, 101.0, 101.25]


def test_the_time_that_a_call_takes_is_part_of_its_interval() -> None:
    clock = Clock()
    assert starts(Pacer(4, clock.read, clock.sleep), clock, 4, lambda _: 0.125) == [0.0, 0.25, 0.5, 0.75]


def test_a_loop_slower_than_the_rate_never_waits() -> None:
    clock = Clock()
    assert starts(Pacer(4, clock.read, clock.sleep), clock, 4, lambda _: 2.0) == [0.0, 2.0, 4.0, 6.0]


def test_after_an_idle_pause_no_burst() -> None:
    clock = Clock()
    pacer = Pacer(4, clock.read, clock.sleep)
    starts(pacer, clock, 2)
    clock.now = 60.0
    assert starts(pacer, clock, 5) == [60.0, 60.25, 60.5, 60.75, 61.0]


def test_idling_before_the_first_call_saves_nothing_up() -> None:
    clock = Clock()
    pacer = Pacer(2, clock.read, clock.sleep)
    clock.now = 30.0
    assert starts(pacer, clock, 3) == [30.0, 30.5, 31.0]


@pytest.mark.parametrize(("rate", "gap"), [(0.5, 2.0), (0.25, 4.0)])
def test_less_than_a_call_a_second(rate: float, gap: float) -> None:
    clock = Clock()
    assert starts(Pacer(rate, clock.read, clock.sleep), clock, 3) == [0.0, gap, 2 * gap]


@given(
    rate=st.integers(1, 200),
    work=st.lists(st.sampled_from([0.0, 0.001, 0.02, 0.3, 1.7]), min_size=2, max_size=300),
)
def test_no_second_holds_more_calls_than_the_rate(rate: int, work: list[float]) -> None:
    clock = Clock()
    found = starts(Pacer(rate, clock.read, clock.sleep), clock, len(work), work.__getitem__)
    assert most_in_a_second(found) <= rate
    assert all(after - before >= 1 / rate - ROUNDING for before, after in itertools.pairwise(found))


def test_threads_that_ask_at_one_moment_each_get_a_slot_of_their_own() -> None:
    """They sleep side by side, too: a pacer that slept while it holds its lock would never fill the barrier."""
    threads = 9
    asleep = threading.Barrier(threads - 1)
    lock, found = threading.Lock(), []

    def sleep(seconds: float) -> None:
        with lock:
            found.append(seconds)
        asleep.wait(timeout=10)

    pacer = Pacer(8, lambda: 0.0, sleep)
    callers = [threading.Thread(target=pacer.wait) for _ in range(threads)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=10)
    assert sorted(found) == [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0]
    assert not asleep.broken
