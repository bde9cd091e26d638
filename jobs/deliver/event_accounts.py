"""What became of a batch's events, each count on its own, and whether the counts add up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from jobs.errors import CountsError
from jobs.lake.manifests import Manifest
from jobs.ledger.ledger import EventTotals
from jobs.ledger.plans import DeliveryTotals, Plan

Account = dict[str, int]
"""A batch's events by what became of them, as the summary names it; and requestsMinimum."""
EVENTS: Final = ("events", "alreadyDelivered", "delivered", "deadLettered", "pending")


def account(manifest: Manifest, plan: Plan, before: EventTotals, after: EventTotals) -> Account:
    """Account for every event of the batch, from its manifest, the plan and the receipts.

    Args:
        manifest: says how many events the build counted.
        plan: the delivery's.
        before: its events as they were when the run began.
        after: as they are now.

    Examples:
        >>> from jobs.ledger.plans import TimeSpan
        >>> counts = {"delivered": 5, "refused": 1, "waiting": 0, "span": TimeSpan(1, 9)}
        >>> plan = Plan("b", "batch", "run-1", 2, "run-2", 10, 1, **counts)
        >>> manifest = Manifest("b", 1, "run-1", "passed", 16, 0)
        >>> account(manifest, plan, EventTotals(4, 0, 6), EventTotals(7, 1, 2))
        {'events': 16, 'alreadyDelivered': 9, 'delivered': 3, 'deadLettered': 2, 'pending': 2}
    """
    return {
        "events": manifest.events,
        "alreadyDelivered": plan.delivered + before.delivered,
        "delivered": after.delivered - before.delivered,
        "deadLettered": plan.refused + after.refused,
        "pending": plan.waiting + after.pending,
    }


def settled(manifest: Manifest, balance: DeliveryTotals) -> Account:
    """Account for a batch of which nothing is left to send."""
    done = {"alreadyDelivered": balance.delivered, "delivered": 0, "deadLettered": balance.refused, "pending": 0}
    return {"events": manifest.events, **done}


def check_counts(what: str, counts: Mapping[str, int], unplanned: int = 0) -> None:
    """Check that every event is accounted for, once.

    Args:
        what: the batch, or the batches, that the counts are of.
        counts: events by what became of them.
        unplanned: events that have receipts, and that nobody had planned to send.

    Raises:
        CountsError: they do not add up.
    """
    ends = sum(counts[name] for name in EVENTS[1:])
    if ends != counts["events"]:
        parts = " + ".join(f"{counts[name]:,} {name}" for name in EVENTS[1:])
        wrong = f"it has {counts['events']:,} events, but {parts} are {ends:,}"
    elif unplanned:
        wrong = f"receipts name {unplanned:,} events that its plan does not have"
    else:
        return
    raise CountsError(
        f"{what}: its counts do not add up: {wrong}. Somebody else has deleted, changed or added files of the lake, "
        "or this program has a fault: change nothing in the lake, and report this line"
    )
