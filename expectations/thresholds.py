"""How much of a batch may be wrong: the thresholds, and the settings of some checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Final, NamedTuple

LEAST_HISTORY: Final = 3
"""How many earlier batches a median needs."""
FLOAT_MAX: Final = 3.4028234663852886e38
"""The largest number of `float`, the API's type of eventValue."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where a check starts to warn, and where it fails; None sets no limit.

    A share, 0 to 1, is of the check's `among`. It exceeds its limit if the lower bound of its 99 % Wilson interval
    does, so that a few violations in a small batch are no evidence. Counts are of violations. A level is reached if the
    share or the count exceeds its limit. `warn_below` to `fail_above` are limits of measures.
    """

    warn_share: float | None = None
    fail_share: float | None = None
    warn_count: float | None = None
    fail_count: float | None = None
    warn_below: float | None = None
    fail_below: float | None = None
    warn_above: float | None = None
    fail_above: float | None = None

    def limits(self) -> list[str]:
        """List the limits that are set."""
        return [item.name for item in fields(self) if getattr(self, item.name) is not None]


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """Settings of checks besides their thresholds; `PLACES` names their tables in the file.

    Attributes:
        batches: `[batch_size]`: how many earlier batches each median is taken of.
        tolerance: `[sentAt_outside_interval]`: how far outside the batch's interval sentAt may be.
        minimum: `[eventValue_out_of_range]`: the least value.
        maximum: `[eventValue_out_of_range]`: the greatest.
    """

    batches: int = 14
    tolerance: timedelta = timedelta(hours=24)
    minimum: float = -FLOAT_MAX
    maximum: float = FLOAT_MAX


PLACES: Final[Mapping[str, str]] = {
    "batches": "batch_size",
    "tolerance": "sentAt_outside_interval",
    "minimum": "eventValue_out_of_range",
    "maximum": "eventValue_out_of_range",
}
"""The table of the thresholds file that each setting belongs to."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The gate's configuration.

    Attributes:
        changed: thresholds that replace the defaults, by the name of the check or of its family.
        settings: the checks' settings.
    """

    changed: Mapping[str, Threshold] = field(default_factory=dict)
    settings: CheckSettings = CheckSettings()


class Limit(NamedTuple):
    """One limit on one number of a batch.

    Attributes:
        check: the check's name.
        key: e.g. `fail_share`: the level, and the number of the check that the limit applies to.
        value: the limit; a number that equals it is within it.
    """

    check: str
    key: str
    value: float

    @property
    def column(self) -> str:
        """The column of the facts that the limit applies to, e.g. `malformed_record share`."""
        kind = self.key.partition("_")[2]
        return f"{self.check} {kind if kind in ('share', 'count') else 'measure'}"
