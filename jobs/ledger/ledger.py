"""The ledger of a delivery: its plan, receipts and dead letters; what has ended of a batch, and what is to be sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from delivery.http.service import Service
from jobs.lake.manifests import Manifest
from jobs.lake.tables import Lake
from jobs.ledger.plans import Balance, Kind, Plan, Span
from jobs.ledger.tracker import Tracker
from transforms.outcomes import fates, letters, remaining, sent_span, tally
from transforms.packing import pack_requests
from transforms.schemas import DEAD_LETTERS, EVENTS, RECEIPTS, REFUSALS, REQUESTS

_CHOICES: Final[dict[Kind, str]] = {
    "batch": "status IS NULL",
    "resend": "true",
    "dead-letters": "status = 'refused'",
}
"""Which events of a batch are sent, by how they ended before; null is not at all."""


@dataclass(frozen=True, slots=True)
class Tally:
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


class Ledger:
    """What the service has taken and refused of a batch, for one trackingId.

    Args:
        lake: where it all lies.
        batch: the label.
        service: whose trackingId it is.

    Attributes:
        deliveryId: names the trackingId and the batch.
    """

    def __init__(self, lake: Lake, batch: str, service: Service) -> None:
        self._lake = lake
        self._batch = batch
        self._tracker = Tracker(lake, service)
        self._plans = self._tracker.plans
        self._receipts = self._tracker.receipts(batch)
        self.deliveryId = self._tracker.delivery(batch)

    def balance(self, manifest: Manifest) -> Balance | None:
        """Say what came of the batch; None where something may be left to send: a plan has to be made or taken up."""
        found = self._plans.standings({self._batch: manifest.runId}).get(self._batch)
        return found if isinstance(found, Balance) else None

    def plan(self, kind: Kind, manifest: Manifest, run: str, ensure: Callable[[], None]) -> Plan:
        """Take up the plan that an earlier run left, or make one.

        Args:
            kind: which events are to be sent.
            manifest: the batch's.
            run: the run's id.
            ensure: raises UnfinishedError where this run has lost its lock; asked before others' files are touched.
        """
        self._receipts.sweep(ensure)
        ensure()
        found = self._plans.find(self._batch, kind, manifest.runId)
        return found or self._made(kind, manifest, run, ensure)

    def remaining(self, plan: Plan) -> DataFrame:
        """Give the requests of a plan that have not ended, whole or in part: `ended` names the parts that have."""
        requests = self._lake.rows(self._plans.requests(plan.batch, plan.runId), REQUESTS)
        paths = self._receipts.paths(plan.runId)
        return remaining(requests, self._read(paths)) if paths else _with(requests, "ended", "array<string>")

    def tally(self, plan: Plan) -> Tally:
        """Count the events of a plan by what became of them, each by its id: in its requests, and in their receipts."""
        requests = self._lake.rows(self._plans.requests(plan.batch, plan.runId), REQUESTS)
        rows = tally(requests, self._read(self._receipts.paths(plan.runId))).collect() if plan.requests else []
        found = {row["status"]: row["planned"] for row in rows}
        return Tally(
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
        self._receipts.write(plan.runId, run, rows)

    def settle(self, manifest: Manifest, run: str, ensure: Callable[[], None]) -> None:
        """Make `dead_letters` hold what the service has refused for good and not taken since, and nothing else.

        Args:
            manifest: the batch's.
            run: the run's id.
            ensure: raises UnfinishedError where this run has lost its lock; asked before others' files are touched.
        """
        refusals, part = self._receipts.refusals(), f"deliveryId={self.deliveryId}"
        if not refusals:
            return
        rows = letters(
            self._events(manifest), self._read(self._receipts.paths()), self._lake.rows(refusals, REFUSALS)
        ).select(*DEAD_LETTERS.names)
        folder = self._lake.folder("dead_letters", self._batch, part)
        rows.write.mode("overwrite").parquet(f"{folder}/runId={run}")
        older = [name for name in self._lake.files.children(folder) if name != f"runId={run}"]
        ensure()
        for name in older:
            self._lake.files.delete(f"{folder}/{name}")

    def end(self, plan: Plan, balance: Balance) -> None:
        """Note that nothing of a plan is left to do, and what came of the batch."""
        self._plans.end(plan, balance)

    def _made(self, kind: Kind, manifest: Manifest, run: str, ensure: Callable[[], None]) -> Plan:
        """Choose events, pack them, and fix the plan."""
        events = self._events(manifest)
        span = _span(events)
        paths = self._tracker.paths([self._batch], span)
        # Without receipts there is no join, which would shuffle every event to find nothing.
        ended = fates(self._read(paths))
        joined = events.join(ended, "eventId", "left") if paths else _with(events, "status", "string")
        counts = _by_status(joined) if paths else {}
        folder = self._plans.requests(self._batch, run)
        chosen = joined.where(_CHOICES[kind]).select(*EVENTS.names)
        pack_requests(chosen).write.mode("overwrite").parquet(folder)
        size = self._lake.rows(folder, REQUESTS).agg(
            F.count("*").alias("requests"), F.coalesce(F.sum(F.size("eventIds")), F.lit(0)).alias("events")
        )
        left = {} if kind == "resend" else counts
        plan = Plan(
            batch=self._batch,
            kind=kind,
            source=manifest.runId,
            runId=run,
            delivered=left.get("delivered", 0),
            refused=0 if kind == "dead-letters" else left.get("refused", 0),
            span=span,
            **size.collect()[0].asDict(),
        )
        if plan.requests:
            ensure()
            self._plans.fix(plan)
        return plan

    def _events(self, manifest: Manifest) -> DataFrame:
        return self._lake.published_events([manifest], EVENTS)

    def _read(self, paths: list[str]) -> DataFrame:
        return self._lake.rows(paths, RECEIPTS)


def _with(rows: DataFrame, name: str, kind: str) -> DataFrame:
    return rows.withColumn(name, F.lit(None).cast(kind))


def _by_status(events: DataFrame) -> dict[str, int]:
    return {row["status"]: row["count"] for row in events.groupBy("status").count().collect()}


def _span(events: DataFrame) -> Span:
    found = sent_span(events).collect()[0]
    return Span(found["since"], found["until"]) if found["derived"] else Span(None, None)
