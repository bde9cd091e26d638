"""Credentials that somebody has set up wrongly: the setting is named, no secret is, and nobody waits for them."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from delivery.http.credentials import find_credentials, may_come
from delivery.http.endpoint import TrackerEndpoint, resolve

SECRET = "s3cr3t-t0k3n"
Write = Callable[[str], None]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """A machine whose credentials come from the config file alone; give a function that writes it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    def write(text: str) -> None:
        (tmp_path / "config").write_text(f"[default]\nregion = eu-west-1\n{text}\n")

    return write


def fault() -> BotoCoreError:
    with pytest.raises(BotoCoreError) as raised:
        find_credentials(Session())
    return raised.value


def prints(text: str, status: int = 0) -> str:
    """Write a command that prints on both outputs and ends."""
    return f"""credential_process = sh -c "echo '{text}'; echo {SECRET} >&2; exit {status}" """


CHAIN = "role_arn = arn:aws:iam::123456789012:role/r\nsource_profile = other\n[profile other]\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("credential_process =", "credential_process: its command is empty"),
        ("credential_process = sh -c 'exit", "credential_process: No closing quotation"),
        ("credential_process = /nonexist/keys", "credential_process: No such file or directory: '/nonexist/keys'"),
        (prints("[]"), "credential_process: its command prints no JSON object"),
        (prints("{}"), "credential_process: its command prints no JSON object"),
        (prints(SECRET), "credential_process: its command prints no JSON object"),
        (prints('{\\"Version\\": 2}'), "credential_process: its command prints no JSON object"),
        (prints('{\\"Version\\": 1}'), "credential_process: its command prints no JSON object"),
        (CHAIN + prints("[]"), "credential_process: its command prints no JSON object"),
        (
            "role_arn = arn:aws:iam::123456789012:role/r\ncredential_source = Environment",
            "credential_source = Environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set",
        ),
        (
            f"{CHAIN}aws_access_key_id = A\naws_secret_access_key = {SECRET}".replace(
                "source_profile", "mfa_serial = arn:aws:iam::123456789012:mfa/m\nsource_profile"
            ),
            "mfa_serial: the profile's role asks for a code",
        ),
        (
            "role_arn = arn:aws:iam::123456789012:role/r\nweb_identity_token_file = /nonexist",
            "AWS_WEB_IDENTITY_TOKEN_FILE (web_identity_token_file): No such file or directory: '/nonexist'",
        ),
    ],
)
def test_a_setting_that_is_wrong_is_named(
    config: Write, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    config(text)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    found = fault()
    assert words in str(found) and SECRET not in str(found)
    assert not may_come(found)
    assert "code for" not in capfd.readouterr().err, "nobody is there to type one"


@pytest.mark.parametrize("before", ["", CHAIN])
def test_what_a_command_prints_on_standard_error_is_not_repeated_but_its_exit_status(
    config: Write, before: str
) -> None:
    config(before + prints("no", 7))
    found = fault()
    assert may_come(found)
    assert "its command ends with exit status 7" in str(found) and SECRET not in str(found)


@pytest.mark.parametrize("name", ["AWS_METADATA_SERVICE_TIMEOUT", "AWS_METADATA_SERVICE_NUM_ATTEMPTS"])
def test_a_number_that_is_none_is_named(config: Write, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    config("")
    monkeypatch.setenv(name, "abc")
    found = fault()
    assert f"{name} ({name.removeprefix('AWS_').lower()}): not a whole number" in str(found)
    assert not may_come(found)


@pytest.mark.parametrize("name", ["AWS_DEFAULTS_MODE", "AWS_REQUEST_CHECKSUM_CALCULATION"])
def test_a_mode_that_does_not_exist_passes_by_itself_nowhere(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "bogus")
    with pytest.raises(BotoCoreError) as raised:
        resolve(TrackerEndpoint("t", "eu-west-1", "http://127.0.0.1:9"))
    assert not may_come(raised.value)


def test_regional_endpoints_of_sts_that_do_not_exist_do_not_either(
    config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(f"{CHAIN}aws_access_key_id = A\naws_secret_access_key = {SECRET}")
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "bogus")
    found = fault()
    assert "bogus" in str(found) and not may_come(found)


def test_a_system_that_is_short_of_something_may_start_the_command_yet(
    config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(prints("{}"))

    def fail(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess.Popen, "_execute_child", fail)
    assert may_come(fault())


def test_what_botocore_logs_of_a_refresh_that_fails_holds_nothing_of_its_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cause = ValueError(SECRET)
    logger = logging.getLogger("botocore.credentials")
    with caplog.at_level(logging.WARNING, logger.name):  # a job that ran before in this process has it say less
        logger.warning("Refreshing temporary credentials failed", exc_info=cause)
    assert caplog.records and SECRET not in caplog.text
