"""What a valid Event is: one tuple of rules. Verdict, suite, fingerprint and documentation come from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from pyspark.sql import Column
from pyspark.sql import functions as F

from expectations.thresholds import Threshold
from transforms import limits
from transforms.candidates import DERIVED_ID_LENGTH
from transforms.columns import FAULT
from transforms.parsing import MALFORMED, MISMATCH
from transforms.records import EXPLODE_NULL
from transforms.schemas import EVENTS
from transforms.wire import event_json, properties_json

OURS: Final = "ours"
FEW: Final = Threshold(warn_share=0.01, fail_share=0.25)
"""The default of rules: the faults of a few visitors pass, the fault of a release fails the batch."""
MODEL: Final = "botocore service model personalize-events 2018-03-22"


@dataclass(frozen=True, slots=True)
class RuleContext:
    """What a rule may look at besides the candidate.

    Attributes:
        latest_sent_at: an event sent after this time (UTC, aware) is refused.
    """

    latest_sent_at: datetime


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a record or candidate must satisfy to be an event.

    Attributes:
        code: the reason code; names the field and what is wrong with it.
        field: the API's field that is judged, or None for the event as a whole.
        broken: builds a BOOLEAN Column that is true if the rule is broken; null means that it is kept.
        message: what is wrong, in words that fit any candidate; it never quotes a value.
        source: where the limit comes from.
        limit: the limit with its unit; None if a field only has to be present.
        stage: where the fault is found. A record that breaks a rule of `read` or `map` has no fields, so rules of
            `validate` are not evaluated for it.
        threshold: how much of a batch may break it.
    """

    code: str
    field: str | None
    broken: Callable[[RuleContext], Column]
    message: str
    source: str
    limit: str | None = None
    stage: Literal["read", "map", "validate"] = "validate"
    threshold: Threshold = FEW


def _length_rule(field: str, limit: int) -> Rule:
    """Refuse a string of more than `limit` Unicode characters; `candidates.null_if_missing` made empty ones null."""
    most = f"{limit:,} characters"
    return Rule(
        f"{field}_too_long",
        field,
        lambda _: _is_longer(F.col(field), limit),
        f"{field} is longer than {most}",
        MODEL,
        most,
    )


def _is_longer(text: Column, limit: int) -> Column:
    """Whether a text has more characters than the limit. Only a text with more bytes, a cheap number, is counted."""
    return (F.octet_length(text) > limit) & (F.length(text) > limit)


def _marked_record_rule(code: str, stage: Literal["read", "map"], message: str) -> Rule:
    """Refuse a record that the reader, or the explode, has marked."""
    return Rule(code, None, lambda _: F.col(FAULT) == code, message, OURS, stage=stage)


def _has_member(items: Column, broken: Callable[[Column], Column]) -> Column:
    """Whether any member breaks the rule. The cheap check of the size spares most rows the lambda."""
    return (F.size(items) > 0) & F.exists(items, broken)


def _bound_json_bytes() -> Column:
    """Give an upper bound for the bytes of an event's JSON, without making it. The eventId may not be derived yet.

    A byte of a text becomes at most 6 bytes (a \\u escape); a byte of properties, JSON within JSON, twice that.
    """
    return _count_text_bytes() * 6 + _bound_properties_json() * 2 + 512 + DERIVED_ID_LENGTH


def _bound_properties_json() -> Column:
    """Give an upper bound for the bytes, and so the characters, of the JSON of properties, without making it."""
    return F.coalesce((_count_properties_bytes() + F.size("properties")) * 6 + 2, F.lit(0))


def _count_text_bytes() -> Column:
    """Count the bytes of an event's texts, without its properties."""
    lengths = [F.coalesce(_count_bytes(F.col(field)), F.lit(0)) for field in _TEXT_FIELDS]
    return sum(lengths, F.coalesce(_count_bytes(F.array_join("impression", "")), F.lit(0)))


def _count_properties_bytes() -> Column:
    """Count the bytes of the keys and values of properties."""
    return _count_bytes(F.array_join(F.map_keys("properties"), "")) + _count_bytes(
        F.array_join(F.map_values("properties"), "")
    )


def _count_bytes(text: Column) -> Column:
    """Count a text's bytes as a BIGINT, because six times an INT overflows from 358 MB on."""
    return F.octet_length(text).cast("bigint")


def _count_event_bytes() -> Column:
    event_id = F.coalesce("eventId", F.lit("0" * DERIVED_ID_LENGTH))
    return F.octet_length(event_json({name: F.col(name) for name in EVENTS.names} | {"eventId": event_id}))


def _is_event_too_large(_: RuleContext) -> Column:
    # An event that is certainly too large is not made into JSON, which could exceed the largest text.
    certain = _count_text_bytes() + F.coalesce(_count_properties_bytes(), F.lit(0)) > limits.EVENT_BYTES
    return (_bound_json_bytes() > limits.EVENT_BYTES) & (certain | (_count_event_bytes() > limits.EVENT_BYTES))


