"""What sending events will take, measured without packing them."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from transforms.limits import EVENTS_PER_REQUEST
from transforms.schemas import EVENTS
from transforms.wire import event_json

_GROUP = ("batch", "userId", "sessionId")
_ENVELOPE = '{"trackingId":"","sessionId":"","eventList":[]}'
_USER = ',"userId":""'


def measure_sending(events: DataFrame, trackingId: str) -> DataFrame:
    """Measure what sending events will take.

    Args:
        events: the `events` table's columns, `batch`, and `status`: how an event ended before, null where it waits.
        trackingId: that they go to.

    Returns:
        One row, all BIGINT: delivered and refused before; waiting; of these, requests (the fewest; a request holds one
        batch's events), bytes (of the requests' bodies) and unimportable (without a userId or an itemId).
    """
    waits = F.col("status").isNull()
    wire = event_json({name: F.col(name) for name in EVENTS.names})
    sized = events.select(
        *_GROUP,
        "status",
        waits.cast("long").alias("waiting"),
        F.when(waits, F.octet_length(wire)).alias("bytes"),
        (waits & (F.col("userId").isNull() | F.col("itemId").isNull())).cast("long").alias("unimportable"),
    )
    groups = sized.groupBy(*_GROUP).agg(
        F.count_if(F.col("status") == "delivered").alias("delivered"),
        F.count_if(F.col("status") == "refused").alias("refused"),
        F.sum("waiting").alias("waiting"),
        F.sum("bytes").alias("bytes"),
        F.sum("unimportable").alias("unimportable"),
    )
    requests = F.ceil(F.col("waiting") / EVENTS_PER_REQUEST)
    commas = F.col("waiting") - requests
    return groups.agg(
        _total(F.col("delivered")).alias("delivered"),
        _total(F.col("refused")).alias("refused"),
        _total(F.col("waiting")).alias("waiting"),
        _total(requests).alias("requests"),
        _total(F.col("bytes") + commas + requests * _envelope(trackingId)).alias("bytes"),
        _total(F.col("unimportable")).alias("unimportable"),
    )


def _envelope(trackingId: str) -> Column:
    """Bytes of a request's body beside its events."""
    user = F.coalesce(F.octet_length("userId") + len(_USER), F.lit(0))
    return F.octet_length("sessionId") + user + len(_ENVELOPE) + len(trackingId.encode())


def _total(number: Column) -> Column:
    return F.coalesce(F.sum(number), F.lit(0)).cast("bigint")
