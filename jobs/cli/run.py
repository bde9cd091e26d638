"""Runs every job: arguments, session, work; then, however the work ended, the summary and the exit code."""

from __future__ import annotations

import json
import logging
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from pyspark.sql import SparkSession

from jobs.cli.arguments import find_batch_label
from jobs.cli.deadline import Deadline
from jobs.cli.file_names import require_writable_name
from jobs.cli.interruption import Interruption
from jobs.cli.session import open_session, start_jvm
from jobs.cli.terminal import safe_streams, write_lines
from jobs.errors import Exit, JobError, UnfinishedError
from jobs.lake.filesystem import run_in_own_thread
from jobs.lake.store_errors import store_refusal
from jobs.lake.tables import Lake
from jobs.report.report import Report, start_report
from jobs.spark_internals.gateway import is_gateway_log, silence_gateway


class RunArguments(Protocol):
    """What the arguments of every run hold."""

    @property
    def batch(self) -> str | None:
        """The batch's label; None where the run has none."""
        ...


class JobArguments(RunArguments, Protocol):
    """What every job's arguments hold."""

    @property
    def lake(self) -> str:
        """Root folder or URI of the tables."""
        ...


R = TypeVar("R", bound=RunArguments)
A = TypeVar("A", bound=JobArguments)


@dataclass(slots=True)
class Run:
    """One run of a job, and what it reports.

    Attributes:
        job: its name.
        counters: the summary's, in order; the work fills them in.
        runId: sorts in time order, and is unique.
        startedAt: aware.
        interruption: handles the signals that ask the run to end.
        report: the content of its page besides the counters.
        if_interrupted: what an interruption leaves behind now, and what the user does then. The work keeps it up to
            date.
        lake_root: root folder or URI of the tables as the user gave it; None if there is none, or before it is known.
        lake: the tables, when they are found.
        summary_prefix: what stands before the summary on the last line of standard output.
    """

    job: str
    counters: dict[str, Any]
    startedAt: datetime = field(default_factory=lambda: datetime.now(UTC))
    interruption: Interruption = field(default_factory=Interruption)
    report: Report = field(default_factory=Report)
    if_interrupted: str = "run it again"
    lake_root: str | None = None
    lake: Lake | None = None
    summary_prefix: str = ""
    runId: str = field(init=False)
    _started_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.runId = f"{self.startedAt:%Y%m%dT%H%M%S%f}Z-{secrets.token_hex(3)}"

    def reason_to_end(self, deadline: Deadline) -> UnfinishedError | None:
        """Explain why the run must end; None if it may continue."""
        if self.interruption.is_requested:
            return UnfinishedError(f"interrupted: {self.if_interrupted}")
        return UnfinishedError(f"{deadline.because}: {self.if_interrupted}") if deadline.has_passed else None

    def summary(self, batch: str | None, exit_code: int, error: str | None) -> dict[str, Any]:
        """Make the summary."""
        seconds = round(time.monotonic() - self._started_at, 3)
        ends = {"seconds": seconds, "exitCode": int(exit_code), **({"error": error} if error else {})}
        return {"job": self.job, "batch": batch, "runId": self.runId, **self.counters, **ends}


def run_job(
    run: Run,
    parse: Callable[[Sequence[str]], A],
    work: Callable[[SparkSession, Lake, A, Run], Exit],
    argv: Sequence[str],
    find_lake: Callable[[SparkSession, str], Lake] = Lake.existing,
) -> int:
    """Run a job to its end.

    Args:
        run: with the job's counters at zero.
        parse: reads the command line; raises ConfigurationError.
        work: does the job and fills in the counters; raises JobError if it cannot.
        argv: the command line without the program.
        find_lake: opens the lake at a root; raises JobError if it cannot.

    Returns:
        The exit code. The last line of standard output is the summary, also when the job failed.
    """

    def work_on_lake(spark: SparkSession, arguments: A) -> Exit:
        run.lake_root = arguments.lake
        require_writable_name("--lake", arguments.lake, spark)
        run.lake = find_lake(spark, arguments.lake)
        run.report = start_report()
        return work(spark, run.lake, arguments, run)

    return run_without_lake(run, parse, work_on_lake, argv)


