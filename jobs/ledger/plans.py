"""The plan of a delivery: the requests that it consists of, fixed before the first call.

    _plans/<tracker>/<batch>~<kind>~<source>~<run>~<since>~<until>.json   the plan; written last, it stands from then on
    _plans/<tracker>/<same>.done                                          it was given up, or what came of its batch
    _plans/<tracker>/<batch>/<run>/                                       its requests; deleted when it is done

The names alone say when the events of a tracker's deliveries happened: what may hold one event again is found by one
listing, without reading years of receipts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal

from jobs.lake.filesystem import FileSystem

Kind = Literal["batch", "resend", "dead-letters"]
"""All that waits; all of a batch, acknowledged or not; what was refused for good."""

_ANY: Final = "any"
_PIECES: Final = 6
_PLAN: Final = ".json"
_DONE: Final = ".done"


@dataclass(frozen=True, slots=True)
class Span:
    """When events happened: both in microseconds of Unix time, None where that does not bound where they may be again.

    An eventId that was derived holds its event's sentAt; one that the log gave may come again at any time.
    """

    since: int | None
    until: int | None

    def meets(self, other: Span) -> bool:
        """Whether one event may be in both.

        Examples:
            >>> Span(1, 5).meets(Span(5, 9)), Span(1, 5).meets(Span(6, 9)), Span(1, 5).meets(Span(None, None))
            (True, False, True)
        """
        return _before(self.since, other.until) and _before(other.since, self.until)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a delivery is to send.

    Attributes:
        batch: the label.
        kind: what was chosen.
        source: the runId of the events that it was made from.
        runId: of the run that made it.
        events: to be sent.
        requests: that hold them.
        delivered: events of the batch that needed none, since they had been acknowledged.
        refused: events of the batch that needed none, since they had been refused for good.
        span: when its events happened.
    """

    batch: str
    kind: Kind
    source: str
    runId: str
    events: int
    requests: int
    delivered: int
    refused: int
    span: Span


@dataclass(frozen=True, slots=True)
class Balance:
    """What came of a batch of which nothing is left to send.

    Attributes:
        delivered: events that were acknowledged.
        refused: events that were refused for good.
    """

    delivered: int
    refused: int


class Plans:
    """The plans for one tracker.

    Args:
        files: the store.
        root: of the lake.
        tracker: names the trackingId, and the endpoint where one is given.
    """

    def __init__(self, files: FileSystem, root: str, tracker: str) -> None:
        self._files = files
        self._folder = f"{root}/_plans/{tracker}"

    def requests(self, batch: str, run: str) -> str:
        """Where the requests of a run's plan lie."""
        return f"{self._folder}/{batch}/{run}"

    def find(self, batch: str, kind: Kind, source: str) -> Plan | None:
        """Find the plan of a batch that is not done; None where there is none, or its batch was rebuilt since.

        Others of the batch that are not done are given up, and what runs that were killed had begun: what they had left
        is found again in the batch itself.
        """
        found = None
        for name in self._open(batch):
            plan = self._read(name)
            if plan is not None and (plan.kind, plan.source) == (kind, source):
                found = plan
            else:
                self._close(name)
        for run in self._files.children(f"{self._folder}/{batch}"):
            if found is None or run != found.runId:
                self._files.delete(self.requests(batch, run))
        return found

    def fix(self, plan: Plan) -> None:
        """Fix a plan whose requests have been written."""
        self._files.create(f"{self._folder}/{_name(plan)}", json.dumps(asdict(plan)))

    def end(self, plan: Plan, balance: Balance) -> None:
        """Note that nothing of a plan is left to do, and what came of its batch."""
        self._close(_name(plan), json.dumps(asdict(balance)))

    def standings(self, sources: Mapping[str, str]) -> dict[str, Balance | Plan]:
        """Say how far batches are, by one listing: what came of a batch, or its plan that is not done.

        The newest plan tells what came of a batch; after one of another kind, a plain one has to look at it again.

        Args:
            sources: the runId of the batches' events, by label.

        Returns:
            By label; none of a batch that has to be looked at.
        """
        in_order = sorted(self._names(), key=lambda name: (_run_of(name), name.endswith(_DONE)))
        newest = {name.split("~")[0]: name for name in in_order}
        plain = {batch: f"{batch}~batch~{source}~" for batch, source in sources.items()}
        names = {batch: newest[batch] for batch in sources if newest.get(batch, "").startswith(plain[batch])}
        found = {
            batch: self._balance(name) if name.endswith(_DONE) else self._read(name) for batch, name in names.items()
        }
        return {batch: standing for batch, standing in found.items() if standing is not None}

    def meeting(self, span: Span) -> list[str]:
        """Name the batches of which plans, done or not, may hold events of a time."""
        names = [name.removesuffix(_PLAN).split("~") for name in self._names()]
        spans = [(pieces[0], _span(pieces)) for pieces in names]
        return sorted({batch for batch, theirs in spans if theirs is not None and span.meets(theirs)})

    def _names(self) -> list[str]:
        return [name for name in self._files.children(self._folder) if name.count("~") == _PIECES - 1]

    def _open(self, batch: str) -> list[str]:
        names = self._names()
        mine = [name for name in names if name.startswith(f"{batch}~") and name.endswith(_PLAN)]
        return [name for name in mine if name.removesuffix(_PLAN) + _DONE not in names]

    def _close(self, name: str, balance: str = "") -> None:
        self._files.replace(f"{self._folder}/{name.removesuffix(_PLAN)}{_DONE}", balance)
        self._files.delete(self.requests(name.split("~", maxsplit=1)[0], _run_of(name)))

    def _balance(self, name: str) -> Balance | None:
        """Read what came of a batch; None where its plan was given up, or a crash left half of the words."""
        try:
            return Balance(**json.loads(self._files.read(f"{self._folder}/{name}")))
        except ValueError:
            return None

    def _read(self, name: str) -> Plan | None:
        """Read a plan; None where a crash left half of one."""
        try:
            values = json.loads(self._files.read(f"{self._folder}/{name}"))
        except ValueError:
            return None
        return Plan(**{**values, "span": Span(**values["span"])})


def _name(plan: Plan) -> str:
    bounds = (_ANY if bound is None else str(bound) for bound in (plan.span.since, plan.span.until))
    return "~".join((plan.batch, plan.kind, plan.source, plan.runId, *bounds)) + _PLAN


def _run_of(name: str) -> str:
    return name.split("~")[3]


def _span(pieces: list[str]) -> Span | None:
    """Read the span off a name; None where it is not ours."""
    try:
        since, until = (None if bound == _ANY else int(bound) for bound in pieces[-2:])
    except ValueError:
        return None
    return Span(since, until)


def _before(one: int | None, other: int | None) -> bool:
    return one is None or other is None or one <= other
