"""The gate: whether a batch as a whole may go on to the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Threshold:
    """How much of a batch may be refused.

    Attributes:
        failing_share: the gate fails where more than this share of the candidates is quarantined; 0 to 1.
        least_candidates: below this a share says little, and the gate passes.
    """

    failing_share: float = 0.5
    least_candidates: int = 1_000


QUARANTINED: Final = Threshold()


def gate(candidates: int, quarantined: int, threshold: Threshold = QUARANTINED) -> str:
    """Judge a batch by the share of its candidates that was quarantined.

    Examples:
        >>> gate(2_000, 1_000), gate(2_000, 1_001), gate(3, 3)
        ('passed', 'failed', 'passed')
    """
    too_many = quarantined > threshold.failing_share * candidates
    return "failed" if too_many and candidates >= threshold.least_candidates else "passed"
