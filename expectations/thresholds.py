"""How much of a batch may be wrong: thresholds, and the settings of those checks that need any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Final, NamedTuple

LEAST_HISTORY: Final = 3
"""Batches before this one that a median needs to say anything."""
FLOAT_MAX: Final = 3.4028234663852886e38
"""The largest number of the API's type for eventValue, float."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where a check starts to warn, and where it fails; None sets no limit.

    Shares are of what the check counts among, 0 to 1, and are held by evidence: the lower bound of the share's 99 %
    Wilson interval must be above the limit. Counts are of violations. A level is reached by more than its share or by
    more than its count, whichever comes first. Measures are held by `warn_below` to `fail_above`.
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
        """Name the limits that are set."""
        return [item.name for item in fields(self) if getattr(self, item.name) is not None]


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """What checks need besides their thresholds; each stands in the file under the check's or the group's name.

    Attributes:
        batches: `[batch_size]`: of how many batches before this one every median is taken.
        tolerance: `[sentAt_outside_interval]`: how far outside the batch's interval an event may be sent.
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
"""The table of the thresholds file that each setting stands in."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The gate's configuration.

    Attributes:
        changed: thresholds that differ from the checks' own, by the name of the check or of its family.
        settings: what checks need besides.
    """

    changed: Mapping[str, Threshold] = field(default_factory=dict)
    settings: CheckSettings = CheckSettings()


class Limit(NamedTuple):
    """One limit on one number of the batch.

    Attributes:
        check: the check's name.
        key: e.g. `fail_share`: the level, and what of the check is held against the limit.
        value: the limit; kept where it is reached exactly.
    """

    check: str
    key: str
    value: float

    @property
    def column(self) -> str:
        """The column of the facts that is looked at, e.g. `malformed_record share`."""
        kind = self.key.partition("_")[2]
        return f"{self.check} {kind if kind in ('share', 'count') else 'measure'}"
