"""The drivers that ran, and whether each ended correctly."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.soak.faults import DRIVER_KILLED, TOLD_TO_END, Struck

GRACE: Final = 60.0
"""Seconds after SIGTERM: 30 for Spark's jobs, 10 each for planning and counting, and the end of the JVM."""
_UNFINISHED: Final = 5
_NOTICED: Final = 1.0
"""Seconds until the end of a driver is noticed."""


@dataclass
class Run:
    """A driver.

    Attributes:
        log: its output.
        began: by the system's monotonic clock.
        ended: by the same clock; infinite while it runs.
        code: its exit code; None while it runs.
    """

    log: Path
    began: float
    ended: float = float("inf")
    code: int | None = None

    def end(self, code: int) -> None:
        """Note that it has ended now."""
        self.code, self.ended = code, time.monotonic()

    def summary(self) -> dict[str, Any]:
        """Read its last line; empty if it has no output."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.startswith('{"job"')]
        return dict(json.loads(lines[-1])) if lines else {}


def ended_badly(runs: Sequence[Run], history: Sequence[Struck]) -> Iterator[str]:
    """Describe the runs that did not end correctly: with 0, with 5, or killed; after a signal, within their time."""
    for number, run in enumerate(runs, start=1):
        met = [one for one in history if run.began <= one.began <= run.ended]
        if run.code not in {0, _UNFINISHED} and not any(one.name in DRIVER_KILLED for one in met):
            how = "did not end" if run.code is None else f"ended with {run.code}"
            yield f"run {number} {how}: see {run.log.name}"
        for told in (one for one in met if one.name == TOLD_TO_END):
            if run.ended - told.began > GRACE + _NOTICED:
                yield f"run {number} got SIGTERM and took {run.ended - told.began:.0f} s: see {run.log.name}"
