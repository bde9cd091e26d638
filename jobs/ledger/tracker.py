"""What one trackingId was given, over all batches: the plans, and where each batch's receipts are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from delivery.http.service import Service
from jobs.lake.tables import Lake
from jobs.ledger.plans import Plans, Span
from jobs.ledger.receipts import Receipts

_REFUSALS_TABLE: Final = "_refusals"
"""What dead letters tell beside their events; no table for users."""


class Tracker:
    """One trackingId's part of the lake.

    Args:
        lake: where it all lies.
        service: another endpoint is another tracker: what an emulator acknowledged, Amazon has not.

    Attributes:
        plans: of its deliveries.
    """

    def __init__(self, lake: Lake, service: Service) -> None:
        self._lake = lake
        self._name = _digest(service.trackingId + (f" at {service.endpoint_url}" if service.endpoint_url else ""))
        self.plans = Plans(lake.files, lake.root, self._name)

    def delivery(self, batch: str) -> str:
        """Name the delivery of a batch: the same batch to the same trackingId is the same, whenever it goes on."""
        return f"{self._name}-{_digest(batch)}"

    def receipts(self, batch: str) -> Receipts:
        """Find the receipts of a batch."""
        part = f"deliveryId={self.delivery(batch)}"
        folders = (self._lake.folder(table, batch, part) for table in ("receipts", _REFUSALS_TABLE))
        return Receipts(self._lake.files, *folders)

    def paths(self, batches: Iterable[str], span: Span) -> list[str]:
        """Name the receipts that may be of events of a time: those of some batches, and of all that meet it."""
        names = {*self.plans.meeting(span), *batches}
        return [path for batch in sorted(names) for path in self.receipts(batch).paths()]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
