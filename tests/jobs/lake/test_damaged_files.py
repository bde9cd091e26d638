"""Files of the lake after a power loss, or after somebody deleted some: the file is named, and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from emulator import Faults, Server
from jobs.errors import ConfigurationError, UnfinishedError
from jobs.lake.filesystem import FileSystem
from jobs.lake.manifests import Publications
from jobs.lake.tables import Lake
from jobs.ledger.ledger import Ledger
from tests.jobs.conftest import Job
from tests.jobs.lakes import day, days, lay

BATCH = "2024-01-02"
NEXT = "next"
"""A batch that comes after it, and looks back on it."""

Damage = Callable[[Path], object]


def crc_of(path: Path) -> Path:
    """The file of a file's checksums."""
    return path.with_name(f".{path.name}.crc")


DAMAGES: dict[str, Damage] = {
    "half of it": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "half of it, and no .crc": lambda path: (
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        crc_of(path).unlink(),
    ),
    "zeroes": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "zeroes, and an empty .crc": lambda path: (
        path.write_bytes(bytes(path.stat().st_size)),
        crc_of(path).write_bytes(b""),
    ),
    "nothing": lambda path: path.write_bytes(b""),
    "nothing, and no .crc": lambda path: (path.write_bytes(b""), crc_of(path).unlink()),
    "an object that is no manifest": lambda path: path.write_text("{}"),
    "a manifest without its batch": lambda path: path.write_text(json.dumps({"version": 2, "events": 3})),
}
CHECKSUMS: dict[str, Damage] = {
    "empty": lambda path: crc_of(path).write_bytes(b""),
    "cut": lambda path: crc_of(path).write_bytes(crc_of(path).read_bytes()[:9]),
    "zeroes": lambda path: crc_of(path).write_bytes(bytes(crc_of(path).stat().st_size)),
}


def manifests_of(lake: Path, batch: str = BATCH) -> list[Path]:
    return sorted((lake / "_batches" / batch).glob("*.json"))


def data_of(lake: Path, table: str, batch: str = BATCH) -> Path:
    (path,) = (lake / table / f"batch={batch}").glob("*/*.parquet")
    return path


