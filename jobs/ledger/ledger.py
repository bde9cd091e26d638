"""The ledger of a delivery: its plan, receipts and dead letters. It finds which events have ended and which to send."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from delivery.http.endpoint import TrackerEndpoint
from jobs.errors import CountsError
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

Account = dict[str, int]
"""A batch's events by status, under the summary's names, and requestsMinimum."""
EVENT_COUNTERS: Final = ("events", "alreadyDelivered", "delivered", "deadLettered", "pending")


@dataclass(frozen=True, slots=True)
class EventTotals:
    """A plan's events by status; each count is made on its own.

    Attributes:
        delivered: events with a receipt of status `delivered`.
        refused: events with only receipts of status `refused`.
        pending: events without a receipt.
        unplanned: events with a receipt that are not in the plan.
    """

    delivered: int
    refused: int
    pending: int
    unplanned: int = 0

    @property
    def planned(self) -> int:
        """All events of the plan's requests."""
        return self.delivered + self.refused + self.pending


@dataclass(frozen=True, slots=True)
class PlannedDelivery:
    """A plan and its progress.

    Attributes:
        plan: the plan.
        totals: its events by status.
        account: the batch's, in this run.
        requests: the unfinished requests; `ended` lists their parts that have ended. None if nothing is pending.
    """

    plan: Plan
    totals: EventTotals
    account: Account
    requests: DataFrame | None


