"""An operator for the clickstream jobs: spark-submit, with their exit codes and summaries told to Airflow."""

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


class Exit(IntEnum):
    """The exit codes of every clickstream job."""

    DONE = 0
    OUR_FAULT = 1
    CONFIGURATION = 2
    GATE_FAILED = 3
    DEAD_LETTERS = 4
    INTERRUPTED = 5


DONE = (Exit.DONE, Exit.DEAD_LETTERS)
HOPELESS = (Exit.CONFIGURATION, Exit.GATE_FAILED)
"""After these somebody must mend something first. After any other a run sends and builds only what is missing, so it is
tried again: also after a fault of ours or a driver that died, whose cause may be a store or a host that comes back."""


class JobHook(SparkSubmitHook):
    """Submits a job, catches its summary, and asks it to end instead of killing it."""

    summary: dict[str, Any] | None = None
    _asked_to_end = False

    @property
    def exit_code(self) -> int | None:
        """The exit code of spark-submit, which in client mode is the job's; None before it has ended."""
        return self._submit_sp.poll() if self._submit_sp else None

    def submit(self, application: str = "", **kwargs: Any) -> str | None:
        """Submit in a session of its own.

        Airflow signals a task's whole process group. The job's Python workers would die of that in mid-call, and five
        seconds later the job too, while it is writing its receipts.
        """
        driver: str | None = super().submit(application, start_new_session=True, **kwargs)
        return driver

    def on_kill(self) -> None:
        """Send one SIGTERM: the job finishes the calls under way and writes receipts; a second would cut that short."""
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
    """Read a job's summary, which stands among the lines of its log.

    Examples:
        >>> read_summary('{"job": "put_events", "exitCode": 0}')
        {'job': 'put_events', 'exitCode': 0}
        >>> read_summary("24/01/02 WARN Utils: set SPARK_LOCAL_IP")
    """
    if not line.startswith('{"job": '):
        return None
    try:
        return dict(json.loads(line))
    except ValueError:
        return None


class ClickstreamJobOperator(SparkSubmitOperator):
    """Run a clickstream job in Spark's client mode; its summary is the task's XCom, also when it failed.

    Args:
        home: folder or URI that holds the release's `jobs/` and `dist/`.
        job: its name, e.g. `build_events`.
        options: its command line; an option whose value renders to nothing is left out. (templated)
        kwargs: SparkSubmitOperator's own.
    """

    template_fields: Sequence[str] = (*SparkSubmitOperator.template_fields, "options")

    def __init__(self, *, home: str, job: str, options: dict[str, str], **kwargs: Any) -> None:
        super().__init__(
            application=f"{home}/jobs/{job}.py",
            py_files=f"{home}/dist/clickstream_events.zip",
            name=f"{job} {options['--batch']}",
            deploy_mode="client",  # in cluster mode neither the exit code nor the summary comes back
            **kwargs,
        )
        self.job = job
        self.options = options

    def execute(self, context: Context) -> None:
        """Run the job to its end, and leave its summary in XCom.

        Raises:
            AirflowFailException: it makes no sense to try again before something is mended.
            AirflowException: it does.
        """
        self._check_release()
        self._check_connection()
        self.application_args = [f"{option}={value}" for option, value in self.options.items() if value]
        self._hook = hook = self._get_hook()
        try:
            super().execute(context)
        except FileNotFoundError:
            raise AirflowFailException("there is no spark-submit on this worker's PATH") from None
        except AirflowException:
            if not hook.exit_code:  # it never came to spark-submit
                raise
        summary = {"job": self.job, **(hook.summary or {}), "exitCode": hook.exit_code}
        context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=summary)
        judge(summary)

    def _check_release(self) -> None:
        """Look for the job and the zip where they are local: without them Spark ends in a stack trace."""
        files = [file for file in (self.application, self.py_files) if file and "://" not in file]
        if missing := [file for file in files if not Path(file).is_file()]:
            raise AirflowFailException(f"missing on this worker: {', '.join(missing)}; `make zip` makes the zip")

    def _check_connection(self) -> None:
        """Look for the connection to Spark: the hook would take one that is not there for YARN."""
        try:
            SparkSubmitHook.get_connection(self._conn_id)
        except AirflowNotFoundException:
            add = f"airflow connections add {self._conn_id} --conn-type spark --conn-host ..."
            raise AirflowFailException(f"there is no connection {self._conn_id!r}: {add}") from None

    def _get_hook(self) -> JobHook:
        hook = super()._get_hook()
        hook.__class__ = JobHook  # the operator lets nobody name its hook's class; so all of its arguments stay
        return cast("JobHook", hook)


def judge(summary: dict[str, Any]) -> None:
    """Say what an ending means to Airflow.

    Raises:
        AirflowFailException: it makes no sense to try again before something is mended.
        AirflowException: it does.
    """
    code = summary["exitCode"]
    if code in DONE:
        return
    ended = f"{summary['job']} ended with exit code {code}: {summary.get('error', 'see the log')}"
    raise (AirflowFailException if code in HOPELESS else AirflowException)(ended)
