"""Raw clickstream logs to Amazon Personalize, a batch for each interval of the schedule: docs/airflow.md.

`clickstream.toml`, beside this file, names the logs, their mapping, and where the events go.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, CronDataIntervalTimetable, Param, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from clickstream_batches import BatchSchedule, interval_of
from clickstream_job import ClickstreamJobOperator, ExitCode, describe_dead_letters
from clickstream_settings import MAX_CALLS, read_settings

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import DagRunProtocol

settings = read_settings(Path(__file__).with_name("clickstream.toml"))
schedule = BatchSchedule(settings.schedule)

INPUT = "{{ logs(dag_run, params.input) }}"
BATCH = "{{ batch(dag_run) }}"
PARAMS = {
    "input": Param(settings.input, type="string", description="Raw logs; strftime's codes for the batch's start"),
    "mapping": Param(settings.mapping, type="string", description="Name or path of the mapping"),
    "lake": Param(settings.lake, type="string", description="Root of the tables"),
    "tracking_id": Param(settings.tracking_id, type="string", description="Id of the event tracker"),
    "max_rate": Param(
        settings.max_rate,
        type="number",
        exclusiveMinimum=0,
        maximum=MAX_CALLS,
        description="PutEvents calls a second",
    ),
    "max_dead_letter_share": Param(
        settings.max_dead_letter_share,
        type="number",
        minimum=0,
        maximum=1,
        description="Share of a batch that the service may refuse for good: 0.01 is 1 %",
    ),
    "region": Param(settings.region, type=["null", "string"], description="AWS region, if not the default chain's"),
    "endpoint_url": Param(settings.endpoint_url, type=["null", "string"], description="URL, if not the region's own"),
    "thresholds": Param(settings.thresholds, type=["null", "string"], description="Path, if not the defaults"),
    "on_gate_failure": Param(settings.on_gate_failure, enum=["fail", "warn"], description="warn lets the batch pass"),
    "allow_empty": Param(settings.allow_empty, type="boolean", description="The batch may have no events"),
    "rekey": Param(settings.rekey, type="boolean", description="Delivered events may be sent again under new ids"),
}
"""The settings that a single run may change."""


def batch(run: DagRunProtocol) -> str:
    """Return the label of a run's batch: the start of its interval."""
    return schedule.label(interval_of(run))


def interval(run: DagRunProtocol) -> str:
    """Return the interval of a run's batch, in the form of `build_events`."""
    return str(interval_of(run))


def logs(run: DagRunProtocol, pattern: str) -> str:
    """Return the path of the raw logs of a run's batch."""
    return interval_of(run).start.strftime(pattern)


def check(context: Context) -> None:
    """Refuse a run that would not do what its user meant.

    Raises:
        AirflowFailException: it is before `start_date`, where Airflow does not keep runs in order; or it sets an
            unknown key, which Airflow accepts; or its interval does not belong to the schedule, so that its batch would
            replace another with the same label.
    """
    run = context["dag_run"]
    if unknown := [name for name in run.conf or {} if name not in PARAMS]:
        raise AirflowFailException(f"--conf: there is no {', '.join(unknown)}; there are {', '.join(PARAMS)}")
    own = interval_of(run)
    if own.start < settings.start_date:
        raise AirflowFailException("this batch is before start_date: set start_date to the first batch")
    if not schedule.has(own):
        raise AirflowFailException(
            f"this run's interval, {own}, does not belong to the schedule {settings.schedule!r}: it was set by hand, "
            "or the schedule has changed; give the run only a date, or build the batch with spark-submit"
        )


with DAG(
    "clickstream_to_personalize",
    description="Raw clickstream logs, validated and sent with PutEvents",
    doc_md=__doc__,
    # Airflow 3's own cron schedules have no intervals: `@daily` as a string would give a batch without length.
    schedule=CronDataIntervalTimetable(settings.schedule, timezone="UTC"),
    start_date=settings.start_date,
    catchup=True,  # otherwise a batch is never built if Airflow stood still at its time
    # Runs wait for the one before them, task by task. With max_active_runs=1, a run that waits would prevent the failed
    # run before it from starting again.
    max_active_runs=50,
    default_args={
        # Sessions continue in the next batch, so builds run in order; so do deliveries, each with the whole rate.
        "depends_on_past": True,
        "max_active_tis_per_dag": 1,  # so a backfill beside the schedule does not double the rate
        "pre_execute": check,
        "retries": 3,
        "retry_exponential_backoff": 2.0,
    },
    params=PARAMS,
    user_defined_macros={"batch": batch, "interval": interval, "logs": logs},
    tags=["clickstream", "personalize"],
):
    spark: dict[str, Any] = {
        "home": settings.home,
        "conn_id": settings.spark_conn_id,
        "conf": dict(settings.spark),
    }
    build_events = ClickstreamJobOperator(
        task_id="build_events",
        job="build_events",
        options={
            "--input": INPUT,
            "--mapping": "{{ params.mapping }}",
            "--lake": "{{ params.lake }}",
            "--batch": BATCH,
            "--interval": "{{ interval(dag_run) }}",
            "--thresholds": "{{ params.thresholds or '' }}",
            "--on-gate-failure": "{{ params.on_gate_failure }}",
        },
        flags={"--allow-empty": "{{ params.allow_empty or '' }}", "--rekey": "{{ params.rekey or '' }}"},
        **spark,
    )
    put_events = ClickstreamJobOperator(
        task_id="put_events",
        job="put_events",
        options={
            "--lake": "{{ params.lake }}",
            "--batch": BATCH,
            "--tracking-id": "{{ params.tracking_id }}",
            "--max-rate": "{{ params.max_rate }}",
            "--region": "{{ params.region or '' }}",
            "--endpoint-url": "{{ params.endpoint_url or '' }}",
        },
        max_dead_letter_share="{{ params.max_dead_letter_share }}",
        **spark,
    )

    @task(depends_on_past=False)
    def all_accepted(summary: dict[str, Any]) -> None:
        """Be skipped (pink in the grid) if the service refused events for good: the run is still a success."""
        if summary["exitCode"] == ExitCode.DEAD_LETTERS:
            refused = describe_dead_letters(summary)
            logging.getLogger(__name__).warning("%s; dead_letters has them, with the messages of the service", refused)
            raise AirflowSkipException(refused)

    build_events >> put_events
    all_accepted(put_events.output)  # type: ignore[arg-type]  # Airflow resolves it before the call
