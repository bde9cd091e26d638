"""What became of requests and events, from receipts.

The final state of an event is the service's last word about it, in the ledger's order: each run that sends to a tracker
takes the tracker's next number, its epoch, and its receipts bear it. Of the words of one run that it was taken counts:
where an event was sent twice in a run, the service has it. No clock has a part in this.

A word is kept as one number, `epoch * 2`, and one more if the event was delivered: the greatest is the last.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_DERIVED_ID = r"\A[0-9a-f]{64}\z"
"""An eventId that was made from its event's content."""


def epoch_in(file_name: Column) -> Column:
    """Read the epoch off the name of a file of receipts; 0 where it bears none.

    Examples:
        >>> row = spark.range(1).select(epoch_in(F.lit("00000012.plan.run-000001-99.parquet")).alias("one"),
        ...     epoch_in(F.lit("part-0.parquet")).alias("none"))
        >>> row.first()
        Row(one=12, none=0)
    """
    digits = F.regexp_extract(file_name, r"\A(\d{1,18})\.", 1)
    return F.when(digits != "", digits.cast("bigint")).otherwise(F.lit(0))


def final_statuses(receipts: DataFrame) -> DataFrame:
    """Say how events ended, each once.

    Args:
        receipts: eventIds, status and epoch of all receipts that may be of these events.

    Returns:
        eventId, status (`delivered` or `refused`), epoch of the last word.
    """
    last = _list_answers(receipts).groupBy("eventId").agg(F.max("answer").alias("answer"))
    return last.select("eventId", _status_of(F.col("answer")), F.floor(F.col("answer") / 2).alias("epoch"))


def is_chosen(kind: str, again: int) -> Column:
    """Whether a delivery sends an event, by its final state: `status` and `epoch`, null where it has none.

    Args:
        kind: `batch` for what waits, `dead-letters` for what was refused, `resend` for all.
        again: of `resend`, the epoch from which on a word means that it has been sent again already.
    """
    waits = F.col("status").isNull()
    if kind == "resend":
        return waits | (F.col("epoch") < again)
    return F.coalesce(F.col("status") == "refused", F.lit(False)) if kind == "dead-letters" else waits


def count_statuses(requests: DataFrame, receipts: DataFrame) -> DataFrame:
    """Hold the events of a plan against its receipts, by their ids.

    Args:
        requests: of the plan, with eventIds.
        receipts: of the plan, with eventIds, status and epoch.

    Returns:
        status: how events ended, as `final_statuses` has it, null of those without a receipt; planned: events of the
        plan that ended so; unplanned: ids in receipts that the plan does not hold.
    """
    planned = requests.select(F.explode("eventIds").alias("eventId"), F.lit(None).cast("bigint").alias("answer"))
    both = planned.withColumn("planned", F.lit(1)).unionByName(_list_answers(receipts).withColumn("planned", F.lit(0)))
    # Numbers go through the shuffle at half the cost of ids of 64 characters; 96 bits tell any two apart.
    keys = (F.xxhash64("eventId").alias("one"), F.hash("eventId").alias("other"))
    events = both.groupBy(*keys).agg(F.max("answer").alias("answer"), F.sum("planned").alias("planned"))
    return events.groupBy(_status_of(F.col("answer"))).agg(
        F.sum("planned").alias("planned"), F.count_if(F.col("planned") == 0).alias("unplanned")
    )


def unfinished_requests(requests: DataFrame, receipts: DataFrame) -> DataFrame:
    """Leave out the requests that have ended.

    Args:
        requests: with requestId.
        receipts: of these requests, or of the parts that they were split into, which bear their ids and a suffix.

    Returns:
        The requests' columns, and `ended` ARRAY<STRING>: the ids of parts that have ended; null where none has.
    """
    whole = whole_id(F.col("requestId"))
    ids = F.sort_array(F.collect_set("requestId"))  # a task that runs again is to read the same
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


def dead_letter_rows(events: DataFrame, receipts: DataFrame, refusals: DataFrame) -> DataFrame:
    """Give the events whose final state is that the service refuses them, with its words.

    Args:
        events: of a batch.
        receipts: as `final_statuses` takes them.
        refusals: requestId, eventIds, errorCode, errorMessage and epoch of refusals.

    Returns:
        The events' columns, and requestId, errorCode, errorMessage; the message is null where the refusal got lost.
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
    """Give what is said last of each event: eventId, told."""
    refusal = F.struct("epoch", "requestId", "errorCode", F.expr(message).alias("errorMessage"))
    refusal_rows = refused.select(F.explode("eventIds").alias("eventId"), refusal.alias("refusal"))
    return refusal_rows.groupBy("eventId").agg(F.max("refusal").alias("refusal"))


def sent_span(events: DataFrame) -> DataFrame:
    """Say when events happened.

    Returns:
        One row: since and until in microseconds of Unix time, null of no events; derived, whether each eventId was made
        from the event's content, sentAt included.
    """
    return events.agg(
        F.unix_micros(F.min("sentAt")).alias("since"),
        F.unix_micros(F.max("sentAt")).alias("until"),
        F.coalesce(F.bool_and(F.col("eventId").rlike(_DERIVED_ID)), F.lit(True)).alias("derived"),
    )


def _list_answers(receipts: DataFrame) -> DataFrame:
    """Give the service's words on events: eventId, answer."""
    delivered = (F.col("status") == "delivered").cast("bigint")
    return receipts.select(F.explode("eventIds").alias("eventId"), (F.col("epoch") * 2 + delivered).alias("answer"))


def _is_delivered(answer: Column) -> Column:
    return answer % 2 == 1


def _status_of(answer: Column) -> Column:
    return F.when(_is_delivered(answer), "delivered").when(answer.isNotNull(), "refused").alias("status")
