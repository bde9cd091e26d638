"""Shows the stages of a run on a terminal: one line for each, with a bar while the stage runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self, TextIO

from pyspark.sql import SparkSession

from jobs.cli.terminal import TerminalWriter, draw_bar, terminal_width

_DRAW_SECONDS: Final = 0.25
_NAME_WIDTH: Final = 16
_END_SECONDS: Final = 2.0
"""How long to wait for the drawing thread, which may wait for a JVM that is gone."""

TaskCount = tuple[int, int]
"""How many tasks of the running Spark stages are done, and how many there are."""


def count_spark_tasks(spark: SparkSession) -> TaskCount:
    """Count the tasks of the running Spark stages."""
    tracker = spark.sparkContext.statusTracker()
    found = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
    stages = [stage for stage in found if stage is not None]  # one may have ended meanwhile
    return sum(stage.numCompletedTasks for stage in stages), sum(stage.numTasks for stage in stages)


class StageDisplay:
    """Shows on a terminal the current stage of a run and its progress; without a terminal it shows nothing.

    Args:
        terminal: to draw on; None if there is none.
        count_tasks: counts Spark's tasks.
        clock: seconds, monotonic.
    """

    def __init__(
        self, terminal: TextIO | None, count_tasks: Callable[[], TaskCount], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._terminal = TerminalWriter(terminal)
        self._count_tasks = count_tasks
        self._clock = clock
        self._stage = self._detail = ""
        self._began_at = 0.0
        self._is_drawn = False
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._log_hook = _LogLineHook(self.clear)
        self._thread = threading.Thread(target=self._draw_often, name="stages", daemon=True)

    def __enter__(self) -> Self:
        """Start to draw."""
        if self._terminal.is_there:
            logging.getLogger().handlers.insert(0, self._log_hook)  # before the handler that writes the line
            self._thread.start()
        return self

    def begin(self, stage: str, detail: str = "") -> None:
        """Go on to the next stage.

        Args:
            stage: the name of the stage.
            detail: what the stage works on, e.g. "1,000 records"; empty if unknown.
        """
        with self._lock:
            self._finish_line()
            self._stage, self._detail, self._began_at = stage, detail, self._clock()
        self.draw()

    def draw(self) -> None:
        """Draw the line of the current stage."""
        if not self._terminal.is_there:
            return
        tasks = (0, 0)
        with suppress(Exception):  # the JVM may be gone: the run reports its own end
            tasks = self._count_tasks()
        with self._lock:
            if self._stage:
                self._terminal.write(f"\r{line(self._stage, self._detail, tasks, self._clock() - self._began_at)}")
                self._is_drawn = True

    def clear(self) -> None:
        """Clear the line, so that another line can be written in its place. The next drawing is below that one."""
        with self._lock:
            if self._is_drawn:
                self._terminal.write(f"\r{' ' * terminal_width()}\r")
                self._is_drawn = False

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """End the last stage. The line of a failed stage stays as it is."""
        if self._terminal.is_there:
            self._is_over.set()
            self._thread.join(_END_SECONDS)
            logging.getLogger().removeHandler(self._log_hook)
        with self._lock:
            if failure is None:
                self._finish_line()
            elif self._is_drawn:
                self._terminal.write("\n")

    def _finish_line(self) -> None:
        """Write the final line of the stage, with the time that it took."""
        if self._stage:
            self._terminal.write(f"\r{line(self._stage, self._detail, None, self._clock() - self._began_at)}\n")
        self._stage, self._is_drawn = "", False

    def _draw_often(self) -> None:
        while not self._is_over.wait(_DRAW_SECONDS):
            self.draw()


class _LogLineHook(logging.Handler):
    """Calls an action before each log line."""

    def __init__(self, action: Callable[[], None]) -> None:
        super().__init__()
        self._action = action

    def emit(self, _record: logging.LogRecord) -> None:
        self._action()


def line(stage: str, detail: str, tasks: TaskCount | None, seconds: float) -> str:
    """Write a stage's line, padded to the terminal's width, so that it covers a longer one.

    Args:
        stage: the name of the stage.
        detail: what the stage works on; empty if unknown.
        tasks: Spark's; None for a stage that has ended.
        seconds: how long the stage has taken.
    """
    share, count = 1.0, ""
    if tasks is not None:
        done, total = tasks
        share = done / total if total else 0.0
        count = f"{done:,} of {total:,} tasks" if total else ""
    bar = f"{draw_bar(share)} {seconds:4,.0f} s"
    width = terminal_width()
    return f"{f'{stage:<{_NAME_WIDTH}} ' + ' | '.join(filter(None, [bar, detail, count])):<{width}}"[:width]
