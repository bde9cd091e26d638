"""Finds what a build needs of earlier batches: events that it may repeat, and visits that it may continue."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from expectations.interval import Interval
from jobs.errors import ConfigurationError, UnfinishedError
from jobs.lake.batch_order import BatchOrder
from jobs.lake.manifests import Manifest, Manifests
from jobs.lake.tables import Lake
from transforms.sessions import SessionLimits, visits_of

log = logging.getLogger(__name__)

LATEST: Final = timedelta(days=2)
"""How late an event can arrive and still find its visit, if the look-back batches are shorter than that."""
MOST_WARNED: Final = 10
"""How many later batches are checked for whether they depend on a batch."""
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class BatchState:
    """What a batch leaves for later batches.

    Attributes:
        visits: the number of rows in its visits.
        ids: the exclusive or of the hashes of its eventIds.
        fingerprint: identifies its events and visits.
        until: the latest event time so far, in microseconds; None if there was never an event.
    """

    visits: int
    ids: int
    fingerprint: str
    until: int | None


@dataclass(frozen=True, slots=True)
class VisitRetention:
    """Which visits a batch leaves for later batches.

    Attributes:
        condition: on the columns of `schemas.VISITS`.
        until: the latest event time so far, in microseconds; None if there was never an event.
    """

    condition: Column
    until: int | None


@dataclass(frozen=True, slots=True)
class BuildHistory:
    """The publications that a build depends on.

    Attributes:
        batch: the label of the batch that is built.
        interval: the batch's; None if it was given none and its label names none.
        look_back: how many earlier batches are searched for repeats.
        before: the published batches before it, the nearest first: the look-back batches, at least one.
        own: the batch's own publication, if the run only adds to it.
        after: the published batches after it, if the run only adds to it: events that they already have stay theirs.
    """

    batch: str
    interval: Interval | None
    look_back: int
    before: tuple[Manifest, ...]
    own: Manifest | None = None
    after: tuple[Manifest, ...] = ()

    @property
    def others(self) -> tuple[Manifest, ...]:
        """The publications of other batches."""
        return (*self.before, *self.after)

    @property
    def carrier(self) -> Manifest | None:
        """The publication whose visits the build continues."""
        return self.own or next(iter(self.before), None)

    @property
    def built_on(self) -> dict[str, str | None]:
        """The fingerprints of the earlier batches, by label."""
        return self.own.upon if self.own else {manifest.batch: manifest.left for manifest in self.before}

    def events(self, lake: Lake) -> DataFrame | None:
        """Read the events that candidates may repeat; None if there are none."""
        manifests = (self.own, *self.before[: self.look_back], *self.after)
        published = [manifest for manifest in manifests if manifest and manifest.events]
        return lake.published_events(published) if published else None

    def visits(self, lake: Lake) -> DataFrame | None:
        """Read the visits that events may join; None if there are none."""
        carrier = self.carrier
        if carrier is None:
            return None
        if carrier.left is None:  # layout 1
            return visits_of(lake.published_events([carrier]), carrier.batch) if carrier.events else None
        return lake.published_visits(carrier) if carrier.visits else None

    def ids(self, new: int) -> int:
        """Combine the hash of the new eventIds with that of the batch's own."""
        return new ^ (self.own.ids if self.own else 0)

    def find_retention(self, newest: int | None, limits: SessionLimits) -> VisitRetention:
        """Choose the visits to keep for later batches: those of their look-back batches, and the recent ones.

        Args:
            newest: the time of the batch's newest event, in microseconds.
            limits: where sessions end.
        """
        looked_back_on = [self.batch, *[manifest.batch for manifest in self.before[: max(self.look_back - 1, 0)]]]
        until = self._find_until(newest)
        recent = F.lit(False) if until is None else F.col("last") >= until - (limits.gap + LATEST) // _MICROSECOND
        return VisitRetention(F.col("touched").isin(looked_back_on) | recent, until)

    def _find_until(self, newest: int | None) -> int | None:
        """Find the latest event time, at most the interval's end: an event from the future must not make visits old."""
        if newest is None:
            return self.carrier.until if self.carrier else None
        if self.own is not None and self.own.until is not None:
            newest = max(newest, self.own.until)
        return newest if self.interval is None else min(newest, _to_micros(self.interval.end))


