"""A tracker is trackingId, region and endpoint as boto3 resolves them: a trial is not the real delivery."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from emulator import Faults, Server
from jobs import put_events, replay_events
from jobs.deliver.service_endpoint import locate_service
from tests.jobs.conftest import Ended
from tests.jobs.lakes import day, days, lay

Serve = Callable[..., Server]
Run = Callable[..., Ended]
OWN = "AWS_ENDPOINT_URL_PERSONALIZE_EVENTS"
BATCHES = days(1, 2, 12)
"""24 events in 4 requests."""


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a job whose endpoint the environment says."""

    def run(main: Callable[[list[str]], int], *argv: str) -> Ended:
        code = main([*argv, "--tracking-id", "t"])
        out, err = capfd.readouterr()
        said = [line.removeprefix("error: ") for line in err.splitlines() if line.startswith("error: ")]
        return Ended(code, json.loads(out.splitlines()[-1]), said)

    return run


@pytest.fixture
def put_it(spark: SparkSession, lake: Path, run: Run) -> Run:
    lay(spark, lake, BATCHES)
    where = ("--lake", str(lake), "--batch", day(0))
    return lambda *more: run(put_events.main, *where, *(more or ("--region", "eu-west-1")))


def profile(monkeypatch: pytest.MonkeyPatch, folder: Path, url: str) -> None:
    """Have a profile's services name an endpoint."""
    (folder / "config").write_text(
        f"[default]\nservices = ours\n[services ours]\npersonalize_events =\n  endpoint_url = {url}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))


def settings(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[Callable[[str], None]]:
    """The ways in which somebody says an endpoint beside the option."""
    return [
        lambda url: monkeypatch.setenv(OWN, url),
        lambda url: monkeypatch.setenv("AWS_ENDPOINT_URL", url),
        lambda url: profile(monkeypatch, folder, url),
    ]


@pytest.mark.parametrize("way", [0, 1, 2])
def test_what_a_trial_was_sent_is_sent_to_the_real_service_whoever_named_the_endpoints(
    put_it: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: int
) -> None:
    trial, real = serve(), serve()
    name = settings(monkeypatch, tmp_path)[way]
    name(trial.endpoint_url)
    assert put_it().summary["delivered"] == 24
    name(real.endpoint_url)
    ended = put_it()
    assert (ended.code, ended.summary["alreadyDelivered"], ended.summary["delivered"]) == (0, 0, 24)
    assert real.summary()["accepted"] == trial.summary()["accepted"] == 4
    named = put_it("--region", "eu-west-1", "--endpoint-url", real.endpoint_url.replace("http", "HTTP") + "/")
    assert (named.code, named.summary["alreadyDelivered"], named.summary["attempts"]) == (0, 24, 0)


def test_another_region_is_another_tracker(put_it: Run, serve: Serve) -> None:
    server = serve()
    where = ("--endpoint-url", server.endpoint_url, "--region")
    assert put_it(*where, "eu-west-1").summary["delivered"] == 24
    assert put_it(*where, "us-east-1").summary["delivered"] == 24
    assert put_it(*where, "eu-west-1").summary["alreadyDelivered"] == 24


def test_the_summary_and_the_page_name_the_tracker_without_a_password(
    put_it: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch, reports: Any
) -> None:
    server = serve()
    monkeypatch.setenv(
        OWN, server.endpoint_url.replace("://", "://me:hush@").upper().replace("ME:HUSH", "me:hush") + "/"
    )
    ended = put_it()
    assert ended.code == 0
    named = {name: ended.summary[name] for name in ("region", "endpoint")}
    assert named == {"region": "eu-west-1", "endpoint": server.endpoint_url}
    (page,) = reports(day(0))
    assert server.endpoint_url in page and "eu-west-1" in page and "hush" not in page + json.dumps(ended.summary)


def test_executors_whose_environment_names_another_endpoint_call_what_the_driver_has_found(
    put_it: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment changes after the driver has resolved: workers that start then have the other one."""
    server, other = serve(), serve()
    monkeypatch.setenv(OWN, server.endpoint_url)
    real = locate_service

    def change(*given: Any) -> Any:
        found = real(*given)
        monkeypatch.setenv(OWN, other.endpoint_url)
        monkeypatch.setenv("AWS_REGION", "us-west-2")
        monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
        return found

    monkeypatch.setattr("jobs.deliver.service_endpoint.locate_service", change)
    ended = put_it()
    assert (ended.code, ended.summary["delivered"]) == (0, 24)
    assert (server.summary()["accepted"], other.summary()["calls"]) == (4, 0)


@pytest.mark.parametrize("more", [("--plan",), ("--bulk-export",)])
def test_a_replay_that_only_reckons_looks_at_the_same_tracker_without_credentials(
    put_it: Run,
    serve: Serve,
    run: Run,
    lake: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
) -> None:
    server = serve()
    monkeypatch.setenv(OWN, server.endpoint_url)
    put_it()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    where = ["--lake", str(lake), "--from", day(0), "--to", day(0), *more]
    folders = iter((str(tmp_path / "one"), str(tmp_path / "two")))

    def reckon(*region: str) -> Ended:
        return run(replay_events.main, *where, *([next(folders)] if more == ("--bulk-export",) else []), *region)

    known = reckon("--region", "eu-west-1")
    assert (known.code, known.summary["alreadyDelivered"], known.summary["pending"]) == (0, 24, 0)
    assert known.summary["endpoint"] == server.endpoint_url
    monkeypatch.setenv(OWN, "http://another.example")
    other = reckon("--region", "eu-west-1")
    assert (other.code, other.summary["alreadyDelivered"], other.summary["pending"]) == (0, 0, 24)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    ended = run(replay_events.main, *where, *([str(tmp_path / "three")] if more == ("--bulk-export",) else []))
    assert ended.code == 2 and "no AWS region was found" in ended.said[0]


def test_the_command_that_is_printed_leads_to_the_same_tracker_without_the_environment(
    put_it: Run,
    spark: SparkSession,
    serve: Serve,
    lake: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    batch = BATCHES[day(0)]
    lay(
        spark,
        lake / "other",
        {day(0): [{**event, "itemId": "bad"} if n == 3 else event for n, event in enumerate(batch)]},
    )
    server = serve(faults=Faults(poison_items=frozenset({"bad"})))
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint_url)
    assert put_it("--region", "eu-west-1", "--lake", str(lake / "other")).code == 4
    (command,) = [text.partition("a correction: ")[2] for text in caplog.messages if "a correction: " in text]
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    capfd.readouterr()
    assert put_events.main(shlex.split(command)[2:]) == 4
    summary = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (summary["alreadyDelivered"], summary["deadLettered"], summary["attempts"]) == (23, 1, 1)


def test_an_endpoint_of_the_environment_that_nobody_answers_at_must_be_mended(
    put_it: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    import emulator  # noqa: PLC0415 - one that is gone

    with emulator.running() as gone:
        pass
    monkeypatch.setenv("AWS_ENDPOINT_URL", gone.endpoint_url)
    ended = put_it()
    assert (ended.code, ended.summary["pending"]) == (2, 24)
    assert f"nobody answers at {gone.endpoint_url}" in ended.said[0] and "AWS_ENDPOINT_URL" in ended.said[0]
