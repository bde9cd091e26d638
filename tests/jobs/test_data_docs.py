"""The index of a lake's Data Docs, from notes that runs leave: whole after crashes, beside others, of old lakes."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from emulator import Faults, Server
from expectations.page import DeliveryEntry, GateReport, StandingPublication
from jobs.lake.tables import Lake
from jobs.report.data_docs import DataDocs
from tests.jobs.lakes import day, days, lay

BUILT = "20240103T031500000000Z-aaaaaa"
AGAIN = "20240104T031500000000Z-cccccc"
SENT = "20240103T041600000000Z-bbbbbb"
DASH = "\N{EN DASH}"


def judged(batch: str, run: str = BUILT, gate: str = "passed", events: int = 7, **more: Any) -> GateReport:
    counts = {"read": 10, "filtered": 1, "candidates": 9, "events": events, "quarantined": 2, "duplicates": 0}
    return GateReport(batch, run, gate, False, "2024-01-03", "abc", counts, [], [], **more)


def delivery(run: str = SENT, **more: Any) -> DeliveryEntry:
    usual = {"events": 7, "delivered": 7, "deadLettered": 0, "pending": 0, "page": f"../runs/b/put_events-{run}.html"}
    return DeliveryEntry("shop", "eu-west-1", "https://x", run, BUILT, **{**usual, **more})


def index(lake: Path) -> dict[str, list[str]]:
    """The rows of the index by the batch's label, as a reader sees their cells."""
    body = re.split("<tbody[^>]*>", (lake / "quality/index.html").read_text())[-1]
    found = {}
    for row in re.split("<tr[^>]*>", body)[1:]:
        label, *cells = [
            " ".join(unescape(re.sub(r"<[^>]*>", " ", cell)).split())
            for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, flags=re.DOTALL)
        ]
        found[label.split()[0]] = cells
    return found


@pytest.fixture
def docs(spark: SparkSession, lake: Path) -> DataDocs:
    return DataDocs(Lake(spark, str(lake)))


def test_builds_and_deliveries_show_up_in_the_index_and_its_links_lead_to_pages(
    built: Any, put: Any, reports: Any, serve: Callable[..., Server], lake: Path
) -> None:
    built()
    built("2024-01-03", each=20)
    server = serve(faults=Faults(poison_items=frozenset({"a3", "c12"})))
    assert put(server.endpoint_url).code == 4
    assert put(server.endpoint_url, tracking_id="other", more=("--max-rate", "90")).code == 4
    assert put(server.endpoint_url, "2024-01-03").code == 3
    rows = index(lake)
    assert list(rows) == ["2024-01-03", "2024-01-02"]
    assert [rows["2024-01-02"][0], *rows["2024-01-02"][2:7]] == ["passed", "75", "0", "0", "0", "75"]
    assert [rows["2024-01-03"][0], *rows["2024-01-03"][2:7]] == ["failed", "60", "0", "60", "0", "0"], (
        "it repeats events"
    )
    sent = r"dead letters 73 of 75, 2 refused, 20\d\d-\d\d-\d\d \d\d:\d\d tracker {}, eu-west-1, " + server.endpoint_url
    assert re.fullmatch(f"{sent.format('other')} {sent.format('t')}", rows["2024-01-02"][-1])
    assert rows["2024-01-03"][-1] == "none noted"
    page = (lake / "quality/index.html").read_text()
    links = re.findall(r'href="([^"]+)"', page)
    assert len(links) >= 4 and all((lake / "quality" / link).resolve().is_file() for link in links)
    assert any("/put_events-" in link for link in links) and any("/build_events-" in link for link in links)


def test_a_replay_notes_each_batch_that_it_has_sent(
    spark: SparkSession, replay: Any, serve: Callable[..., Server], lake: Path
) -> None:
    lay(spark, lake, days(3, sessions=2, each=5))
    server = serve()
    assert replay(lake, day(0), day(1), url=server.endpoint_url).code == 0
    notes = sorted(path.name for path in (lake / "quality/notes").glob("*.json"))
    assert [name.split("~")[0] for name in notes] == [day(0), day(1)]
    assert replay(lake, day(0), day(2), url=server.endpoint_url).code == 0
    rows = index(lake)
    assert list(rows) == [day(2), day(1), day(0)] and {cells[0] for cells in rows.values()} == {DASH}
    assert all(cells[-1].startswith("delivered 10 of 10, ") for cells in rows.values())
    kept = [path.name for path in (lake / "quality/notes").glob("*.json") if not path.name.startswith(day(2))]
    assert sorted(kept) == notes, "nothing was left to do of these"
    first = f"../runs/{day(0)}..{day(1)}/replay_events-{notes[0].split('~')[2].removesuffix('.json')}.json"
    assert f'href="{first}"' in (lake / "quality/index.html").read_text()


