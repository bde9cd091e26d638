"""The ledger of a delivery: which events the service has acknowledged, and which it has refused for good."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType, StringType, StructField, StructType

from delivery.client import Service
from delivery.records import Answer
from jobs.lake import Lake
from transforms.schemas import DEAD_LETTERS, EVENTS, RECEIPTS

OUTCOMES = StructType(
    [
        *RECEIPTS.fields,
        StructField("errorMessage", StringType()),
        StructField("throttled", IntegerType()),
        StructField("retried", IntegerType()),
    ]
)
"""What a task tells of each request: a receipt's columns, and what only dead letters and counters need."""


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of one run.

    Attributes:
        requests: requests for which a call was made, the parts of split ones each.
        attempts: calls, retries included.
        throttled: how many of them the service throttled.
        retried: how many of them repeated a call of the same request.
        refused: requests that the service refused for good.
        seconds: from the first task's start to the last one's end.
        unfinished: the last answers of requests that were given up for this run, each once.
    """

    requests: int = 0
    attempts: int = 0
    throttled: int = 0
    retried: int = 0
    refused: int = 0
    seconds: float = 0.0
    unfinished: tuple[Answer, ...] = ()

    def counters(self) -> dict[str, Any]:
        """Name them as the summary does."""
        return {
            "requests": self.requests,
            "attempts": self.attempts,
            "throttled": self.throttled,
            "retried": self.retried,
            "achievedRate": round(self.attempts / self.seconds, 1) if self.seconds else 0.0,
        }


def count_calls(outcomes: DataFrame, seconds: float) -> Calls:
    """Count what the tasks told, in one job: few rows, one for each way to end that there was."""
    sums = [F.sum(name).alias(name) for name in ("attempts", "throttled", "retried")]
    called = outcomes.where("attempts > 0").groupBy("status", "httpStatus", "errorCode")
    ways = called.agg(F.count("*").alias("requests"), *sums).collect()
    given_up = [way for way in ways if way["status"] == "pending" and way["errorCode"] is not None]
    return Calls(
        requests=sum(way["requests"] for way in ways),
        attempts=sum(way["attempts"] for way in ways),
        throttled=sum(way["throttled"] for way in ways),
        retried=sum(way["retried"] for way in ways),
        refused=sum(way["requests"] for way in ways if way["status"] == "refused"),
        seconds=seconds,
        unfinished=tuple(Answer(way["httpStatus"], way["errorCode"]) for way in given_up),
    )


class Ledger:
    """Receipts and dead letters of a batch, for one trackingId.

    Args:
        lake: where they lie.
        batch: the label.
        service: the same batch to the same trackingId is the same delivery, whenever it goes on. Another endpoint is
            another tracker: what an emulator acknowledged, Amazon has not.
    """

    def __init__(self, lake: Lake, batch: str, service: Service) -> None:
        self._lake = lake
        self._batch = batch
        self._tracker = _digest(service.trackingId + (f" at {service.endpoint_url}" if service.endpoint_url else ""))
        self.deliveryId = f"{self._tracker}-{_digest(batch)}"

    def count(self, events: DataFrame) -> dict[str, int]:
        """Count those of the events that have ended, by status."""
        folders = self._folders()
        if not folders:
            return {}
        ended = self._ended(folders).join(events.select("eventId"), "eventId", "left_semi")
        return {row["status"]: row["count"] for row in ended.groupBy("status").count().collect()}

    def waiting(self, events: DataFrame) -> DataFrame:
        """Leave those of the events that have not ended."""
        folders = self._folders()
        if not folders:
            return events
        return events.join(self._ended(folders), "eventId", "left_anti").select(*EVENTS.names)

    def keep(self, outcomes: DataFrame, waiting: DataFrame, calls: Calls) -> None:
        """Keep a run's outcomes: refused events in `dead_letters`, every call that ended in `receipts`.

        Receipts come last: an event counts as ended from then on.
        """
        part = f"deliveryId={self.deliveryId}"
        if calls.refused:
            refused = outcomes.where("status = 'refused'")
            why = refused.select(F.explode("eventIds").alias("eventId"), "requestId", "errorCode", "errorMessage")
            letters = waiting.join(why, "eventId").select(*DEAD_LETTERS.names)
            letters.write.mode("append").parquet(self._lake.folder("dead_letters", self._batch, part))
        ended = outcomes.where("status <> 'pending'").select(*RECEIPTS.names)
        ended.write.mode("append").parquet(self._lake.folder("receipts", self._batch, part))

    def _folders(self) -> list[str]:
        """The folders of the receipts that were given to this trackingId, by whatever delivery."""
        parts = self._lake.parts("receipts", self._batch)
        own = [part for part in parts if part.startswith(f"deliveryId={self._tracker}-")]
        return [self._lake.folder("receipts", self._batch, part) for part in own]

    def _ended(self, folders: list[str]) -> DataFrame:
        """The events that ended, each once: eventId, status."""
        events = self._lake.rows(folders, RECEIPTS).select(F.explode("eventIds").alias("eventId"), "status")
        return events.groupBy("eventId").agg(F.min("status").alias("status"))  # delivered before refused


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
