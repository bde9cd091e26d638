"""The way back from quarantine: what a mended mapping makes valid joins its batch, once, and the rest stays."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from emulator import EmulatorSettings, running
from jobs import build_events
from jobs.lake.manifests import Manifest
from jobs.lake.tables import Lake

BROKEN = """
[source]
format = "json"
schema = "who STRING, user STRING, kind STRING, at STRING, sku STRING"

[event]
eventType = "kind"
sentAt    = "to_timestamp(at, \\"yyyy-MM-dd'T'HH:mm:ssX\\")"
visitorId = "who"
userId    = "user"
itemId    = "sku"
"""
READ_NOW = "coalesce(to_timestamp({at}), timestamp_seconds(CAST({at} AS BIGINT)))"
MENDED = re.sub(r"to_timestamp\(at.*\)", READ_NOW.format(at="at"), BROKEN)
LENIENT = ("--on-gate-failure", "warn")
"""For batches of which so much is refused that they would not be kept."""
OTHER_FORMATS = ("multiline csv", "parquet", "orc", "text")
DAY = 1704153600  # 2024-01-02T00:00:00Z


def iso(minute: int) -> str:
    return f"2024-01-02T{minute // 60:02}:{minute % 60:02}:00Z"


def epoch(minute: int) -> str:
    return str(DAY + minute * 60)


def record(at: str, who: str = "v1", **more: Any) -> dict[str, Any]:
    return {"who": who, "kind": "view", "at": at, "sku": "7", **more}


@pytest.fixture
def mapping(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "mapping.toml"
        path.write_text(text)
        return path

    return write


def raw(tmp_path: Path, *records: object) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir(exist_ok=True)
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def table(spark: SparkSession, lake: Path, name: str) -> DataFrame:
    return spark.read.parquet(str(lake / name))


def sessions(spark: SparkSession, lake: Path) -> dict[int, str]:
    """The sessionId of each event, by its minute of the day."""
    rows = table(spark, lake, "events").select(F.unix_seconds("sentAt").alias("at"), "sessionId").collect()
    return {(row["at"] - DAY) // 60: row["sessionId"] for row in rows}


def counts(summary: dict[str, Any]) -> tuple[int, ...]:
    return tuple(summary[name] for name in ("read", "filtered", "candidates", "events", "quarantined", "duplicates"))


def test_what_is_valid_now_joins_the_batch_and_the_rest_stays_with_its_tries(
    spark: SparkSession, build: Any, retry: Any, lake: Path, tmp_path: Path, mapping: Any
) -> None:
    records = [record(iso(0)), record(epoch(1)), record(epoch(2)), record(epoch(2)), record("soon"), "{broken"]
    build(raw(tmp_path, *records), mapping=mapping(BROKEN))
    before = {row.eventId for row in table(spark, lake, "events").collect()}
    ended = retry(mapping(MENDED))
    assert (ended.code, counts(ended.summary)) == (0, (5, 0, 5, 2, 2, 1))
    assert ended.summary["reasons"] == {"malformed_record": 1, "sentAt_missing": 1}
    assert ended.summary["attempts"] == {"2": 2}
    after = table(spark, lake, "events").collect()
    assert len(after) == 3 and before < {row.eventId for row in after}
    left = table(spark, lake, "quarantine").select("record", "stage", "attempts").collect()
    assert sorted((row.record, row.stage, row.attempts) for row in left) == [
        (json.dumps(records[4]), "validate", 2),
        ("{broken", "read", 2),
    ]


def test_the_same_events_as_if_the_batch_were_built_with_the_mended_mapping(
    spark: SparkSession, build: Any, retry: Any, lake: Path, tmp_path: Path, mapping: Any
) -> None:
    records = [record(epoch(n) if n % 3 else iso(n), who=f"v{n % 5}", sku=f"i{n % 7}") for n in range(0, 600, 7)]
    build(raw(tmp_path, *records), mapping=mapping(BROKEN), batch="2024-01-02", more=LENIENT)
    retry(mapping(MENDED), batch="2024-01-02")
    build(raw(tmp_path, *records), mapping=mapping(MENDED), batch="whole", more=("--look-back", "0"))
    ids = {
        batch: {row.eventId for row in table(spark, lake, "events").where(F.col("batch") == batch).collect()}
        for batch in ("2024-01-02", "whole")
    }
    assert ids["2024-01-02"] == ids["whole"] and len(ids["whole"]) == 86


def test_doing_so_twice_changes_nothing(
    spark: SparkSession, build: Any, retry: Any, lake: Path, tmp_path: Path, mapping: Any
) -> None:
    build(raw(tmp_path, record(iso(0)), record(epoch(1)), "{broken"), mapping=mapping(BROKEN))
    retry(mapping(MENDED))
    once = {tuple(row) for row in table(spark, lake, "events").drop("runId", "properties", "impression").collect()}
    ended = retry(mapping(MENDED))
    twice = [tuple(row) for row in table(spark, lake, "events").drop("runId", "properties", "impression").collect()]
    assert (ended.code, counts(ended.summary)) == (0, (1, 0, 1, 0, 1, 0))
    assert len(twice) == 2 and set(twice) == once
    assert ended.summary["attempts"] == {"3": 1}


def test_an_empty_quarantine_is_left_alone(
    spark: SparkSession, build: Any, retry: Any, lake: Path, tmp_path: Path, mapping: Any
) -> None:
    built = build(raw(tmp_path, record(iso(0))), mapping=mapping(MENDED))
    ended = retry(mapping(MENDED))
    assert (ended.code, counts(ended.summary), ended.summary["gate"]) == (0, (0,) * 6, "passed")
    assert [row.runId for row in table(spark, lake, "events").collect()] == [built.summary["runId"]]


def test_an_event_delivered_before_is_not_delivered_again(
    build: Any, retry: Any, put: Any, tmp_path: Path, mapping: Any
) -> None:
    build(raw(tmp_path, record(iso(0)), record(epoch(1))), mapping=mapping(BROKEN))
    with running(EmulatorSettings()) as service:
        first = put(service.endpoint_url)
        retry(mapping(MENDED))
        second = put(service.endpoint_url)
    delivered = [(ended.summary["alreadyDelivered"], ended.summary["delivered"]) for ended in (first, second)]
    assert delivered == [(0, 1), (1, 1)]


def test_who_comes_late_joins_the_session_and_renames_none(
    spark: SparkSession, build: Any, retry: Any, lake: Path, tmp_path: Path, mapping: Any
) -> None:
    known, late = (60, 80, 200, 250), (50, 70, 110, 130, 225, 400)
    records = [*(record(iso(minute)) for minute in known), *(record(epoch(minute)) for minute in late)]
    build(raw(tmp_path, *records), mapping=mapping(BROKEN))
    before = sessions(spark, lake)
    assert len({before[60], before[80]}) == 1 and len(set(before.values())) == 3
    retry(mapping(MENDED))
    after = sessions(spark, lake)
    assert {minute: after[minute] for minute in known} == before
    assert after[50] == after[70] == after[110] == after[130] == before[60]  # before it, within it, and after it
    assert after[225] == before[200]  # it would have bridged two: it joins the one before
    assert after[400] not in before.values()


def test_one_element_of_a_record_comes_back_alone(
    spark: SparkSession, build: Any, retry: Any, lake: Path, tmp_path: Path, mapping: Any
) -> None:
    text = """
