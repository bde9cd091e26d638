"""A build as people usually write it: Python parses, maps and checks rows, window functions cut sessions.

spark-submit rows_in_python.py RAW OUT

It does the same work: the rules, SHA-256 eventIds, duplicates, refused records kept whole with their
reasons, sessions, counts. Windows cut the sessions, because applyInPandas takes far longer for small groups.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pandas as pd
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.window import Window

GAP: Final = 1_800_000_000
LONGEST: Final = 86_400_000_000
LATEST: Final = 1_704_326_400_000_000  # 2024-01-04T00:00:00Z: --as-of and a day
MISSING: Final = frozenset({"", "null", "undefined", "none", "nan"})
TEXTS: Final = ("visitor", "user", "action", "sku", "device")
NAMES: Final = (
    "visitor",
    "userId",
    "visitorId",
    "eventId",
    "eventType",
    "eventValue",
    "itemId",
    "device",
    "micros",
    "fate",
    "reasons",
    "raw",
    "sourceFile",
)
MAPPED: Final = (
    "visitor STRING, userId STRING, visitorId STRING, eventId STRING, eventType STRING, eventValue DOUBLE, "
    "itemId STRING, device STRING, micros BIGINT, fate STRING, "
    "reasons ARRAY<STRUCT<code: STRING, field: STRING, message: STRING>>, raw STRING, sourceFile STRING"
)


def present(text: str | None) -> str | None:
    """Return None for an identifier that counts as missing."""
    return None if text is None or text.strip(" ").lower() in MISSING else text


def parse(raw: str) -> tuple[dict[str, Any], str | None]:
    """Parse a line: the record, and what is wrong with it."""
    try:
        record = json.loads(raw)
    except ValueError:
        return {}, "malformed_record"
    if not isinstance(record, dict):
        return {}, "malformed_record"
    at, price = record.get("at"), record.get("price")
    if not (at is None or type(at) is int) or not (price is None or type(price) in (int, float)):
        return {}, "schema_mismatch"
    for name in TEXTS:
        if (text := record.get(name)) is not None and not isinstance(text, str):
            record[name] = json.dumps(text)
    return record, None


def check(event: dict[str, Any], properties: str | None) -> list[tuple[str, str | None]]:
    """Name every rule that the event breaks, and its field."""
    kind, at, value, item = event["eventType"], event["micros"], event["eventValue"], event["itemId"]
    broken: list[tuple[str, str | None]] = []
    if event["visitor"] is None:
        broken.append(("identity_missing", None))
    if not kind:
        broken.append(("eventType_missing", "eventType"))
    elif len(kind) > 256:
        broken.append(("eventType_too_long", "eventType"))
    if at is None:
        broken.append(("sentAt_missing", "sentAt"))
    elif at < 0:
        broken.append(("sentAt_before_1970", "sentAt"))
    elif at > LATEST:
        broken.append(("sentAt_in_future", "sentAt"))
    if event["userId"] is not None and len(event["userId"]) > 256:
        broken.append(("userId_too_long", "userId"))
    if item is not None and len(item) > 256:
        broken.append(("itemId_too_long", "itemId"))
    if value is not None and not math.isfinite(value):
        broken.append(("eventValue_not_finite", "eventValue"))
    if properties is not None and len(properties) > 1024:
        broken.append(("properties_too_long", "properties"))
    if sum(len(text or "") for text in (kind, item, properties)) > 800:
        whole = {"eventType": kind, "itemId": item, "properties": properties, "eventValue": value, "sentAt": at}
        if len(json.dumps(whole).encode()) + 64 > 10_240:
            broken.append(("event_too_large", None))
    return broken


def event_id(event: dict[str, Any], properties: str | None) -> str:
    """Derive an id from the event's content."""
    content = {
        "visitorId": event["visitorId"],
        "userId": event["userId"],
        "eventType": event["eventType"],
        "sentAt": str(event["micros"]),
        "itemId": event["itemId"],
        "eventValue": None if event["eventValue"] is None else str(event["eventValue"]),
        "properties": properties,
    }
    parts = [f"{name}={len(text)}:{text}" for name, text in content.items() if text is not None]
    return hashlib.sha256(";".join(parts).encode()).hexdigest()


