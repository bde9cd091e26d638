"""The errors that end a job, each with its exit code and messages for the user."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


class Exit(IntEnum):
    """The exit codes of every job."""

    DONE = 0
    OUR_FAULT = 1
    CONFIGURATION = 2
    GATE_FAILED = 3
    DEAD_LETTERS = 4
    INTERRUPTED = 5


class JobError(Exception):
    """Ends a job with messages: each line says what is wrong, where, and what to do."""

    exit_code = Exit.OUR_FAULT

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class ConfigurationError(JobError):
    """Usage, mapping, configuration or input is wrong: the user must correct something before another run."""

    exit_code = Exit.CONFIGURATION


class GateFailedError(JobError):
    """The batch failed its gate: nothing of it is sent."""

    exit_code = Exit.GATE_FAILED


class CountsError(JobError):
    """Two counts of the same events differ."""


class UnfinishedError(JobError):
    """The run did not finish: another run can do the rest."""

    exit_code = Exit.INTERRUPTED


def all_or_faults(one: Callable[[], A], other: Callable[[], B]) -> tuple[A, B]:
    """Read two things that the user has written, and report the faults of both at once.

    Raises:
        ConfigurationError: the lines of both.
    """
    try:
        first = one()
    except ConfigurationError as error:
        try:
            other()
        except ConfigurationError as more:
            raise ConfigurationError(*error.lines, *more.lines) from None
        raise
    return first, other()
