"""Raw clickstream logs to Amazon Personalize, a batch for each interval of the schedule: docs/airflow.md.

`clickstream.toml`, beside this file, says which logs, how they become events, and where they go.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, CronDataIntervalTimetable, Param, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from clickstream_job import ClickstreamJobOperator, Exit
from clickstream_settings import read_settings

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import DagRunProtocol

settings = read_settings(Path(__file__).with_name("clickstream.toml"))

INPUT = "{{ logs(dag_run, params.input) }}"
BATCH = "{{ batch(dag_run) }}"
PARAMS = {
    "input": Param(settings.input, type="string", description="Raw logs; strftime's codes for the batch's start"),
    "mapping": Param(settings.mapping, type="string", description="Name or path of the mapping"),
    "lake": Param(settings.lake, type="string", description="Root of the tables"),
    "tracking_id": Param(settings.tracking_id, type="string", description="The event tracker's"),
    "max_rate": Param(settings.max_rate, type="number", exclusiveMinimum=0, description="PutEvents calls a second"),
    "region": Param(settings.region, type=["null", "string"], description="AWS region, if not the default chain's"),
    "endpoint_url": Param(settings.endpoint_url, type=["null", "string"], description="If not the region's own"),
    "thresholds": Param(settings.thresholds, type=["null", "string"], description="The gate's, if not the defaults"),
    "on_gate_failure": Param(settings.on_gate_failure, enum=["fail", "warn"], description="warn lets it pass"),
}
"""What may be set for a single run."""


def interval(run: DagRunProtocol) -> tuple[datetime, datetime]:
    """Find the interval that a run's batch is of.

    Airflow leaves it out of the templates' names where there is none, and would try again what lacks it.

    Raises:
        AirflowFailException: there is none, since the run was triggered without a date.
    """
    if run.data_interval_start is None or run.data_interval_end is None:
        raise AirflowFailException(
            "this run has no interval: trigger it with --logical-date, "
            "a moment within the day (or what else the schedule's interval is) after the batch"
        )
    return run.data_interval_start, run.data_interval_end


def batch(run: DagRunProtocol) -> str:
    """Name a run's batch: labels sort in time order; a day's is its date, an hour's has the hour too."""
    start, end = interval(run)
    if end - start >= timedelta(days=1):
        return f"{start:%Y-%m-%d}"
    return f"{start:%Y-%m-%dT%H}" if end - start >= timedelta(hours=1) else f"{start:%Y-%m-%dT%H-%M}"


def logs(run: DagRunProtocol, pattern: str) -> str:
    """Fill in where a run's batch has its raw logs."""
    start, _ = interval(run)
    return start.strftime(pattern)


def check(context: Context) -> None:
    """Refuse a run that would not do what its user meant.

    Raises:
        AirflowFailException: it is from before `start_date`, where Airflow holds no run back for the one before it; or
            it sets something that there is not, which Airflow lets pass.
    """
    run = context["dag_run"]
    if unknown := [name for name in run.conf or {} if name not in PARAMS]:
        raise AirflowFailException(f"--conf: there is no {', '.join(unknown)}; there are {', '.join(PARAMS)}")
    start, _ = interval(run)
    if start < settings.start_date:
        raise AirflowFailException("this batch is from before start_date: set that to the first batch of all")


with DAG(
    "clickstream_to_personalize",
    description="Raw clickstream logs, validated and sent once each through PutEvents",
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
    user_defined_macros={"batch": batch, "logs": logs},
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
            "--thresholds": "{{ params.thresholds or '' }}",
            "--on-gate-failure": "{{ params.on_gate_failure }}",
        },
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
        **spark,
    )

    @task(depends_on_past=False)
    def all_accepted(summary: dict[str, Any]) -> None:
        """Be skipped, which is pink in the grid, where the service refused events for good: still a success."""
        if summary["exitCode"] == Exit.DEAD_LETTERS:
            refused = f"batch {summary['batch']}: the service refused {summary['deadLettered']:,} events for good"
            logging.getLogger(__name__).warning("%s; they are in the lake's dead_letters, with its words", refused)
            raise AirflowSkipException(refused)

    build_events >> put_events
    all_accepted(put_events.output)  # type: ignore[arg-type]  # Airflow resolves it before the call
