"""How sure a share is: the bounds of its 99 % Wilson score interval, so that a few of a few prove little."""

from __future__ import annotations

from math import sqrt
from typing import Final

Z: Final = 2.5758293035489004
"""The two-sided 99 % quantile of the normal distribution."""


def lower_bound(count: int, among: int) -> float:
    """Bound the true share from below, 0 to 1; 0 where nothing was counted.

    Examples:
        >>> [round(lower_bound(*seen), 3) for seen in ((10, 10), (3, 5), (1_000, 1_000), (0, 5), (0, 0))]
        [0.601, 0.169, 0.993, 0.0, 0.0]
    """
    if count <= 0 or among <= 0:
        return 0.0
    centre, reach = _interval(count / among, among)
    return max(centre - reach, 0.0)


def upper_bound(count: int, among: int) -> float:
    """Bound the true share from above, 0 to 1; 1 where there was nothing to count among.

    Examples:
        >>> [round(upper_bound(*seen), 3) for seen in ((0, 10), (2, 5), (0, 1_000), (5, 5), (0, 0))]
        [0.399, 0.831, 0.007, 1.0, 1.0]
    """
    return 1.0 - lower_bound(among - count, among) if among > 0 else 1.0


def _interval(share: float, among: int) -> tuple[float, float]:
    """Give the interval's centre and its reach to either side."""
    weight = Z * Z / among
    spread = sqrt(share * (1 - share) / among + weight / (4 * among))
    return (share + weight / 2) / (1 + weight), Z * spread / (1 + weight)
