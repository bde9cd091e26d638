"""Finds from receipts how requests and events ended.

The final state of an event is the service's last answer about it, in the ledger's order. Each run that sends to a
tracker takes the tracker's next number, its epoch, and writes it into the names of its receipts. If one run has several
answers about an event, an acknowledgement counts, because then the service has the event. No clock decides.

An answer is kept as one number, `epoch * 2`, plus 1 if the event was delivered: the greatest number is the last answer.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_DERIVED_ID = r"\A[0-9a-f]{64}\z"
"""A derived eventId: the SHA-256 of its event's content."""


def epoch_in(file_name: Column) -> Column:
    """Read the epoch from the name of a file of receipts; 0 if the name has none.

    Examples:
        >>> row = spark.range(1).select(epoch_in(F.lit("00000012.plan.run-000001-99.parquet")).alias("one"),
        ...     epoch_in(F.lit("part-0.parquet")).alias("none"))
        >>> row.first()
        Row(one=12, none=0)
    """
    digits = F.regexp_extract(file_name, r"\A(\d{1,18})\.", 1)
    return F.when(digits != "", digits.cast("bigint")).otherwise(F.lit(0))


def final_statuses(receipts: DataFrame) -> DataFrame:
    """Find how each event ended.

    Args:
        receipts: eventIds, status and epoch of all receipts that can name these events.

    Returns:
        eventId, status (`delivered` or `refused`), epoch of the last answer.
    """
    last = _list_answers(receipts).groupBy("eventId").agg(F.max("answer").alias("answer"))
    return last.select("eventId", _status_of(F.col("answer")), F.floor(F.col("answer") / 2).alias("epoch"))


def is_chosen(kind: str, again: int) -> Column:
    """Whether a delivery sends an event, by its final state: `status` and `epoch`, null for a pending event.

    Args:
        kind: `batch` for pending events, `dead-letters` for refused ones, `resend` for all.
        again: for `resend`: an answer from this epoch or later means that the event has been sent again.
    """
    waits = F.col("status").isNull()
    if kind == "resend":
        return waits | (F.col("epoch") < again)
    return F.coalesce(F.col("status") == "refused", F.lit(False)) if kind == "dead-letters" else waits


def count_statuses(requests: DataFrame, receipts: DataFrame) -> DataFrame:
    """Compare the events of a plan with its receipts, by eventId.

    Args:
        requests: the plan's, with eventIds.
        receipts: the plan's, with eventIds, status and epoch.

    Returns:
        One row for each status: status, as in `final_statuses`, null for events without a receipt; planned, the plan's
        events with this status; unplanned, the ids in receipts that the plan does not hold.
    """
    planned = requests.select(F.explode("eventIds").alias("eventId"), F.lit(None).cast("bigint").alias("answer"))
    both = planned.withColumn("planned", F.lit(1)).unionByName(_list_answers(receipts).withColumn("planned", F.lit(0)))
    # Numbers cost half as much in the shuffle as ids of 64 characters. With 96 bits, no two ids collide in practice.
    keys = (F.xxhash64("eventId").alias("one"), F.hash("eventId").alias("other"))
    events = both.groupBy(*keys).agg(F.max("answer").alias("answer"), F.sum("planned").alias("planned"))
    return events.groupBy(_status_of(F.col("answer"))).agg(
        F.sum("planned").alias("planned"), F.count_if(F.col("planned") == 0).alias("unplanned")
    )


def unfinished_requests(requests: DataFrame, receipts: DataFrame) -> DataFrame:
    """Give the requests that have not ended.

    Args:
        requests: with requestId.
        receipts: of these requests, or of their parts. A part's id is the request's id and a suffix.

    Returns:
        The requests' columns, and `ended` ARRAY<STRING>: the ids of the parts that have ended, or null.
    """
    whole = whole_id(F.col("requestId"))
    ids = F.sort_array(F.collect_set("requestId"))  # a task that runs again must read the same
    ended = receipts.groupBy(whole.alias("requestId")).agg(ids.alias("ended"))
    joined = requests.join(ended, "requestId", "left")
    return joined.where("ended IS NULL OR NOT array_contains(ended, requestId)")


def whole_id(request: Column) -> Column:
    """Give the id of the request that a part was split from; for a whole request, its own id.

    Examples:
        >>> row = spark.range(1).select(whole_id(F.lit("ab.1.2")).alias("part"), whole_id(F.lit("ab")).alias("whole"))
        >>> row.first()
        Row(part='ab', whole='ab')
    """
    return F.substring_index(request, ".", 1)


def dead_letter_rows(events: DataFrame, receipts: DataFrame, refusals: DataFrame) -> DataFrame:
    """Give the events with the final state `refused`, and the service's error.

    Args:
        events: of a batch.
        receipts: as `final_statuses` takes them.
        refusals: requestId, eventIds, errorCode, errorMessage and epoch.

    Returns:
        The events' columns, and requestId, errorCode, errorMessage; the message is null if the refusal was lost.
    """
    newest = _find_latest_refusals(refusals, "errorMessage")
    receipt = _find_latest_refusals(receipts.where("status <> 'delivered'"), "CAST(NULL AS STRING)")
    answers = _list_answers(receipts).join(receipt, "eventId", "left_semi")  # few events are refused
    refused = answers.groupBy("eventId").agg(F.max("answer").alias("answer")).where(~_is_delivered(F.col("answer")))
    refusal_rows = receipt.join(refused, "eventId", "left_semi").join(
        newest.withColumnRenamed("refusal", "reported"), "eventId", "left"
    )
    return events.join(
        refusal_rows.select("eventId", F.greatest("reported", "refusal").alias("refusal")), "eventId"
    ).select(*events.columns, "refusal.requestId", "refusal.errorCode", "refusal.errorMessage")


def _find_latest_refusals(refused: DataFrame, message: str) -> DataFrame:
    """Find the last refusal of each event: eventId, refusal."""
    refusal = F.struct("epoch", "requestId", "errorCode", F.expr(message).alias("errorMessage"))
    refusal_rows = refused.select(F.explode("eventIds").alias("eventId"), refusal.alias("refusal"))
    return refusal_rows.groupBy("eventId").agg(F.max("refusal").alias("refusal"))


def sent_span(events: DataFrame) -> DataFrame:
    """Find when events happened.

    Returns:
        One row: since and until in microseconds of Unix time, null without events; derived, whether every eventId is
        derived from its event's content, which includes sentAt.
    """
    return events.agg(
        F.unix_micros(F.min("sentAt")).alias("since"),
        F.unix_micros(F.max("sentAt")).alias("until"),
        F.coalesce(F.bool_and(F.col("eventId").rlike(_DERIVED_ID)), F.lit(True)).alias("derived"),
    )


def _list_answers(receipts: DataFrame) -> DataFrame:
    """List the service's answers about events: eventId, answer."""
    delivered = (F.col("status") == "delivered").cast("bigint")
    return receipts.select(F.explode("eventIds").alias("eventId"), (F.col("epoch") * 2 + delivered).alias("answer"))


def _is_delivered(answer: Column) -> Column:
    return answer % 2 == 1


def _status_of(answer: Column) -> Column:
    return F.when(_is_delivered(answer), "delivered").when(answer.isNotNull(), "refused").alias("status")
