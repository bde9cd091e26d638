"""The events of a range of which something may be left to send."""

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
    """A range's batches, as far as they are known without looking at events, and the rest to look at.

    Attributes:
        settled: what came of batches of which nothing is left.
        batches: labels of the others, oldest first.
        events: of these: the `events` table's columns, `batch`, and `status`: how an event ended, null where it waits.
        settledEvents: of the batches of which nothing is left, by the table's columns.
        total: events of all batches, as their builds counted them.
    """

    settled: tuple[DeliveryTotals, ...]
    batches: tuple[str, ...]
    events: DataFrame
    settledEvents: DataFrame
    total: int


def find_pending_events(lake: Lake, service: TrackerEndpoint, manifests: Sequence[Manifest]) -> PendingEvents:
    """Find what may be left to send of a range, by its plans and receipts.

    Of a batch without events nothing is left, though no delivery has said so.
    """
    tracker = TrackerLedger(lake, service)
    known = tracker.plans.delivery_states({manifest.batch: manifest.runId for manifest in manifests})
    settled = {manifest.batch: DeliveryTotals(0, 0) for manifest in manifests if not manifest.events}
    settled |= {batch: each for batch, each in known.items() if isinstance(each, DeliveryTotals)}
    done = [manifest for manifest in manifests if manifest.batch in settled]
    rest = [manifest for manifest in manifests if manifest.batch not in settled]
    batches = tuple(manifest.batch for manifest in rest)
    paths = tracker.paths(batches, TimeSpan(None, None)) if rest else []
    # The file's name is asked for right above the scan: further up nobody knows it any more.
    label = F.regexp_extract(F.input_file_name(), _BATCH, 1)
    events = lake.published_events(rest).withColumn("batch", label)
    joined = with_states(lake, events, paths).drop("epoch")
    total = sum(manifest.events for manifest in manifests)
    return PendingEvents(tuple(settled.values()), batches, joined, lake.published_events(done), total)
