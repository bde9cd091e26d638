"""The plan of a delivery: the requests that it consists of, fixed before the first call.

    _plans/<tracker>/<batch>~<kind>~<source>~<epoch>~<run>~<since>~<until>.json   the plan; written last, it stands then
    _plans/<tracker>/<same>.done                                                  given up, or what came of its batch
    _plans/<tracker>/<batch>/<epoch>/                                             its requests; deleted when it is done

The names alone say when the events of a tracker's deliveries happened: what may hold one event again is found by one
listing, without reading years of receipts. They also say in which order the plans were made: by epoch, the number that
the tracker gives to each run that sends. Run ids hold the times of hosts' clocks, and order nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal, NamedTuple

from jobs.lake.filesystem import FileSystem

Kind = Literal["batch", "resend", "dead-letters"]
"""All that waits; all of a batch, acknowledged or not; what was refused for good."""

_UNBOUNDED: Final = "any"
_NAME_PARTS: Final = 7
_PLAN_ENDING: Final = ".json"
_DONE_ENDING: Final = ".done"
_EPOCH_DIGITS: Final = 8
_PARSE_ERRORS: Final = (ValueError, TypeError, KeyError)
"""What reading half of a plan raises, or one that lacks something."""


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """When events happened: both in microseconds of Unix time, None where that does not bound where they may be again.

    An eventId that was derived holds its event's sentAt; one that the log gave may come again at any time.
    """

    since: int | None
    until: int | None

    def meets(self, other: TimeSpan) -> bool:
        """Whether one event may be in both.

        Examples:
            >>> TimeSpan(1, 5).meets(TimeSpan(5, 9)), TimeSpan(1, 5).meets(TimeSpan(6, 9))
            (True, False)
            >>> TimeSpan(1, 5).meets(TimeSpan(None, None))
            True
        """
        return _is_before(self.since, other.until) and _is_before(other.since, self.until)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a delivery is to send.

    Attributes:
        batch: the label.
        kind: what was chosen.
        source: the runId of the events that it was made from.
        epoch: of the run that made it: plans are in the order of their epochs.
        runId: of that run.
        events: to be sent.
        requests: that hold them.
        delivered: events of the batch that it does not send, since they had been acknowledged.
        refused: events of the batch that it does not send, since they had been refused for good.
        waiting: events of the batch that it does not send, though the service has said nothing of them.
        span: when its events happened.
        again: words of the service from before this epoch do not count: the events are sent again. 0 where all count.
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
    """What came of a batch of which nothing is left to send.

    Attributes:
        delivered: events that were acknowledged.
        refused: events that were refused for good.
    """

    delivered: int
    refused: int


class _PlanName(NamedTuple):
    """What the name of a plan's file says."""

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
        """Where the requests of the plan that was made in an epoch lie."""
        return f"{self._folder}/{batch}/{epoch:0{_EPOCH_DIGITS}d}"

    def find_open(self, batch: str) -> list[Plan]:
        """Find the plans of a batch that are neither done nor given up, in order."""
        names = self._list_names()
        done = {name.epoch for name in names if name.batch == batch and name.is_done}
        own = (name for name in names if name.batch == batch and name.epoch not in done)
        return [plan for name in own if (plan := self._read_plan(name)) is not None]

    def fix(self, plan: Plan) -> None:
        """Fix a plan whose requests have been written."""
        self._files.create(f"{self._folder}/{_name_plan(plan).text}", json.dumps(asdict(plan)))

    def end(self, plan: Plan, totals: DeliveryTotals) -> None:
        """Note that nothing of a plan is left to do, and what came of its batch."""
        self._close_plan(plan, json.dumps(asdict(totals)))

    def give_up(self, plan: Plan) -> None:
        """Note that a plan is not gone on with: what it had left is found again in the batch itself."""
        self._close_plan(plan, "")

    def sweep(self, batch: str, needed_plans: Iterable[Plan], epoch: int) -> None:
        """Delete the requests that killed runs had begun to plan.

        Args:
            batch: the label.
            needed_plans: plans whose requests are still needed.
            epoch: of the run that sweeps: what is of a later one is another's that has taken over.
        """
        needed = {each.epoch for each in needed_plans}
        for name in self._files.children(f"{self._folder}/{batch}"):
            if not name.isdigit() or (int(name) < epoch and int(name) not in needed):
                self._files.delete(f"{self._folder}/{batch}/{name}")

    def delivery_states(self, sources: Mapping[str, str]) -> dict[str, DeliveryTotals | Plan]:
        """Say how far batches are, by one listing: what came of a batch, or its plan that is not done.

        The newest plain plan of a batch tells it. After it nothing may have been sent again that may be the batch's:
        neither all of a batch, nor dead letters where this one has some.

        Args:
            sources: the runId of the batches' events, by label.

        Returns:
            By label; none of a batch that has to be looked at.
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
        """Name the batches of which plans, done or not, may hold events of a time."""
        return sorted({name.batch for name in self._list_names() if span.meets(name.span)})

    def _list_names(self) -> list[_PlanName]:
        """Read the names of all plans, in order; of one that is done, that it is done last."""
        names = filter(None, map(_parse_name, self._files.children(self._folder)))
        return sorted(names, key=lambda name: (name.epoch, name.is_done))

    def _close_plan(self, plan: Plan, totals: str) -> None:
        self._files.replace(f"{self._folder}/{_name_plan(plan)._replace(is_done=True).text}", totals)
        self._files.delete(self.requests(plan.batch, plan.epoch))

    def _read_totals(self, name: _PlanName) -> DeliveryTotals | None:
        """Read what came of a batch; None where its plan was given up, or a crash left half of the words."""
        try:
            return DeliveryTotals(**json.loads(self._files.read(f"{self._folder}/{name.text}")))
        except _PARSE_ERRORS:
            return None

    def _read_plan(self, name: _PlanName) -> Plan | None:
        """Read a plan; None where a crash left half of one."""
        try:
            values = json.loads(self._files.read(f"{self._folder}/{name.text}"))
            return Plan(**{**values, "span": TimeSpan(**values["span"])})
        except _PARSE_ERRORS:
            return None


def _name_plan(plan: Plan) -> _PlanName:
    return _PlanName(plan.batch, plan.kind, plan.source, plan.epoch, plan.runId, plan.span, is_done=False)


def _parse_name(text: str) -> _PlanName | None:
    """Read the name of a plan's file; None where it is not ours."""
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
