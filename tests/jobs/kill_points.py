"""Ends a job at a place of its work that is the same on every run: before, during or after its n-th act on the store.

An act is a call that changes files of the lake: a small file written, a table written, something deleted. The beats of
locks are none: they come by the clock. `python -m tests.jobs.kill_points 7 during build --input ...` runs a job in a
process of its own, which kills itself and its JVM at that place.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from unittest import mock

from pyspark.sql import DataFrameWriter

from jobs import build_events, put_events, replay_events
from jobs.lake.filesystem import FileSystem
from jobs.report.report import Report
from tests.jobs.processes import below, kill

JOBS: Final = {"build": build_events.main, "put": put_events.main, "replay": replay_events.main}
Moment = Literal["before", "during", "after"]
MOMENTS: Final[tuple[Moment, ...]] = ("before", "during", "after")
_WRITES: Final = ("create", "replace")
_METHODS: Final = (*_WRITES, "delete", "make_folder")


class Act(NamedTuple):
    """A call that changes files: the method, and the path."""

    method: str
    path: str


class KillPoint(NamedTuple):
    """The number of an act, from 1, and the moment of it."""

    number: int
    moment: Moment


class Acts:
    """Counts the acts of a job, and ends it at one of them.

    Args:
        at: where; None only to count.
        end: ends the job, or asks it to end and returns.
        is_deadly: whether `end` never returns, so that a file may be left half-written.

    Attributes:
        done: the acts so far.
    """

    def __init__(
        self, at: KillPoint | None = None, end: Callable[[], None] = lambda: None, *, is_deadly: bool = False
    ) -> None:
        self.done: list[Act] = []
        self._at = at
        self._end = end
        self._is_deadly = is_deadly
        self._counting = threading.Lock()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count while the block runs."""
        with ExitStack() as patches:
            for name in _METHODS:
                patches.enter_context(mock.patch.object(FileSystem, name, self._wrapped(name)))
            patches.enter_context(
                mock.patch.object(DataFrameWriter, "parquet", self._wrapped_table(DataFrameWriter.parquet))
            )
            yield

    def _wrapped(self, name: str) -> Callable[..., Any]:
        method = getattr(FileSystem, name)

        def act(files: FileSystem, path: str, *content: Any, **how: Any) -> Any:
            if path.endswith(".alive"):
                return method(files, path, *content, **how)
            with self._around(Act(name, path)) as is_during:
                if is_during:
                    if name in _WRITES and self._is_deadly:
                        _write_half(Path(path), content[0])
                    self._end()
                return method(files, path, *content, **how)

        return act

    def _wrapped_table(self, method: Callable[..., None]) -> Callable[..., None]:
        def act(writer: DataFrameWriter, path: str, *how: Any, **more: Any) -> None:
            with self._around(Act("table", path)) as is_during:
                if is_during:
                    threading.Thread(target=self._end_when_begun, args=(Path(path),), daemon=True).start()
                method(writer, path, *how, **more)

        return act

    @contextmanager
    def _around(self, act: Act) -> Iterator[bool]:
        """End before or after an act; say whether to end during it."""
        with self._counting:
            self.done.append(act)
            moment = self._at.moment if self._at is not None and self._at.number == len(self.done) else None
        if moment == "before":
            self._end()
        yield moment == "during"
        if moment == "after":
            self._end()

    def _end_when_begun(self, folder: Path) -> None:
        """End when a task has written something, which its job has not committed yet, or only just."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if any(path.is_file() for path in _below(folder)):
                self._end()
                return
            time.sleep(0.001)


def _below(folder: Path) -> list[Path]:
    with suppress(OSError):  # a folder that is moved meanwhile
        return list(folder.rglob("*"))
    return []


def _write_half(path: Path, content: str | bytes) -> None:
    """Leave what a crash in the middle of a write leaves: half of the bytes, and no checksums."""
    whole = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():  # what is replaced stays as it is until its new content is there
        path.write_bytes(whole[: len(whole) // 2])


def die() -> None:
    """Kill this process, and its JVM."""
    for process in below(os.getpid()):
        if process.pid != os.getpid():
            kill(process.pid)
    os.kill(os.getpid(), signal.SIGKILL)


def main(argv: list[str]) -> int:
    """Run a job that dies."""
    number, moment, job, *arguments = argv
    point = KillPoint(int(number), MOMENTS[MOMENTS.index(moment)])  # type: ignore[arg-type]
    acts = Acts(point, die, is_deadly=True)
    with acts.watched(), mock.patch("jobs.cli.run.start_report", Report):
        return JOBS[job](arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
