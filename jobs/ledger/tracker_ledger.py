"""What one tracker was given, over all batches: the plans, where each batch's receipts are, and the order of its runs.

    _epochs/<tracker>/<number>   the last number that was given to a run; the next run takes the one after it

A run takes its epoch while it holds the tracker's lock, so epochs are in the order of the holders, whatever any clock
says. One that has lost the lock without knowing has a lower epoch than the one that has taken over: what it still
writes comes earlier in the order of the ledger, and it deletes nothing of a later run's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Final

from delivery.http.endpoint import TrackerEndpoint
from jobs.errors import UnfinishedError
from jobs.lake.tables import Lake
from jobs.ledger.plans import Plan, Plans, TimeSpan
from jobs.ledger.receipts import Receipts

_REFUSALS_TABLE: Final = "_refusals"
"""What dead letters tell beside their events; no table for users."""


class TrackerLedger:
    """One tracker's part of the lake: trackingId, region and endpoint together.

    Args:
        lake: where it all lies.
        service: the tracker, as boto3 resolves it.

    Attributes:
        name: of its folders, and of its lock.
        plans: of its deliveries.
    """

    def __init__(self, lake: Lake, service: TrackerEndpoint) -> None:
        self._lake = lake
        self.name = _digest(json.dumps(service.key))
        self.plans = Plans(lake.files, lake.root, self.name)

    def delivery(self, batch: str) -> str:
        """Name the delivery of a batch: the same batch to the same tracker is the same, whenever it goes on."""
        return f"{self.name}-{_digest(batch)}"

    def next_epoch(self) -> int:
        """Take the next number of the ledger's order. The tracker's lock must be held.

        Raises:
            UnfinishedError: another run has taken it, so that one holds the lock.
        """
        folder, files = f"{self._lake.root}/_epochs/{self.name}", self._lake.files
        epochs = sorted(int(name) for name in files.children(folder) if name.isdigit())
        epoch = epochs[-1] + 1 if epochs else 1
        try:
            files.create(f"{folder}/{epoch}", "")
        except OSError as error:
            if not files.exists(f"{folder}/{epoch}"):
                raise
            raise UnfinishedError(
                f"tracker {self.name}: another run sends to it now ({error}); run this again when that one has ended"
            ) from None
        for earlier in epochs:
            files.delete(f"{folder}/{earlier}")
        return epoch

    def receipts(self, batch: str) -> Receipts:
        """Find the receipts of a batch."""
        part = f"deliveryId={self.delivery(batch)}"
        folders = (self._lake.folder(table, batch, part) for table in ("receipts", _REFUSALS_TABLE))
        return Receipts(self._lake.files, *folders)

    def paths(self, batches: Iterable[str], span: TimeSpan) -> list[str]:
        """Name the receipts that may be of events of a time: those of some batches, and of all that meet it."""
        return [path for batch in self._list_batches(batches, span) for path in self.receipts(batch).paths()]

    def refusals(self, batches: Iterable[str], span: TimeSpan) -> list[str]:
        """Name the files of the service's words on events that it refused, likewise."""
        return [path for batch in self._list_batches(batches, span) for path in self.receipts(batch).refusals()]

    def has_others_since(self, plan: Plan) -> bool:
        """Whether runs have sent events of a plan's time since it was made, and not as a part of it."""
        batches = self._list_batches([plan.batch], plan.span)
        return any(self.receipts(batch).plans_since(plan.epoch) - {plan.runId} for batch in batches)

    def _list_batches(self, batches: Iterable[str], span: TimeSpan) -> list[str]:
        return sorted({*self.plans.batches_meeting(span), *batches})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
