"""Finds the pending events of a range of batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from delivery.http.endpoint import TrackerEndpoint
from jobs.lake.manifests import Manifest
from jobs.lake.tables import Lake
from jobs.ledger.ledger import with_states
from jobs.ledger.plans import DeliveryTotals, TimeSpan
from jobs.ledger.tracker_ledger import TrackerLedger

_BATCH = r"/batch=([^/]+)/runId="


@dataclass(frozen=True, slots=True)
class PendingEvents:
    """The finished batches of a range, and the events of the others.

    Attributes:
        settled: the totals of the batches with nothing left to send.
        batches: labels of the other batches, oldest first.
        events: events of the other batches: the columns of `events`, `batch`, and `status`, null if pending.
        settledEvents: events of the settled batches: the columns of `events`.
        total: events of all batches, as their builds counted them.
    """

    settled: tuple[DeliveryTotals, ...]
    batches: tuple[str, ...]
    events: DataFrame
    settledEvents: DataFrame
    total: int


def find_pending_events(lake: Lake, service: TrackerEndpoint, manifests: Sequence[Manifest]) -> PendingEvents:
    """Find the pending events of a range, by its plans and receipts.

    A batch without events is settled, even without a delivery.
    """
    tracker = TrackerLedger(lake, service)
    known = tracker.plans.delivery_states({manifest.batch: manifest.runId for manifest in manifests})
    settled = {manifest.batch: DeliveryTotals(0, 0) for manifest in manifests if not manifest.events}
    settled |= {batch: each for batch, each in known.items() if isinstance(each, DeliveryTotals)}
    done = [manifest for manifest in manifests if manifest.batch in settled]
    rest = [manifest for manifest in manifests if manifest.batch not in settled]
    batches = tuple(manifest.batch for manifest in rest)
    paths = tracker.paths(batches, TimeSpan(None, None)) if rest else []
    # input_file_name must be right above the scan: further up in the plan it is empty.
    label = F.regexp_extract(F.input_file_name(), _BATCH, 1)
    events = lake.published_events(rest).withColumn("batch", label)
    joined = with_states(lake, events, paths).drop("epoch")
    total = sum(manifest.events for manifest in manifests)
    return PendingEvents(tuple(settled.values()), batches, joined, lake.published_events(done), total)
