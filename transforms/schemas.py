"""The columns of the lake's tables, without the partition column `batch`."""

from typing import Final

from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DoubleType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

STRING: Final = StringType()

REASON: Final = StructType(
    [StructField("code", STRING, False), StructField("field", STRING), StructField("message", STRING, False)]
)
"""Why a record or candidate was refused; `field` is null if the reason is about the whole record."""

EVENTS: Final = StructType(
    [
        StructField("userId", STRING),
        StructField("visitorId", STRING),
        StructField("sessionId", STRING),
        StructField("eventId", STRING),
        StructField("eventType", STRING),
        StructField("eventValue", DoubleType()),
        StructField("itemId", STRING),
        StructField("impression", ArrayType(STRING)),
        StructField("properties", MapType(STRING, STRING)),
        StructField("recommendationId", STRING),
        StructField("eventAttributionSource", STRING),
        StructField("sentAt", TimestampType()),
        StructField("sourceFile", STRING),
    ]
)

QUARANTINE: Final = StructType(
    [
        StructField("stage", STRING),
        StructField("reasons", ArrayType(REASON)),
        StructField("record", STRING),
        StructField("sourceFile", STRING),
        StructField("ruleSet", STRING),
        StructField("element", IntegerType()),
        StructField("attempts", IntegerType()),
        StructField("rendered", BooleanType()),
        StructField("header", STRING),
    ]
)
"""`runId` is the partition column below `batch`. `element` is the index in the exploded array, from 0, of the refused
candidate; `attempts` is how often the record was tried; if `rendered` is true, `record` is the record as JSON, not its
original text; `header` is the line of its file that names the columns."""

VISITS: Final = StructType(
    [
        StructField("visitor", STRING),
        StructField("since", LongType()),
        StructField("first", LongType()),
        StructField("last", LongType()),
        StructField("touched", STRING),
    ]
)
"""What a batch leaves for later batches; not a table for users. `visitor` is `columns.visitor_key`. Times are
microseconds: `since` is the visit's first event when the visit was first seen, and its session ids depend on it;
`first` and `last` are its first and last events as known now. `touched` is the last batch with an event of it."""

RECEIPTS: Final = StructType(
    [
        StructField("requestId", STRING),
        StructField("userId", STRING),
        StructField("sessionId", STRING),
        StructField("eventIds", ArrayType(STRING)),
        StructField("status", STRING),
        StructField("httpStatus", IntegerType()),
        StructField("errorCode", STRING),
        StructField("attempts", IntegerType()),
        StructField("awsRequestId", STRING),
        StructField("startedAt", TimestampType()),
        StructField("latencyMs", LongType()),
    ]
)
"""`deliveryId` is the partition column below `batch`."""

DEAD_LETTERS: Final = StructType(
    [
        *EVENTS.fields,
        StructField("requestId", STRING),
        StructField("errorCode", STRING),
        StructField("errorMessage", STRING),
    ]
)
"""`deliveryId` is the partition column below `batch`."""

REFUSALS: Final = StructType(
    [
        StructField("requestId", STRING),
        StructField("eventIds", ArrayType(STRING)),
        StructField("errorCode", STRING),
        StructField("errorMessage", STRING),
        StructField("startedAt", TimestampType()),
    ]
)
"""The service's error for each receipt with status `refused`."""

REQUESTS: Final = StructType(
    [
        StructField("requestId", STRING),
        StructField("userId", STRING),
        StructField("sessionId", STRING),
        StructField("number", IntegerType()),
        StructField("eventIds", ArrayType(STRING)),
        StructField("events", ArrayType(STRING)),
    ]
)
"""A planned call; `number` is its index in its session, `events` are members of `eventList`, as JSON."""