@pytest.mark.parametrize("damage", DAMAGES)
def test_half_a_manifest_is_none_and_is_named(
    spark: SparkSession, lake: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    manifests = lay(spark, lake, days(1, 1, 4)).manifests
    whole = manifests.current(day(0))
    assert whole is not None
    manifests.write(replace(whole, version=2, runId="30000101T000000000000Z-power"))
    path = manifests_of(lake, day(0))[1]
    DAMAGES[damage](path)
    caplog.clear()
    for _ in range(2):
        assert manifests.publications(day(0)) == Publications(whole, whole)
    assert [path.name in line and "not a whole manifest" in line for line in caplog.messages if ".crc" not in line] == [
        True
    ], "once"
    assert manifests.next_version(day(0)) == 3


def test_half_a_manifest_blocks_no_build_and_no_delivery(
    spark: SparkSession, built: Callable[..., dict[str, Any]], put: Job, serve: Callable[..., Server], lake: Path
) -> None:
    built(each=4)
    first = manifests_of(lake)[0]
    second = first.with_name("00000002-30000101T000000000000Z-power.json")
    FileSystem(spark).create(str(second), first.read_text().replace('"version": 1', '"version": 2'))
    DAMAGES["half of it"](second)
    sent = put(serve().endpoint_url)
    assert (sent.code, sent.summary["delivered"]) == (0, 12)
    assert built(NEXT, each=8)["exitCode"] == 0, "what looks back on it"
    again = built(each=5)
    assert (again["exitCode"], again["events"]) == (0, 15)
    assert [path.name[:8] for path in manifests_of(lake)] == ["00000001", "00000002", "00000003"]
    assert {path.name for path in (lake / "events" / f"batch={BATCH}").iterdir()} == {f"runId={again['runId']}"}
    assert spark.read.parquet(str(lake / "events")).where(f"batch = '{BATCH}'").count() == 15


@pytest.mark.parametrize("damage", CHECKSUMS)
def test_a_whole_manifest_counts_whatever_its_checksums_are(
    spark: SparkSession, lake: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    manifests = lay(spark, lake, days(1, 1, 4)).manifests
    (path,) = manifests_of(lake, day(0))
    CHECKSUMS[damage](path)
    found = manifests.current(day(0))
    assert found is not None and found.events == 4
    # A `.crc` file without a whole header Hadoop passes over by itself, and names it in Spark's own log.
    assert damage != "cut" or [line for line in caplog.messages if path.name in line and ".crc" in line]


def test_a_batch_whose_only_manifest_is_half_was_never_built(
    built: Callable[..., dict[str, Any]], put: Job, lake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    built(each=4)
    DAMAGES["half of it"](manifests_of(lake)[0])
    ended = put("http://127.0.0.1:9")
    assert ended.code == 2 and "the lake has no such batch: run build_events for it first" in ended.said[0]
    assert [line for line in caplog.messages if manifests_of(lake)[0].name in line]
    assert built(each=4)["exitCode"] == 0


def test_foreign_files_are_no_manifests_and_no_batches(
    spark: SparkSession,
    tmp_path: Path,
    replay: Job,
    serve: Callable[..., Server],
    built: Callable[..., Any],
    lake: Path,
) -> None:
    """Also where their names would come last, or count as versions."""
    lay(spark, lake, days(2, 1, 4))
    for folder in (lake, lake / "_batches", lake / "_batches" / day(0), lake / "_intervals"):
        folder.mkdir(exist_ok=True)
        for name in ("{}", "zzz.json", "99999999.json", "²²²²²²²²-x.json", "notes.txt", "README"):
            (folder / name).write_text("{}")
    (lake / "_batches" / day(0) / "99999999-folder.txt").mkdir()
    (lake / "_batches" / "_temporary").mkdir()
    assert built(day(0), each=4)["exitCode"] == 0
    ended = replay(lake, day(0), day(1), url=serve().endpoint_url)
    assert (ended.code, ended.summary["delivered"], ended.summary["batches"]) == (0, 12 + 4, 2)
    assert replay(lake, day(0), day(1), "--plan").code == 0
    assert [path.name[:9] for path in manifests_of(lake, day(0))][:2] == ["00000001-", "00000002-"]


LOSSES: dict[str, Damage] = {
    "cut to nothing": DAMAGES["nothing, and no .crc"],
    "cut": DAMAGES["half of it, and no .crc"],
    "one deleted": Path.unlink,
    "all deleted": lambda path: shutil.rmtree(path.parent),
    "one added": lambda path: shutil.copy(path, path.with_name("part-9.parquet")),
}


def test_whoever_reads_less_or_more_than_was_published_is_told(
    spark: SparkSession, built: Callable[..., dict[str, Any]], lake: Path, tmp_path: Path
) -> None:
    built(each=4)
    manifest = Lake(spark, str(lake)).manifests.current(BATCH)
    assert manifest is not None and set(manifest.dataBytes) == {"events", "quarantine", "_visits"}
    for number, loss in enumerate(LOSSES):
        root = tmp_path / f"{number}"
        shutil.copytree(lake, root)
        store = Lake(spark, str(root))
        reads: dict[str, Callable[[], DataFrame]] = {
            "events": lambda store=store: store.published_events([manifest]),
            "quarantine": lambda store=store: store.published_quarantine(manifest),
            "_visits": lambda store=store: store.published_visits(manifest),
        }
        for table, read in reads.items():
            assert read().count() == {"events": 12, "quarantine": 0, "_visits": 3}[table]
            path = data_of(root, table)
            LOSSES[loss](path)
            with pytest.raises(ConfigurationError) as refused:
                read()
            assert f"batch {BATCH}: {path.parent} holds" in str(refused.value), loss
            assert "build the batch again, from its --input" in str(refused.value)


def test_a_build_does_not_look_back_on_less_than_was_published(
    built: Callable[..., dict[str, Any]], lake: Path
) -> None:
    built(each=4)
    path = data_of(lake, "_visits")
    path.unlink()
    refused = built(NEXT, each=8)
    assert refused["exitCode"] == 2 and f"batch {BATCH}: {path.parent} holds 0 bytes" in refused["error"]
    assert not list((lake / "events" / f"batch={NEXT}").glob("runId=*"))
    assert built(each=4)["exitCode"] == 0, "what is lost keeps no build from making it good"
    assert built(NEXT, each=8)["exitCode"] == 0


@pytest.mark.parametrize("loss", ["cut to nothing", "all deleted"])
def test_no_delivery_and_no_export_is_of_fewer_events_than_were_published(
    built: Callable[..., dict[str, Any]],
    put: Job,
    replay: Job,
    serve: Callable[..., Server],
    lake: Path,
    tmp_path: Path,
    loss: str,
) -> None:
    built(each=4)
    path = data_of(lake, "events")
    LOSSES[loss](path)
    server = serve()
    for ended in (put(server.endpoint_url), replay(lake, BATCH, BATCH, "--bulk-export", str(tmp_path / "csv"))):
        assert ended.code == 2
        assert len(ended.said) == 1 and f"batch {BATCH}: {path.parent} holds" in ended.said[0]
    assert server.summary()["calls"] == 0


def test_a_lake_of_before_which_counted_no_bytes_tells_that_rows_are_gone(
    spark: SparkSession, lake: Path, put: Job, serve: Callable[..., Server]
) -> None:
    lay(spark, lake, days(2, 1, 4))
    assert put(serve().endpoint_url, batch=day(0)).summary["delivered"] == 4
    shutil.rmtree(lake / "events" / f"batch={day(1)}")
    ended = put(serve().endpoint_url, batch=day(1))
    assert ended.code == 2 and f"batch {day(1)}: {lake}/events/batch={day(1)}/" in ended.said[0]


def test_a_batch_that_was_delivered_and_lost_is_built_again(
    built: Callable[..., dict[str, Any]],
    put: Job,
    serve: Callable[..., Server],
    lake: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    built(each=4)
    url = serve().endpoint_url
    assert put(url).summary["delivered"] == 12
    for table, damage in (("events", "half of it, and no .crc"), ("receipts", "zeroes")):
        path = next((lake / table).glob("batch=*/*/*.parquet"))
        DAMAGES[damage](path)
        caplog.clear()
        assert built(each=4)["exitCode"] == 0
        assert [line for line in caplog.messages if "cannot be compared" in line and str(path.parent) in line]


def test_where_the_newest_manifest_is_gone_and_the_rows_of_the_one_before_too_nothing_is_said_to_be_done(
    built: Callable[..., dict[str, Any]], put: Job, replay: Job, serve: Callable[..., Server], lake: Path
) -> None:
    built(each=4)
    url = serve().endpoint_url
    assert put(url).summary["delivered"] == 12
    assert built(each=5)["events"] == 15
    DAMAGES["zeroes, and an empty .crc"](manifests_of(lake)[-1])
    for ended in (put(url), replay(lake, BATCH, BATCH, url=url), replay(lake, BATCH, BATCH, "--plan", url=url)):
        assert ended.code == 2
        assert "holds 0 bytes of data" in ended.said[0] and "build the batch again, from its --input" in ended.said[0]
    assert built(each=5)["events"] == 15
    assert put(url).summary["delivered"] == 3


@pytest.mark.parametrize("damage", ["nothing, and no .crc", "zeroes", "deleted"])
def test_dead_letters_are_written_also_where_the_words_of_the_service_got_lost(
    spark: SparkSession,
    built: Callable[..., dict[str, Any]],
    put: Job,
    serve: Callable[..., Server],
    lake: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    built(each=4)
    url = serve(faults=Faults(poison_items=frozenset({"a1"}))).endpoint_url
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "conclude", lambda *_: (_ for _ in ()).throw(UnfinishedError("killed")))
        assert put(url).code == 5
    for path in (lake / "_refusals").rglob("*.parquet"):
        (Path.unlink if damage == "deleted" else DAMAGES[damage])(path)
    ended = put(url)
    if damage == "zeroes":
        assert ended.code == 2 and "/_refusals/" in ended.said[0] and "no message of the service" in ended.said[0]
        shutil.rmtree(lake / "_refusals")
        ended = put(url)
    assert (ended.code, ended.summary["deadLettered"], ended.summary["attempts"]) == (4, 1, 0)
    (letter,) = spark.read.parquet(str(lake / "dead_letters")).collect()
    assert (letter.itemId, letter.errorCode, letter.errorMessage) == ("a1", "InvalidInputException", None)


@pytest.mark.parametrize(("table", "damage"), [("receipts", "empty"), ("receipts", "zeroes"), ("events", "cut")])
def test_broken_checksums_of_a_table_are_dropped_and_the_next_run_goes_on(
    built: Callable[..., dict[str, Any]], put: Job, serve: Callable[..., Server], lake: Path, table: str, damage: str
) -> None:
    built(each=4)
    url = serve().endpoint_url
    assert put(url).summary["delivered"] == 12
    path = next((lake / table).glob("batch=*/*/*.parquet"))
    CHECKSUMS[damage](path)
    first = put(url, more=("--resend",))
    if first.code != 0:  # a .crc file of few bytes is not always looked at
        assert first.code == 5 and len(first.said) == 1
        assert str(path) in first.said[0] and "run this again" in first.said[0]
        assert not crc_of(path).exists()
    again = put(url, more=("--resend",))
    assert (again.code, again.summary["events"], again.summary["pending"]) == (0, 12, 0)


@pytest.mark.parametrize(
    ("table", "remedy"),
    [("receipts", "delete it, and run this again"), ("events", f"build batch {BATCH} again, from its --input")],
)
def test_a_file_whose_bytes_are_others_is_named_with_what_to_do(
    built: Callable[..., dict[str, Any]],
    put: Job,
    serve: Callable[..., Server],
    lake: Path,
    table: str,
    remedy: str,
) -> None:
    built(each=4)
    url = serve().endpoint_url
    assert put(url).summary["delivered"] == 12
    path = next((lake / table).glob("batch=*/*/*.parquet"))
    DAMAGES["zeroes"](path)
    ended = put(url, tracking_id="t", more=("--resend",)) if table == "receipts" else put(url, tracking_id="other")
    assert ended.code == 2, ended
    assert len(ended.said) == 1 and str(path) in ended.said[0] and remedy in ended.said[0]
    assert "its bytes have changed" in ended.said[0]
    if table == "receipts":
        path.unlink()
        crc_of(path).unlink()
    else:
        assert built(each=4)["exitCode"] == 0
    assert put(url, more=("--resend",)).code == 0
