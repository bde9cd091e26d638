"""The contestants that build: each reads the log of a shop, and must have the counts and rows of the others."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import duckdb

from benchmarks.measuring.process import ROOT, Cost, run, submitted
from benchmarks.shop_log import AS_OF, BATCH, SCHEMA

COUNTERS: Final = (
    "read",
    "filtered",
    "candidates",
    "events",
    "quarantined",
    "duplicates",
    "sessions",
    "users",
    "requests",
    "reasons",
)
GATED: Final = "jobs/build_events.py"
WITHOUT_GATE: Final = "benchmarks/peers/without_gate.py"
_EVENTS: Final = """
SELECT count(*), count(DISTINCT sessionId),
    bit_xor(hash(eventId, sessionId, userId, eventType, itemId, eventValue, epoch_us(sentAt)))
FROM read_parquet('%s/events/**/*.parquet', hive_partitioning = false)"""
_QUARANTINE: Final = """
SELECT count(*), bit_xor(hash(stage, record, list_transform(reasons, lambda reason: reason.code)))
FROM read_parquet('%s/quarantine/**/*.parquet', hive_partitioning = false)"""


class Judge:
    """Compares contestants with one another: one that does less is not a peer."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, str], tuple[str, object]] = {}

    def hold(self, who: str, shop: Path, what: str, found: object) -> None:
        """Compare a result with those of others for the same log.

        Raises:
            SystemExit: they are different.
        """
        first, known = self._known.setdefault((shop, what), (who, found))
        if known != found:
            raise SystemExit(
                f"{what} of {shop.name}: {who} has {found}, but {first} has {known}, so they are not peers"
            )


class Builders:
    """Builds a shop's log in several ways."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._judge = Judge()

    def floor(self, shop: Path) -> Cost:
        """Read, shuffle, sort and write with Spark, and nothing else."""
        out = self._folder / "floor"
        ended = run(submitted("benchmarks/peers/floor.py", str(shop / "raw"), SCHEMA, str(out)))
        ((rows,),) = _asked(f"SELECT count(*) FROM '{out}/events/*.parquet'")
        self._judge.hold("the floor", shop, "records", rows)
        return self._cleared(out, ended.cost)

    def ours(self, shop: Path, script: str = GATED, cores: int = 2) -> Cost:
        """Build with build_events, with or without its gate."""
        lake = self._folder / "lake"
        cost, counters = build(shop, lake, script, cores)
        self._hold(script, shop, lake, counters)
        return self._cleared(lake, cost)

    def in_python(self, shop: Path) -> Cost:
        """Build with rows parsed, mapped and checked in Python."""
        return self._peer(shop, submitted("benchmarks/peers/rows_in_python.py"))

    def duckdb(self, shop: Path) -> Cost:
        """Build with DuckDB."""
        return self._peer(shop, [sys.executable, str(ROOT / "benchmarks/peers/duckdb_build.py")])

    def _peer(self, shop: Path, command: Sequence[str]) -> Cost:
        out = self._folder / "peer"
        ended = run([*command, str(shop / "raw"), str(out)])
        self._hold(Path(command[-1]).name, shop, out, json.loads(ended.output[-1]))
        return self._cleared(out, ended.cost)

    def _hold(self, who: str, shop: Path, out: Path, counters: dict[str, Any]) -> None:
        self._judge.hold(who, shop, "counters", {name: counters[name] for name in COUNTERS})
        self._judge.hold(who, shop, "records", counters["read"])
        if counters["events"]:
            self._judge.hold(who, shop, "events", _asked(_EVENTS % out))
            self._judge.hold(who, shop, "quarantine", _asked(_QUARANTINE % out))

    def _cleared(self, folder: Path, cost: Cost) -> Cost:
        shutil.rmtree(folder)
        return cost


def build(shop: Path, lake: Path, script: str = GATED, cores: int = 2) -> tuple[Cost, dict[str, Any]]:
    """Build a batch in a lake."""
    where = ["--input", str(shop / "raw"), "--mapping", str(shop / "shop.toml"), "--lake", str(lake)]
    ended = run(submitted(script, *where, "--batch", BATCH, "--as-of", AS_OF, cores=cores))
    return ended.cost, json.loads(ended.output[-1])


def _asked(query: str) -> list[tuple[Any, ...]]:
    return duckdb.connect().execute(query).fetchall()