def test_a_run_takes_the_place_of_the_one_before_it_for_its_own_tracker(docs: DataDocs, lake: Path) -> None:
    docs.show(judged("b"), f"build_events-{BUILT}.html")
    docs.note_deliveries("one", {"b": delivery("r1", delivered=3, pending=4)})
    docs.note_deliveries("two", {"b": delivery("r2", delivered=5, deadLettered=2)})
    assert "unfinished 3 of 7, 4 pending, r1" in index(lake)["b"][-1]
    docs.note_deliveries("one", {"b": delivery("r0")})  # by a host whose clock is behind
    assert index(lake)["b"][-1].startswith("delivered 7 of 7, r0") and "5 of 7, 2 refused, r2" in index(lake)["b"][-1]
    docs.show(judged("b", AGAIN), "x.html")
    assert index(lake)["b"][1] == "2024-01-04 03:15"
    assert index(lake)["b"][-1].count("of an earlier build") == 2
    assert len(list((lake / "quality/notes").glob("*.json"))) == 3


def test_a_build_that_fails_shows_what_stays_and_how_far_that_is_delivered(docs: DataDocs, lake: Path) -> None:
    docs.show(judged("b"), "x.html")
    docs.note_deliveries("one", {"b": delivery()})
    docs.show(judged("b", AGAIN, "failed", 3, kept=StandingPublication(BUILT, "passed", 7)), "y.html")
    gate, *_, events, deliveries = index(lake)["b"]
    assert gate == f"failed The batch keeps what run {BUILT} published (passed, 7 events)." and events == "3"
    assert deliveries.startswith("delivered 7 of 7")


def test_what_another_run_has_noted_meanwhile_is_found(docs: DataDocs, lake: Path) -> None:
    docs.show(judged("a"), "x.html")
    docs.note_deliveries("one", {"a": delivery()})
    lost = (lake / "quality/index.json").read_text()
    docs.note_deliveries("two", {"a": delivery("r2", delivered=1, pending=6)})
    (lake / "quality/index.json").write_text(lost)  # as the slower of two runs would write it
    docs.show(judged("b"), "y.html")
    assert index(lake)["a"][-1].startswith("delivered 7 of 7") and "1 of 7, 6 pending, r2" in index(lake)["a"][-1]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a~build~r.json": 7}', '{"a~build~r.json": {}}'])
def test_an_index_file_that_is_not_whole_costs_no_row(docs: DataDocs, lake: Path, content: str) -> None:
    docs.show(judged("a"), "x.html")
    (lake / "quality/index.json").write_text(content)
    docs.show(judged("b"), "y.html")
    assert {label: cells[6] for label, cells in index(lake).items()} == {"a": "7", "b": "7"}


def test_a_note_that_is_not_whole_or_nobodys_leaves_the_others(docs: DataDocs, lake: Path) -> None:
    docs.show(judged("a"), "x.html")
    for name in ("b~build~r.json", "b~one~r.json", "notes.txt"):
        (lake / "quality/notes" / name).write_text('{"runId":')
    (lake / "quality/notes" / "c~one~r.json").write_text('{"runId": "r"}')
    docs.show(judged("d"), "y.html")
    assert list(index(lake)) == ["d", "a"] and index(lake)["a"][6] == "7"


def test_batches_of_an_older_version_are_listed_with_dashes(docs: DataDocs, lake: Path) -> None:
    docs.show(judged("2024-01-02"), "x.html")
    for name in ("notes", "index.json"):
        path = lake / "quality" / name
        for each in path.iterdir() if path.is_dir() else [path]:
            each.unlink()
    docs.show(judged("2024-01-03"), "y.html")
    assert index(lake)["2024-01-02"] == ["passed", *[DASH] * 6, "none noted"]


def test_a_note_is_read_once(docs: DataDocs, lake: Path) -> None:
    for number in range(3):
        docs.show(judged(f"b{number}"), "x.html")
    note = next((lake / "quality/notes").glob("b1~*"))
    values = json.loads(note.read_text())
    note.write_text(json.dumps({**values, "counts": {}}))
    docs.show(judged("b3"), "x.html")
    assert index(lake)["b1"][6] == "7", "it is known from index.json"


def test_an_index_that_cannot_be_written_fails_no_delivery(
    built: Any, put: Any, serve: Callable[..., Server], lake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    built()
    for path in (lake / "quality/notes").iterdir():
        path.unlink()
    (lake / "quality/notes").rmdir()
    (lake / "quality/notes").write_text("a file in the folder's place")
    with caplog.at_level(logging.WARNING):
        assert put(serve().endpoint_url).code == 0
    assert any(line.startswith("the index of the Data Docs could not be written") for line in caplog.messages)
