"""A source of credentials that gives none: one that may answer yet is told from one that is not there."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

import emulator
from delivery.http.credentials import find_credentials, freeze, is_ec2, may_come
from emulator import EmulatorSettings, Metadata


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    """A machine whose credentials come from its metadata service alone."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)
    with emulator.running_metadata(EmulatorSettings(session_token="token-1")) as metadata:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        yield metadata


@pytest.fixture
def container(instance: Metadata, monkeypatch: pytest.MonkeyPatch) -> Metadata:
    """A container whose agent gives credentials."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{instance.url}/credentials")
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0.0)
    return instance


def found() -> Credentials:
    return find_credentials(Session())


def kept_back() -> tuple[str, bool, str]:
    """What is raised, whether it may pass by itself, and its words."""
    with pytest.raises(BotoCoreError) as raised:
        found()
    return type(raised.value).__name__, may_come(raised.value), str(raised.value)


def test_an_instance_gives_credentials(instance: Metadata) -> None:
    keys = freeze(found())
    assert (keys.accessKeyId, keys.secretAccessKey, keys.sessionToken) == ("AKIDEMULATOR", "emulator-secret", "token-1")


def test_a_container_gives_credentials(container: Metadata) -> None:
    assert freeze(found()).sessionToken == "token-1"


@pytest.mark.parametrize(
    ("fault", "words"),
    [("slow", "does not answer in time"), ("throttled", "answers 429"), ("broken", "answers 503")],
)
def test_an_instance_whose_service_is_slow_or_busy_may_have_credentials_yet(
    instance: Metadata, fault: str, words: str
) -> None:
    instance.fault = fault
    name, may, said = kept_back()
    assert (name, may) == ("CredentialRetrievalError", True)
    assert words in said
    instance.fault = "none"
    assert freeze(found()).sessionToken == "token-1"


def test_an_instance_without_a_role_has_no_source(instance: Metadata) -> None:
    instance.fault = "missing"
    assert kept_back()[:2] == ("NoCredentialsError", False)


@pytest.mark.parametrize("fault", ["throttled", "broken", "missing"])
def test_a_container_whose_agent_gives_none_may_have_some_yet(container: Metadata, fault: str) -> None:
    container.fault = fault
    assert kept_back()[:2] == ("CredentialRetrievalError", True)


def test_a_machine_that_is_told_to_ask_no_service_asks_none(
    instance: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance.fault = "throttled"
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert kept_back()[:2] == ("NoCredentialsError", False)
    assert instance.asked == 0


@pytest.mark.parametrize("named", [True, False])
def test_nobody_at_the_services_address_is_no_source_unless_somebody_named_it(
    instance: Metadata, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr("delivery.http.credentials.is_ec2", lambda: False)
        if named:
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", nowhere)
        else:
            monkeypatch.delenv("AWS_EC2_METADATA_SERVICE_ENDPOINT")
            monkeypatch.setattr("botocore.utils.METADATA_BASE_URL", nowhere)
            monkeypatch.setattr("botocore.utils.IMDSFetcher._select_base_url", lambda *_: nowhere)
        assert kept_back()[1] is named


@pytest.mark.parametrize(
    ("file", "content", "amazons"),
    [
        ("class/dmi/id/sys_vendor", "Amazon EC2\n", True),
        ("hypervisor/uuid", "ec2e1916-9099-7caf-fd21-012345abcdef\n", True),
        ("class/dmi/id/sys_vendor", "LENOVO\n", False),
        ("class/dmi/id/board_name", "Amazon EC2\n", False),
    ],
)
def test_amazons_machines_are_known_by_their_hardware(tmp_path: Path, file: str, content: str, amazons: bool) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(content)
    assert is_ec2(tmp_path) is amazons


class Sts(Session):
    """A session whose credentials an AWS STS refuses."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__()
        self._error = (status, code)

    def get_credentials(self, *_: object) -> Any:
        status, code = self._error
        words = {"Error": {"Code": code, "Message": "user/secret-name"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(words, "AssumeRoleWithWebIdentity")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "code", "may"),
    [
        (400, "Throttling", True),
        (503, "ServiceUnavailable", True),
        (400, "IDPCommunicationError", True),
        (403, "AccessDenied", False),
        (400, "InvalidIdentityToken", False),
    ],
)
def test_an_sts_that_is_busy_is_asked_again_one_that_refuses_is_not(status: int, code: str, may: bool) -> None:
    with pytest.raises(BotoCoreError) as raised:
        find_credentials(Sts(status, code))
    assert may_come(raised.value) is may
    assert code in str(raised.value) and "secret-name" not in str(raised.value)


@pytest.mark.parametrize("command", ["false", "sh -c 'exit 3'"])
def test_a_command_that_fails_may_give_credentials_yet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, instance: Callable[..., Any]
) -> None:
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {command}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert kept_back()[:2] == ("CredentialRetrievalError", True)
