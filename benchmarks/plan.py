"""The amount of measurements: everything, or enough to see that the benchmark works."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.measuring.process import Cost, say
from benchmarks.shop_log import write_shop


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and rounds.

    Attributes:
        quick: whether the figures prove little, and are not kept.
        pairs: rounds of each group.
        records: of a build.
        small: a tenth of `records`.
        aside: rounds of the builds of `small` records with a large visitor, and on one core; 0 to leave them out.
        large: ten times `records`; 0 to leave it out, because it takes minutes.
        sent: records that put_events sends; its figures are scaled, like those of the plain script.
        batching: records that the plain script sends, ten events a call.
        singly: records that it sends one event a call.
        calls: of a round of sending.
        seconds: how long each limit is used.
    """

    quick: bool
    pairs: int
    records: int
    small: int
    aside: int
    large: int
    sent: int
    batching: int
    singly: int
    calls: int
    seconds: int


FULL: Final = Plan(False, 5, 1_000_000, 100_000, 1, 10_000_000, 100_000, 60_000, 6_000, 3_000, 8)
QUICK: Final = Plan(True, 1, 8_000, 800, 0, 0, 8_000, 8_000, 4_000, 1_000, 6)


@dataclass
class Bench:
    """A run of the benchmark.

    Attributes:
        plan: the amount.
        folder: for data and lakes; removed at the end.
        builds: times of builds with the gate of `plan.records`, which several groups use.
    """

    plan: Plan
    folder: Path
    builds: list[Cost] = field(default_factory=list)

    def shop(self, records: int, share: float = 0.0) -> Path:
        """Return the folder of the log of a shop; it is written at the first call."""
        folder = self.folder / f"shop-{records}-{share:g}"
        if not folder.exists():
            say(f"writing {records:,} records")
            folder.mkdir()
            write_shop(folder, records, share)
        return folder
