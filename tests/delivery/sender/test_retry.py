"""Back-off: exponential, capped, with full jitter."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.sender.request_executor import RetryPolicy

seconds = st.floats(0.0, 1e6)


@given(base=seconds, cap=seconds, made=st.integers(1, 5_000), chance=st.floats(0.0, 1.0))
def test_a_pause_lies_between_nothing_and_the_capped_power(base: float, cap: float, made: int, chance: float) -> None:
    pause = RetryPolicy(base=base, cap=cap).pause(made, chance)
    assert 0 <= pause <= min(cap, Fraction(base) * 2 ** (made - 1))


@pytest.mark.parametrize(
    ("made", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 5.0), (6, 5.0), (60, 5.0), (10_000, 5.0)]
)
def test_the_longest_pause_doubles_up_to_the_cap(made: int, longest: float) -> None:
    assert RetryPolicy(base=0.5, cap=5.0).pause(made, 1.0) == longest


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 0.0), (0.25, 1.0), (0.5, 2.0), (1.0, 4.0)])
def test_jitter_uses_the_whole_range(chance: float, pause: float) -> None:
    assert RetryPolicy(base=1.0, cap=60.0).pause(3, chance) == pause


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 0.0), (0.1, 0.5), (0.5, 2.5), (1.0, 5.0)])
def test_jitter_uses_the_whole_range_at_the_cap_too(chance: float, pause: float) -> None:
    assert RetryPolicy(base=1.0, cap=5.0).pause(50, chance) == pause


def test_the_default_pauses_grow_to_ten_seconds() -> None:
    pauses = [RetryPolicy().pause(made, 1.0) for made in range(1, 10)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0])
