"""What the batches before one tell its build: events that may be repeated, and visits that may go on."""

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
"""How late an event may come and still find its visit, where the batches looked back on are shorter than that."""
MOST_WARNED: Final = 10
"""Batches after one that are looked at, for whether they rest on it."""
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class BatchState:
    """What a batch leaves for those after it.

    Attributes:
        visits: how many rows.
        ids: the exclusive or of the hashes of its eventIds.
        fingerprint: tells its events and visits from others.
        until: where time has come to, in microseconds; None where no event was ever seen.
    """

    visits: int
    ids: int
    fingerprint: str
    until: int | None


@dataclass(frozen=True, slots=True)
class VisitRetention:
    """Which visits a batch leaves.

    Attributes:
        condition: on the columns of `schemas.VISITS`.
        until: where time has come to, in microseconds; None where no event was ever seen.
    """

    condition: Column
    until: int | None


@dataclass(frozen=True, slots=True)
class BuildHistory:
    """The publications that a build rests on.

    Attributes:
        batch: the label of the batch that is built.
        interval: the batch's; None where neither it was given one nor its label names one.
        look_back: how many batches before it are looked back on.
        before: published batches before it, the nearest first: those looked back on, at least the last one.
        own: the batch's own publication, where the run only adds to it.
        after: published batches after it, where the run only adds to it: what they have got since is theirs.
    """

    batch: str
    interval: Interval | None
    look_back: int
    before: tuple[Manifest, ...]
    own: Manifest | None = None
    after: tuple[Manifest, ...] = ()

    @property
    def others(self) -> tuple[Manifest, ...]:
        """The publications of other batches among them."""
        return (*self.before, *self.after)

    @property
    def carrier(self) -> Manifest | None:
        """The publication whose visits are carried on."""
        return self.own or next(iter(self.before), None)

    @property
    def built_on(self) -> dict[str, str | None]:
        """The fingerprints of the batches before it."""
        return self.own.upon if self.own else {manifest.batch: manifest.left for manifest in self.before}

    def events(self, lake: Lake) -> DataFrame | None:
        """Read the events that are there already; None where there are none."""
        manifests = (self.own, *self.before[: self.look_back], *self.after)
        published = [manifest for manifest in manifests if manifest and manifest.events]
        return lake.published_events(published) if published else None

    def visits(self, lake: Lake) -> DataFrame | None:
        """Read the visits that are known already; None where there are none."""
        carrier = self.carrier
        if carrier is None:
            return None
        if carrier.left is None:  # layout 1
            return visits_of(lake.published_events([carrier]), carrier.batch) if carrier.events else None
        return lake.published_visits(carrier) if carrier.visits else None

    def ids(self, new: int) -> int:
        """Add the batch's own eventIds to those that are new, by exclusive or of their hashes."""
        return new ^ (self.own.ids if self.own else 0)

    def find_retention(self, newest: int | None, limits: SessionLimits) -> VisitRetention:
        """Say which visits are left for later batches: what they look back on, and what is not long past.

        Args:
            newest: the time of the batch's newest event, in microseconds.
            limits: where sessions end.
        """
        looked_back_on = [self.batch, *[manifest.batch for manifest in self.before[: max(self.look_back - 1, 0)]]]
        until = self._find_until(newest)
        recent = F.lit(False) if until is None else F.col("last") >= until - (limits.gap + LATEST) // _MICROSECOND
        return VisitRetention(F.col("touched").isin(looked_back_on) | recent, until)

    def _find_until(self, newest: int | None) -> int | None:
        """Tell where time has come to; one event from the future must not make all others old."""
        if newest is None:
            return self.carrier.until if self.carrier else None
        if self.own is not None and self.own.until is not None:
            newest = max(newest, self.own.until)
        return newest if self.interval is None else min(newest, _to_micros(self.interval.end))


def find_history(
    manifests: Manifests, order: BatchOrder, batch: str, look_back: int, own: Manifest | None = None
) -> BuildHistory:
    """Find what a build rests on.

    Args:
        manifests: of the lake.
        order: of its batches, this one in it.
        batch: the label.
        look_back: how many batches before it are looked back on.
        own: the batch's own publication, where the run only adds to it.

    Raises:
        ConfigurationError: a manifest is of a newer layout.
    """
    before = tuple(islice(manifests.iterate_passed(order.before(batch)), max(look_back, 1)))
    after = tuple(islice(manifests.iterate_passed(order.after(batch)), look_back)) if own else ()
    return BuildHistory(batch, order.interval(batch), look_back, before, own, after)


def check_history(manifests: Manifests, history: BuildHistory) -> None:
    """See that what a build has read is what is published still.

    Raises:
        UnfinishedError: it is not.
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
    """Log whether this batch, or one that rests on it, was built upon something else than is published now."""
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
    """Say what a batch may have wrong because others were published since, as far as it applies, and what to do."""
    later = set(order.after(one.batch))
    new = [label for label in changed if label not in one.upon]
    # What is not looked back on any more has given way to what is new.
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
    """Whether both or none have an interval; a `backfill-7` comes after all dates, and follows from none."""
    return (order.interval(label) is None) == (order.interval(other) is None)


def _to_micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000
