"""Sends artificial requests with the sender of put_events, at a limit, without a lake.

spark-submit made_up_requests.py URL,LIMIT,CALLS...
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from delivery.control.dispatcher import Dispatcher
from delivery.http.endpoint import TrackerEndpoint
from delivery.rate.aimd import AimdRateController
from jobs.cli.session import open_session
from jobs.deliver.delivery_config import DeliveryConfig
from jobs.deliver.delivery_monitor import MonitorHooks
from jobs.deliver.spark_job import send

EVENT = (
    '{"eventId":"%s-PLACE","eventType":"view","itemId":"item-PLACE","eventValue":12.5,'
    '"properties":"{\\"device\\":\\"ios\\"}","sentAt":1704067200.125}'
)
TASKS = 2
EVENTS_A_CALL = 10
IN_FLIGHT = 256


def main(targets: Sequence[str]) -> None:
    """Send to one URL after the other."""
    spark = open_session("made-up requests")
    for target in targets:
        url, limit, calls = target.split(",")
        config = DeliveryConfig(float(limit), IN_FLIGHT)
        watch = MonitorHooks(lambda _rows: None, lambda: None, threading.Event())
        send(
            made(spark, int(calls)),
            TrackerEndpoint("bench", "eu-west-1", url),
            config,
            Dispatcher(AimdRateController(config.max_rate)),
            watch,
        )


def made(spark: SparkSession, calls: int) -> DataFrame:
    """Make requests of ten events, as many in each partition."""
    request = F.sha2(F.col("id").cast("string"), 256)
    ids = [F.concat(request, F.lit(f"-{place}")) for place in range(EVENTS_A_CALL)]
    events = [F.format_string(EVENT.replace("PLACE", str(place)), request) for place in range(EVENTS_A_CALL)]
    requests = spark.range(0, calls, 1, TASKS).select(
        F.spark_partition_id().alias("part"),
        request.alias("requestId"),
        F.lit("u").alias("userId"),
        F.lit("s").alias("sessionId"),
        F.array(*ids).alias("eventIds"),
        F.array(*events).alias("events"),
        F.lit(None).cast("array<string>").alias("ended"),
    )
    return requests.localCheckpoint()


if __name__ == "__main__":
    main(sys.argv[1:])
