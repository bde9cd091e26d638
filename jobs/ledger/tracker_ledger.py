"""The ledger of one tracker over all batches: its plans, the receipts of each batch, and the order of its runs.

    _epochs/<tracker>/<number>   the epoch of the last run; the next run takes the number after it

A run takes its epoch while it holds the tracker's lock, so epochs give the order of the runs without any clock. A run
that has lost the lock without knowing has a lower epoch than the run that took over. What it still writes comes earlier
in the ledger's order, and it deletes nothing of a later run.
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
"""The service's errors for dead letters; not a table for users."""


class TrackerLedger:
    """One tracker's part of the lake: trackingId, region and endpoint together.

    Args:
        lake: the lake.
        service: the tracker, as boto3 resolves it.

    Attributes:
        name: the name of its folders and its lock.
        plans: the plans of its deliveries.
    """

    def __init__(self, lake: Lake, service: TrackerEndpoint) -> None:
        self._lake = lake
        self.name = _digest(json.dumps(service.key))
        self.plans = Plans(lake.files, lake.root, self.name)

    def delivery(self, batch: str) -> str:
        """Give the deliveryId of a batch: always the same for the same batch and tracker."""
        return f"{self.name}-{_digest(batch)}"

    def next_epoch(self) -> int:
        """Take the next epoch. The run must hold the tracker's lock.

        Raises:
            UnfinishedError: another run has taken it, so that run holds the lock.
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
        """List the paths of receipts that can name events of a time span: of these batches, and of all that meet it."""
        return [path for batch in self._list_batches(batches, span) for path in self.receipts(batch).paths()]

    def refusals(self, batches: Iterable[str], span: TimeSpan) -> list[str]:
        """List the paths of refusals in the same way."""
        return [path for batch in self._list_batches(batches, span) for path in self.receipts(batch).refusals()]

    def has_others_since(self, plan: Plan) -> bool:
        """Whether other plans have sent events of a plan's time span since it was made."""
        batches = self._list_batches([plan.batch], plan.span)
        return any(self.receipts(batch).plans_since(plan.epoch) - {plan.runId} for batch in batches)

    def _list_batches(self, batches: Iterable[str], span: TimeSpan) -> list[str]:
        return sorted({*self.plans.batches_meeting(span), *batches})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
