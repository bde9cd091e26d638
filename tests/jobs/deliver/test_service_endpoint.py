"""Where a delivery goes to, before anything is sent: regions that do not exist, credentials that do not come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError
from botocore.session import Session

import emulator
from delivery.sender.request_executor import RetryPolicy
from emulator import EmulatorSettings, Server
from jobs.deliver.service_endpoint import (
    check_region,
    check_spelling,
    known_regions,
    resolve_service,
    wait_for_credentials,
)
from jobs.errors import ConfigurationError, JobError, UnfinishedError
from jobs.put_events import main

HOST = "personalize-events.{}.amazonaws.com"


def url(region: str) -> str:
    return f"https://{HOST.format(region)}"


@pytest.mark.parametrize(("region", "meant"), [("eu-wes-1", "eu-west-1"), ("us-eats-1", "us-east-1")])
def test_a_region_that_does_not_exist_is_named_with_its_url_and_what_was_meant(region: str, meant: str) -> None:
    told = check_region(Session(), region, url(region), lambda _host: False)
    assert told is not None
    assert told.startswith(f"region {region}: ") and url(region) in told and f"did you mean {meant}?" in told


def test_a_region_that_is_newer_than_botocore_has_an_address() -> None:
    asked: list[str] = []
    assert check_region(Session(), "eu-west-9", url("eu-west-9"), lambda host: bool(asked.append(host)) or True) is None
    assert asked == [HOST.format("eu-west-9")]


def test_of_a_known_region_nobody_asks_for_the_address() -> None:
    def ask(_host: str) -> bool:
        raise AssertionError("it may be the network's fault")

    assert {"eu-west-1", "us-east-1", "cn-north-1"} <= known_regions(Session())
    assert all(check_region(Session(), region, url(region), ask) is None for region in known_regions(Session()))


def test_a_region_that_only_signs_may_have_any_name() -> None:
    assert check_region(Session(), "local", "http://127.0.0.1:8080/events", lambda _host: False) is None


@pytest.mark.parametrize("endpoint_url", [None, "http://127.0.0.1:8080"])
@pytest.mark.parametrize("region", ["EU-WEST-1", "eu_west_1", "eu west 1", " eu-west-1", "Eu-West-1"])
def test_a_region_that_is_only_spelt_wrongly_is_told_at_once(region: str, endpoint_url: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"^region .*: did you mean eu-west-1\? Set it by --region"):
        resolve_service("t", region, endpoint_url)


def test_no_known_region_is_spelt_wrongly() -> None:
    assert not [region for region in known_regions(Session()) if check_spelling(region)]


def test_a_run_with_such_a_region_ends_with_2_and_says_so(
    spark: Any, lake: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.deliver.service_endpoint.has_address", lambda _host: False)
    (lake / "_batches").mkdir(parents=True)
    assert main(["--lake", str(lake), "--batch", "b", "--tracking-id", "t", "--region", "eu-wes-1"]) == 2
    err = capfd.readouterr().err
    assert "eu-wes-1" in err and url("eu-wes-1") in err and "did you mean eu-west-1?" in err


def source(*errors: Exception) -> tuple[Callable[[], None], list[None]]:
    """A source that fails so often; the list has an entry for each time it was asked."""
    rest, asked = iter(errors), []

    def find() -> None:
        asked.append(None)
        for error in rest:
            raise error

    return find, asked


SILENT = CredentialRetrievalError(provider="the instance metadata service", error_msg="answers 429")


def test_a_source_that_answers_in_the_end_has_been_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    find, asked = source(SILENT, SILENT)
    wait_for_credentials(find, RetryPolicy(base=0.01))
    assert len(asked) == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"no AWS credentials yet: {SILENT}; asking again for up to 120 s"
    ]


def test_a_source_that_never_answers_ends_the_run_for_another_try() -> None:
    find, asked = source(*[SILENT] * 1000)
    with pytest.raises(UnfinishedError, match=r"no AWS credentials yet, after 0 s: .*answers 429; nothing was sent"):
        wait_for_credentials(find, RetryPolicy(base=0.01, budget=0.2))
    assert len(asked) > 2


def test_a_chain_without_a_source_is_not_waited_for() -> None:
    find, asked = source(NoCredentialsError(), NoCredentialsError())
    with pytest.raises(NoCredentialsError):
        wait_for_credentials(find, RetryPolicy())
    assert len(asked) == 1


@pytest.mark.parametrize("region", ["eu-west-1", None])
def test_a_source_that_hangs_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, region: str | None
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    answers = tmp_path / "answers"
    (tmp_path / "hang").write_text(f"until [ -e '{answers}' ]; do sleep 0.1; done")
    (tmp_path / "config").write_text(f"[default]\ncredential_process = sh {tmp_path / 'hang'}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setattr("jobs.deliver.service_endpoint.RETRY", RetryPolicy(base=0.1, budget=1.0))
    monkeypatch.setattr("jobs.deliver.service_endpoint._QUIET_SECONDS", 0.3)
    monkeypatch.setattr("jobs.deliver.service_endpoint._GLANCE_SECONDS", 1.0)
    try:
        with pytest.raises(JobError) as raised:
            resolve_service("t", region, None)
    finally:
        answers.touch()
    if region is None:
        assert raised.value.lines == (
            "no AWS region was found: give --region, or set AWS_DEFAULT_REGION or a profile's region",
        )
    else:
        assert raised.value.exit_code == 5
        assert "no AWS credentials yet, after 1 s: their source does not answer" in str(raised.value)
        assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
            "no AWS credentials yet: their source does not answer; asking again for up to 1 s"
        ]


def test_nobody_waits_for_credentials_without_a_region(
    spark: Any, lake: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    (lake / "_batches").mkdir(parents=True)
    with emulator.running_metadata(fault="throttled") as metadata:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        assert main(["--lake", str(lake), "--batch", "b", "--tracking-id", "t"]) == 2
        assert metadata.asked <= 5
    assert "no AWS region was found" in capfd.readouterr().err


def test_an_instance_whose_metadata_service_is_throttled_for_long_ends_with_5_and_one_without_a_role_with_2(
    lake: Path, put: Any, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = EmulatorSettings(session_token="token-1")
    server = serve(session_token="token-1")
    (lake / "_batches").mkdir(parents=True)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("jobs.deliver.service_endpoint.RETRY", RetryPolicy(base=0.1, budget=0.5))
    with emulator.running_metadata(settings, "throttled") as metadata:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        ended = put(server.endpoint_url)
        assert (ended.code, ended.summary["exitCode"]) == (5, 5)
        assert "no AWS credentials yet" in ended.said[0] and "answers 429" in ended.said[0]
        metadata.fault = "missing"
        assert put(server.endpoint_url).code == 2
    assert server.summary()["calls"] == 0
