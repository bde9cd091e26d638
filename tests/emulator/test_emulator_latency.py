"""Latencies: their distribution, and that calls get them."""

from itertools import islice
from statistics import quantiles

import pytest

from emulator import EmulatorClock, EmulatorSettings, Faults
from emulator.faults import draw_latencies
from emulator.messages import HttpRequest
from emulator.service import PutEventsService


def test_without_a_percentile_all_are_the_same() -> None:
    assert set(islice(draw_latencies(20.0, None, seed=1), 100)) == {0.02}


def test_the_median_and_the_99th_percentile_are_those_asked_for() -> None:
    parts = quantiles(islice(draw_latencies(20.0, 100.0, seed=1), 100_000), n=100)
    assert parts[49] == pytest.approx(0.020, rel=0.02)
    assert parts[98] == pytest.approx(0.100, rel=0.04)


def test_their_logarithms_are_normal() -> None:
    parts = quantiles(islice(draw_latencies(20.0, 100.0, seed=1), 100_000), n=100)
    # By a table of the normal distribution, the 99th percentile, five times the median, lies at 2.3263 standard
    # deviations, the 90th at 1.2816.
    assert parts[89] == pytest.approx(0.020 * 5 ** (1.2816 / 2.3263), rel=0.02)
    assert parts[9] == pytest.approx(0.020 / 5 ** (1.2816 / 2.3263), rel=0.02)


def test_a_percentile_equal_to_the_median_is_no_spread() -> None:
    assert list(islice(draw_latencies(20.0, 20.0, seed=1), 100)) == pytest.approx([0.02] * 100)


def test_a_seed_repeats_them() -> None:
    one, again, other = (list(islice(draw_latencies(1.0, 9.0, seed), 50)) for seed in (3, 3, 4))
    assert one == again != other


def delays(service: PutEventsService, calls: int) -> list[float]:
    return [service.put_events(HttpRequest(b"POST", b"/events", b"", {}, b"", "id")).delay for _ in range(calls)]


def spread(seed: int) -> PutEventsService:
    return PutEventsService(
        EmulatorSettings(latency_ms=5.0, latency_p99_ms=50.0, faults=Faults(seed=seed)), EmulatorClock()
    )


def test_every_call_gets_one_and_a_reset_starts_anew() -> None:
    service = spread(seed=9)
    first = delays(service, 30)
    assert len(set(first)) == 30
    assert sorted(first)[15] < 0.010 < max(first)
    service.reset()
    assert delays(service, 30) == first == delays(spread(seed=9), 30)
    assert delays(spread(seed=10), 30) != first


@pytest.mark.parametrize(
    ("median", "percentile"), [(0.0, 10.0), (20.0, 19.9), (20.0, float("inf")), (1.0, float("nan"))]
)
def test_a_percentile_that_cannot_be(median: float, percentile: float) -> None:
    with pytest.raises(ValueError, match="99th percentile"):
        EmulatorSettings(latency_ms=median, latency_p99_ms=percentile)
