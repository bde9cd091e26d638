"""The plans of deliveries. A plan lists the requests of a delivery, and is fixed before the first call.

    _plans/<tracker>/<batch>~<kind>~<source>~<epoch>~<run>~<since>~<until>.json   the plan; written after its requests
    _plans/<tracker>/<same>.done                                                  the batch's totals; empty: given up
    _plans/<tracker>/<batch>/<epoch>/                                             its requests; deleted when it is done

The names hold the time span of the events, so one listing finds the plans that may hold an event, without reading years
of receipts. They also hold the order of the plans: the epoch, a number that the tracker gives to each run that sends.
Run ids hold the times of hosts' clocks, so they give no order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal, NamedTuple

from jobs.lake.filesystem import FileSystem

Kind = Literal["batch", "resend", "dead-letters"]
"""`batch`: all pending events; `resend`: all events of a batch; `dead-letters`: events that were refused for good."""

_UNBOUNDED: Final = "any"
_NAME_PARTS: Final = 7
_PLAN_ENDING: Final = ".json"
_DONE_ENDING: Final = ".done"
_EPOCH_DIGITS: Final = 8
_PARSE_ERRORS: Final = (ValueError, TypeError, KeyError)
"""The errors of reading an incomplete plan."""


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """The time span of events, in microseconds of Unix time; None and None if an event can recur at any time.

    A derived eventId depends on sentAt. An eventId that the log gave can recur at any time.
    """

    since: int | None
    until: int | None

    def meets(self, other: TimeSpan) -> bool:
        """Whether an event can be in both.

        Examples:
            >>> TimeSpan(1, 5).meets(TimeSpan(5, 9)), TimeSpan(1, 5).meets(TimeSpan(6, 9))
            (True, False)
            >>> TimeSpan(1, 5).meets(TimeSpan(None, None))
            True
        """
        return _is_before(self.since, other.until) and _is_before(other.since, self.until)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a delivery sends.

    Attributes:
        batch: the label.
        kind: which events it sends.
        source: the runId of the build that it was made from.
        epoch: of the run that made it; the order of plans.
        runId: of that run.
        events: number of events to send.
        requests: number of requests.
        delivered: events of the batch that it does not send because they were acknowledged.
        refused: events of the batch that it does not send because they were refused for good.
        waiting: pending events of the batch that it does not send.
        span: the time span of its events.
        again: answers of the service before this epoch do not count, so that events are sent again; 0 if all count.
    """

    batch: str
    kind: Kind
    source: str
    epoch: int
    runId: str
    events: int
    requests: int
    delivered: int
    refused: int
    waiting: int
    span: TimeSpan
    again: int = 0


@dataclass(frozen=True, slots=True)
class DeliveryTotals:
    """The result of a batch with nothing left to send.

    Attributes:
        delivered: events that were acknowledged.
        refused: events that were refused for good.
    """

    delivered: int
    refused: int


class _PlanName(NamedTuple):
    """The parts of a plan's file name."""

    batch: str
    kind: str
    source: str
    epoch: int
    runId: str
    span: TimeSpan
    is_done: bool

    @property
    def text(self) -> str:
        bounds = (_UNBOUNDED if bound is None else str(bound) for bound in (self.span.since, self.span.until))
        pieces = (self.batch, self.kind, self.source, f"{self.epoch:0{_EPOCH_DIGITS}d}", self.runId, *bounds)
        return "~".join(pieces) + (_DONE_ENDING if self.is_done else _PLAN_ENDING)


