"""Inputs that were found, or made, elsewhere, with what a build of each must come to: the cases of the samples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

CASES = (
    "g06-dots-beside-an-explode",
    "g07-one-name-twice",
    "g08-an-empty-file-beside",
    "r16-number-texts",
    "r17-partition-folders",
    "r18-marker-files",
    "r22-dots-and-blanks-in-names",
    "r24-gzip-by-other-names",
    "r31-byte-order-mark-in-the-middle",
)


def holds(expected: Any, actual: Any) -> bool:
    """Whether a value is what a case expects; times as seconds, and alternatives as {"either": [...]}."""
    if isinstance(expected, dict) and "either" in expected:
        return any(holds(one, actual) for one in expected["either"])
    if hasattr(actual, "timestamp"):
        actual = actual.timestamp()
    return bool(expected == actual)


@pytest.mark.parametrize("case", CASES)
def test_a_case_ends_as_it_must(
    spark: SparkSession, build: Callable[..., Any], samples: Path, lake: Path, case: str
) -> None:
    folder = samples / "cases" / case
    for run in json.loads((folder / "expected.json").read_text())["runs"]:
        inputs = [folder / name for name in run["input"]]
        ended = build(*inputs, mapping=folder / run["mapping"], batch=run["batch"], more=tuple(run["args"]))
        other = run.get("or", {})
        if other and ended.code == 0:
            assert {name: ended.summary[name] for name in other} == other, run["name"]
            continue
        assert ended.code == run.get("exitCode", 0), (run["name"], ended.said)
        for word in run.get("says", []):
            assert word in "\n".join(ended.said), run["name"]
        counters = run.get("counters", {}) | ({"reasons": run["reasons"]} if "reasons" in run else {})
        assert {name: ended.summary[name] for name in counters} == counters, run["name"]
        if "events" in run:
            rows = spark.read.parquet(str(lake / "events")).collect()
            events = [row.asDict(recursive=True) for row in rows]
            for event in run["events"]:
                fits = [row for row in events if all(holds(value, row[name]) for name, value in event.items())]
                assert fits, (run["name"], event)
                events.remove(fits[0])
