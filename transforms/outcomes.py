"""What became of requests and events, from receipts."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_DERIVED = r"\A[0-9a-f]{64}\z"
"""An eventId that was made from its event's content."""


def fates(receipts: DataFrame) -> DataFrame:
    """Say how events ended, each once: eventId, status. One that was ever delivered is delivered."""
    events = receipts.select(F.explode("eventIds").alias("eventId"), "status")
    return events.groupBy("eventId").agg(F.min("status").alias("status"))  # delivered sorts before refused


def tally(requests: DataFrame, receipts: DataFrame) -> DataFrame:
    """Hold the events of a plan against its receipts, by their ids.

    Args:
        requests: of the plan, with eventIds.
        receipts: of the plan, with eventIds and status.

    Returns:
        status: how events ended, as `fates` has it, null of those without a receipt; planned: events of the plan that
        ended so; unplanned: ids in receipts that the plan does not hold.
    """
    planned = requests.select(F.explode("eventIds").alias("eventId"), F.lit(None).cast("string").alias("status"))
    ended = receipts.select(F.explode("eventIds").alias("eventId"), "status")
    both = planned.withColumn("planned", F.lit(1)).unionByName(ended.withColumn("planned", F.lit(0)))
    # Numbers go through the shuffle at half the cost of ids of 64 characters; 96 bits tell any two apart.
    keys = (F.xxhash64("eventId").alias("one"), F.hash("eventId").alias("other"))
    events = both.groupBy(*keys).agg(F.min("status").alias("status"), F.sum("planned").alias("planned"))
    return events.groupBy("status").agg(
        F.sum("planned").alias("planned"), F.count_if(F.col("planned") == 0).alias("unplanned")
    )


def remaining(requests: DataFrame, receipts: DataFrame) -> DataFrame:
    """Leave out the requests that have ended.

    Args:
        requests: with requestId.
        receipts: of these requests, or of the parts that they were split into, which bear their ids and a suffix.

    Returns:
        The requests' columns, and `ended` ARRAY<STRING>: the ids of parts that have ended; null where none has.
    """
    whole = whole_id(F.col("requestId"))
    # Sorted: requests are dealt out to partitions by their bytes, and a task that runs again must deal them out alike.
    ids = F.sort_array(F.collect_set("requestId"))
    ended = receipts.groupBy(whole.alias("requestId")).agg(ids.alias("ended"))
    joined = requests.join(ended, "requestId", "left")
    return joined.where("ended IS NULL OR NOT array_contains(ended, requestId)")


def whole_id(request: Column) -> Column:
    """Name the request that a part was split from; a whole names itself.

    Examples:
        >>> row = spark.range(1).select(whole_id(F.lit("ab.1.2")).alias("part"), whole_id(F.lit("ab")).alias("whole"))
        >>> row.first()
        Row(part='ab', whole='ab')
    """
    return F.substring_index(request, ".", 1)


def letters(events: DataFrame, receipts: DataFrame, refusals: DataFrame) -> DataFrame:
    """Give the events whose last word from the service was that it refuses them, with that word.

    Args:
        events: of a batch.
        receipts: of its delivery.
        refusals: requestId, eventIds, errorCode, errorMessage, startedAt of each refusal.

    Returns:
        The events' columns, and requestId, errorCode, errorMessage.
    """
    exploded = receipts.select(F.explode("eventIds").alias("eventId"), "status", "startedAt")
    # Of two answers to calls of one instant, that it was taken holds: what is delivered is no dead letter.
    order = F.struct(F.col("startedAt"), F.col("status") == "delivered")
    last = exploded.groupBy("eventId").agg(F.max_by("status", order).alias("status"))
    words = refusals.select(
        F.explode("eventIds").alias("eventId"),
        F.struct("startedAt", "requestId", "errorCode", "errorMessage").alias("word"),
    )
    newest = words.groupBy("eventId").agg(F.max("word").alias("word"))
    refused = newest.join(last.where("status = 'refused'"), "eventId", "left_semi")
    return events.join(refused, "eventId").select(
        *events.columns, "word.requestId", "word.errorCode", "word.errorMessage"
    )


def sent_span(events: DataFrame) -> DataFrame:
    """Say when events happened.

    Returns:
        One row: since and until in microseconds of Unix time, null of no events; derived, whether each eventId was made
        from the event's content, sentAt included.
    """
    return events.agg(
        F.unix_micros(F.min("sentAt")).alias("since"),
        F.unix_micros(F.max("sentAt")).alias("until"),
        F.coalesce(F.bool_and(F.col("eventId").rlike(_DERIVED)), F.lit(True)).alias("derived"),
    )