def _has_too_long_properties(_: RuleContext) -> Column:
    certain = _count_properties_bytes() > limits.PROPERTIES_LENGTH * _BYTES_PER_CHARACTER
    longer = F.length(properties_json(F.col("properties"))) > limits.PROPERTIES_LENGTH
    return (_bound_properties_json() > limits.PROPERTIES_LENGTH) & (certain | longer)


_TEXT_FIELDS: Final = ("eventType", "eventId", "itemId", "recommendationId", "eventAttributionSource")
_BYTES_PER_CHARACTER: Final = 4
"""The most bytes that UTF-8 needs for a character."""
_IDENTITY_FIELDS = ("userId", "visitorId", "sessionId")
_IN_FUTURE_MESSAGE = "sentAt is later than the run's --as-of allows"

RULES: Final = (
    _marked_record_rule(MALFORMED, "read", "the record is malformed: its text does not have the source's format"),
    _marked_record_rule(
        MISMATCH, "read", "a value of the record does not fit the type that the mapping's schema gives it"
    ),
    _marked_record_rule(EXPLODE_NULL, "map", "the array to explode is null, or does not hold the element any more"),
    Rule(
        "identity_missing",
        None,
        lambda _: F.coalesce(*_IDENTITY_FIELDS).isNull(),
        "none of userId, visitorId and sessionId names whose event this is",
        "sessionId is required by the service; it is given, or cut by visitorId or userId",
    ),
    Rule(
        "eventType_missing",
        "eventType",
        lambda _: F.coalesce(F.length("eventType"), F.lit(0)) == 0,
        "eventType is missing",
        MODEL,
    ),
    _length_rule("eventType", limits.IDENTIFIER_LENGTH),
    Rule(
        "sentAt_missing",
        "sentAt",
        lambda _: F.col("sentAt").isNull(),
        "sentAt is missing, or could not be read as a time",
        MODEL,
    ),
    Rule(
        "sentAt_before_1970",
        "sentAt",
        lambda _: F.unix_micros("sentAt") < 0,
        "sentAt is before 1970-01-01",
        f"{MODEL}: Unix time in seconds",
        "1970-01-01",
    ),
    Rule(
        "sentAt_in_future",
        "sentAt",
        lambda context: F.col("sentAt") > F.lit(context.latest_sent_at),
        _IN_FUTURE_MESSAGE,
        f"{OURS}: a clock that runs ahead would place events after those that really follow",
        "--as-of and a day",
    ),
    _length_rule("userId", limits.IDENTIFIER_LENGTH),
    _length_rule("sessionId", limits.IDENTIFIER_LENGTH),
    _length_rule("eventId", limits.IDENTIFIER_LENGTH),
    _length_rule("itemId", limits.IDENTIFIER_LENGTH),
    Rule(
        "eventValue_not_finite",
        "eventValue",
        lambda _: F.isnan("eventValue") | (F.abs("eventValue") == float("inf")),
        "eventValue is not a finite number",
        "the client sends NaN and Infinity as strings, which the service does not take for a float",
    ),
    Rule(
        "impression_too_many",
        "impression",
        lambda _: F.size("impression") > limits.IMPRESSION_ITEMS,
        f"impression holds more than {limits.IMPRESSION_ITEMS} items",
        MODEL,
        f"{limits.IMPRESSION_ITEMS} items",
    ),
    Rule(
        "impression_member_missing",
        "impression",
        lambda _: _has_member(F.col("impression"), lambda item: item.isNull()),
        "impression holds an item without an id",
        MODEL,
    ),
    Rule(
        "impression_member_too_long",
        "impression",
        lambda _: _has_member(F.col("impression"), lambda item: _is_longer(item, limits.IDENTIFIER_LENGTH)),
        f"impression holds an item id longer than {limits.IDENTIFIER_LENGTH} characters",
        MODEL,
        f"{limits.IDENTIFIER_LENGTH} characters",
    ),
    Rule(
        "properties_too_long",
        "properties",
        _has_too_long_properties,
        f"properties make a JSON text longer than {limits.PROPERTIES_LENGTH:,} characters",
        MODEL,
        f"{limits.PROPERTIES_LENGTH:,} characters",
    ),
    _length_rule("recommendationId", limits.RECOMMENDATION_ID_LENGTH),
    _length_rule("eventAttributionSource", limits.ATTRIBUTION_SOURCE_LENGTH),
    Rule(
        "eventAttributionSource_invalid",
        "eventAttributionSource",
        lambda _: ~F.col("eventAttributionSource").rlike(limits.ATTRIBUTION_SOURCE_PATTERN),
        "eventAttributionSource holds other than printable ASCII characters",
        MODEL,
        "printable ASCII",
    ),
    Rule(
        "event_too_large",
        None,
        _is_event_too_large,
        f"the event's JSON is larger than {limits.EVENT_BYTES:,} bytes",
        "Amazon Personalize quotas: the maximum size of an event",
        f"{limits.EVENT_BYTES:,} bytes",
    ),
)