def find_history(
    manifests: Manifests, order: BatchOrder, batch: str, look_back: int, own: Manifest | None = None
) -> BuildHistory:
    """Find the publications that a build depends on.

    Args:
        manifests: of the lake.
        order: of its batches, with this one.
        batch: the label.
        look_back: how many earlier batches are searched for repeats.
        own: the batch's own publication, if the run only adds to it.

    Raises:
        ConfigurationError: a manifest is of a newer layout.
    """
    before = tuple(islice(manifests.iterate_passed(order.before(batch)), max(look_back, 1)))
    after = tuple(islice(manifests.iterate_passed(order.after(batch)), look_back)) if own else ()
    return BuildHistory(batch, order.interval(batch), look_back, before, own, after)


def check_history(manifests: Manifests, history: BuildHistory) -> None:
    """Check that the publications that a build has read are still current.

    Raises:
        UnfinishedError: one of them was replaced.
    """
    order = manifests.order().with_batch(history.batch, history.interval)
    now = find_history(manifests, order, history.batch, history.look_back, history.own)
    changed = {batch for batch, _ in _list_runs(now) ^ _list_runs(history)}
    if changed:
        raise UnfinishedError(
            f"batch {', '.join(sorted(changed))}: was published meanwhile, and batch {history.batch} depends on it; "
            "nothing was changed: run this again"
        )


def warn_of_changed(manifests: Manifests, batch: str) -> None:
    """Log each batch, this one or a later one, that was built on a publication that has been replaced."""
    try:
        order = manifests.order()
        own = [manifest for manifest in [manifests.current(batch)] if manifest and manifest.gate != "failed"]
        for one in (*own, *islice(manifests.iterate_passed(order.after(batch)), MOST_WARNED)):
            now = find_history(manifests, order, one.batch, one.lookBack).built_on
            changed = sorted(
                {label for label, _ in now.items() ^ one.upon.items() if _is_of_same_kind(order, label, one.batch)}
            )
            if changed and one.left is not None and batch in (one.batch, *now, *one.upon):
                log.warning("%s", _describe_changed(order, one, changed, now))
    except (ConfigurationError, OSError) as error:
        log.warning("cannot find out whether other batches depend on batch %s: %s", batch, error)


def _describe_changed(order: BatchOrder, one: Manifest, changed: Sequence[str], now: Mapping[str, str | None]) -> str:
    """Describe what may be wrong in a batch because other batches were published since, and what to do."""
    later = set(order.after(one.batch))
    new = [label for label in changed if label not in one.upon]
    # A batch that left the look-back was displaced by a new one.
    republished = [label for label in changed if label in one.upon and (label in now or not new)]
    reasons = [f"was built on {', '.join(republished)}, published again since"] if republished else []
    reasons += [f"was built before {', '.join(new)}"] if new else []
    consequences = []
    if any(label not in later for label in changed):
        consequences.append("sessions that continue from one to the other may be cut or joined wrongly")
    if one.lookBack:
        consequences.append("events that count as repeats of theirs may be missing")
    return (
        f"batch {one.batch}: {', and '.join(reasons)}: {', and '.join(consequences)}. "
        f"To correct it, build {one.batch} again, then each batch after it in order; eventIds do not change"
    )


def _list_runs(history: BuildHistory) -> set[tuple[str, str]]:
    return {(manifest.batch, manifest.runId) for manifest in history.others}


def _is_of_same_kind(order: BatchOrder, label: str, other: str) -> bool:
    """Whether both labels have an interval or neither has. `backfill-7` comes after all dates, but continues none."""
    return (order.interval(label) is None) == (order.interval(other) is None)


def _to_micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000