class Ledger:
    """Which events of a batch one tracker has acknowledged and refused.

    Args:
        lake: the lake of the batch.
        manifest: the batch's publication.
        service: the tracker.

    Attributes:
        manifest: the batch's publication.
        tracker: the tracker's name, which is also the name of its lock.
    """

    def __init__(self, lake: Lake, manifest: Manifest, service: TrackerEndpoint) -> None:
        self._lake = lake
        self.manifest = manifest
        self._batch = manifest.batch
        self._tracker = TrackerLedger(lake, service)
        self._plans = self._tracker.plans
        self._receipts = self._tracker.receipts(self._batch)
        self._epoch = 0
        self.tracker = self._tracker.name

    def find_totals(self) -> DeliveryTotals | None:
        """Find the batch's totals if nothing is left to send; None if a plan must be made or resumed."""
        found = self._plans.delivery_states({self._batch: self.manifest.runId}).get(self._batch)
        return found if isinstance(found, DeliveryTotals) else None

    def plan(self, kind: Kind, run: str, ensure: Callable[[], None]) -> PlannedDelivery:
        """Resume the plan of kind `batch` that an earlier run left, or make a plan; count its events by status.

        A plan is resumed if no other delivery since then may have sent its events, and none of its requests were lost.
        Otherwise its numbers may be wrong, and the batch is planned again, with all current receipts. A plan of kind
        `dead-letters` or `resend` is always made again; it does not repeat what an interrupted `resend` has sent.

        Args:
            kind: which events are sent.
            run: the run's id.
            ensure: raises UnfinishedError if this run has lost its lock; called before other runs' files are changed.
        """
        self._epoch = self._tracker.next_epoch()
        self._receipts.sweep(ensure)
        open_plans = self._plans.find_open(self._batch)
        kept = [each for each in open_plans if each.kind == "batch" and each.source == self.manifest.runId][-1:]
        resumed = None
        if kind == "batch":
            kept = [each for each in kept if not self._tracker.has_others_since(each)]
            resumed = next(((each, tally) for each in kept if (tally := self._tally_if_whole(each)) is not None), None)
            kept = [resumed[0]] if resumed is not None else []
        again = _epoch_to_begin_from(kind, open_plans, self._epoch)
        plan, tally = resumed or self._make_plan(kind, run, again, ensure)
        ensure()
        for each in open_plans:
            if each not in kept:
                self._plans.give_up(each)
        self._plans.sweep(self._batch, [*kept, plan], self._epoch)
        requests = self._read_unfinished_requests(plan) if tally.pending else None
        return PlannedDelivery(plan, tally, account_for_plan(self.manifest, plan, tally, tally), requests)

    def _read_unfinished_requests(self, plan: Plan) -> DataFrame:
        requests = self._read_requests(plan)
        paths = self._receipts.paths(plan.runId)
        if not paths:
            return _add_null_column(requests, "ended", "array<string>")
        return unfinished_requests(requests, read_receipts(self._lake, paths))

    def recount(self, planned: PlannedDelivery) -> PlannedDelivery:
        """Count a plan's events by status again, after the sending."""
        totals = self.tally(planned.plan)
        account = account_for_plan(self.manifest, planned.plan, planned.totals, totals)
        return PlannedDelivery(planned.plan, totals, account, None)

    def tally(self, plan: Plan) -> EventTotals:
        """Count the events of a plan by status, from the eventIds in its requests and receipts."""
        requests = self._read_requests(plan)
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

    def conclude(self, planned: PlannedDelivery, run: str, ensure: Callable[[], None]) -> None:
        """Write the batch's dead letters; check its account; end the plan if nothing is pending.

        Args:
            planned: the plan and its progress.
            run: the run's id.
            ensure: raises UnfinishedError if this run has lost its lock; called before other runs' files are changed.

        Raises:
            CountsError: the account does not add up.
        """
        plan, account = planned.plan, planned.account
        self._write_dead_letters(plan, account["deadLettered"], run, ensure)
        check_counts(f"batch {self._batch}", account, planned.totals.unplanned)
        if not planned.totals.pending:
            ensure()
            delivered = account["alreadyDelivered"] + account["delivered"]
            self._plans.end(plan, DeliveryTotals(delivered, account["deadLettered"]))

    def _write_dead_letters(self, plan: Plan, refused: int, run: str, ensure: Callable[[], None]) -> None:
        """Write `dead_letters` anew: exactly the batch's events with the final state `refused`."""
        folder = self._lake.folder("dead_letters", self._batch, f"deliveryId={self._tracker.delivery(self._batch)}")
        if not refused and not self._receipts.refusals() and not self._lake.files.children(folder):
            return
        batch_and_span = [self._batch], plan.span
        rows = dead_letter_rows(
            self._read_events(),
            read_receipts(self._lake, self._tracker.paths(*batch_and_span)),
            _read_with_epoch(self._lake, self._tracker.refusals(*batch_and_span), REFUSALS),
        ).select(*DEAD_LETTERS.names)
        rows.write.mode("overwrite").parquet(f"{folder}/runId={run}")
        older = [name for name in self._lake.files.children(folder) if name != f"runId={run}"]
        ensure()
        for name in older:
            self._lake.files.delete(f"{folder}/{name}")

    def _tally_if_whole(self, plan: Plan) -> EventTotals | None:
        """Count the events of a plan by status; None if requests were lost, as by a power loss: make it again."""
        tally = self.tally(plan)
        if tally.planned == plan.events:
            return tally
        log.warning(
            "batch %s: the plan of run %s holds %s events, and the files of its requests %s: they were lost, as by a "
            "power loss; the batch is planned again, and what has a receipt is not sent again",
            *(plan.batch, plan.runId, f"{plan.events:,}", f"{tally.planned:,}"),
        )
        return None

    def _make_plan(self, kind: Kind, run: str, again: int, ensure: Callable[[], None]) -> tuple[Plan, EventTotals]:
        """Choose events, pack them into requests, and write the plan."""
        log.info("batch %s: finding the events to send, from the existing receipts", self._batch)
        events = self._read_events()
        span = _find_span(events)
        paths = self._tracker.paths([self._batch], span)
        # Without receipts there is no join, which would shuffle every event in vain.
        joined = with_states(self._lake, events, paths)
        chosen = joined.withColumn("chosen", is_chosen(kind, again))
        others = _count_by_status(chosen.where("NOT chosen")) if paths or kind == "dead-letters" else {}
        folder = self._plans.requests(self._batch, self._epoch)
        pack_requests(chosen.where("chosen").select(*EVENTS.names)).write.mode("overwrite").parquet(folder)
        size = self._lake.rows(folder, REQUESTS).agg(
            F.count("*").alias("requests"), F.coalesce(F.sum(F.size("eventIds")), F.lit(0)).alias("events")
        )
        plan = Plan(
            batch=self._batch,
            kind=kind,
            source=self.manifest.runId,
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
        return plan, EventTotals(0, 0, plan.events)  # the requests were counted just now, and there are no receipts

    def _read_requests(self, plan: Plan) -> DataFrame:
        """Read the requests of a plan; none if their folder is missing."""
        folder = self._plans.requests(plan.batch, plan.epoch)
        return self._lake.rows(folder if self._lake.files.exists(folder) else [], REQUESTS)

    def _read_events(self) -> DataFrame:
        return self._lake.published_events([self.manifest])


def account_for_plan(manifest: Manifest, plan: Plan, before: EventTotals, after: EventTotals) -> Account:
    """Account for every event of the batch, from its manifest, the plan and the receipts.

    Args:
        manifest: has the number of events that the build counted.
        plan: the delivery's.
        before: the plan's events by status when the run began.
        after: the same now.

    Examples:
        >>> from jobs.ledger.plans import TimeSpan
        >>> counts = {"delivered": 5, "refused": 1, "waiting": 0, "span": TimeSpan(1, 9)}
        >>> plan = Plan("b", "batch", "run-1", 2, "run-2", 10, 1, **counts)
        >>> manifest = Manifest("b", 1, "run-1", "passed", 16, 0)
        >>> account_for_plan(manifest, plan, EventTotals(4, 0, 6), EventTotals(7, 1, 2))
        {'events': 16, 'alreadyDelivered': 9, 'delivered': 3, 'deadLettered': 2, 'pending': 2}
    """
    return {
        "events": manifest.events,
        "alreadyDelivered": plan.delivered + before.delivered,
        "delivered": after.delivered - before.delivered,
        "deadLettered": plan.refused + after.refused,
        "pending": plan.waiting + after.pending,
    }


def account_for_totals(manifest: Manifest, totals: DeliveryTotals) -> Account:
    """Account for a batch with nothing left to send."""
    done = {"alreadyDelivered": totals.delivered, "delivered": 0, "deadLettered": totals.refused, "pending": 0}
    return {"events": manifest.events, **done}


def check_counts(what: str, counts: Mapping[str, int], unplanned: int = 0) -> None:
    """Check that every event is accounted for, once.

    Args:
        what: names the batch or batches.
        counts: events by status.
        unplanned: events with receipts that are in no plan.

    Raises:
        CountsError: they do not add up.
    """
    ends = sum(counts[name] for name in EVENT_COUNTERS[1:])
    if ends != counts["events"]:
        parts = " + ".join(f"{counts[name]:,} {name}" for name in EVENT_COUNTERS[1:])
        wrong = f"it has {counts['events']:,} events, but {parts} are {ends:,}"
    elif unplanned:
        wrong = f"receipts name {unplanned:,} events that its plan does not have"
    else:
        return
    raise CountsError(
        f"{what}: its counts do not add up: {wrong}. Somebody else has deleted, changed or added files of the lake, "
        "or this program has a fault: change nothing in the lake, and report this line"
    )


def read_receipts(lake: Lake, paths: list[str]) -> DataFrame:
    """Read receipts, with the epoch of their runs, which gives the ledger's order."""
    return _read_with_epoch(lake, paths, RECEIPTS)


def with_states(lake: Lake, events: DataFrame, paths: list[str]) -> DataFrame:
    """Add the final state of events from receipts: `status` and `epoch` of the last answer, null without one."""
    if not paths:
        return _add_null_column(_add_null_column(events, "status", "string"), "epoch", "bigint")
    return events.join(final_statuses(read_receipts(lake, paths)), "eventId", "left")


def _epoch_to_begin_from(kind: Kind, open_plans: list[Plan], epoch: int) -> int:
    """Find the epoch from which on answers count: for an interrupted `resend`, that of its first run."""
    if kind != "resend":
        return 0
    return next((plan.again for plan in reversed(open_plans) if plan.kind == "resend"), epoch)


def _read_with_epoch(lake: Lake, paths: list[str], schema: StructType) -> DataFrame:
    rows = lake.rows(paths, schema)
    # Only rows from files have `_metadata`.
    return rows.withColumn("epoch", epoch_in(F.col("_metadata.file_name")) if paths else F.lit(0).cast("bigint"))


def _add_null_column(rows: DataFrame, name: str, kind: str) -> DataFrame:
    return rows.withColumn(name, F.lit(None).cast(kind))


def _count_by_status(events: DataFrame) -> dict[str | None, int]:
    return {row["status"]: row["count"] for row in events.groupBy("status").count().collect()}


def _find_span(events: DataFrame) -> TimeSpan:
    found = sent_span(events).collect()[0]
    return TimeSpan(found["since"], found["until"]) if found["derived"] else TimeSpan(None, None)