class Plans:
    """The plans for one tracker.

    Args:
        files: the store.
        root: of the lake.
        tracker: its name.
    """

    def __init__(self, files: FileSystem, root: str, tracker: str) -> None:
        self._files = files
        self._folder = f"{root}/_plans/{tracker}"

    def requests(self, batch: str, epoch: int) -> str:
        """Give the folder of the requests of the plan that was made in an epoch."""
        return f"{self._folder}/{batch}/{epoch:0{_EPOCH_DIGITS}d}"

    def find_open(self, batch: str) -> list[Plan]:
        """Read the plans of a batch that are neither done nor given up, in order."""
        names = self._list_names()
        done = {name.epoch for name in names if name.batch == batch and name.is_done}
        own = (name for name in names if name.batch == batch and name.epoch not in done)
        return [plan for name in own if (plan := self._read_plan(name)) is not None]

    def fix(self, plan: Plan) -> None:
        """Write a plan, after its requests have been written."""
        self._files.create(f"{self._folder}/{_name_plan(plan).text}", json.dumps(asdict(plan)))

    def end(self, plan: Plan, totals: DeliveryTotals) -> None:
        """Record that a plan is done, with the batch's totals."""
        self._close_plan(plan, json.dumps(asdict(totals)))

    def give_up(self, plan: Plan) -> None:
        """Record that a plan is given up. A new plan finds its pending events in the batch."""
        self._close_plan(plan, "")

    def sweep(self, batch: str, needed_plans: Iterable[Plan], epoch: int) -> None:
        """Delete the requests of plans that killed runs had not finished.

        Args:
            batch: the label.
            needed_plans: plans whose requests are still needed.
            epoch: of this run. Requests of a later epoch belong to a run that has taken over.
        """
        needed = {each.epoch for each in needed_plans}
        for name in self._files.children(f"{self._folder}/{batch}"):
            if not name.isdigit() or (int(name) < epoch and int(name) not in needed):
                self._files.delete(f"{self._folder}/{batch}/{name}")

    def delivery_states(self, sources: Mapping[str, str]) -> dict[str, DeliveryTotals | Plan]:
        """Find how far batches are, by one listing: the totals of a batch, or its unfinished plan.

        The batch's newest plan of kind `batch` decides. It does not count if a later `resend`, or later `dead-letters`
        of a batch with refused events, may have sent the batch's events.

        Args:
            sources: the runId of the batches' events, by label.

        Returns:
            By label; a batch that must be examined is missing.
        """
        names = self._list_names()
        newest = {name.batch: name for name in names if name.kind == "batch" and sources.get(name.batch) == name.source}
        again = [name for name in names if name.kind != "batch"]
        found = {}
        for batch, name in newest.items():
            state = self._read_totals(name) if name.is_done else self._read_plan(name)
            later = {each.kind for each in again if each.epoch > name.epoch and each.span.meets(name.span)}
            may_be_mended = not isinstance(state, DeliveryTotals) or state.refused > 0
            if state is not None and "resend" not in later and not (later and may_be_mended):
                found[batch] = state
        return found

    def batches_meeting(self, span: TimeSpan) -> list[str]:
        """List the batches with plans, done or not, that can hold events of a time span."""
        return sorted({name.batch for name in self._list_names() if span.meets(name.span)})

    def _list_names(self) -> list[_PlanName]:
        """Read the names of all plans, in order; `.done` comes after its plan."""
        names = filter(None, map(_parse_name, self._files.children(self._folder)))
        return sorted(names, key=lambda name: (name.epoch, name.is_done))

    def _close_plan(self, plan: Plan, totals: str) -> None:
        self._files.replace(f"{self._folder}/{_name_plan(plan)._replace(is_done=True).text}", totals)
        self._files.delete(self.requests(plan.batch, plan.epoch))

    def _read_totals(self, name: _PlanName) -> DeliveryTotals | None:
        """Read the totals of a batch; None if its plan was given up, or a crash left half of the file."""
        try:
            return DeliveryTotals(**json.loads(self._files.read(f"{self._folder}/{name.text}")))
        except _PARSE_ERRORS:
            return None

    def _read_plan(self, name: _PlanName) -> Plan | None:
        """Read a plan; None if a crash left half of the file."""
        try:
            values = json.loads(self._files.read(f"{self._folder}/{name.text}"))
            return Plan(**{**values, "span": TimeSpan(**values["span"])})
        except _PARSE_ERRORS:
            return None


def _name_plan(plan: Plan) -> _PlanName:
    return _PlanName(plan.batch, plan.kind, plan.source, plan.epoch, plan.runId, plan.span, is_done=False)


def _parse_name(text: str) -> _PlanName | None:
    """Parse the name of a plan's file; None for any other name."""
    stem, dot, ending = text.rpartition(".")
    pieces = stem.split("~")
    if len(pieces) != _NAME_PARTS or f"{dot}{ending}" not in (_PLAN_ENDING, _DONE_ENDING):
        return None
    batch, kind, source, epoch, run, *bounds = pieces
    try:
        since, until = (None if bound == _UNBOUNDED else int(bound) for bound in bounds)
        return _PlanName(batch, kind, source, int(epoch), run, TimeSpan(since, until), f".{ending}" == _DONE_ENDING)
    except ValueError:
        return None


def _is_before(one: int | None, other: int | None) -> bool:
    return one is None or other is None or one <= other
