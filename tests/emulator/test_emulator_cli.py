"""`python -m emulator` as a user starts it."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from botocore.exceptions import ClientError

from emulator.faults import Faults
from emulator.options import parse_settings
from emulator.settings import EmulatorSettings
from tests.jobs.pythons import python_with

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "emulator"]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_that_it_is_ready_and_stops_quietly(number: int, connect: Any, call: Any) -> None:
    arguments = ["--port", "0", "--access-key", "AKIDOWN", "--secret-key", "own", "--tracking-id", "t-1"]
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            ready, _, url = process.stdout.readline().strip().rpartition(" ")
            assert ready == "emulator ready on"
            assert url.startswith("http://127.0.0.1:")
            keys = {"aws_access_key_id": "AKIDOWN", "aws_secret_access_key": "own"}
            client = connect(url, **keys)
            client.put_events(**call())
            with pytest.raises(ClientError):
                client.put_events(**(call() | {"trackingId": "t-2"}))
            with urlopen(f"{url}/_emulator/summary") as answer:
                assert json.load(answer)["accepted"] == 1
            process.send_signal(number)
            rest = process.communicate()
        finally:
            process.kill()
    assert (process.returncode, rest) == (0, ("", ""))


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--port", str(port))
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == f"emulator: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_a_host_that_is_not_ours() -> None:
    ended = run("--host", "192.0.2.1", "--port", "0")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "x"], "argument --port"),
        (["--port", "65536"], "port must be from 0 to 65535"),
        (["--quota", "-1"], "quota must be 0 (no limit) or more"),
        (["--latency-ms", "-1"], "latency must be 0 ms or more"),
        (["--latency-ms", "nan"], "latency must be 0 ms or more"),
        (["--error-rate", "1.5"], "fault rates must be from 0 to 1"),
        (["--error-rate", "0.6", "--reset-after-rate", "0.6"], "fault rates must not add up to more than 1"),
        (["--other-rate", "-1"], "other rate must be 0 calls a second or more"),
        (["--latency-p99-ms", "5"], "latency must be more than 0 ms"),
        (["--latency-ms", "9", "--latency-p99-ms", "5"], "its 99th percentile no less"),
        (["--token-lifetime", "0"], "token lifetime must be more than 0 s"),
        (["--token-lifetime", "9", "--session-token", "t"], "session token and token lifetime exclude each other"),
        (["--poison-rate", "2"], "fault rates must be from 0 to 1"),
        (["--fail-rate", "-0.1"], "fault rates must be from 0 to 1"),
        (["--fail-by", "anger"], "argument --fail-by: invalid choice: 'anger'"),
        (["--refuse-after", "-1"], "refuse-after must be 0 calls or more"),
        (["--hang-before-rate", "0.6", "--slow-body-rate", "0.6"], "fault rates must not add up to more than 1"),
        (["--slow-body-ms", "-1"], "a slow body must take 0 ms or more"),
        (["--colour"], "unrecognized arguments: --colour"),
        (["--lat", "1"], "unrecognized arguments"),
    ],
)
def test_a_wrong_command_line_is_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_settings(arguments)
    said = capsys.readouterr()
    assert caught.value.code == 2
    assert said.err.startswith("emulator: ")
    assert says in said.err
    assert (said.err.count("\n"), said.out) == (1, "")


def test_the_bare_wheel_says_what_it_lacks(tmp_path: Path) -> None:
    command = [python_with(tmp_path / "python", "boto3"), "-m", "emulator"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "emulator: httptools is missing: pip install 'clickstream-events[emulator]'\n"


def test_help_tells_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_settings(["--help"])
    said = capsys.readouterr().out
    assert caught.value.code == 0
    options = "host port quota other-rate latency-ms latency-p99-ms access-key secret-key session-token token-lifetime"
    options += " deny tracking-id error-rate reset-before-rate reset-after-rate hang-before-rate hang-after-rate"
    options += " slow-body-rate slow-body-ms poison-item poison-rate fail-item fail-rate fail-by"
    options += " refuse-after seed"
    listed = said.partition("options:")[2]
    assert [option for option in options.split() if f"\n  --{option} " not in listed] == []
    assert "None" not in listed and "False" not in listed and "[]" not in listed
    assert "AKIDEMULATOR" in said
    assert "emulator-secret" in said


def test_no_option_is_the_default_settings() -> None:
    assert parse_settings([]) == EmulatorSettings(port=8080)


def test_options_become_settings() -> None:
    line = "--host ::1 --port 1 --quota 2 --other-rate 0.5 --latency-ms 3.5 --latency-p99-ms 40 --access-key k"
    line += " --secret-key s --session-token t --deny --tracking-id a --tracking-id b"
    assert parse_settings(line.split()) == EmulatorSettings(
        host="::1",
        port=1,
        quota=2,
        other_rate=0.5,
        latency_ms=3.5,
        latency_p99_ms=40.0,
        access_key="k",
        secret_key="s",
        session_token="t",
        deny=True,
        tracking_ids=frozenset({"a", "b"}),
    )
    assert parse_settings(["--token-lifetime", "90"]) == EmulatorSettings(port=8080, token_lifetime=90.0)


def test_fault_options_become_faults() -> None:
    line = "--error-rate 0.1 --reset-before-rate 0.2 --reset-after-rate 0.3 --hang-before-rate 0.05"
    line += " --hang-after-rate 0.06 --slow-body-rate 0.07 --slow-body-ms 8 --poison-item x --poison-item y"
    line += " --poison-rate 0.01 --fail-item z --fail-rate 0.02 --fail-by hang --refuse-after 0 --seed 9"
    assert parse_settings(line.split()).faults == Faults(
        error_rate=0.1,
        reset_before_rate=0.2,
        reset_after_rate=0.3,
        hang_before_rate=0.05,
        hang_after_rate=0.06,
        slow_body_rate=0.07,
        slow_body_ms=8.0,
        poison_items=frozenset({"x", "y"}),
        poison_rate=0.01,
        fail_items=frozenset({"z"}),
        fail_rate=0.02,
        fail_by="hang",
        refuse_after=0,
        seed=9,
    )


def test_what_measures_its_speed_works() -> None:
    script = Path(__file__).with_name("measure_emulator.py")
    command = [sys.executable, str(script), "--calls", "200"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout)["calls"] == 200
