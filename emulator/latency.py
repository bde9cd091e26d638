"""How long the service takes to answer."""

import math
import random
from collections.abc import Iterator
from itertools import repeat
from statistics import NormalDist

# Of a standard normal distribution.
_PERCENTILE_99 = NormalDist().inv_cdf(0.99)


def draw_latencies(median_ms: float, p99_ms: float | None, seed: int) -> Iterator[float]:
    """Return latencies without end, in seconds, the same for the same seed.

    With a 99th percentile they are log-normal, as latencies of services mostly are: none is below 0, and a few
    are long. Without one, each is the median.

    Args:
        median_ms: the median in milliseconds, more than 0 if there is a 99th percentile.
        p99_ms: the 99th percentile in milliseconds, no less than the median, or None.
        seed: any number.

    Examples:
        >>> latencies = draw_latencies(20.0, 100.0, seed=0)
        >>> drawn = sorted(next(latencies) for _ in range(10_000))
        >>> round(drawn[5_000], 3), round(drawn[9_900], 1)
        (0.02, 0.1)
    """
    if p99_ms is None:
        return repeat(median_ms / 1000.0)
    # Its own dice, thrown apart from those for faults: else slow calls would be those that fail.
    dice = random.Random(f"latency {seed}")  # noqa: S311 - latencies must be repeatable
    return _draw_log_normal(dice, math.log(median_ms / 1000.0), math.log(p99_ms / median_ms) / _PERCENTILE_99)


def _draw_log_normal(dice: random.Random, mu: float, sigma: float) -> Iterator[float]:
    while True:
        yield math.exp(dice.gauss(mu, sigma))
