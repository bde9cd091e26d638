"""The ledger of a delivery: its plan, receipts and dead letters; what has ended of a batch, and what is to be sent."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from delivery.http.endpoint import TrackerEndpoint
from jobs.lake.manifests import Manifest
from jobs.lake.tables import Lake
from jobs.ledger.plans import DeliveryTotals, Kind, Plan, TimeSpan
from jobs.ledger.tracker_ledger import TrackerLedger
from transforms.outcomes import (
    count_statuses,
    dead_letter_rows,
    epoch_in,
    final_statuses,
    is_chosen,
    sent_span,
    unfinished_requests,
)
from transforms.packing import pack_requests
from transforms.schemas import DEAD_LETTERS, EVENTS, RECEIPTS, REFUSALS, REQUESTS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EventTotals:
    """A plan's events by what became of them, each count on its own.

    Attributes:
        delivered: with a receipt that says so.
        refused: with receipts that say no other.
        pending: without a receipt.
        unplanned: events with a receipt that the plan does not hold.
    """

    delivered: int
    refused: int
    pending: int
    unplanned: int = 0

    @property
    def planned(self) -> int:
        """All events that the plan's requests hold."""
        return self.delivered + self.refused + self.pending


class Ledger:
    """What the service has taken and refused of a batch, for one tracker.

    Args:
        lake: where it all lies.
        batch: the label.
        service: the tracker.

    Attributes:
        tracker: the tracker's name, by which its one lock is held while a plan is made and sent.
    """

    def __init__(self, lake: Lake, batch: str, service: TrackerEndpoint) -> None:
        self._lake = lake
        self._batch = batch
        self._tracker = TrackerLedger(lake, service)
        self._plans = self._tracker.plans
        self._receipts = self._tracker.receipts(batch)
        self._epoch = 0
        self.tracker = self._tracker.name

    def balance(self, manifest: Manifest) -> DeliveryTotals | None:
        """Say what came of the batch; None where something may be left to send: a plan has to be made or taken up."""
        found = self._plans.standings({self._batch: manifest.runId}).get(self._batch)
        return found if isinstance(found, DeliveryTotals) else None

    def plan(self, kind: Kind, manifest: Manifest, run: str, ensure: Callable[[], None]) -> tuple[Plan, EventTotals]:
        """Take up the plain plan that an earlier run left, or make a plan; say what has become of its events.

        A plan that was left is taken up if nothing else was sent since that may hold its events, and none of its
        requests were lost. Otherwise its figures are no longer true, and the batch is planned anew, against all
        receipts that there are by now. A plan to send dead letters, or all of a batch, is always made anew; what an
        interrupted `resend` has sent it does not repeat.

        Args:
            kind: which events are to be sent.
            manifest: the batch's.
            run: the run's id.
            ensure: raises UnfinishedError where this run has lost its lock; asked before others' files are touched.
        """
        self._epoch = self._tracker.next_epoch()
        self._receipts.sweep(ensure)
        left = self._plans.find_open(self._batch)
        kept = [each for each in left if each.kind == "batch" and each.source == manifest.runId][-1:]
        taken_up = None
        if kind == "batch":
            kept = [each for each in kept if not self._tracker.has_others_since(each)]
            taken_up = next(((each, tally) for each in kept if (tally := self._whole_tally(each)) is not None), None)
            kept = [taken_up[0]] if taken_up is not None else []
        again = _again(kind, left, self._epoch)
        plan, tally = taken_up or self._made(kind, manifest, run, again, ensure)
        ensure()
        for each in left:
            if each not in kept:
                self._plans.give_up(each)
        self._plans.sweep(self._batch, [*kept, plan], self._epoch)
        return plan, tally

    def remaining(self, plan: Plan) -> DataFrame:
        """Give the requests of a plan that have not ended, whole or in part: `ended` names the parts that have."""
        requests = self._requests(plan)
        paths = self._receipts.paths(plan.runId)
        if not paths:
            return _with(requests, "ended", "array<string>")
        return unfinished_requests(requests, read_receipts(self._lake, paths))

    def tally(self, plan: Plan) -> EventTotals:
        """Count the events of a plan by what became of them, each by its id: in its requests, and in their receipts."""
        requests = self._requests(plan)
        receipts = read_receipts(self._lake, self._receipts.paths(plan.runId))
        rows = count_statuses(requests, receipts).collect() if plan.requests else []
        found = {row["status"]: row["planned"] for row in rows}
        return EventTotals(
            delivered=found.get("delivered", 0),
            refused=found.get("refused", 0),
            pending=found.get(None, 0),
            unplanned=sum(row["unplanned"] for row in rows),
        )

    def write(self, plan: Plan, run: str, rows: list[dict[str, Any]]) -> None:
        """Write receipts.

        Raises:
            OSError: they could not be written.
        """
        self._receipts.write(self._epoch, plan.runId, run, rows)

    def settle(self, plan: Plan, refused: int, manifest: Manifest, run: str, ensure: Callable[[], None]) -> None:
        """Make `dead_letters` hold the batch's events whose final state is refused, and nothing else.

        Args:
            plan: of the delivery.
            refused: how many events that are, by its account.
            manifest: the batch's.
            run: the run's id.
            ensure: raises UnfinishedError where this run has lost its lock; asked before others' files are touched.
        """
        folder = self._lake.folder("dead_letters", self._batch, f"deliveryId={self._tracker.delivery(self._batch)}")
        if not refused and not self._receipts.refusals() and not self._lake.files.children(folder):
            return
        around = [self._batch], plan.span
        rows = dead_letter_rows(
            self._events(manifest),
            read_receipts(self._lake, self._tracker.paths(*around)),
            _with_epoch(self._lake, self._tracker.refusals(*around), REFUSALS),
        ).select(*DEAD_LETTERS.names)
        rows.write.mode("overwrite").parquet(f"{folder}/runId={run}")
        older = [name for name in self._lake.files.children(folder) if name != f"runId={run}"]
        ensure()
        for name in older:
            self._lake.files.delete(f"{folder}/{name}")

    def end(self, plan: Plan, balance: DeliveryTotals) -> None:
        """Note that nothing of a plan is left to do, and what came of the batch."""
        self._plans.end(plan, balance)

    def _whole_tally(self, plan: Plan) -> EventTotals | None:
        """Count the events of a plan; None where requests were lost, as by a power loss: it has to be made anew."""
        tally = self.tally(plan)
        if tally.planned == plan.events:
            return tally
        log.warning(
            "batch %s: the plan of run %s holds %s events, and the files of its requests %s: they were lost, as by a "
            "power loss; the batch is planned again, and what has a receipt is not sent again",
            *(plan.batch, plan.runId, f"{plan.events:,}", f"{tally.planned:,}"),
        )
        return None

    def _made(
        self, kind: Kind, manifest: Manifest, run: str, again: int, ensure: Callable[[], None]
    ) -> tuple[Plan, EventTotals]:
        """Choose events, pack them, and fix the plan."""
        log.info("batch %s: finding the events to send, from the existing receipts", self._batch)
        events = self._events(manifest)
        span = _span(events)
        paths = self._tracker.paths([self._batch], span)
        # Without receipts there is no join, which would shuffle every event to find nothing.
        joined = with_states(self._lake, events, paths)
        chosen = joined.withColumn("chosen", is_chosen(kind, again))
        others = _by_status(chosen.where("NOT chosen")) if paths or kind == "dead-letters" else {}
        folder = self._plans.requests(self._batch, self._epoch)
        pack_requests(chosen.where("chosen").select(*EVENTS.names)).write.mode("overwrite").parquet(folder)
        size = self._lake.rows(folder, REQUESTS).agg(
            F.count("*").alias("requests"), F.coalesce(F.sum(F.size("eventIds")), F.lit(0)).alias("events")
        )
        plan = Plan(
            batch=self._batch,
            kind=kind,
            source=manifest.runId,
            epoch=self._epoch,
            runId=run,
            delivered=others.get("delivered", 0),
            refused=others.get("refused", 0),
            waiting=others.get(None, 0),
            span=span,
            again=again,
            **size.collect()[0].asDict(),
        )
        if plan.requests:
            ensure()
            self._plans.fix(plan)
        return plan, EventTotals(0, 0, plan.events)  # its requests have just been counted, and there are no receipts

    def _requests(self, plan: Plan) -> DataFrame:
        """Read the requests of a plan; of a folder that is gone there are none."""
        folder = self._plans.requests(plan.batch, plan.epoch)
        return self._lake.rows(folder if self._lake.files.exists(folder) else [], REQUESTS)

    def _events(self, manifest: Manifest) -> DataFrame:
        return self._lake.published_events([manifest], EVENTS)


