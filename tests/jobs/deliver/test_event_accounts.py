"""The counts of a delivery: each from its own place, so that what does not add up is found out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from emulator import Server
from jobs.deliver.delivery_monitor import DeliveryResult
from jobs.errors import CountsError, Exit, UnfinishedError
from jobs.ledger.ledger import EVENT_COUNTERS, check_counts
from tests.jobs.conftest import Job
from tests.jobs.lakes import day, days, lay

Serve = Callable[..., Server]


DAY = days(1, 3, 25)[day(0)]
"""75 events."""


class Planned(NamedTuple):
    """A plan that waits: the service it is for, its delivery, the run that made it."""

    server: Server
    delivery: str
    run: str


def counts(*numbers: int) -> dict[str, int]:
    return dict(zip(EVENT_COUNTERS, numbers, strict=True))


@pytest.mark.parametrize("numbers", [(10, 1, 2, 3, 4), (0, 0, 0, 0, 0), (7, 0, 7, 0, 0)])
def test_counts_that_add_up_are_taken(numbers: tuple[int, ...]) -> None:
    check_counts("batch b", counts(*numbers))


@pytest.mark.parametrize(
    ("numbers", "unplanned", "words"),
    [
        (
            (11, 1, 2, 3, 4),
            0,
            "it has 11 events, but 1 alreadyDelivered + 2 delivered + 3 deadLettered + 4 pending are 10",
        ),
        ((9, 1, 2, 3, 4), 0, "it has 9 events, but 1 alreadyDelivered"),
        ((10, 1, 2, 3, 4), 2, "receipts name 2 events that its plan does not have"),
    ],
)
def test_a_difference_is_a_fault_and_says_which(numbers: tuple[int, ...], unplanned: int, words: str) -> None:
    with pytest.raises(CountsError, match=re.escape(f"batch b: its counts do not add up: {words}")) as raised:
        check_counts("batch b", counts(*numbers), unplanned)
    assert raised.value.exit_code is Exit.OUR_FAULT


@pytest.fixture
def planned(spark: SparkSession, lake: Path, put: Job, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Planned:
    """A delivery whose plan was fixed, and that ended before its first call."""

    def stop(*_: object) -> DeliveryResult:
        raise UnfinishedError("stopped")

    lay(spark, lake, {"2024-01-02": DAY})
    server = serve()
    with monkeypatch.context() as patch:
        patch.setattr("jobs.deliver.delivery_run.send", stop)
        ended = put(server.endpoint_url)
    assert ended.code == 5
    (plan,) = (lake / "_plans").glob("*/*.json")
    return Planned(server, ended.summary["deliveryId"], plan.name.split("~")[4])


LOSSES: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "emptied": lambda path: (path.write_bytes(b""), path.with_name(f".{path.name}.crc").unlink()),
    "gone with its folder": lambda path: shutil.rmtree(path.parent),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("job", ["put", "replay"])
def test_a_plan_of_which_requests_got_lost_is_made_anew(
    planned: Planned, put: Job, replay: Job, lake: Path, job: str, loss: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = sorted((lake / "_plans").rglob("*.parquet"))
    held = {file: sum(map(len, pq.read_table(file, columns=["eventIds"])["eventIds"].to_pylist())) for file in files}
    assert sum(held.values()) == 75
    lost = next(file for file in files if held[file])
    LOSSES[loss](lost)
    url = planned.server.endpoint_url
    ended = put(url) if job == "put" else replay(lake, "2024-01-02", "2024-01-02", url=url)
    assert (ended.code, ended.summary["delivered"], ended.summary["pending"]) == (0, 75, 0)
    (told,) = [line for line in caplog.messages if "planned again" in line]
    left = 0 if loss == "gone with its folder" else 75 - held[lost]
    assert f"holds 75 events, and the files of its requests {left}" in told
    assert planned.server.summary()["events"] == 75
    assert put(url).summary["alreadyDelivered"] == 75


def test_receipts_of_events_that_nobody_planned_are_found_out(planned: Planned, put: Job, lake: Path) -> None:
    folder = lake / "receipts" / "batch=2024-01-02" / f"deliveryId={planned.delivery}"
    folder.mkdir(parents=True)
    at = pa.array([datetime(2024, 1, 2, tzinfo=UTC)] * 2, pa.timestamp("us", tz="UTC"))
    rows = {"requestId": ["x", "y"], "eventIds": [["strange-1", "strange-2"], ["strange-3"]], "startedAt": at}
    pq.write_table(pa.table({**rows, "sessionId": ["s", "s"], "status": ["delivered", "refused"]}), folder / "made")
    size = (folder / "made").stat().st_size
    (folder / "made").rename(folder / f"00000001.{planned.run}.{planned.run}-000001-{size}.parquet")
    ended = put(planned.server.endpoint_url)
    assert ended.code == 1
    assert "receipts name 3 events that its plan does not have" in ended.said[0]


def test_what_became_of_a_batch_is_held_against_what_its_build_counted(
    spark: SparkSession, put: Job, serve: Serve, lake: Path
) -> None:
    lay(spark, lake, {"2024-01-02": DAY})
    server = serve()
    assert put(server.endpoint_url).code == 0
    (done,) = (lake / "_plans").glob("*/*.done")
    (done.parent / f".{done.name}.crc").unlink(missing_ok=True)
    done.write_text('{"delivered": 70, "refused": 0}')
    ended = put(server.endpoint_url)
    assert ended.code == 1
    assert "batch 2024-01-02: its counts do not add up: it has 75 events, but 70 alreadyDelivered" in ended.said[0]


def test_events_that_a_build_counted_and_the_lake_lost_are_missed(
    spark: SparkSession, tmp_path: Path, replay: Job, serve: Serve
) -> None:
    lay(spark, tmp_path, days(2, 2, 5))
    (file,) = (tmp_path / "events" / f"batch={day(1)}").rglob("*.parquet")
    pq.write_table(pq.read_table(file, partitioning=None).slice(0, 7), file)
    server = serve()
    for more in (["--plan"], ["--bulk-export", str(tmp_path / "out")], []):
        ended = replay(tmp_path, day(0), day(1), *more, url=server.endpoint_url)
        assert ended.code == 1
        assert "its counts do not add up" in ended.said[0]
    assert ended.summary["alreadyDelivered"] + ended.summary["delivered"] == 10
    assert f"batch {day(1)}: its counts do not add up: it has 10 events" in ended.said[0]
