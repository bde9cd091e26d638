"""What a person sees of a build: a line for each stage on a terminal, nothing where nobody looks."""

from __future__ import annotations

import io
import logging
import threading

import pytest

from jobs.cli.stages import StageDisplay, TaskCount, line


@pytest.fixture(autouse=True)
def _drawn_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.cli.stages._DRAW_SECONDS", 3600.0)


def rows(terminal: io.StringIO) -> list[str]:
    """What is to be read on the terminal, row by row: what comes after a carriage return is written over the rest."""
    found = []
    for row in terminal.getvalue().split("\n"):
        shown = ""
        for piece in row.split("\r"):
            shown = piece + shown[len(piece) :]
        found.append(shown.rstrip())
    return found


def half() -> TaskCount:
    return 1, 2


@pytest.mark.parametrize(
    ("stage", "of", "tasks", "shown"),
    [
        ("checking", "", (3, 8), "checking         [#######.............]   12 s | 3 of 8 tasks"),
        ("writing events", "1,000 records", (0, 0), "writing events   [....................]   12 s | 1,000 records"),
        ("gate", "900 events", None, "gate             [####################]   12 s | 900 events"),
    ],
)
def test_a_stage_tells_what_it_does_how_far_it_is_and_how_long_it_takes(
    stage: str, of: str, tasks: TaskCount | None, shown: str
) -> None:
    assert line(stage, of, tasks, 12.4).rstrip() == shown


def test_each_stage_leaves_its_line_with_the_time_it_took() -> None:
    terminal, seconds = io.StringIO(), iter([0.0, 1.0, 7.0, 7.0, 7.0, 9.0])
    with StageDisplay(terminal, half, clock=lambda: next(seconds)) as stages:
        stages.begin("reading")
        stages.begin("gate", "10 events")
        assert rows(terminal)[-1] == "gate             [##########..........]    0 s | 10 events | 1 of 2 tasks"
    assert rows(terminal) == [
        "reading          [####################]    7 s",
        "gate             [####################]    2 s | 10 events",
        "",
    ]


def test_a_stage_that_fails_is_left_as_it_was() -> None:
    terminal = io.StringIO()

    def build() -> None:
        with StageDisplay(terminal, half, clock=lambda: 0.0) as stages:
            stages.begin("checking")
            raise ValueError("the disk is full")

    with pytest.raises(ValueError, match="full"):
        build()
    assert rows(terminal) == ["checking         [##########..........]    0 s | 1 of 2 tasks", ""]


def test_a_line_of_the_log_is_not_written_behind_the_bar() -> None:
    terminal, logger = io.StringIO(), logging.getLogger("tests.stages")
    written = logging.StreamHandler(terminal)
    logging.getLogger().addHandler(written)
    try:
        with StageDisplay(terminal, half, clock=lambda: 0.0) as stages:
            stages.begin("checking")
            logger.warning("one visitor has half of it")
            stages.draw()
    finally:
        logging.getLogger().removeHandler(written)
    assert rows(terminal) == ["one visitor has half of it", "checking         [####################]    0 s", ""]


def test_where_nobody_looks_nothing_is_drawn_counted_or_started() -> None:
    before, handlers = threading.active_count(), list(logging.getLogger().handlers)
    with StageDisplay(None, pytest.fail) as stages:
        stages.begin("reading")
        stages.draw()
        assert threading.active_count() == before and logging.getLogger().handlers == handlers


def test_a_terminal_that_goes_away_ends_nothing() -> None:
    terminal = io.StringIO()
    with StageDisplay(terminal, half) as stages:
        stages.begin("reading")
        terminal.close()
        stages.begin("checking")
        stages.draw()


def test_a_jvm_that_is_gone_ends_nothing() -> None:
    def count() -> TaskCount:
        raise ConnectionError("the JVM is gone")

    terminal = io.StringIO()
    with StageDisplay(terminal, count, clock=lambda: 0.0) as stages:
        stages.begin("reading")
        assert rows(terminal) == ["reading          [....................]    0 s"]
