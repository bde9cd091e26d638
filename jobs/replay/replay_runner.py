"""Sends the batches of a range one after another, and sums up their accounts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from delivery.http.endpoint import TrackerEndpoint
from jobs.deliver.achieved_rate import FullSeconds
from jobs.deliver.delivery_monitor import DeliveryResult
from jobs.deliver.delivery_run import DeliveryHooks, DeliveryRun, calls, deliver, find_sendable, repeat_warnings
from jobs.deliver.exit_status import describe_pending, exit_of
from jobs.deliver.progress import ProgressGoal
from jobs.errors import JobError, UnfinishedError
from jobs.lake.manifests import Manifest
from jobs.lake.tables import Lake
from jobs.ledger.ledger import EVENT_COUNTERS, Account, Ledger, account_for_plan, account_for_totals, check_counts
from jobs.ledger.plans import DeliveryTotals, Plan
from jobs.ledger.tracker_ledger import TrackerLedger

_SECOND: Final = 1.0
"""The time unit of rates, in seconds."""


class ReplayRunner:
    """Sends batches in order, each when the one before it has ended.

    Args:
        delivery_run: what the deliveries share; its run's counters always hold the sums.
        manifests: of the batches, oldest first.
    """

    def __init__(self, delivery_run: DeliveryRun, manifests: Sequence[Manifest]) -> None:
        self._delivery_run = delivery_run
        self._batches = [manifest.batch for manifest in manifests]
        self._accounts, self._ended = account_for_batches(delivery_run.lake, delivery_run.service, manifests)
        self._calls: Counter[str] = Counter()
        self._full_seconds = FullSeconds()
        self._next_start = time.monotonic()
        self._update_counters()

    def send(self) -> None:
        """Send the pending events.

        Raises:
            JobError: the replay ended early.
        """
        for number, batch in enumerate(self._batches, 1):
            if batch in self._ended:
                continue
            self._check_whether_to_go_on()
            # Read again, because a batch may have been rebuilt since the replay began.
            manifest = find_sendable(self._delivery_run.lake, batch)
            repeat_warnings(manifest)
            make_goal = partial(self._make_goal, f"{batch} ({number} of {len(self._batches)})")
            hooks = DeliveryHooks(
                on_account=partial(self._update_account, batch), make_goal=make_goal, on_result=self._add_result
            )
            result = deliver(self._delivery_run, manifest, "batch", hooks)
            self._check_end(batch, result)
        check_counts(f"batches {self._batches[0]} to {self._batches[-1]}", self._delivery_run.run.counters)

    @property
    def refused(self) -> list[str]:
        """The batches with events that the service refused for good."""
        return [batch for batch in self._batches if self._accounts[batch]["deadLettered"]]

    def _check_whether_to_go_on(self) -> None:
        if self._delivery_run.run.interruption.is_requested:
            raise UnfinishedError(
                f"interrupted: {describe_pending(self._delivery_run.run.counters)}; run this again, it resumes"
            )
        self._check_deadline()

    def _check_deadline(self) -> None:
        deadline = self._delivery_run.deadline
        if deadline.has_passed:
            raise UnfinishedError(
                f"{deadline.because}: {describe_pending(self._delivery_run.run.counters)}; run this again, it continues"
            )

    def _check_end(self, batch: str, result: DeliveryResult | None) -> None:
        """End the replay if the batch has pending events, because later batches must come after it."""
        counters, interrupted = self._delivery_run.run.counters, self._delivery_run.run.interruption.is_requested
        if self._accounts[batch]["pending"]:
            if not interrupted and (result is None or result.ending is None):
                self._check_deadline()
            exit_of(result, counters, self._delivery_run.service, interrupted=interrupted)

    def _update_account(self, batch: str, change: Account) -> None:
        self._accounts[batch].update(change)
        self._update_counters()

    def _add_result(self, result: DeliveryResult) -> None:
        self._calls.update(calls(result))
        if result.progress.calls.answered:
            self._full_seconds += result.full
        self._next_start = time.monotonic() + _SECOND
        self._delivery_run.run.counters.update(self._calls, achievedRate=self._full_seconds.rate)

    def _update_counters(self) -> None:
        sums: Counter[str] = Counter()
        for each in self._accounts.values():
            sums.update(each)
        done = sum(not each["pending"] for each in self._accounts.values())
        self._delivery_run.run.counters.update(sums, batches=len(self._batches), batchesDone=done)

    def _make_goal(self, what: str) -> ProgressGoal:
        """Wait for the end of the last batch's last second, so that two batches share none; then make the goal."""
        time.sleep(max(self._next_start - time.monotonic(), 0.0))
        counters: dict[str, Any] = self._delivery_run.run.counters
        return ProgressGoal(counters["events"], counters["events"] - counters["pending"], what)


def account_for_batches(
    lake: Lake, service: TrackerEndpoint, manifests: Sequence[Manifest]
) -> tuple[dict[str, Account], set[str]]:
    """Account for the events of all batches before they are sent, from plans and receipts.

    Events of a batch without a plan count as pending, even if another batch's delivery has sent them.

    Returns:
        The accounts, and the labels of batches with nothing left to do. A batch whose run was killed after its last
        receipt has no pending event, but its dead letters are not written yet.

    Raises:
        UnfinishedError: another run has ended a plan while this one read it.
    """
    plans, sources = TrackerLedger(lake, service).plans, {manifest.batch: manifest.runId for manifest in manifests}
    known = plans.delivery_states(sources)
    try:
        found = {each.batch: _account_for_batch(lake, service, each, known.get(each.batch)) for each in manifests}
    except JobError:
        raise
    except Exception:
        now = plans.delivery_states(sources)
        changed = next((batch for batch in sources if now.get(batch) != known.get(batch)), None)
        if changed is None:
            raise
        raise UnfinishedError(f"batch {changed}: another run has just delivered it: run this again") from None
    ended = {each.batch for each in manifests if not each.events or isinstance(known.get(each.batch), DeliveryTotals)}
    return found, ended


def _account_for_batch(
    lake: Lake, service: TrackerEndpoint, manifest: Manifest, known: DeliveryTotals | Plan | None
) -> Account:
    if isinstance(known, DeliveryTotals):
        counts = account_for_totals(manifest, known)
        check_counts(f"batch {manifest.batch}", counts)
        return counts
    tally = Ledger(lake, manifest, service).tally(known) if known is not None else None
    if known is None or tally is None or tally.planned != known.events:  # it will be planned again
        return {**dict.fromkeys(EVENT_COUNTERS, 0), "events": manifest.events, "pending": manifest.events}
    counts = account_for_plan(manifest, known, tally, tally)
    check_counts(f"batch {manifest.batch}", counts, tally.unplanned)
    return counts