[source]
format = "json"
schema = "who STRING, events ARRAY<STRUCT<kind: STRING, at: STRING>>"
[record]
explode = "events"
[event]
eventType = "element.kind"
visitorId = "who"
sentAt = "to_timestamp(element.at)"
"""
    mended = text.replace("to_timestamp(element.at)", READ_NOW.format(at="element.at"))
    elements = [{"kind": "view", "at": at} for at in (iso(0), epoch(1), "soon", epoch(3))]
    records = [{"who": "v1", "events": elements}, {"who": "v1", "events": elements}, {"who": "v2", "events": None}]
    built = build(raw(tmp_path, *records), mapping=mapping(text), more=LENIENT)
    assert counts(built.summary) == (3, 0, 9, 1, 7, 1)
    refused = table(spark, lake, "quarantine").select("stage", "element", "attempts").collect()
    assert sorted((row.stage, row.element or 0, row.attempts) for row in refused) == [
        ("map", 0, 1),
        *[("validate", n, 1) for n in (1, 1, 2, 2, 3, 3)],
    ]
    ended = retry(mapping(mended), more=LENIENT)
    assert counts(ended.summary) == (7, 0, 7, 2, 3, 2)
    assert table(spark, lake, "events").count() == 3
    short = mended.replace('explode = "events"', 'explode = "slice(events, 1, 1)"')
    other = retry(mapping(short))
    assert other.code == 2 and "[record] explode has changed since it was built" in other.said[0]


@pytest.mark.parametrize(
    "kind",
    ["csv", "multiline json", *(pytest.param(kind, marks=pytest.mark.long) for kind in OTHER_FORMATS)],
)
def test_every_format_comes_back(
    spark: SparkSession, build: Any, retry: Any, lake: Path, tmp_path: Path, mapping: Any, kind: str
) -> None:
    form, _, _ = kind.rpartition(" ") if kind == "text" else ("", "", "")
    form = kind.removeprefix("multiline ")
    several = ', multiLine = "true"' if kind.startswith("multiline") else ""
    head = f'[source]\nformat = "{form}"\n' + (
        "pattern = '^(?<who>\\S+) (?<n>\\S+) (?<at>\\S+ \\S+)$'\n"
        if kind == "text"
        else 'schema = "who STRING, n STRING, at TIMESTAMP"\n'
        + ('options = { header = "true"' + several + " }\n" if form == "csv" else "")
        + ("options = { " + several.removeprefix(", ") + " }\n" if form == "json" else "")
    )
    event = '[event]\neventType = "\'view\'"\nvisitorId = "who"\nsentAt = "CAST(at AS TIMESTAMP)"\n'
    broken = head + event + "eventValue = \"CAST('NaN' AS DOUBLE)\"\n"
    mended = head + event + 'eventValue = "CAST(n AS DOUBLE)"\n'
    rows = spark.createDataFrame([("v1", 7), ("v2", 8)], "who STRING, n BIGINT").withColumn(
        "at", F.expr("timestamp'2024-01-02 03:04:05.678901' + make_interval(0, 0, 0, 0, 0, n)")
    )
    folder, moments = tmp_path / "raw", {"timestampFormat": "yyyy-MM-dd HH:mm:ss.SSSSSS"}
    if kind == "text":
        rows.select(F.format_string("%s %s %s", "who", "n", F.col("at").cast("string"))).write.text(str(folder))
    elif kind == "multiline json":
        rows.select(F.to_json(F.collect_list(F.struct("*")), moments)).write.text(str(folder))
    else:
        writer = rows.coalesce(1).write.options(**moments)
        writer.options(**({"header": "true"} if form == "csv" else {})).format(form).save(str(folder))
    built = build(folder, mapping=mapping(broken), more=LENIENT)
    assert (built.summary["events"], built.summary["quarantined"]) == (0, 2)
    ended = retry(mapping(mended))
    assert ended.code == 0 and ended.summary["events"] == 2
    times = {
        row[0]: row[1]
        for row in table(spark, lake, "events").select("eventValue", F.col("sentAt").cast("string")).collect()
    }
    assert times == {7.0: "2024-01-02 03:11:05.678901", 8.0: "2024-01-02 03:12:05.678901"}


def test_what_was_rendered_is_known_for_it_after_any_number_of_tries(
    spark: SparkSession, build: Any, retry: Any, lake: Path, tmp_path: Path, mapping: Any
) -> None:
    head = '[source]\nformat = "csv"\noptions = { multiLine = "true" }\nschema = "who STRING, at STRING, n %s"\n'
    event = '[event]\neventType = "\'view\'"\nvisitorId = "who"\nsentAt = "%s"\n'
    (tmp_path / "raw.csv").write_text('v1,1704153600,"a\nb"\nv2,soon\n')
    first = build(tmp_path / "raw.csv", mapping=mapping(head % "STRING" + event % "to_timestamp(at)"), more=LENIENT)
    second = retry(mapping(head % "INT" + event % "timestamp_seconds(CAST(at AS BIGINT))"), more=LENIENT)
    third = retry(mapping(head % "STRING" + event % "timestamp_seconds(CAST(at AS BIGINT))"))
    reasons = [ended.summary["reasons"] for ended in (first, second, third)]
    assert reasons == [
        {"malformed_record": 1, "sentAt_missing": 1},
        {"malformed_record": 1, "schema_mismatch": 1},
        {"malformed_record": 1},
    ]
    (event_row,) = table(spark, lake, "events").collect()
    assert (event_row.visitorId, event_row.eventType) == ("v1", "view")


def test_a_nested_value_that_does_not_fit_is_refused_as_at_first(
    build: Any, retry: Any, tmp_path: Path, mapping: Any
) -> None:
    text = (
        '[source]\nformat = "json"\noptions = { multiLine = "true" }\n'
        'schema = "who STRING, at STRING, p STRUCT<i: %s>"\n'
        '[event]\neventType = "\'view\'"\nvisitorId = "who"\nitemId = "CAST(p.i AS STRING)"\nsentAt = "%s"\n'
    )
    (tmp_path / "raw.json").write_text('{"who": "v1", "at": "1704153600", "p": {"i": "x1"}}')
    build(tmp_path / "raw.json", mapping=mapping(text % ("STRING", "to_timestamp(at)")), more=LENIENT)
    ended = retry(mapping(text % ("INT", "timestamp_seconds(CAST(at AS BIGINT))")), more=LENIENT)
    assert ended.summary["reasons"] == {"schema_mismatch": 1}


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_rows_that_do_not_tell_how_they_were_kept_come_back_too(
    spark: SparkSession, build: Any, retry: Any, lake: Path, tmp_path: Path, mapping: Any, kind: str
) -> None:
    rows = spark.createDataFrame([("v1", iso(0)), ("v1", epoch(1))], "who STRING, at STRING").coalesce(1)
    rows.write.format(kind).save(str(tmp_path / "raw"))
    head = f'[source]\nformat = "{kind}"\nschema = "who STRING, at STRING"\n[event]\neventType = "\'view\'"\n'
    head += 'visitorId = "who"\nsentAt = '
    broken, mended = f'{head}"to_timestamp(at)"\n', f'{head}"{READ_NOW.format(at="at")}"\n'
    ended = build(tmp_path / "raw", mapping=mapping(broken))
    (folder,) = (lake / "quarantine").glob("batch=*/runId=*")
    newer = ("element", "attempts", "rendered", "header")
    before = spark.createDataFrame(spark.read.parquet(str(folder)).drop(*newer).collect())
    before.write.mode("overwrite").parquet(str(folder))
    (manifest,) = (lake / "_batches").glob("*/*.json")
    said = json.loads(manifest.read_text())
    del said["dataBytes"]  # nor did the version say that wrote such rows
    manifest.with_name(f".{manifest.name}.crc").unlink()
    manifest.write_text(json.dumps(said))
    assert ended.summary["quarantined"] == 1
    again = retry(mapping(mended))
    assert (again.code, counts(again.summary)) == (0, (1, 0, 1, 1, 0, 0))


def take_for_dead(lake: Path) -> None:
    """Delete the locks, as a run does that takes their holders for dead: they were silent for too long."""
    shutil.rmtree(lake / "_locks")


@pytest.mark.long
def test_of_a_retry_and_a_rebuild_at_once_the_younger_wins_and_no_rows_are_lost(
    spark: SparkSession,
    build: Any,
    retry: Any,
    lake: Path,
    tmp_path: Path,
    mapping: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = raw(tmp_path, record(iso(0)), record(epoch(1)))
    build(folder, mapping=mapping(BROKEN))
    mended, publish = mapping(MENDED), Lake.publish
    between: list[Any] = []

    def rebuilt_just_before(self: Lake, manifest: Manifest, **how: bool) -> None:
        monkeypatch.setattr(Lake, "publish", publish)
        take_for_dead(lake)
        between.append(build(folder, mapping=mended))
        publish(self, manifest, **how)

    monkeypatch.setattr(Lake, "publish", rebuilt_just_before)
    ended = retry(mended)
    assert between[0].code == 0 and ended.code == 5 and "another run published it meanwhile" in ended.said[0]
    newest = Lake(spark, str(lake)).manifests.newest("2024-01-02")
    assert newest is not None and newest.runId == between[0].summary["runId"]
    assert Lake(spark, str(lake)).published_events([newest]).count() == 2


@pytest.mark.long
def test_a_retry_whose_rows_another_run_swept_says_so(
    build: Any, retry: Any, lake: Path, tmp_path: Path, mapping: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = raw(tmp_path, record(iso(0)), record(epoch(1)))
    build(folder, mapping=mapping(BROKEN))
    mended, take = mapping(MENDED), build_events.take_records

    def rebuilt_just_before(*arguments: Any) -> Any:
        monkeypatch.setattr(build_events, "take_records", take)
        take_for_dead(lake)
        assert build(folder, mapping=mended).code == 0
        return take(*arguments)

    monkeypatch.setattr(build_events, "take_records", rebuilt_just_before)
    ended = retry(mended)
    assert ended.code == 5 and "it has just been rebuilt: run this again" in ended.said[0]


def test_what_a_mended_where_leaves_out_leaves_the_quarantine(
    spark: SparkSession, build: Any, retry: Any, lake: Path, tmp_path: Path, mapping: Any
) -> None:
    build(raw(tmp_path, record(iso(0)), record("soon", kind="ping")), mapping=mapping(MENDED))
    ended = retry(mapping(MENDED.replace("[event]", "[record]\nwhere = \"kind <> 'ping'\"\n[event]")))
    assert counts(ended.summary) == (1, 1, 0, 0, 0, 0)
    manifest = json.loads(next((lake / "_batches/2024-01-02").glob("00000002*")).read_text())
    assert (manifest["quarantined"], manifest["read"], manifest["filtered"]) == (0, 2, 1)


def test_given_event_ids_are_not_doubled(
    spark: SparkSession, build: Any, retry: Any, lake: Path, tmp_path: Path, mapping: Any
) -> None:
    own = [record(iso(0), id="a"), record(epoch(1), id="a"), record(epoch(2), id="b"), record(epoch(3), id="b")]
    with_id = [text.replace("sku STRING", "sku STRING, id STRING") + 'eventId = "id"\n' for text in (BROKEN, MENDED)]
    build(raw(tmp_path, *own), mapping=mapping(with_id[0]))
    ended = retry(mapping(with_id[1]))
    assert counts(ended.summary) == (3, 0, 3, 1, 0, 2)
    kept = table(spark, lake, "events").select("eventId", F.unix_seconds("sentAt").alias("at")).collect()
    assert sorted((row.eventId, row.at - DAY) for row in kept) == [("a", 0), ("b", 120)]


def test_a_batch_that_failed_or_never_was_is_told(build: Any, retry: Any, tmp_path: Path, mapping: Any) -> None:
    build(raw(tmp_path, *[record("soon", sku=str(n)) for n in range(1_000)]), mapping=mapping(BROKEN))
    failed, absent = retry(mapping(MENDED)), retry(mapping(MENDED), batch="2024-01-05")
    assert failed.code == absent.code == 2
    assert "failed its gate" in failed.said[0] and "build all of it again, from its --input" in failed.said[0]
    assert absent.said == ["batch 2024-01-05: the lake has no such batch: build it from its --input first"]


def test_a_retry_that_would_fail_the_gate_leaves_the_batch_as_it_is(
    spark: SparkSession, build: Any, retry: Any, lake: Path, tmp_path: Path, mapping: Any
) -> None:
    build(raw(tmp_path, record(iso(0)), record(epoch(1)), "{broken"), mapping=mapping(BROKEN))
    strict = tmp_path / "strict.toml"
    strict.write_text("[malformed_record]\nfail_count = 0\n")
    ended = retry(mapping(MENDED), more=("--thresholds", str(strict)))
    assert ended.code == 3 and "was not changed" in ended.said[-1]
    assert table(spark, lake, "events").count() == 1 and len(list((lake / "_batches/2024-01-02").glob("0*"))) == 1


def test_input_and_retry_exclude_each_other(build: Any, tmp_path: Path, mapping: Any) -> None:
    ended = build(raw(tmp_path, record(iso(0))), mapping=mapping(BROKEN), more=("--retry-quarantine",))
    assert ended.code == 2 and "not allowed with argument --input" in ended.said[0]
