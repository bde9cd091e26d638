"""The other client's calls, against a list of them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.quota import OtherClient


@pytest.mark.parametrize("rate", [1, 7, 10, 400, 1000])
def test_a_whole_number_is_in_every_second_exactly(rate: int) -> None:
    other = OtherClient(rate)
    # Tenths are not exact in binary: 8.2 * 10 is 82, but 7.2 * 10, reckoned from 8.2 - 1.0, a bit less than 72.
    assert {other.count(tenth / 10 - 1.0, tenth / 10) for tenth in range(5_000)} == {rate}


def test_a_machine_that_has_been_up_for_years() -> None:
    other, up = OtherClient(999.5), 3e8
    assert [other.count(up, up + seconds) for seconds in (1, 2, 10)] == [999, 1999, 9995]


def test_nobody_makes_no_calls() -> None:
    assert OtherClient(0.0).count(0.0, 1e9) == 0


QUARTERS = st.integers(0, 40).map(lambda number: Fraction(number, 4))
RATES = st.sampled_from([Fraction(rate) for rate in ("0", "1/2", "1", "5/4", "3", "8")])


@given(st.lists(st.tuples(QUARTERS, RATES), min_size=1, max_size=5), QUARTERS, QUARTERS)
def test_every_change_counts_from_its_moment_on(
    changes: list[tuple[Fraction, Fraction]], one: Fraction, another: Fraction
) -> None:
    changes.sort(key=lambda change: change[0])
    rates = [Fraction(2), *(rate for _, rate in changes)]
    moments = [Fraction(-1), *(moment for moment, _ in changes), Fraction(11)]
    made = []
    for rate, since, until in zip(rates, moments, moments[1:], strict=False):
        made += [number / rate for number in range(-20, 100) if rate and since < number / rate <= until]
    other = OtherClient(2.0)
    for moment, rate in changes:
        other.change(float(rate), float(moment))
    after, until = sorted((one, another))
    assert other.count(float(after), float(until)) == sum(after < at <= until for at in made)
