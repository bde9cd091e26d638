"""Finds what a rebuild would change for trackers that already have a batch's events."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from expectations.observations import Observation
from expectations.thresholds import Threshold, Thresholds
from jobs.errors import ConfigurationError
from jobs.lake.manifests import Manifest
from jobs.lake.tables import Lake
from jobs.ledger.receipts import Receipts
from transforms.measures import compare_builds
from transforms.schemas import RECEIPTS

log = logging.getLogger(__name__)

GONE: Final = "delivered_events_gone"
REKEYED: Final = "delivered_events_rekeyed"
"""Names of the gate's checks."""


@dataclass(frozen=True, slots=True)
class DeliveredChanges:
    """What happens to a batch's delivered events.

    Attributes:
        delivered: events of the replaced publication that were delivered, to any trackingId.
        rekeyed: delivered events with a new eventId, which would be sent again.
        gone: delivered events that are missing.
        unknown: why the numbers are unknown, if files of that publication, or receipts, are lost; otherwise None.
    """

    delivered: int = 0
    rekeyed: int = 0
    gone: int = 0
    unknown: str | None = None

    def observations(self) -> dict[str, Observation]:
        """Make the gate's observations, by the checks' names."""
        if not self.delivered:
            none = Observation(None, self.unknown or "no event of an earlier build was delivered")
            return {GONE: none, REKEYED: none}
        return {
            GONE: self._observe_share(self.gone, "are missing"),
            REKEYED: self._observe_share(self.rekeyed, "would be sent again, under new eventIds"),
        }

    def _observe_share(self, count: int, what: str) -> Observation:
        return Observation(count / self.delivered, f"{count:,} of {self.delivered:,} delivered events {what}")


def compare_with_delivered(lake: Lake, current: Manifest | None, events: DataFrame) -> DeliveredChanges:
    """Compare a batch's new events with the delivered events of its current publication.

    If nothing of the batch was ever delivered, this costs one listing. Lost files of the publication do not stop the
    build, because a new build is what repairs them.

    Args:
        lake: the tables.
        current: the batch's publication; None if it has none.
        events: the events of the new build.
    """
    paths = _list_receipts(lake, current.batch) if current is not None and current.events else []
    if current is None or not paths:
        return DeliveredChanges()
    # A tracker that has acknowledged an event has it, whatever it answered later.
    delivered = lake.rows(paths, RECEIPTS).where("status = 'delivered'").select(F.explode("eventIds").alias("eventId"))
    try:
        counted = compare_builds(lake.published_events([current]), events, delivered).collect()[0]
    except Exception as error:
        lost = error if isinstance(error, ConfigurationError) else lake.explain(error)
        if lost is None:
            raise
        log.warning("batch %s: its delivered events cannot be compared with these: %s", current.batch, lost)
        return DeliveredChanges(unknown="the files of the earlier build, or its receipts, cannot be read")
    return DeliveredChanges(**counted.asDict())


def allow_rekeying(thresholds: Thresholds) -> Thresholds:
    """Let re-keyed events pass with a warning, as `--rekey` asks."""
    return replace(thresholds, changed={**thresholds.changed, REKEYED: Threshold(warn_above=0)})


def _list_receipts(lake: Lake, batch: str) -> list[str]:
    """List the paths of the receipts of all deliveries of a batch."""
    folders = [lake.folder("receipts", batch, part) for part in lake.parts("receipts", batch)]
    return [path for folder in folders for path in Receipts(lake.files, folder, "").paths()]
