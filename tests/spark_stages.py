"""How a query ran, by Spark's own public figures: its stages, of which there is one more than shuffles."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from pyspark.sql import SparkSession

from tests.jobs.processes import wait_for


def stages_run(spark: SparkSession, query: Callable[[], object]) -> int:
    """Run a query; count the stages that had tasks to run."""
    context, tracker = spark.sparkContext, spark.sparkContext.statusTracker()
    ours, later = f"query-{uuid4()}", f"later-{uuid4()}"
    try:
        context.setJobGroup(ours, "a query whose stages are counted")
        query()
        # The tracker hears of jobs in their order, and a moment after they have ended.
        context.setJobGroup(later, "a job that is heard of when all of the query is known")
        spark.range(1).collect()
        wait_for(lambda: [job for job in tracker.getJobIdsForGroup(later) if _has_ended(tracker.getJobInfo(job))])
    finally:
        context.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(ours)]
    stages = {stage for job in jobs if job for stage in job.stageIds}
    found = [tracker.getStageInfo(stage) for stage in stages]
    return sum(stage.numCompletedTasks > 0 for stage in found if stage)


def _has_ended(job: object) -> bool:
    return getattr(job, "status", None) == "SUCCEEDED"