def run_without_lake(
    run: Run, parse: Callable[[Sequence[str]], R], work: Callable[[SparkSession, R], Exit], argv: Sequence[str]
) -> int:
    """Run what needs no tables to its end; else as `run_job` does."""
    with safe_streams(), run.interruption.listening():
        _log_to_stderr()
        return _run_to_exit_code(run, parse, work, argv)


def _run_to_exit_code(
    run: Run, parse: Callable[[Sequence[str]], R], work: Callable[[SparkSession, R], Exit], argv: Sequence[str]
) -> int:
    arguments, error = None, None
    is_interrupted_at_once = False
    try:
        with run.interruption.ends_at_once():
            arguments = parse(argv)
            with run.interruption.gently(lambda: None, "Java is starting"):
                start_jvm()
            run.interruption.check(run.if_interrupted)
            spark = open_session(run.job)
            run.interruption.listen_again()
            code = work(spark, arguments)
    except JobError as failure:
        code, error = failure.exit_code, str(failure)
        _write_errors(failure.lines)
    except (
        Exception,
        KeyboardInterrupt,
    ) as failure:  # an interruption, the store, or a fault of ours
        is_interrupted_at_once = isinstance(failure, KeyboardInterrupt)
        if run.interruption.is_requested or is_interrupted_at_once:
            code, error = Exit.INTERRUPTED, f"interrupted: {run.if_interrupted}"
            _write_errors([error])
        elif refusal := store_refusal(failure, run.lake_root):
            code, error = refusal.exit_code, str(refusal)
            _write_errors(refusal.lines)
        elif explained := run.lake.explain(failure) if run.lake is not None else None:
            code, error = explained.exit_code, str(explained)
            _write_errors(explained.lines)
        else:
            code, error = Exit.OUR_FAULT, f"{run.job}: an unexpected {type(failure).__name__}"
            _write_errors([error, *_describe_place(failure)])
    summary = run.summary(arguments.batch if arguments else find_batch_label(argv), code, error)
    if run.lake is not None:
        save = partial(_save_summary, run, run.lake, summary)
        with suppress(KeyboardInterrupt), run.interruption.ends_by_itself():
            run_in_own_thread(save) if is_interrupted_at_once else save()
    write_lines(sys.stdout, f"{run.summary_prefix}{json.dumps(summary)}")  # the last line: nothing is logged after it
    return code


def _log_to_stderr() -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    silence_gateway()
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_wanted_line)


def _is_wanted_line(record: logging.LogRecord) -> bool:
    """Filter out log lines whose loggers have levels of their own.

    The connection to the JVM logs stack traces of an interruption; great_expectations logs its own start.
    """
    chatter = "great_expectations" in record.pathname and record.levelno < logging.WARNING
    return not is_gateway_log(record) and not chatter


def _write_errors(lines: Sequence[str]) -> None:
    write_lines(sys.stderr, *[f"error: {line}" for line in lines])


def _describe_place(failure: BaseException) -> list[str]:
    """Describe where it happened, without the message, which may quote a record."""
    frames = traceback.extract_tb(failure.__traceback__)
    ask = getattr(failure, "getCondition", None) or getattr(failure, "getErrorClass", None)  # Spark 4, else 3
    condition = ask() if ask else None
    condition_line = [f"Spark's error class: {condition}"] if condition else []
    return [*condition_line, *[f"  at {frame.name} ({frame.filename}:{frame.lineno})" for frame in frames[-5:]]]


def _save_summary(run: Run, lake: Lake, summary: dict[str, Any]) -> None:
    """Write the summary and the report under `runs/`."""
    try:
        lake.note_run(summary["batch"], run.job, run.runId, ".json", json.dumps(summary))
        run.report.write(lake, summary, run.startedAt)
    except Exception as failure:  # the summary still goes to standard output
        logging.getLogger(__name__).warning("the summary could not be kept under runs/: %s", type(failure).__name__)
