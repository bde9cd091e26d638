"""A lake with one batch, in which each user is one request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pyarrow.dataset as ds

BATCH: Final = "2024-01-01"
EVENTS_A_REQUEST: Final = 2
"""Events of one user, in one minute: a visit, and so one session."""
_DAY: Final = 1_704_067_200_000  # 2024-01-01T00:00:00Z
_SPREAD: Final = 86_000_000
"""Milliseconds over which the users come."""
_MAPPING: Final = """
[source]
format = "json"
schema = "who STRING, at BIGINT, item STRING"
[event]
eventType = "'view'"
sentAt    = "timestamp_millis(at)"
visitorId = "who"
userId    = "who"
itemId    = "item"
"""


def make_lake(folder: Path, requests: int, build: Callable[[Sequence[str]], int]) -> Path:
    """Write a log of so many users, build a batch from it, and return the lake.

    Raises:
        SystemExit: it could not be built.
    """
    log, mapping, lake = folder / "log.jsonl", folder / "mapping.toml", folder / "lake"
    mapping.write_text(_MAPPING)
    with log.open("w") as lines:
        for user in range(requests):
            for place in range(EVENTS_A_REQUEST):
                at = _DAY + user * _SPREAD // requests + place * 1_000
                lines.write(f'{{"who": "u{user}", "at": {at}, "item": "i{(user + place) % 9973}"}}\n')
    code = build(["--input", str(log), "--mapping", str(mapping), "--lake", str(lake), "--batch", BATCH])
    log.unlink()
    if code:
        raise SystemExit(f"soak: the batch could not be built: {code}")
    return lake


def read_event_ids(lake: Path) -> set[bytes]:
    """Read the ids of all events by path, without the code of the project.

    Raises:
        SystemExit: the lake has an event twice.
    """
    column = ds.dataset(lake / "events", format="parquet", partitioning="hive").to_table(columns=["eventId"])
    ids = {bytes.fromhex(each) for each in column["eventId"].to_pylist()}
    if len(ids) != column.num_rows:
        raise SystemExit("soak: the lake has an event twice")
    return ids
