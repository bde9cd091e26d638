"""The emulator in its own process, and its summary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.request import urlopen

from benchmarks.measuring.process import ROOT

REGION: Final = "eu-west-1"
TRACKER: Final = "bench"
CALLER: Final = {
    "AWS_ACCESS_KEY_ID": "AKIDEMULATOR",
    "AWS_SECRET_ACCESS_KEY": "emulator-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1",
}
"""The environment of its callers: the emulator's own keys, and no account of this machine."""


@contextmanager
def emulator(*options: str) -> Iterator[str]:
    """Run an emulator; yield its URL."""
    command = [sys.executable, "-m", "emulator", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:  # noqa: S603 - our own
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def told(url: str) -> dict[str, Any]:
    """Get its counts."""
    with urlopen(f"{url}/_emulator/summary") as answer:  # noqa: S310 - our own
        return dict(json.load(answer))
