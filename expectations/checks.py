"""The checks of the gate: one for each rule, those of the whole batch, and those of each field that a mapping fills."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from expectations.rules import OURS, RULES
from expectations.thresholds import Threshold
from transforms.mapping.model import EVENT_FIELDS, EventMapping

RECORDS: Final = "records"
CANDIDATES: Final = "candidates"
EVENTS: Final = "events"
SESSIONS: Final = "sessions"

EMPTY: Final = "empty"
FILLED: Final = "filled"
FIELD_FAMILIES: Final = (EMPTY, FILLED)
"""Families of checks. Each family has one check for each mapped field: `empty.userId`, `filled.properties.device`."""
FILLABLE: Final = tuple(name for name in EVENT_FIELDS if name not in ("eventType", "sentAt"))
"""Fields that a mapping may give and an event may lack. Rules require the other two of each event."""
PROPERTY: Final = "properties."
"""The beginning of a property's field name."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the gate.

    Attributes:
        name: a rule's reason code, or the check's own; the name of its table in the thresholds file.
        message: what it counts or measures, in words.
        source: where its limit comes from.
        threshold: its default.
        among: the whole of a share: `records`, `candidates`, `events` or `sessions`; None for a check without a share.
        stage: the rule's stage, or `batch`.
        subject: text before the count, if a count alone would not say what is counted.
        is_state: whether the value is 1 or 0, for a state of the batch; its note explains the state.
        family: the table of the thresholds file for all checks of this kind; empty for a single check.
    """

    name: str
    message: str
    source: str
    threshold: Threshold
    among: str | None = EVENTS
    stage: str = "batch"
    subject: str = ""
    is_state: bool = False
    family: str = ""


_ON_RULES: Final = tuple(
    Check(rule.code, rule.message, rule.source, rule.threshold, CANDIDATES, rule.stage) for rule in RULES
)

_ON_THE_FLOW: Final = (
    Check(
        "no_events",
        "whether the batch has no event, because nothing was read, kept or valid",
        f"{OURS}: a renamed column or an emptied file looks like a quiet day; if a day may be "
        "empty, give --allow-empty",
        Threshold(fail_count=0),
        None,
        is_state=True,
    ),
    Check(
        "records",
        "records read, against the median of earlier batches",
        f"{OURS}: logs are missing, or belong to other batches too; nights, Sundays and sales stay within. Less than "
        "a hundredth is not traffic; more can be a success, and only warns",
        Threshold(warn_below=0.2, fail_below=0.01, warn_above=5.0),
        None,
    ),
    Check(
        "batch_size",
        "candidates, against the median of earlier batches",
        f"{OURS}: as for `records`",
        Threshold(warn_below=0.2, fail_below=0.01, warn_above=5.0),
        None,
    ),
    Check(
        "filtered",
        "records that are not interactions, because of [record] where or because they are blank",
        f"{OURS}: access logs have hundreds of files for each page, so nearly all can be filtered, but hardly "
        "999 of 1,000",
        Threshold(warn_share=0.95, fail_share=0.999),
        RECORDS,
    ),
    Check(
        "kept_records",
        "share of the records that are not filtered, or the number of candidates, against the median of "
        "earlier batches: the one that has fallen less",
        f"{OURS}: [record] where no longer fits. Crawlers add records but not candidates; a quiet night leaves only a "
        "monitor's pings",
        Threshold(warn_below=0.2, fail_below=0.02),
        None,
    ),
    Check(
        "quarantined",
        "candidates that were refused, for any reason",
        f"{OURS}: a few visitors do not cause half of a batch",
        Threshold(warn_share=0.1, fail_share=0.5),
        CANDIDATES,
    ),
    Check(
        "duplicates",
        "candidates that repeat an event of this batch or of an earlier one; one of each is kept",
        f"{OURS}: a collector that sends twice repeats half, an export of the last seven days six in seven; more is "
        "the file of another batch",
        Threshold(warn_share=0.25, fail_share=0.9),
        CANDIDATES,
    ),
)

_ON_DELIVERED: Final = (
    Check(
        "delivered_events_gone",
        "share of the delivered events of an earlier build that the new build does not have",
        f"{OURS}: a rebuild from other files; sent events cannot be taken back",
        Threshold(warn_above=0.0, fail_above=0.1),
        None,
    ),
    Check(
        "delivered_events_rekeyed",
        "share of the delivered events of an earlier build that have another eventId in the new build",
        f"{OURS}: the service would take each as a new event; --rekey allows it",
        Threshold(fail_above=0.0),
        None,
    ),
)

_ON_KEYS: Final = (
    Check(
        "largest_eventId",
        "candidates with the most frequent eventId, if more than one has it",
        f"{OURS}: one event of each eventId is kept, so a constant loses as much as a broken rule, and has "
        "the limit of a rule",
        Threshold(warn_share=0.1, fail_share=0.25),
        CANDIDATES,
        subject="one eventId holds",
    ),
    Check(
        "largest_visitorId",
        "events of the most frequent visitorId",
        f"{OURS}: half of a batch is a robot, nearly all of it is a constant; a quiet night can have one visitor",
        Threshold(warn_share=0.5, fail_share=0.95),
        subject="one visitorId holds",
    ),
    Check(
        "largest_userId",
        "events of the most frequent userId",
        f"{OURS}: as for visitors; a word for all visitors without a login is not a user",
        Threshold(warn_share=0.5, fail_share=0.95),
        subject="one userId holds",
    ),
    Check(
        "largest_itemId",
        "events with the most frequent itemId",
        f"{OURS}: a campaign can be about one item, a shop is not; only a constant is in thousands of events",
        Threshold(warn_share=0.5, fail_share=0.999),
        subject="one itemId holds",
    ),
    Check(
        "single_event_sessions",
        "sessions with a single event, if the mapping gives the sessionId",
        f"{OURS}: half of all sessions have one page; if all do, it is the id of a message: each event costs a call",
        Threshold(warn_share=0.9, fail_share=0.99),
        SESSIONS,
    ),
    Check(
        "single_event_visits",
        "sessions with a single event, if sessions are cut by visitor",
        f"{OURS}: the id of a message is mapped as visitorId; but a log of orders has few other sessions",
        Threshold(warn_share=0.99),
        SESSIONS,
    ),
)

_ON_EVENTS: Final = (
    Check(
        "sentAt_outside_interval",
        "events outside the interval of the batch and its tolerance; without an interval, none",
        f"{OURS}: some events come late, but not half: logs of another day, or seconds read as milliseconds",
        Threshold(warn_share=0.05, fail_share=0.5),
    ),
    Check(
        "sentAt_before_2010",
        "events before 2010, if the batch has no interval",
        f"{OURS}: seconds read as milliseconds are in January 1970; but history can be that old",
        Threshold(warn_share=0.05),
    ),
    Check(
        "sentAt_span",
        "days from the earliest event to the latest, if the batch has no interval",
        f"{OURS}: two units of time in one log; but history can span as much",
        Threshold(warn_above=366),
        None,
    ),
    Check(
        "eventId_repeated",
        "events with an eventId that another event of the batch has",
        "Amazon Personalize: of events with one eventId, only the first is used in training",
        Threshold(fail_count=0),
    ),
    Check(
        "event_types_and_metadata",
        "different event types and property keys, together",
        "Amazon Personalize quotas: event types and metadata columns together, at most 10",
        Threshold(warn_above=10),
        None,
    ),
    Check(
        "metadata_columns",
        "property keys, which become metadata columns",
        "Amazon Personalize quotas: at most 5 metadata columns",
        Threshold(warn_above=5),
        None,
    ),
    Check(
        "eventValue_out_of_range",
        "events whose eventValue is below the minimum or above the maximum",
        "the API's type of eventValue is float",
        Threshold(warn_count=0),
    ),
    Check(
        "anonymous",
        "events without a userId",
        f"{OURS}: 1 is usual if nobody logs in; otherwise set your own limit",
        Threshold(),
    ),
    Check(
        "without_item",
        "events without an itemId",
        f"{OURS}: the service learns little from an event without an item",
        Threshold(warn_share=0.5),
    ),
    Check(
        "merged",
        "events that the service merges into another: same user, second, type, item and properties",
        "Amazon Personalize: of events with exactly the same timestamp and properties, one is kept",
        Threshold(warn_share=0.1),
    ),
    Check(
        "anonymous_sessions",
        "sessions in which no event has a userId",
        "Amazon Personalize: events of a session count for its user when it has one; before that, they train nothing",
        Threshold(),
        SESSIONS,
    ),
)

CHECKS: Final = _ON_RULES + _ON_THE_FLOW + _ON_DELIVERED + _ON_KEYS + _ON_EVENTS
"""The checks of every batch, whatever its mapping."""


def field_checks(field: str) -> tuple[Check, Check]:
    """Make the checks of a field that the mapping fills: a field of the event, or `properties.` and a key."""
    return (
        Check(
            f"{EMPTY}.{field}",
            f"events without {field}, if none has it although the mapping gives it",
            f"{OURS}: a column is misspelt or gone; hundreds of events without a single value are not an accident. "
            "A field that an earlier batch has may be absent from this one",
            Threshold(warn_share=0.95, fail_share=0.99),
            subject=f"{field} is empty in",
            family=EMPTY,
        ),
        Check(
            f"{FILLED}.{field}",
            f"share of the events that have {field}, against the median of earlier batches",
            f"{OURS}: a column is gone from most of the logs; logins and purchases vary, but not by a factor of ten",
            Threshold(warn_below=0.5, fail_below=0.1),
            None,
            family=FILLED,
        ),
    )


def filled_fields(mapping: EventMapping) -> list[str]:
    """List the fields that a mapping fills: the event's fields, then its properties."""
    return [
        *[name for name in FILLABLE if name in mapping.event],
        *[f"{PROPERTY}{key}" for key in sorted(mapping.properties)],
    ]


def checks_on(fields: Iterable[str]) -> tuple[Check, ...]:
    """List the checks of a batch with a mapping that fills these fields."""
    return CHECKS + tuple(check for field in fields for check in field_checks(field))
