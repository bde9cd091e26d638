"""A plan's requests through PutEvents: each partition in parallel, at one rate over all."""

from __future__ import annotations

import json
import math
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from pyspark.sql import DataFrame

from delivery.control.dispatcher import Dispatcher, ServiceHistory
from delivery.control.server import serving_tasks
from delivery.http.endpoint import TrackerEndpoint
from delivery.rate.aimd import AimdRateController
from delivery.task import UNREPORTED_SCHEMA, TaskConfig, TaskDelivery
from jobs.deliver.delivery_monitor import DeliveryMonitor, DeliveryResult, MonitorHooks, UnreportedRow
from jobs.errors import ConfigurationError
from transforms.limits import CALLS_PER_SECOND
from transforms.packing import spread_groups

_CALLS_A_TASK: Final = 100.0
"""Calls a second for which a task is started: one makes some thousands, but the rate should not hang on one alone."""
_LEFT: Final = ", ".join(
    f"{name} {kind}" for name, kind in zip(UNREPORTED_SCHEMA.names, ("STRING", "BIGINT", "STRING"), strict=True)
)


@dataclass(frozen=True, slots=True)
class PacingState:
    """How a delivery is to be sent.

    Attributes:
        max_rate: calls a second, over all tasks.
        in_flight: calls under way at once, at the most, in each task.
        port: where the tasks reach the driver; 0 for any free one.
        trust: what is known of the service before it is called.
    """

    max_rate: float
    in_flight: int
    port: int
    trust: ServiceHistory = field(default_factory=ServiceHistory)


def pace_words(max_rate: float) -> str:
    """Say how fast it may go, and what that leaves of the quota.

    Examples:
        >>> pace_words(500).split(": ")[0]
        'at most 500 calls a second (--max-rate)'
        >>> pace_words(500).split(": ")[1]
        'half of the quota of 1,000 a dataset group, which the live site shares'
        >>> pace_words(300).split(": ")[1]
        '30 % of the quota of 1,000 a dataset group, which the live site shares'
        >>> pace_words(1200)
        'at most 1,200 calls a second (--max-rate): more than the published quota of 1,000 a dataset group'
    """
    limit = f"at most {max_rate:,g} calls a second (--max-rate)"
    quota = f"quota of {CALLS_PER_SECOND:,} a dataset group"
    share = max_rate / CALLS_PER_SECOND
    if share > 1:
        return f"{limit}: more than the published {quota}"
    words = "all" if share == 1 else "half" if share == 0.5 else f"{100 * share:.3g} %"
    return f"{limit}: {words} of the {quota}, which the live site shares"


def part(requests: DataFrame, max_rate: float) -> DataFrame:
    """Divide requests among as many tasks as a rate needs and the cluster has slots for; `part` says whose each is."""
    slots = requests.sparkSession.sparkContext.defaultParallelism
    tasks = max(1, min(slots, math.ceil(max_rate / _CALLS_A_TASK)))
    return spread_groups(requests, tasks)


def send(
    parts: DataFrame, service: TrackerEndpoint, pace: PacingState, target: AimdRateController, watch: MonitorHooks
) -> DeliveryResult:
    """Send requests, each partition in parallel; return when they have ended, or the delivery is to end.

    The sending plan is run by this one job alone: evaluating it again would send again.

    Args:
        parts: requests, and the number of their partition as `part`.
        service: where they go.
        pace: how fast.
        target: what the rate is aimed at; it learns.
        watch: who is told.

    Raises:
        ConfigurationError: the port cannot be listened on.
    """
    context = parts.sparkSession.sparkContext
    host = context.getConf().get("spark.driver.host", "127.0.0.1")
    dispatcher = Dispatcher(target, trust=pace.trust)
    bind = context.getConf().get("spark.driver.bindAddress", host)
    with ExitStack() as stack:
        try:
            server, address = stack.enter_context(serving_tasks(dispatcher, host, bind, pace.port))
        except OSError as error:
            raise ConfigurationError(f"--channel-port {pace.port}: cannot be listened on at {host}: {error}") from None
        job = SendingJob(parts, TaskConfig(service, address, pace.in_flight))
        return DeliveryMonitor(dispatcher, server, watch).through(job)


class SendingJob:
    """The Spark job of a sending.

    Args:
        parts: requests, and the number of their partition as `part`.
        terms: of the delivery.
    """

    def __init__(self, parts: DataFrame, terms: TaskConfig) -> None:
        self._parts = parts
        self._terms = terms
        self._context = parts.sparkSession.sparkContext
        self._group = f"put-events-{uuid.uuid4().hex}"

    def run(self) -> list[UnreportedRow]:
        """Run it, in a thread of its own; give what the tasks could not tell the driver."""
        self._context.setJobGroup(self._group, "PutEvents")
        rows = self._parts.mapInArrow(TaskDelivery(self._terms), _LEFT).collect()
        return [(row["attempt"], row["number"], json.loads(row["outcome"])) for row in rows]

    def cancel(self) -> None:
        """Have Spark end it, and nothing else, as far as it has begun it."""
        self._context.cancelJobGroup(self._group)
