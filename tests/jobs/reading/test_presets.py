"""Every mapping that ships maps a log of its source: what comes out was reckoned by hand from the input beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.reading.mappings import SHIPPED_MAPPINGS, MappingText, checked_mapping, find_mapping
from tests.judged_records import judged_rows, told_of
from transforms.mapping.model import EventMapping

PRESETS = Path(__file__).parent / "presets"
DERIVED = re.compile(r"[0-9a-f]{64}")


def log_of(spark: SparkSession, preset: str, folder: Path) -> Path:
    """The preset's input; a query is written as Parquet."""
    (log,) = (PRESETS / preset).glob("input.*")
    if log.suffix != ".sql":
        return log
    spark.sql(log.read_text("utf-8")).coalesce(1).write.parquet(str(folder / "input"))
    return folder / "input"


def outcome(spark: SparkSession, mapping: EventMapping, log: Path) -> list[dict[str, Any]]:
    """What becomes of each record, in no order; ids that are derived are left out."""
    told = [told_of(row) for row in judged_rows(spark, mapping, log)]
    return [{key: value for key, value in row.items() if not DERIVED.fullmatch(str(value))} for row in told]


def in_order(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def expected(preset: str) -> list[dict[str, Any]]:
    return list(json.loads((PRESETS / preset / "expected.json").read_text("utf-8")))


@pytest.mark.parametrize("preset", SHIPPED_MAPPINGS)
def test_a_preset_gives_the_events_of_its_log(spark: SparkSession, tmp_path: Path, preset: str) -> None:
    mapping = checked_mapping(find_mapping(preset, spark), spark)
    assert in_order(outcome(spark, mapping, log_of(spark, preset, tmp_path))) == in_order(expected(preset))


def test_every_log_has_a_preset() -> None:
    assert sorted(path.name for path in PRESETS.iterdir()) == list(SHIPPED_MAPPINGS)


@pytest.mark.parametrize("preset", ["ga4_export", "posthog_export"])
def test_an_export_in_parquet_gives_the_same_events(spark: SparkSession, tmp_path: Path, preset: str) -> None:
    columns = {
        "ga4_export": """
            event_name STRING, event_timestamp BIGINT, user_pseudo_id STRING, user_id STRING,
            event_params ARRAY<STRUCT<key: STRING, value: STRUCT<
                string_value: STRING, int_value: BIGINT, float_value: DOUBLE, double_value: DOUBLE
            >>>,
            items ARRAY<STRUCT<item_id: STRING, item_name: STRING, price: DOUBLE, quantity: BIGINT>>
        """,
        "posthog_export": "uuid STRING, event STRING, distinct_id STRING, `timestamp` TIMESTAMP, properties STRING",
    }
    as_in_json = re.sub(r"BIGINT|TIMESTAMP(?!`)", "STRING", columns[preset])  # whole numbers and times are texts there
    texts = spark.read.json(str(PRESETS / preset / "input.jsonl"), schema=as_in_json)
    typed = [texts[field.name].cast(field.dataType) for field in spark.createDataFrame([], columns[preset]).schema]
    texts.select(*typed).coalesce(1).write.parquet(str(tmp_path / "export"))
    text = f'extends = "{preset}"\n[source]\nformat = "parquet"\n'
    mapping = checked_mapping(MappingText("own.toml", text), spark)
    assert in_order(outcome(spark, mapping, tmp_path / "export")) == in_order(expected(preset))
