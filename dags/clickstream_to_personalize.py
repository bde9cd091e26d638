"""Raw clickstream logs to Amazon Personalize, a batch for each interval of the schedule: docs/airflow.md.

`clickstream.toml`, beside this file, says which logs, how they become events, and where they go.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, CronDataIntervalTimetable, Param, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from clickstream_job import ClickstreamJobOperator, Exit
from clickstream_settings import read_settings

if TYPE_CHECKING:
    from airflow.sdk import Context

settings = read_settings(Path(__file__).with_name("clickstream.toml"))

# A run without an interval renders to nothing, and `check_run` says why: a template's own error would be tried again.
INPUT = "{{ data_interval_start.strftime(params.input) if data_interval_start is defined else '' }}"
BATCH = (
    "{{ data_interval_start.strftime("
    "'%Y-%m-%d' if data_interval_end - data_interval_start >= macros.timedelta(days=1) else "
    "'%Y-%m-%dT%H' if data_interval_end - data_interval_start >= macros.timedelta(hours=1) else "
    "'%Y-%m-%dT%H-%M') if data_interval_start is defined else '' }}"
)
"""Labels sort in time order; a day's is its date, an hour's has the hour too."""


def check_run(context: Context) -> None:
    """Refuse a run that is asked for wrongly, before anything is started.

    Raises:
        AirflowFailException: it has no interval; or is from before `start_date`, where Airflow holds no run back for
            the one before it; or its `--conf` has a key that is none, whose default would hold unseen.
    """
    start = context.get("data_interval_start")
    if start is None:
        raise AirflowFailException(
            "this run has no interval: trigger it with --logical-date, a moment within the day after the batch's"
        )
    if start < settings.start_date:
        raise AirflowFailException("this batch is from before start_date: set that to the first batch of all")
    if unknown := sorted(set(context["dag_run"].conf or {}) - set(context["params"])):
        known = ", ".join(sorted(context["params"]))
        raise AirflowFailException(f"--conf: {', '.join(unknown)}: no such key; there are {known}")


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
        "pre_execute": check_run,
        "retries": 3,
        "retry_exponential_backoff": 2.0,
    },
    params={
        "input": Param(settings.input, type="string", description="Raw logs; strftime's codes for the batch's start"),
        "mapping": Param(settings.mapping, type="string", description="Name or path of the mapping"),
        "lake": Param(settings.lake, type="string", description="Root of the tables"),
        "tracking_id": Param(settings.tracking_id, type="string", description="The event tracker's"),
        "max_rate": Param(settings.max_rate, type="number", exclusiveMinimum=0, description="PutEvents calls a second"),
        "region": Param(settings.region, type=["null", "string"], description="AWS region, if not the default chain's"),
        "endpoint_url": Param(settings.endpoint_url, type=["null", "string"], description="If not the region's own"),
        "thresholds": Param(
            settings.thresholds, type=["null", "string"], description="The gate's, if not the defaults"
        ),
        "on_gate_failure": Param(settings.on_gate_failure, enum=["fail", "warn"], description="warn lets it pass"),
    },
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
