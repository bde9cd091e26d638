"""A draft runs as it stands, and makes of a log the events that somebody who knows it would make."""

from __future__ import annotations

import gzip
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs import draft_mapping
from jobs.building.preview import take_rows
from jobs.drafting.log_sample import FileStart, sample_log
from jobs.drafting.times import find_time
from jobs.reading.mappings import MappingText, checked_mapping
from jobs.reading.sources import read_records
from tests.jobs.test_preview import LATEST

Draft = Callable[..., tuple[int, str, dict[str, Any]]]


@pytest.fixture
def draft(spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Draft:
    """Draft a mapping for some files: the exit code, the TOML, and the summary."""

    def run(files: dict[str, str | bytes], *more: str) -> tuple[int, str, dict[str, Any]]:
        (tmp_path / "log").mkdir(exist_ok=True)
        for name, data in files.items():
            (tmp_path / "log" / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        code = draft_mapping.main(["--input", str(tmp_path / "log"), *more])
        out = capsys.readouterr().out
        assert out.splitlines()[-1].startswith("# {")
        return code, out, json.loads(out.splitlines()[-1].removeprefix("# "))

    return run


SHOP = [
    {
        "ts": 1704186900000 + n * 1000,
        "type": ("view", "cart", "buy")[n % 3],
        "user": {"id": 1000 + n % 7, "plan": "gold"},
        "device_id": f"d{n % 11}",
        "product_id": 12345678.0 + n % 5,
        "price": 12.5,
        "country": ("de", "fr")[n % 2],
    }
    for n in range(60)
]


def rows_of(spark: SparkSession, folder: Path, text: str) -> list[Any]:
    mapping = checked_mapping(MappingText("draft", text), spark)
    return take_rows(read_records(spark, [str(folder)], mapping), mapping, LATEST, 1_000)


def test_json_of_a_shop(spark: SparkSession, draft: Draft, tmp_path: Path) -> None:
    code, text, summary = draft({"a.jsonl": "".join(json.dumps(record) + "\n" for record in SHOP)})
    found = tomllib.loads(text)
    assert (code, summary["events"], summary["quarantined"]) == (0, 60, 0)
    assert found["source"]["format"] == "json" and "product_id STRING" in found["source"]["schema"]
    assert found["event"] == {
        "sentAt": "timestamp_millis(ts)",
        "eventType": "type",
        "visitorId": "device_id",
        "userId": "user.id",
        "itemId": "product_id",
        "eventValue": "price",
        "properties": {},
    }
    assert 'country = "country"' in text and "2 different values" in text
    rows = rows_of(spark, tmp_path / "log", text)
    assert {row.fields["itemId"] for row in rows} == {f"{12345678 + n}.0" for n in range(5)}
    assert {row.fields["userId"] for row in rows} == {str(1000 + n) for n in range(7)}


@pytest.mark.parametrize(
    ("data", "framing"),
    [
        ("".join(map(json.dumps, SHOP)), "concatenated"),
        (json.dumps(SHOP, indent=1), "array"),
        (gzip.compress(json.dumps(SHOP).encode()), "array"),
    ],
    ids=["concatenated", "array", "gzip"],
)
def test_json_of_other_framings(draft: Draft, data: str | bytes, framing: str) -> None:
    name = "a.json.gz" if isinstance(data, bytes) else "a.json"
    code, text, summary = draft({name: data})
    assert (code, tomllib.loads(text)["source"]["framing"], summary["events"]) == (0, framing, 60)


def test_sessions_whose_array_holds_the_events(draft: Draft) -> None:
    records = [
        {"session": n, "events": [{"aid": n * 10 + k, "ts": 1704186900000 + k, "type": "clicks"} for k in range(3)]}
        for n in range(20)
    ]
    code, text, summary = draft({"a.jsonl": "".join(json.dumps(record) + "\n" for record in records)})
    found = tomllib.loads(text)
    assert (code, summary["candidates"], summary["events"]) == (0, 60, 60)
    assert found["record"]["explode"] == "events"
    assert (found["event"]["itemId"], found["event"]["sessionId"]) == ("element.aid", "session")


@pytest.mark.parametrize(
    ("header", "separator"), [("when,Visitor ID,Action,SKU,Price", ","), ("when;Visitor ID;Action;SKU;Price", ";")]
)
def test_csv_with_a_header(draft: Draft, header: str, separator: str) -> None:
    lines = [header]
    for n in range(30):
        row = [f"{n % 28 + 1:02}/01/2024 09:15:{n:02}", f"v{n % 5}", "view", f"A{n % 9}", f"{n}.5"]
        lines.append(separator.join(row))
    code, text, summary = draft({"a.csv": "\n".join(lines)})
    found = tomllib.loads(text)
    assert (code, summary["events"], found["source"]["options"].get("sep", ",")) == (0, 30, separator)
    assert found["event"]["sentAt"] == "to_timestamp(when, 'dd/MM/yyyy HH:mm:ss')"
    assert (found["event"]["visitorId"], found["event"]["eventType"]) == ("`Visitor ID`", "Action")
    assert found["event"]["eventValue"] == "CAST(Price AS DOUBLE)"


def test_parquet_with_numbers_for_ids(spark: SparkSession, draft: Draft, tmp_path: Path) -> None:
    query = "SELECT 17L + id AS user_id, 'buy' AS action, TIMESTAMP '2024-01-02 09:15:00' AS event_time, id AS sku"
    spark.range(25).createOrReplaceTempView("ids")
    spark.sql(f"{query} FROM ids").coalesce(1).write.parquet(str(tmp_path / "log"))
    code, text, summary = draft({})
    assert (code, summary["events"]) == (0, 25)
    assert "user_id STRING" in tomllib.loads(text)["source"]["schema"]


def test_a_w3c_log(draft: Draft) -> None:
    lines = ["#Version: 1.0", "#Fields: date time c-ip cs-uri-stem sc-status"]
    lines += [f"2024-01-02 09:15:{n:02} 10.0.0.{n % 4} /item/{n} 200" for n in range(20)]
    code, text, summary = draft({"a.log": "\n".join(lines) + "\n"})
    found = tomllib.loads(text)
    assert (code, found["source"]["format"], summary["events"]) == (0, "w3c", 20)
    assert (found["event"]["sentAt"], found["event"]["itemId"]) == (
        "to_timestamp(concat(date, ' ', time))",
        "`cs-uri-stem`",
    )


def test_a_draft_of_what_says_little_runs_too(draft: Draft) -> None:
    code, text, summary = draft({"a.jsonl": '{"alpha": "x"}\n{"alpha": "y"}\n'})
    assert (code, summary["quarantined"]) == (0, 2)
    assert text.count("LOOK: ") >= 3


@pytest.mark.parametrize("data", ["", "no record\nof a known form\n", "\x00\x01\x02"])
def test_what_cannot_be_known_is_told(draft: Draft, data: str) -> None:
    code, text, summary = draft({"a.log": data})
    assert code == 2 and "--input" in summary["error"] and "Traceback" not in text


@pytest.mark.parametrize(
    ("values", "template"),
    [
        ([1704186900], "timestamp_seconds({})"),
        ([1704186900.25], "timestamp_seconds({})"),
        ([1704186900250], "timestamp_millis({})"),
        (["1704186900250000"], "timestamp_micros(CAST({} AS BIGINT))"),
        ([1704186900250000000], "timestamp_micros({} DIV 1000)"),
        (["2024-01-02T09:15:00.123Z"], "to_timestamp({})"),
        (["2024-01-02 09:15:00"], "to_timestamp({})"),
        (["02/Jan/2024:10:15:00 +0100"], "to_timestamp({}, 'dd/MMM/yyyy:HH:mm:ss Z')"),
        (["20240102"], "to_timestamp({}, 'yyyyMMdd')"),
        (["12345678"], None),
        ([7, 8], None),
        (["view"], None),
        ([True], None),
        ([], None),
    ],
)
def test_times_are_known_by_their_values(values: list[Any], template: str | None) -> None:
    reading = find_time(values)
    assert (reading.template if reading else None) == template


def test_a_sample_of_cut_files_has_only_whole_records() -> None:
    sample = sample_log([FileStart('{"a": 1}\n{"a": 2}\n{"a": 3', False)])
    assert sample is not None and [record["a"] for record in sample.records] == [1, 2]
    sample = sample_log([FileStart("a,b,c\n1,2,3\n4,5,6\n7,8", False)])
    assert sample is not None and len(sample.records) == 2


PRESETS = Path(__file__).parent / "reading" / "presets"
KNOWN = (
    "alb amplitude_export apache_combined cloudflare debezium ga4_export kafka_connect matomo mixpanel_export "
    "nginx_json open_bandit personalize_interactions posthog_export segment snowplow_enriched"
)


@pytest.mark.parametrize("name", KNOWN.split())
def test_the_log_of_a_shipped_mapping_is_known(draft: Draft, name: str) -> None:
    (log,) = [path for path in (PRESETS / name).iterdir() if path.stem == "input"]
    code, text, summary = draft({log.name: log.read_bytes()})
    assert (code, tomllib.loads(text)) == (0, {"extends": name})
    assert summary["events"] > 0