def fate_of(raw: str, source: str) -> tuple[Any, ...]:
    """Make a row (NAMES) from a line."""
    record, fault = parse(raw)
    nothing = [None] * 9
    if fault is not None:
        return (*nothing, "quarantined", [(fault, None, fault.replace("_", " "))], raw, source)
    kind = record.get("action")
    if kind is None or kind == "ping":
        return (*nothing, "filtered", None, None, None)
    at, price, device = record.get("at"), record.get("price"), record.get("device")
    visitor, user = present(record.get("visitor")), present(record.get("user"))
    event: dict[str, Any] = {
        "visitor": f"v:{visitor}" if visitor is not None else f"u:{user}" if user is not None else None,
        "userId": user,
        "visitorId": visitor,
        "eventId": None,
        "eventType": kind,
        "eventValue": None if price is None else float(price),
        "itemId": present(record.get("sku")),
        "device": device,
        "micros": None if at is None else at * 1_000,
    }
    properties = None if device is None else json.dumps({"device": device}, separators=(",", ":"), ensure_ascii=False)
    if broken := check(event, properties):
        reasons = [(code, field, code.replace("_", " ")) for code, field in broken]
        return (*event.values(), "quarantined", reasons, raw, source)
    event["eventId"] = event_id(event, properties)
    return (*event.values(), "valid", None, None, source)


def map_rows(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Make rows from lines, a batch at a time."""
    for batch in batches:
        rows = [fate_of(raw, source) for raw, source in zip(batch["value"], batch["source"], strict=True)]
        mapped = pd.DataFrame(rows, columns=list(NAMES))
        yield mapped.astype({"micros": "Int64", "eventValue": "Float64"})


def session_id() -> Column:
    """Name a session by its visitor and its first event."""
    piece = F.greatest(F.lit(0), F.floor((F.col("micros") - F.col("since") - 1) / LONGEST))
    return F.sha2(F.concat_ws("|", "visitor", F.col("since").cast("string"), F.when(piece > 0, piece)), 256)


def main(raw: str, out: str) -> None:
    """Build one batch."""
    spark = SparkSession.builder.appName("rows in Python").getOrCreate()
    lines = spark.read.text(raw).withColumn("source", F.input_file_name())
    mapped = lines.mapInPandas(map_rows, MAPPED).persist()  # written as two tables, and counted
    by_visitor = Window.partitionBy("visitor").orderBy("micros", "eventId", "sourceFile")
    last, other = F.lag("micros").over(by_visitor), F.lag("eventId").over(by_visitor)
    begun = F.when(last.isNull() | (F.col("micros") - last > GAP), F.col("micros"))
    valid = mapped.where("fate = 'valid'").withColumns(
        {"begun": begun, "again": F.coalesce(other == F.col("eventId"), F.lit(False))}
    )
    since = F.last("begun", ignorenulls=True).over(by_visitor.rowsBetween(Window.unboundedPreceding, 0))
    events = valid.withColumn("since", since).where("NOT again")
    events.select(
        "userId",
        "visitorId",
        session_id().alias("sessionId"),
        "eventId",
        "eventType",
        "eventValue",
        "itemId",
        F.lit(None).cast("array<string>").alias("impression"),
        F.when(F.col("device").isNotNull(), F.create_map(F.lit("device"), "device")).alias("properties"),
        F.lit(None).cast("string").alias("recommendationId"),
        F.lit(None).cast("string").alias("eventAttributionSource"),
        F.timestamp_micros("micros").alias("sentAt"),
        "sourceFile",
    ).write.parquet(f"{out}/events")
    refused = mapped.where("fate = 'quarantined'")
    stage = F.when(F.col("reasons")[0]["code"].isin("malformed_record", "schema_mismatch"), "read").otherwise(
        "validate"
    )
    refused.select(stage.alias("stage"), "reasons", F.col("raw").alias("record"), "sourceFile").write.parquet(
        f"{out}/quarantine"
    )
    print(json.dumps(count(spark, out, dict(mapped.groupBy("fate").count().collect()))))


def count(spark: SparkSession, out: str, fates: dict[str, int]) -> dict[str, Any]:
    """Count from the tables."""
    events, quarantine = spark.read.parquet(f"{out}/events"), spark.read.parquet(f"{out}/quarantine")
    groups = events.groupBy("userId", "sessionId").count()
    sessions = groups.groupBy("sessionId").agg(F.sum("count").alias("n"), F.sum(F.ceil(F.col("count") / 10)).alias("r"))
    totals = sessions.agg(F.count("*"), F.coalesce(F.sum("n"), F.lit(0)), F.coalesce(F.sum("r"), F.lit(0))).collect()[0]
    codes = quarantine.select(F.explode("reasons.code").alias("code"))
    reasons: dict[str, int] = dict(codes.groupBy("code").count().collect())
    quarantined = quarantine.count()
    candidates = fates.get("valid", 0) + fates.get("quarantined", 0)
    return {
        "read": sum(fates.values()),
        "filtered": fates.get("filtered", 0),
        "candidates": candidates,
        "events": totals[1],
        "quarantined": quarantined,
        "duplicates": candidates - totals[1] - quarantined,
        "sessions": totals[0],
        "users": events.select(F.count_distinct("userId")).collect()[0][0],
        "requests": totals[2],
        "reasons": reasons,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
