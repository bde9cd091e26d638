"""The store of receipts: it takes its time, fails at times, and says what was durable when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from delivery.model import OutcomeRow
from tests.simulation.scenario import Trouble
from tests.simulation.world import World


@dataclass(slots=True)
class Store:
    """Keeps receipts.

    Attributes:
        write: seconds for one file.
        troubles: that there are now.
        durable: receipts, in the order in which they became so.
        on_durable: is told of each file.
    """

    world: World
    write: float
    troubles: list[Trouble] = field(default_factory=list)
    durable: list[OutcomeRow] = field(default_factory=list)
    on_durable: Callable[[list[OutcomeRow]], None] = lambda _: None

    def keep(self, rows: list[OutcomeRow]) -> None:
        """Write a file, in the driver's thread.

        Raises:
            OSError: the store takes none now.
        """
        slow = next((trouble for trouble in self.troubles if trouble.what == "slow store"), None)
        self.world.sleep(self.write + (1.0 + 3.5 * (slow.whom / 1000) if slow else 0.0))
        if any(trouble.what == "no store" for trouble in self.troubles):
            raise OSError("the store takes none now")
        self.durable += rows
        self.on_durable(rows)
