"""What a replay would do, without a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jobs.deliver.progress import duration
from jobs.replay.pending import PendingEvents
from jobs.report.formatting import size
from transforms.limits import CALLS_PER_SECOND
from transforms.measures import measure_sending

_NIGHT_SECONDS: Final = 8 * 3600.0
"""Seconds. A replay that takes longer shares the quota with the live site's busy hours; an import does not."""
BATCH_SECONDS: Final = 2.0
"""Seconds that a batch takes beside its calls: to be planned, settled, and told apart from the next one. Measured: 2.2,
the mean of 20 batches of 100 events on two cores and a local disk, the start of the first included; an object store
takes longer."""


@dataclass(frozen=True, slots=True)
class ReplayEstimate:
    """What is left of a range, and what sending it takes.

    Attributes:
        batches: in the range.
        waitingBatches: labels of those of which something may be left.
        delivered: events that the tracking id has acknowledged.
        refused: events that it has refused for good.
        waiting: events to be sent.
        requests: that they need.
        bytes: of the requests' bodies.
        unimportable: events that wait and have no userId or no itemId of their own: no bulk import takes such.
    """

    batches: int
    waitingBatches: tuple[str, ...]
    delivered: int
    refused: int
    waiting: int
    requests: int
    bytes: int
    unimportable: int

    def seconds(self, rate: float) -> float:
        """How long sending takes at so many calls a second, roughly: with what each batch takes beside its calls."""
        return self.requests / rate + self.overhead_seconds

    @property
    def overhead_seconds(self) -> float:
        """Seconds of it in which nothing is called."""
        return BATCH_SECONDS * len(self.waitingBatches)


def estimate_replay(waiting: PendingEvents, trackingId: str) -> ReplayEstimate:
    """Measure what is left."""
    found = measure_sending(waiting.events, trackingId).collect()[0]
    return ReplayEstimate(
        batches=len(waiting.settled) + len(waiting.batches),
        waitingBatches=waiting.batches,
        delivered=found["delivered"] + sum(each.delivered for each in waiting.settled),
        refused=found["refused"] + sum(each.refused for each in waiting.settled),
        waiting=found["waiting"],
        requests=found["requests"],
        bytes=found["bytes"],
        unimportable=found["unimportable"],
    )


def describe_estimate(found: ReplayEstimate, max_rate: float) -> list[str]:
    """Say it to a person, a line each."""
    rows = [
        ("batches", f"{found.batches:,}, {_describe_unfinished(found.waitingBatches)}"),
        ("events", f"{found.delivered + found.refused + found.waiting:,}"),
        ("  delivered already", f"{found.delivered:,}"),
        ("  refused for good", f"{found.refused:,}"),
        ("  to be sent", f"{found.waiting:,}"),
        ("requests", f"{found.requests:,}"),
        ("bytes", size(found.bytes)),
        (f"at {max_rate:,g}/s", f"{duration(found.seconds(max_rate))} (--max-rate)"),
        (
            f"at {CALLS_PER_SECOND:,}/s",
            f"{duration(found.seconds(CALLS_PER_SECOND))} (the whole quota)",
        ),
        (
            "  without calls",
            f"{duration(found.overhead_seconds)} of both times: about {BATCH_SECONDS:g} s for each batch to send",
        ),
        ("bulk import", _advise_on_import(found, max_rate)),
    ]
    return [f"{name:<20} {value}" for name, value in rows]


def bulk_serves_better(found: ReplayEstimate, max_rate: float) -> bool:
    """Whether an import does in an hour or so what would take more than a night."""
    return found.seconds(max_rate) > _NIGHT_SECONDS


def _describe_unfinished(batches: tuple[str, ...]) -> str:
    if not batches:
        return "all finished"
    return f"{len(batches):,} of them not finished, the first is {batches[0]}"


def _advise_on_import(found: ReplayEstimate, max_rate: float) -> str:
    which = "all" if found.unimportable == found.waiting else f"{found.unimportable:,} of the"
    without = f"{which} events have no userId or no itemId of their own"
    if bulk_serves_better(found, max_rate):
        left = f"; {without}" if found.unimportable else ""
        return f"is better: it needs no quota (--bulk-export DIR writes its CSV{left})"
    left = f" ({without}, which an import does not accept)" if found.unimportable else ""
    return f"not needed: this takes less than a night{left}"