def read_receipts(lake: Lake, paths: list[str]) -> DataFrame:
    """Read receipts, each with the epoch of its run, which is its place in the ledger's order."""
    return _with_epoch(lake, paths, RECEIPTS)


def with_states(lake: Lake, events: DataFrame, paths: list[str]) -> DataFrame:
    """Say of events how they ended, by receipts: columns `status` and `epoch` of the last word, null of none."""
    if not paths:
        return _with(_with(events, "status", "string"), "epoch", "bigint")
    return events.join(final_statuses(read_receipts(lake, paths)), "eventId", "left")


def _again(kind: Kind, left: list[Plan], epoch: int) -> int:
    """Say from which epoch on words count: for an interrupted `resend` that goes on, from its beginning."""
    if kind != "resend":
        return 0
    return next((plan.again for plan in reversed(left) if plan.kind == "resend"), epoch)


def _with_epoch(lake: Lake, paths: list[str], schema: StructType) -> DataFrame:
    rows = lake.rows(paths, schema)
    # Only rows that come of files know of them.
    return rows.withColumn("epoch", epoch_in(F.col("_metadata.file_name")) if paths else F.lit(0).cast("bigint"))


def _with(rows: DataFrame, name: str, kind: str) -> DataFrame:
    return rows.withColumn(name, F.lit(None).cast(kind))


def _by_status(events: DataFrame) -> dict[str | None, int]:
    return {row["status"]: row["count"] for row in events.groupBy("status").count().collect()}


def _span(events: DataFrame) -> TimeSpan:
    found = sent_span(events).collect()[0]
    return TimeSpan(found["since"], found["until"]) if found["derived"] else TimeSpan(None, None)
