"""A run that is interrupted before, in and after its sending: 5, a summary, an entry under runs/, and true words."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from emulator import Server
from jobs.ledger.ledger import Ledger
from jobs.locking.contention import Contention
from tests.jobs.conftest import Ended, Job
from tests.jobs.lakes import day, days, lay

Serve = Callable[..., Server]
NOT_BEGUN = "interrupted: nothing was sent in this run; run it again"
SENT = "interrupted: answered requests have receipts; run it again, it resumes, and sends the others"


def interrupted(number: int = signal.SIGTERM, times: int = 1) -> Callable[..., Any]:
    """Work that is interrupted, so many times, and would take for ever."""

    def work(*_: object, **__: object) -> Any:
        for _ in range(times):
            os.kill(os.getpid(), number)
            time.sleep(0.1)
        time.sleep(60)
        raise AssertionError("it was not interrupted")

    return work


@pytest.fixture
def laid(spark: SparkSession, lake: Path) -> Path:
    """A lake with one batch: two sessions of four events."""
    lay(spark, lake, days(1, 2, 4))
    return lake


def kept(lake: Path, batch: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (lake / "runs" / batch).glob("*_events-*.json")]


def check(ended: Ended, lake: Path, batch: str, words: str) -> None:
    assert (ended.code, ended.summary["exitCode"], ended.said) == (5, 5, [words])
    assert ended.summary["error"] == words
    assert ended.summary in kept(lake, batch)
    assert not list((lake / "_locks").rglob("*.claim"))


@pytest.mark.parametrize(
    ("owner", "name", "number"),
    [
        pytest.param("jobs.put_events", "resolve_service", signal.SIGINT, id="looking for credentials"),
        pytest.param(Contention, "find_rival", signal.SIGTERM, id="waiting for the lock"),
        pytest.param(Ledger, "plan", signal.SIGINT, id="planning"),
        pytest.param("jobs.ledger.ledger", "pack_requests", signal.SIGTERM, id="packing"),
    ],
)
def test_before_anything_was_sent(
    laid: Path, put: Job, serve: Serve, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, number: int
) -> None:
    server = serve()
    with monkeypatch.context() as patch:
        patch.setattr(*([f"{owner}.{name}"] if isinstance(owner, str) else [owner, name]), interrupted(number))
        check(put(server.endpoint_url, batch=day(0)), laid, day(0), NOT_BEGUN)
    assert server.summary()["calls"] == 0
    assert put(server.endpoint_url, batch=day(0)).summary["delivered"] == 8


def test_after_all_was_sent(laid: Path, put: Job, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "conclude", interrupted())
        ended = put(server.endpoint_url, batch=day(0))
    check(ended, laid, day(0), SENT)
    assert (ended.summary["delivered"], ended.summary["pending"]) == (8, 0)
    again = put(server.endpoint_url, batch=day(0))
    assert (again.code, again.summary["alreadyDelivered"], server.summary()["accepted"]) == (0, 8, 2)


def test_a_second_signal_ends_the_cleaning_up_too(
    laid: Path, put: Job, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "plan", interrupted())
        patch.setattr("jobs.locking.locks.Lock.release", interrupted())
        ended = put(server.endpoint_url, batch=day(0))
    assert (ended.code, ended.summary["exitCode"], ended.said) == (5, 5, [NOT_BEGUN])


def test_a_replay_between_batches(
    spark: SparkSession, tmp_path: Path, replay: Job, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(spark, tmp_path, days(3, 1, 5))
    server, plan = serve(), Ledger.plan

    def second(ledger: Ledger, *arguments: Any) -> Any:
        return interrupted()() if ledger.manifest.batch == day(1) else plan(ledger, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "plan", second)
        ended = replay(tmp_path, day(0), day(2), url=server.endpoint_url)
    check(ended, tmp_path, f"{day(0)}..{day(2)}", SENT)
    assert (ended.summary["delivered"], ended.summary["pending"]) == (5, 10)
    assert replay(tmp_path, day(0), day(2), url=server.endpoint_url).summary["delivered"] == 10


@pytest.mark.parametrize(
    ("options", "work", "words"),
    [
        (("--plan",), "estimate_replay", NOT_BEGUN),
        (
            ("--bulk-export", "{}/out"),
            "export",
            "interrupted: nothing was sent; empty {}/out, or name another folder, ",
        ),
    ],
)
def test_a_replay_that_sends_nothing(
    spark: SparkSession,
    tmp_path: Path,
    replay: Job,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    work: str,
    words: str,
) -> None:
    lay(spark, tmp_path / "lake", days(1, 1, 5))
    monkeypatch.setattr(f"jobs.replay_events.{work}", interrupted(signal.SIGINT))
    ended = replay(tmp_path / "lake", day(0), day(0), *[option.format(tmp_path) for option in options])
    assert (ended.code, ended.summary["exitCode"]) == (5, 5)
    assert ended.said[0].startswith(words.format(tmp_path)) and "run it again" in ended.said[0]
