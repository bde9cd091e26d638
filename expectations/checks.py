"""All that the gate looks at: every rule, the batch as a whole, and each field that the mapping fills."""

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
"""Families of checks, of which each mapped field has one: `empty.userId`, `filled.properties.device`."""
FILLABLE: Final = tuple(name for name in EVENT_FIELDS if name not in ("eventType", "sentAt"))
"""Fields that a mapping may give and an event may lack; the other two are required of each event by rules."""
PROPERTY: Final = "properties."
"""What the name of a property's field begins with."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the gate looks at.

    Attributes:
        name: a rule's reason code, or the check's own; the name of its table in the thresholds file.
        message: what it counts or measures, in words.
        source: where its limit comes from.
        threshold: its default.
        among: what a share is of: `records`, `candidates`, `events` or `sessions`; None where there is no share.
        stage: where the rule is asked, or `batch`.
        subject: words that stand before what was seen, where a count alone would not say of what.
        is_state: whether it is 1 or 0, the batch being in a state or not; its note says the rest.
        family: the table of the thresholds file that changes all checks of the kind; empty where it is alone.
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
        "whether the batch has no event at all, be it that nothing was read, kept or valid",
        f"{OURS}: a column that was renamed, or a file that was emptied, looks like a quiet day; where a day may be "
        "empty, --allow-empty says so",
        Threshold(fail_count=0),
        None,
        is_state=True,
    ),
    Check(
        "records",
        "records read, against the median of the batches before",
        f"{OURS}: logs that are missing, or of more than this batch; nights, Sundays and sales stay within. Less than "
        "a hundredth is no traffic; more may be a success, and only warns",
        Threshold(warn_below=0.2, fail_below=0.01, warn_above=5.0),
        None,
    ),
    Check(
        "batch_size",
        "candidates, against the median of the batches before",
        f"{OURS}: as for the records",
        Threshold(warn_below=0.2, fail_below=0.01, warn_above=5.0),
        None,
    ),
    Check(
        "filtered",
        "records that are no interactions, by [record] where or because they are blank",
        f"{OURS}: access logs hold hundreds of files for each page, so that nearly all may be filtered; hardly "
        "999 of 1,000",
        Threshold(warn_share=0.95, fail_share=0.999),
        RECORDS,
    ),
    Check(
        "kept_records",
        "share of the records that are not filtered, or else the number of candidates, against the median of the "
        "batches before: whichever has fallen less",
        f"{OURS}: a where that no longer fits. Crawlers swell the log but leave the candidates; a quiet night leaves a "
        "monitor's pings",
        Threshold(warn_below=0.2, fail_below=0.02),
        None,
    ),
    Check(
        "quarantined",
        "candidates that were refused, for whatever reason",
        f"{OURS}: half a batch is no few visitors' fault",
        Threshold(warn_share=0.1, fail_share=0.5),
        CANDIDATES,
    ),
    Check(
        "duplicates",
        "candidates that repeat an event of the batch, or of one before; one of each is kept",
        f"{OURS}: a collector that sends twice leaves half, an export of the last seven days six in seven; more is "
        "the file of another batch",
        Threshold(warn_share=0.25, fail_share=0.9),
        CANDIDATES,
    ),
)

_ON_DELIVERED: Final = (
    Check(
        "delivered_events_gone",
        "share of the events delivered of an earlier build of the batch that the new build does not have",
        f"{OURS}: a rebuild from other files; what was sent cannot be taken back",
        Threshold(warn_above=0.0, fail_above=0.1),
        None,
    ),
    Check(
        "delivered_events_rekeyed",
        "share of the events delivered of an earlier build of the batch that have another eventId in the new build",
        f"{OURS}: the service would take each for a new event; --rekey lets that be",
        Threshold(fail_above=0.0),
        None,
    ),
)

_ON_KEYS: Final = (
    Check(
        "largest_eventId",
        "candidates that bear the most frequent eventId, where it is borne more than once",
        f"{OURS}: of one eventId one event is kept, so that a constant loses as much as a rule that is broken, and has "
        "a rule's limit",
        Threshold(warn_share=0.1, fail_share=0.25),
        CANDIDATES,
        subject="one eventId holds",
    ),
    Check(
        "largest_visitorId",
        "events of the most frequent visitorId",
        f"{OURS}: half of a batch is a robot's, nearly all of it is a constant; a quiet night may be one visitor's",
        Threshold(warn_share=0.5, fail_share=0.95),
        subject="one visitorId holds",
    ),
    Check(
        "largest_userId",
        "events of the most frequent userId",
        f"{OURS}: as for visitors; a name for all who are not logged in is no user",
        Threshold(warn_share=0.5, fail_share=0.95),
        subject="one userId holds",
    ),
    Check(
        "largest_itemId",
        "events about the most frequent item",
        f"{OURS}: a campaign may be about one item, a shop is not; only a constant is in all of some thousands",
        Threshold(warn_share=0.5, fail_share=0.999),
        subject="one itemId holds",
    ),
    Check(
        "single_event_sessions",
        "sessions of a single event, where the mapping gives the sessionId",
        f"{OURS}: half of all sessions are one page; where all are, the id is a message's, and each event costs a call",
        Threshold(warn_share=0.9, fail_share=0.99),
        SESSIONS,
    ),
    Check(
        "single_event_visits",
        "sessions of a single event, where sessions are cut by visitor",
        f"{OURS}: a message's id that was taken for a visitor's; a log of orders has hardly other sessions",
        Threshold(warn_share=0.99),
        SESSIONS,
    ),
)

_ON_EVENTS: Final = (
    Check(
        "sentAt_outside_interval",
        "events sent outside the batch's interval and its tolerance; without an interval, none",
        f"{OURS}: some come late, half of them do not: logs of another day, or seconds read as milliseconds",
        Threshold(warn_share=0.05, fail_share=0.5),
    ),
    Check(
        "sentAt_before_2010",
        "events sent before 2010, where the batch has no interval to hold them against",
        f"{OURS}: seconds read as milliseconds are in January 1970; history may be as old",
        Threshold(warn_share=0.05),
    ),
    Check(
        "sentAt_span",
        "days from the earliest event to the latest, where the batch has no interval to hold them against",
        f"{OURS}: times of two units in one log; history may span as much",
        Threshold(warn_above=366),
        None,
    ),
    Check(
        "eventId_repeated",
        "events whose eventId another event of the batch bears",
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
        f"{OURS}: 1 is usual where nobody logs in; less than usual is worth a limit of your own",
        Threshold(),
    ),
    Check(
        "without_item",
        "events without an itemId",
        f"{OURS}: an event about no item teaches little",
        Threshold(warn_share=0.5),
    ),
    Check(
        "merged",
        "events that the service will merge into another: same user, second, type, item and properties",
        "Amazon Personalize: events of exactly the same timestamp and properties are kept once",
        Threshold(warn_share=0.1),
    ),
    Check(
        "anonymous_sessions",
        "sessions that never gain a userId",
        "Amazon Personalize: what a session did joins its user's, once it has one; until then nothing is trained on it",
        Threshold(),
        SESSIONS,
    ),
)

CHECKS: Final = _ON_RULES + _ON_THE_FLOW + _ON_DELIVERED + _ON_KEYS + _ON_EVENTS
"""What is looked at in every batch, whatever its mapping."""


def field_checks(field: str) -> tuple[Check, Check]:
    """Give the checks of a field that the mapping fills: an event's own, or `properties.` and the key."""
    return (
        Check(
            f"{EMPTY}.{field}",
            f"events without {field}, where none has it though the mapping gives it",
            f"{OURS}: a column that is misspelt or gone; hundreds of events without a single value are no accident. "
            "A field that one of the batches before has may be absent from this one",
            Threshold(warn_share=0.95, fail_share=0.99),
            subject=f"{field} is empty in",
            family=EMPTY,
        ),
        Check(
            f"{FILLED}.{field}",
            f"share of the events that have {field}, against the median of the batches before",
            f"{OURS}: a column that is gone from most of the logs; logins and purchases vary, not tenfold",
            Threshold(warn_below=0.5, fail_below=0.1),
            None,
            family=FILLED,
        ),
    )


def filled_fields(mapping: EventMapping) -> list[str]:
    """List the fields that a mapping fills: an event's own, then its properties."""
    return [
        *[name for name in FILLABLE if name in mapping.event],
        *[f"{PROPERTY}{key}" for key in sorted(mapping.properties)],
    ]


def checks_on(fields: Iterable[str]) -> tuple[Check, ...]:
    """List all that is looked at in a batch whose mapping fills these fields."""
    return CHECKS + tuple(check for field in fields for check in field_checks(field))
