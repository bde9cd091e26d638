"""The quota's window, on a clock of its own."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from emulator.quota import QuotaWindow


def test_no_more_than_the_quota_within_a_second() -> None:
    window = QuotaWindow(quota=2)
    assert [window.admit(now) for now in (10.0, 10.5, 10.9)] == [True, True, False]


def test_a_place_is_free_again_after_exactly_one_second() -> None:
    window = QuotaWindow(quota=1)
    assert [window.admit(now) for now in (0.0, 0.999, 1.0, 1.5, 2.0)] == [True, False, True, False, True]


def test_refused_calls_take_no_place() -> None:
    window = QuotaWindow(quota=1)
    assert [window.admit(tenth / 10) for tenth in range(21)].count(True) == 3


def test_without_quota_all_are_admitted_and_the_peak_is_known() -> None:
    window = QuotaWindow()
    assert all(window.admit(now) for now in (0.0, 0.4, 0.9, 1.2, 1.3, 5.0))
    assert window.peak == 4


def test_what_another_client_takes_is_not_there_for_ours() -> None:
    window = QuotaWindow(quota=10, other_rate=7)
    assert [window.admit(now) for now in (0.0, 0.1, 0.2, 0.3, 0.999)] == [True, True, True, False, False]
    assert [window.admit(now) for now in (1.0, 1.05, 1.1)] == [True, False, True]
    assert window.peak == 3


def test_a_client_that_takes_all_leaves_nothing() -> None:
    assert not any(QuotaWindow(quota=5, other_rate=rate).admit(3.0) for rate in (5, 6, 1000))


def test_less_than_a_call_a_second_leaves_the_whole_quota_now_and_then() -> None:
    window = QuotaWindow(quota=1, other_rate=0.5)
    # The other's calls are at 0, 2, 4: for a second from each on, there is no place.
    assert [window.admit(now) for now in (0.0, 0.9, 1.0, 1.9, 2.5, 3.0)] == [False, False, True, False, False, True]


def test_the_others_calls_are_told_apart() -> None:
    window = QuotaWindow(quota=10, other_rate=4)
    assert window.other_calls == 0
    assert [window.admit(now) for now in (0.125, 0.25, 2.125)] == [True, True, True]
    assert (window.other_calls, window.peak) == (8, 2)


def test_a_change_leaves_the_past_as_it_was() -> None:
    window = QuotaWindow(quota=4)
    assert [window.admit(now) for now in (0.0, 0.25, 0.5)] == [True, True, True]
    window.change(quota=2, other_rate=0, now=0.5)
    assert [window.admit(now) for now in (0.75, 1.0, 1.25, 1.5)] == [False, False, True, True]
    window.change(quota=2, other_rate=1, now=1.5)
    assert [window.admit(now) for now in (2.0, 2.25, 2.5, 3.0)] == [False, False, True, False]


@given(
    st.integers(0, 8),
    st.sampled_from([Fraction(rate) for rate in ("0", "1/4", "3/4", "1", "3/2", "2", "5")]),
    st.lists(st.integers(0, 400), max_size=60),
)
def test_a_call_is_admitted_if_the_second_up_to_it_has_a_place(quota: int, rate: Fraction, gaps: list[int]) -> None:
    window, now, admitted = QuotaWindow(quota, float(rate)), Fraction(0), []
    # Of calls at all multiples of 1/rate, those that could be in any second looked at.
    others = [number / rate for number in range(-9, 60 * 5 * 2)] if rate else []
    for gap in gaps:
        # Parts of 256 are exact in binary, so that the check is too.
        now += Fraction(gap, 256)
        held = sum(now - 1 < at <= now for at in admitted + others)
        assert window.admit(float(now)) is (quota == 0 or held < quota)
        if quota == 0 or held < quota:
            admitted.append(now)
    fullest = max((sum(start <= at < start + 1 for at in admitted) for start in admitted), default=0)
    assert window.peak == fullest
    assert quota == 0 or fullest <= max(0, quota - int(rate))
