"""How much is measured: everything, or enough to see that the bench itself works."""

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
        quick: whether the figures say little, and are not kept.
        pairs: rounds of each group.
        records: of a build.
        skewed: records of the builds with a large visitor, and on one core; 0 to leave them out.
        small: a tenth of `records`.
        large: ten times `records`; 0 to leave it out, since it takes minutes.
        batching: records that the plain script sends, ten events a call; its figures are scaled.
        singly: records that it sends one event a call.
        calls: of a round of sending.
        seconds: that each limit is kept.
    """

    quick: bool
    pairs: int
    records: int
    skewed: int
    small: int
    large: int
    batching: int
    singly: int
    calls: int
    seconds: int


FULL: Final = Plan(False, 5, 1_000_000, 300_000, 100_000, 10_000_000, 60_000, 20_000, 3_000, 15)
QUICK: Final = Plan(True, 1, 20_000, 0, 2_000, 0, 12_000, 6_000, 2_000, 7)


@dataclass
class Bench:
    """A run of the bench.

    Attributes:
        plan: how much.
        folder: for data and lakes; removed when it ends.
        builds: what builds with the gate of `plan.records` took, for groups that look at them again.
    """

    plan: Plan
    folder: Path
    builds: list[Cost] = field(default_factory=list)

    def shop(self, records: int, share: float = 0.0, *, visits: bool = False) -> Path:
        """Give the folder of a shop's log, written when it is first asked for."""
        folder = self.folder / f"shop-{records}-{share:g}{'-visits' if visits else ''}"
        if not folder.exists():
            say(f"writing {records:,} records")
            folder.mkdir()
            write_shop(folder, records, share, visits=visits)
        return folder
