"""Lakes laid down without a build: their tables as docs and manifests describe them, in known numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from jobs.lake.manifests import Manifest
from jobs.lake.tables import Lake

DAY_ONE = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        ("userId", pa.string()),
        ("visitorId", pa.string()),
        ("sessionId", pa.string()),
        ("eventId", pa.string()),
        ("eventType", pa.string()),
        ("eventValue", pa.float64()),
        ("itemId", pa.string()),
        ("impression", pa.list_(pa.string())),
        ("properties", pa.map_(pa.string(), pa.string())),
        ("recommendationId", pa.string()),
        ("eventAttributionSource", pa.string()),
        ("sentAt", pa.timestamp("us", tz="UTC")),
        ("sourceFile", pa.string()),
    ]
)

Event = dict[str, Any]


def day(number: int) -> str:
    """The label of the n-th day from 2024-01-01 on, from 0."""
    return f"{DAY_ONE + timedelta(days=number):%Y-%m-%d}"


def event(name: str, at: datetime, session: str = "s", **fields: Any) -> Event:
    """An event of the table; its id is of the form that derived ids have."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return {"eventId": digest, "sessionId": session, "eventType": "view", "itemId": "i", "sentAt": at, **fields}


def days(count: int, sessions: int, each: int) -> dict[str, list[Event]]:
    """So many daily batches of so many sessions of so many events, a second apart, by label."""
    return {
        day(number): [
            event(
                f"{number}-{session}-{place}",
                DAY_ONE + timedelta(days=number, seconds=session * 60 + place),
                session=f"{number}-{session}",
                userId=f"u-{session}",
            )
            for session in range(sessions)
            for place in range(each)
        ]
        for number in range(count)
    }


def lay(spark: SparkSession, root: Path, batches: dict[str, list[Event]], failed: Sequence[str] = ()) -> Lake:
    """Publish batches; of one whose gate failed no events are kept."""
    lake = Lake(spark, str(root))
    for batch, events in batches.items():
        run = f"built-{batch}"
        if batch not in failed:
            folder = root / "events" / f"batch={batch}" / f"runId={run}"
            folder.mkdir(parents=True)
            pq.write_table(pa.Table.from_pylist(events, schema=SCHEMA), folder / "part-0.parquet")
        gate = "failed" if batch in failed else "passed"
        lake.manifests.write(Manifest(batch, 1, run, gate, 0 if gate == "failed" else len(events), 0))
    return lake
