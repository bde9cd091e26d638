"""The quota's window, on a clock of its own."""

from hypothesis import given
from hypothesis import strategies as st

from emulator.window import Window


def test_no_more_than_the_quota_within_a_second() -> None:
    window = Window(quota=2)
    assert [window.admit(now) for now in (10.0, 10.5, 10.9)] == [True, True, False]


def test_a_place_is_free_again_after_exactly_one_second() -> None:
    window = Window(quota=1)
    assert [window.admit(now) for now in (0.0, 0.999, 1.0, 1.5, 2.0)] == [True, False, True, False, True]


def test_refused_calls_take_no_place() -> None:
    window = Window(quota=1)
    assert [window.admit(tenth / 10) for tenth in range(21)].count(True) == 3


def test_without_quota_all_are_admitted_and_the_peak_is_known() -> None:
    window = Window()
    assert all(window.admit(now) for now in (0.0, 0.4, 0.9, 1.2, 1.3, 5.0))
    assert window.peak == 4


@given(st.integers(1, 5), st.lists(st.integers(0, 400), max_size=60))
def test_no_span_of_a_second_ever_holds_more(quota: int, gaps: list[int]) -> None:
    window, now, admitted = Window(quota), 0, []
    for gap in gaps:
        now += gap
        # Quarters of a second over 256 are exact in binary, so that the check is too.
        if window.admit(now / 256):
            admitted.append(now)
    held = [sum(start <= at < start + 256 for at in admitted) for start in admitted]
    assert max(held, default=0) == window.peak <= quota
