"""What the batches before one tell its build: events that may be repeated, and visits that may go on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from itertools import islice
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from expectations.interval import batch_interval
from jobs.lake import Lake
from jobs.manifests import Manifest, Manifests
from transforms.schemas import EVENTS, VISITS
from transforms.sessions import SessionLimits

log = logging.getLogger(__name__)

LATEST: Final = timedelta(days=2)
"""How late an event may come and still find its visit, where the batches looked back on are shorter than that."""
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Carried:
    """What a batch leaves for those after it.

    Attributes:
        visits: how many rows.
        fingerprint: tells them from others.
        until: where time has come to, in microseconds; None where no event was ever seen.
    """

    visits: int
    fingerprint: str
    until: int | None


@dataclass(frozen=True, slots=True)
class Kept:
    """Which visits a batch leaves.

    Attributes:
        condition: on the columns of `schemas.VISITS`.
        until: where time has come to, in microseconds; None where no event was ever seen.
    """

    condition: Column
    until: int | None


@dataclass(frozen=True, slots=True)
class History:
    """The publications that a build rests on.

    Attributes:
        batch: the label of the batch that is built.
        look_back: how many batches before it are looked back on.
        before: published batches of earlier labels, the newest first: those looked back on, at least the last one.
        itself: the batch's own publication, where the run only adds to it.
    """

    batch: str
    look_back: int
    before: tuple[Manifest, ...]
    itself: Manifest | None = None

    @property
    def carrier(self) -> Manifest | None:
        """The publication whose visits are carried on."""
        return self.itself or next(iter(self.before), None)

    @property
    def upon(self) -> str | None:
        """The fingerprint of the visits that the batch is built upon."""
        if self.itself is not None:
            return self.itself.upon
        return self.before[0].carried if self.before else None

    def events(self, lake: Lake) -> DataFrame | None:
        """Read the events that are there already; None where there are none."""
        published = (self.itself, *self.before[: self.look_back])
        tables = [lake.published_events(manifest, EVENTS) for manifest in published if manifest and manifest.events]
        return reduce(DataFrame.unionByName, tables) if tables else None

    def visits(self, lake: Lake) -> DataFrame | None:
        """Read the visits that are known already; None where there are none."""
        carrier = self.carrier
        return lake.published_visits(carrier, VISITS) if carrier is not None and carrier.visits else None

    def kept(self, newest: int | None, limits: SessionLimits) -> Kept:
        """Say which visits are left for later batches: what they look back on, and what is not long past.

        Args:
            newest: the time of the batch's newest event, in microseconds.
            limits: where sessions end.
        """
        oldest = min([self.batch, *[manifest.batch for manifest in self.before[: max(self.look_back - 1, 0)]]])
        until = self._until(newest)
        recent = F.lit(False) if until is None else F.col("last") >= until - (limits.gap + LATEST) // _MICROSECOND
        return Kept((F.col("touched") >= oldest) | recent, until)

    def _until(self, newest: int | None) -> int | None:
        """Tell where time has come to; one event from the future must not make all others old."""
        if newest is None:
            return self.carrier.until if self.carrier else None
        if self.itself is not None and self.itself.until is not None:
            newest = max(newest, self.itself.until)
        interval = batch_interval(self.batch)
        return newest if interval is None else min(newest, _micros(interval.end))


def find_history(manifests: Manifests, batch: str, look_back: int, itself: Manifest | None = None) -> History:
    """Find what a build rests on.

    Raises:
        ConfigurationError: a manifest is of a newer layout.
    """
    return History(batch, look_back, tuple(islice(manifests.before(batch), max(look_back, 1))), itself)


def warn_of_later(manifests: Manifests, published: Manifest) -> None:
    """Log where the batch after this one was built upon other visits than it has now."""
    after = manifests.after(published.batch)
    if after is not None and after.upon != published.carried and after.layout > 1:
        log.warning(
            "batch %s: was built upon what batch %s was before; build it again, and those after it, in order, if "
            "sessions are to go on over that border",
            after.batch,
            published.batch,
        )


def _micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000
