"""All that the gate looks at: every rule, and the batch as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from expectations.rules import OURS, RULES
from expectations.thresholds import Threshold

CANDIDATES: Final = "candidates"
EVENTS: Final = "events"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the gate looks at.

    Attributes:
        name: a rule's reason code, or the check's own; the name of its table in the thresholds file.
        message: what it counts or measures, in words.
        source: where its limit comes from.
        threshold: its default.
        among: what a share is of, `candidates` or `events`; None for a measure, which has no share.
        stage: where the rule is asked, or `batch`.
    """

    name: str
    message: str
    source: str
    threshold: Threshold
    among: str | None = EVENTS
    stage: str = "batch"


_ON_RULES: Final = tuple(
    Check(rule.code, rule.message, rule.source, rule.threshold, CANDIDATES, rule.stage) for rule in RULES
)

_ON_THE_BATCH: Final = (
    Check(
        "quarantined",
        "candidates that were refused, for whatever reason",
        OURS,
        Threshold(warn_share=0.1, fail_share=0.5),
        CANDIDATES,
    ),
    Check(
        "no_events",
        "batches with candidates of which none became an event",
        f"{OURS}: a mapping that fits no record looks like a quiet day",
        Threshold(warn_count=0),
        None,
    ),
    Check(
        "duplicates",
        "candidates that repeat an event of the batch, or of one before; one of each is kept",
        f"{OURS}: a collector that sends twice, or files that were copied twice",
        Threshold(warn_share=0.25),
        CANDIDATES,
    ),
    Check(
        "batch_size",
        "candidates, against the median of the batches before",
        f"{OURS}: logs that are missing, or of more than this batch; traffic of nights and holidays stays within",
        Threshold(warn_below=0.2, warn_above=5.0),
        None,
    ),
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
    Check(
        "sentAt_outside_interval",
        "events sent outside the batch's interval and its tolerance",
        f"{OURS}: logs of another day; a batch is of the interval that it is given, else of the one its label names",
        Threshold(warn_share=0.05),
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
        "sessions",
    ),
)

CHECKS: Final = _ON_RULES + _ON_THE_BATCH
