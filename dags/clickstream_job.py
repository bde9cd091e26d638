"""An operator for the clickstream jobs: it runs spark-submit and gives Airflow their exit codes and summaries."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import BaseXCom
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException

if TYPE_CHECKING:
    from airflow.sdk import Context


class ExitCode(IntEnum):
    """The exit codes of a job that are told apart here. `jobs/errors.py` has all; Airflow does not have that module."""

    DONE = 0
    CONFIGURATION = 2
    GATE_FAILED = 3
    DEAD_LETTERS = 4


DONE = (ExitCode.DONE, ExitCode.DEAD_LETTERS)
HOPELESS = (ExitCode.CONFIGURATION, ExitCode.GATE_FAILED)
"""After these codes somebody must correct something first. After any other code the task tries again, because a run
does only what is missing. This includes a fault of this project or a dead driver: a store or a host may come back."""


class JobHook(SparkSubmitHook):
    """Submits a job, keeps its summary, and asks it to end instead of killing it."""

    summary: dict[str, Any] | None = None
    _asked_to_end = False

    @property
    def exit_code(self) -> int | None:
        """The exit code of spark-submit, which in client mode is that of the job; None before the end."""
        return self._submit_sp.poll() if self._submit_sp else None

    def submit(self, application: str = "", **kwargs: Any) -> str | None:
        """Submit in a new session.

        Airflow signals the whole process group of a task. The job's Python workers would die during a call, and five
        seconds later the job too, while it writes its receipts.
        """
        driver: str | None = super().submit(application, start_new_session=True, **kwargs)
        return driver

    def on_kill(self) -> None:
        """Send one SIGTERM: the job finishes calls in flight and writes receipts; a second signal would stop that."""
        if self.exit_code is None and self._submit_sp and not self._asked_to_end:
            self._asked_to_end = True
            self.log.warning("asking the job to end")
            self._submit_sp.terminate()

    def _process_spark_submit_log(self, itr: Iterator[Any]) -> None:
        super()._process_spark_submit_log(self._noting_the_summary(itr))

    def _noting_the_summary(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            self.summary = read_summary(line) or self.summary
            yield line


def read_summary(line: str) -> dict[str, Any] | None:
    """Read the summary of a job, which is a line of its log.

    Airflow reads standard output and standard error as one, so the summary may follow text without an end of line.

    Examples:
        >>> read_summary('{"job": "put_events", "exitCode": 0}')
        {'job': 'put_events', 'exitCode': 0}
        >>> read_summary('[Stage 3:====> (3 + 1) / 4]{"job": "put_events"}')
        {'job': 'put_events'}
        >>> read_summary("24/01/02 WARN Utils: set SPARK_LOCAL_IP")
    """
    _, found, rest = line.partition('{"job": ')
    try:
        return dict(json.loads(found + rest)) if found else None
    except ValueError:
        return None


class ClickstreamJobOperator(SparkSubmitOperator):
    """Run a clickstream job in Spark's client mode; its summary is the task's XCom, even if it failed.

    Args:
        home: folder or URI that holds the release's `jobs/` and `dist/`.
        job: its name, e.g. `build_events`.
        options: its command line; an option whose value renders to nothing is left out. (templated)
        flags: options without a value; each is given if its text renders to something. (templated)
        max_dead_letter_share: the share of a batch that the service may refuse for good, 0 to 1. (templated)
        kwargs: SparkSubmitOperator's own.
    """

    template_fields: Sequence[str] = (
        *SparkSubmitOperator.template_fields,
        "options",
        "flags",
        "max_dead_letter_share",
    )

    def __init__(
        self,
        *,
        home: str,
        job: str,
        options: dict[str, str],
        flags: dict[str, str] | None = None,
        max_dead_letter_share: str = "0",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            application=f"{home}/jobs/{job}.py",
            py_files=f"{home}/dist/clickstream_events.zip",
            name=f"{job} {options['--batch']}",
            deploy_mode="client",  # cluster mode returns neither the exit code nor the summary
            **kwargs,
        )
        self.job = job
        self.options = options
        self.flags = flags or {}
        self.max_dead_letter_share = max_dead_letter_share

    def execute(self, context: Context) -> None:
        """Run the job to its end, and put its summary into XCom.

        Raises:
            AirflowFailException: another try is useless before somebody corrects something.
            AirflowException: another try may succeed.
        """
        allowed = read_share(self.max_dead_letter_share)
        self._check_release()
        self._check_connection()
        flags = [flag for flag, value in self.flags.items() if value]
        self.application_args = [f"{option}={value}" for option, value in self.options.items() if value] + flags
        self._hook = hook = self._get_hook()
        try:
            super().execute(context)
        except FileNotFoundError:
            raise AirflowFailException("there is no spark-submit on this worker's PATH") from None
        except AirflowException:
            if not hook.exit_code:  # spark-submit never started
                raise
        summary = {"job": self.job, **(hook.summary or {}), "exitCode": hook.exit_code}
        context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=summary)
        check_ending(summary, allowed)

    def _check_release(self) -> None:
        """Check that local paths of the job and the zip exist: without them Spark ends with a stack trace."""
        files = [file for file in (self.application, self.py_files) if file and "://" not in file]
        if missing := [file for file in files if not Path(file).is_file()]:
            raise AirflowFailException(f"missing on this worker: {', '.join(missing)}; `make zip` makes the zip")

    def _check_connection(self) -> None:
        """Check that the connection to Spark exists: without it the hook would use YARN."""
        try:
            SparkSubmitHook.get_connection(self._conn_id)
        except AirflowNotFoundException:
            add = f"airflow connections add {self._conn_id} --conn-type spark --conn-host ..."
            raise AirflowFailException(f"there is no connection {self._conn_id!r}: {add}") from None

    def _get_hook(self) -> JobHook:
        hook = super()._get_hook()
        hook.__class__ = JobHook  # the operator has no argument for this class; its others stay
        return cast("JobHook", hook)


def check_ending(summary: dict[str, Any], max_dead_letter_share: float) -> None:
    """Raise what the end of a job means to Airflow.

    Args:
        summary: of the job, with its exit code.
        max_dead_letter_share: the share of a batch that the service may refuse for good, 0 to 1.

    Raises:
        AirflowFailException: another try is useless before somebody corrects something.
        AirflowException: another try may succeed.
    """
    code = summary["exitCode"]
    ended = f"{summary['job']} ended with exit code {code}"
    if code not in DONE:
        kind = AirflowFailException if code in HOPELESS else AirflowException
        raise kind(f"{ended}: {summary.get('error', 'see the log')}")
    if "runId" not in summary:
        raise AirflowException(f"{ended}, but its log has no summary, so nobody knows what was done; see the log")
    if code != ExitCode.DEAD_LETTERS:
        return
    if not {"batch", "events", "deadLettered"} <= summary.keys():
        raise AirflowException(f"{ended}, but its summary does not say how many events were refused; see the log")
    if not dead_letter_share(summary) <= max_dead_letter_share:  # nan allows nothing either
        raise AirflowFailException(
            f"{describe_dead_letters(summary)}, more than max_dead_letter_share ({percent(max_dead_letter_share)}); "
            "docs/operations.md says how to look at them and how to send them again"
        )


def describe_dead_letters(summary: dict[str, Any]) -> str:
    """Describe how much of a batch the service refused for good.

    Examples:
        >>> describe_dead_letters({"batch": "2024-01-02", "events": 6000, "deadLettered": 90})
        'batch 2024-01-02: the service refused 90 of 6,000 events for good (1.5 %)'
    """
    refused, events, share = summary["deadLettered"], summary["events"], percent(dead_letter_share(summary))
    return f"batch {summary['batch']}: the service refused {refused:,} of {events:,} events for good ({share})"


def dead_letter_share(summary: dict[str, Any]) -> float:
    """Return the share of a batch that the service refused for good; 1 for a batch that reports no events.

    Examples:
        >>> dead_letter_share({"events": 6, "deadLettered": 3}), dead_letter_share({"events": 0, "deadLettered": 3})
        (0.5, 1.0)
    """
    events, refused = int(summary["events"]), int(summary["deadLettered"])
    return refused / max(events, refused, 1)


def read_share(text: str) -> float:
    """Read a share, 0 to 1, from the text of a template.

    Raises:
        AirflowFailException: it is not a share.
    """
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise AirflowFailException(f"max_dead_letter_share is {text!r}: it must be from 0 to 1, e.g. 0.01 for 1 %")
    return share


def percent(share: float) -> str:
    """Write a share as a percentage.

    Examples:
        >>> percent(0.01), percent(1), percent(7 / 600)
        ('1 %', '100 %', '1.167 %')
    """
    return f"{share * 100:.4g} %"
