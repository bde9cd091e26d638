"""The README's words are true: its snippets run, its commands exist, its outputs are what comes out."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_every_snippet_is_one_that_a_test_runs() -> None:
    fences = re.findall(r"^```(.*)$", README, re.MULTILINE)
    assert sorted(fences[::2]) == ["console", "json", "json", "sh", "toml"] and set(fences[1::2]) == {""}


def test_the_make_commands_exist() -> None:
    known = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    named = re.findall(r"\$ make ([a-z]+)", blocks("console")[0])
    assert named == ["demo", "test"] and set(named) <= set(known)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A checkout after `make setup`, with the README's two files."""
    (tmp_path / "jobs").symlink_to(ROOT / "jobs")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "shop.jsonl").write_text(blocks("json")[0])
    (tmp_path / "build" / "shop.toml").write_text(blocks("toml")[0])
    return tmp_path


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to nobody who asks for any."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    for port in random.sample([port for port in range(10_000, 65_000) if not first <= port <= last], 100):
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


@pytest.mark.long
def test_your_own_logs(workplace: Path) -> None:
    script = "set -e\n" + blocks("sh")[0].replace("8080", str(free_port()))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for set_by_make in ("PYSPARK_SUBMIT_ARGS", "JAVA_HOME"):
        environment.pop(set_by_make, None)
    ended = subprocess.run(
        ["bash", "-c", script], cwd=workplace, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    promised = [json.loads(line) for line in blocks("json")[1].splitlines()]
    build, put = (line for line in lines if "job" in line)
    assert {name: build[name] for name in promised[0]} == promised[0]
    assert {name: put[name] for name in promised[1]} == promised[1]
    received = [line for line in lines if "trackingId" in line]
    assert sorted((event["eventType"], event.get("userId"), event.get("eventValue")) for event in received) == [
        ("buy", "u1", 19.9),
        ("view", None, None),
    ]
