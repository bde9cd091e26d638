"""Estimates what a replay would do, without a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jobs.deliver.progress import duration
from jobs.replay.pending import PendingEvents
from jobs.report.formatting import size
from transforms.limits import CALLS_PER_SECOND
from transforms.measures import measure_sending

_NIGHT_SECONDS: Final = 8 * 3600.0
"""Seconds. A longer replay shares the quota with the live site's busy hours. An import does not."""
BATCH_SECONDS: Final = 2.0
"""Seconds that a batch takes besides its calls, to plan and to conclude it. Measured: 2.2, the mean of 20 batches of
100 events on two cores and a local disk, with the start of the first. An object store takes longer."""


@dataclass(frozen=True, slots=True)
class ReplayEstimate:
    """The pending events of a range, and the cost of sending them.

    Attributes:
        batches: number of batches in the range.
        waitingBatches: labels of the batches that may have pending events.
        delivered: events that the tracker has acknowledged.
        refused: events that it has refused for good.
        waiting: pending events.
        requests: requests for the pending events.
        bytes: bytes of the requests' bodies.
        unimportable: pending events without a userId or an itemId of their own, which no bulk import accepts.
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
        """Estimate the seconds of sending at a rate in calls a second, with the overhead of each batch."""
        return self.requests / rate + self.overhead_seconds

    @property
    def overhead_seconds(self) -> float:
        """Seconds without calls."""
        return BATCH_SECONDS * len(self.waitingBatches)


def estimate_replay(waiting: PendingEvents, trackingId: str) -> ReplayEstimate:
    """Measure the pending events."""
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
    """Describe the estimate for the user, line by line."""
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
    """Whether sending would take more than a night; an import takes an hour or so."""
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
