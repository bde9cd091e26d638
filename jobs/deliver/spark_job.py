"""Sends a plan's requests by a Spark job: the partitions in parallel, at one rate for all."""

from __future__ import annotations

import json
import math
import uuid
from contextlib import ExitStack
from typing import Final

from pyspark.sql import DataFrame

from delivery.control.dispatcher import Dispatcher
from delivery.control.server import serving_tasks
from delivery.http.endpoint import TrackerEndpoint
from delivery.task import UNREPORTED_SCHEMA, TaskConfig, TaskDelivery
from jobs.deliver.delivery_config import DeliveryConfig
from jobs.deliver.delivery_monitor import DeliveryMonitor, DeliveryResult, MonitorHooks, UnreportedRow
from jobs.errors import ConfigurationError
from transforms.packing import spread_groups

_CALLS_A_TASK: Final = 100.0
"""Calls a second for each task. One task can make some thousands, but the rate should not depend on a single task."""
_UNREPORTED_DDL: Final = ", ".join(
    f"{name} {kind}" for name, kind in zip(UNREPORTED_SCHEMA.names, ("STRING", "BIGINT", "STRING"), strict=True)
)


def divide_requests(requests: DataFrame, max_rate: float) -> DataFrame:
    """Divide requests among tasks: as many as the rate needs, at most the cluster's slots. `part` is the partition."""
    slots = requests.sparkSession.sparkContext.defaultParallelism
    tasks = max(1, min(slots, math.ceil(max_rate / _CALLS_A_TASK)))
    return spread_groups(requests, tasks)


def send(
    parts: DataFrame, service: TrackerEndpoint, config: DeliveryConfig, dispatcher: Dispatcher, hooks: MonitorHooks
) -> DeliveryResult:
    """Send requests, the partitions in parallel; return when all have ended, or when the delivery must end.

    Only this job evaluates the sending plan: each further evaluation would send again.

    Args:
        parts: requests, and the number of their partition as `part`.
        service: the tracker.
        config: the delivery's.
        dispatcher: leases the rate to the tasks, and takes their outcomes.
        hooks: the callbacks.

    Raises:
        ConfigurationError: the driver cannot listen on the port.
    """
    context = parts.sparkSession.sparkContext
    host = context.getConf().get("spark.driver.host", "127.0.0.1")
    bind = context.getConf().get("spark.driver.bindAddress", host)
    with ExitStack() as stack:
        try:
            server, address = stack.enter_context(serving_tasks(dispatcher, host, bind, config.channel_port))
        except OSError as error:
            raise ConfigurationError(
                f"--channel-port {config.channel_port}: cannot be listened on at {host}: {error}"
            ) from None
        job = SendingJob(parts, TaskConfig(service, address, config.max_in_flight))
        return DeliveryMonitor(dispatcher, server, hooks).watch(job)


class SendingJob:
    """The Spark job of a delivery.

    Args:
        parts: requests, and the number of their partition as `part`.
        task_config: the delivery's.
    """

    def __init__(self, parts: DataFrame, task_config: TaskConfig) -> None:
        self._parts = parts
        self._task_config = task_config
        self._context = parts.sparkSession.sparkContext
        self._group = f"put-events-{uuid.uuid4().hex}"

    def run(self) -> list[UnreportedRow]:
        """Run the job; return the outcomes that tasks could not report to the driver."""
        self._context.setJobGroup(self._group, "PutEvents")
        rows = self._parts.mapInArrow(TaskDelivery(self._task_config), _UNREPORTED_DDL).collect()
        return [(row["attempt"], row["number"], json.loads(row["outcome"])) for row in rows]

    def cancel(self) -> None:
        """Let Spark cancel this job alone, if it has started."""
        self._context.cancelJobGroup(self._group)
