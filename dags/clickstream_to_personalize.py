"""Raw clickstream logs to Amazon Personalize, a batch for each interval of the schedule: docs/airflow.md.

`clickstream.toml`, beside this file, says which logs, how they become events, and where they go.
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
    "tracking_id": Param(settings.tracking_id, type="string", description="The event tracker's"),
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
        description="Of a batch's events, how many the service may refuse for good: 0.01 is 1 %",
    ),
    "region": Param(settings.region, type=["null", "string"], description="AWS region, if not the default chain's"),
    "endpoint_url": Param(settings.endpoint_url, type=["null", "string"], description="If not the region's own"),
    "thresholds": Param(settings.thresholds, type=["null", "string"], description="The gate's, if not the defaults"),
    "on_gate_failure": Param(settings.on_gate_failure, enum=["fail", "warn"], description="warn lets it pass"),
    "allow_empty": Param(settings.allow_empty, type="boolean", description="The batch may have no events"),
    "rekey": Param(settings.rekey, type="boolean", description="Delivered events may be sent again under new ids"),
}
"""What may be set for a single run."""


def batch(run: DagRunProtocol) -> str:
    """Name a run's batch after the start of its interval."""
    return schedule.label(interval_of(run))


def interval(run: DagRunProtocol) -> str:
    """Write down the interval of a run's batch, as `build_events` takes it."""
    return str(interval_of(run))


def logs(run: DagRunProtocol, pattern: str) -> str:
    """Fill in where a run's batch has its raw logs."""
    return interval_of(run).start.strftime(pattern)


def check(context: Context) -> None:
    """Refuse a run that would not do what its user meant.

    Raises:
        AirflowFailException: it is from before `start_date`, where Airflow holds no run back for the one before it; or
            it sets something that there is not, which Airflow lets pass; or its interval is none of the schedule's,
            so that its batch would replace another's under the same label.
    """
    run = context["dag_run"]
    if unknown := [name for name in run.conf or {} if name not in PARAMS]:
        raise AirflowFailException(f"--conf: there is no {', '.join(unknown)}; there are {', '.join(PARAMS)}")
    own = interval_of(run)
    if own.start < settings.start_date:
        raise AirflowFailException("this batch is from before start_date: set that to the first batch of all")
    if not schedule.has(own):
        raise AirflowFailException(
            f"this run's interval, {own}, is none of the schedule {settings.schedule!r}: it was set by hand, or the "
            "schedule has changed since; give the run a date alone, or build the batch by spark-submit"
        )


with DAG(
    "clickstream_to_personalize",
    description="Raw clickstream logs, validated and sent through PutEvents",
    doc_md=__doc__,
    # Airflow 3's own cron schedules have no intervals: `@daily` as a string would give a batch of no length.
    schedule=CronDataIntervalTimetable(settings.schedule, timezone="UTC"),
    start_date=settings.start_date,
    catchup=True,  # a batch that was not built while Airflow stood still is missing for good
    # Runs wait for the one before them, task by task. More than one may be active: were it one, a run that waits would
    # keep the failed one that it waits for from being started again.
    max_active_runs=50,
    default_args={
        # Sessions go on over the border of batches, so builds go in order; so do deliveries, each with the whole rate.
        "depends_on_past": True,
        "max_active_tis_per_dag": 1,  # a backfill beside the schedule does not double the rate
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
        """Be skipped, which is pink in the grid, where the service refused events for good: still a success."""
        if summary["exitCode"] == ExitCode.DEAD_LETTERS:
            refused = describe_dead_letters(summary)
            logging.getLogger(__name__).warning("%s; they are in the lake's dead_letters, with its words", refused)
            raise AirflowSkipException(refused)

    build_events >> put_events
    all_accepted(put_events.output)  # type: ignore[arg-type]  # Airflow resolves it before the call
