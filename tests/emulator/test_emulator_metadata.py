"""The metadata service beside the emulator, as botocore's own fetchers see it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import MetadataRetrievalError
from botocore.utils import ContainerMetadataFetcher, InstanceMetadataFetcher

import emulator
from emulator import EmulatorSettings
from emulator.__main__ import main

COMMAND = [sys.executable, "-m", "emulator", "--port", "0"]
ROOT = Path(__file__).parents[2]


def of_instance(url: str) -> dict[str, Any]:
    fetcher = InstanceMetadataFetcher(timeout=1, num_attempts=1, base_url=url, env={})
    return dict(fetcher.retrieve_iam_role_credentials())


def of_container(url: str) -> dict[str, Any]:
    fetcher = ContainerMetadataFetcher(sleep=lambda _seconds: None)
    return dict(fetcher.retrieve_full_uri(f"{url}/credentials"))


def test_it_hands_out_the_keys_that_the_emulator_takes() -> None:
    settings = EmulatorSettings(access_key="AKIDOWN", secret_key="own", session_token="token-1")
    with emulator.running_metadata(settings) as metadata:
        instance, container = of_instance(metadata.url), of_container(metadata.url)
    assert (instance["access_key"], instance["secret_key"], instance["token"]) == ("AKIDOWN", "own", "token-1")
    assert (container["AccessKeyId"], container["SecretAccessKey"], container["Token"]) == ("AKIDOWN", "own", "token-1")


@pytest.mark.parametrize("fault", ["slow", "missing", "throttled", "broken"])
def test_with_a_fault_it_hands_out_none_until_it_recovers(fault: str) -> None:
    with emulator.running_metadata(fault=fault) as metadata:
        assert of_instance(metadata.url) == {}
        metadata.fault = "none"
        assert of_instance(metadata.url)["access_key"] == "AKIDEMULATOR"


@pytest.mark.parametrize(("fault", "status"), [("missing", 404), ("throttled", 429), ("broken", 503)])
def test_a_container_learns_the_status(fault: str, status: int) -> None:
    with emulator.running_metadata(fault=fault) as metadata, pytest.raises(MetadataRetrievalError, match=str(status)):
        of_container(metadata.url)


def test_the_command_line_starts_it_and_says_where() -> None:
    options = ["--metadata-port", "0", "--metadata-fault", "throttled", "--session-token", "token-1"]
    with subprocess.Popen([*COMMAND, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            words, _, url = process.stdout.readline().strip().rpartition(" ")
            ready = process.stdout.readline()
            assert (words, ready.startswith("emulator ready on ")) == ("metadata service on", True)
            assert of_instance(url) == {}
        finally:
            process.kill()


def test_a_port_that_is_taken_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", "0", "--metadata-port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1:{port}: " in capfd.readouterr().err


@pytest.mark.parametrize("options", [["--metadata-port", "70000"], ["--metadata-fault", "odd"]])
def test_options_that_are_not_right_are_told(options: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--port", "0", *options])
    assert ended.value.code == 2
