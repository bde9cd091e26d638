"""What must hold after each step, reckoned from what the service took and the store kept, never by the code itself."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, floor
from typing import Any, Final

from delivery.model import OutcomeRow, Request
from tests.simulation.network import End
from tests.simulation.scenario import Scenario
from tests.simulation.service import Call, Service
from tests.simulation.world import Process, World

_BOUND: Final = 2.0
"""Seconds of acknowledged calls that may be without a receipt: half a second to tell, a second and a half to write."""
_ANSWER: Final = 500
_BYTES_A_REQUEST: Final = 150
"""What an attempt may be told that another has ended: 11 bytes, or the names of the parts that it was split into."""
_SETTLING: Final = 1.5
"""Seconds after a task has begun or ended in which the limit need not be used."""
_USE: Final = 0.97
"""Of the limit: calls are a hundredth and a half further apart than it says."""
_ENOUGH: Final = 5.0
"""Calls that the limit must give while no task begins or ends, so that its use can be told."""
_UNHEARD: Final = 4.0
"""Seconds more, where a task may not be heard: it goes on until its lease ends, and is then heard late."""
_NEARLY: Final = 1e-6


@dataclass(slots=True)
class Judge:
    """Watches a world.

    Attributes:
        violation: what was wrong first; None while nothing is.
        trace: what happened, in short.
        twice: calls whose events were acknowledged before.
    """

    world: World
    scenario: Scenario
    service: Service
    requests: dict[str, Request]
    violation: str | None = None
    trace: list[tuple[float, str, str]] = field(default_factory=list)
    twice: int = 0
    fullest: int = 0
    most_exposed: int = 0
    ended: dict[str, str] = field(default_factory=dict)
    """Events that have a receipt, and its status."""
    disturbed: set[Process] = field(default_factory=set)
    """Attempts that were killed, or may not have been heard."""
    unheard: set[Process] = field(default_factory=set)
    """Attempts whose clock stood still, and that have not heard the driver since."""
    parts: dict[Process, str] = field(default_factory=dict)
    """Which part each attempt is at."""
    _recent: deque[float] = field(default_factory=deque)
    _acknowledged: dict[str, Call] = field(default_factory=dict)
    _exposed: dict[str, Call] = field(default_factory=dict)
    _receipts: Counter[str] = field(default_factory=Counter)
    _judged: Counter[str] = field(default_factory=Counter)
    _most_in_a_second: int = 0
    _most_without_receipt: float = 0.0
    _run: int = 0
    _before: frozenset[str] = frozenset()
    _broken_runs: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        scenario = self.scenario
        self._most_in_a_second = max(ceil(scenario.limit - _NEARLY), floor(1.02 * scenario.limit + _NEARLY))
        seconds = _BOUND + 2.0 * scenario.weather.longest + scenario.latency[1]
        if scenario.channel_breaks:
            seconds += _UNHEARD
        self._most_without_receipt = scenario.limit * seconds + 1.0

    def note(self, what: str, detail: str = "") -> None:
        self.trace.append((round(self.world.now, 6), what, detail))

    def complain(self, words: str) -> None:
        """Note a violation; the world stops."""
        if self.violation is None:
            self.violation = f"{words} (at {self.world.now:.3f} s)"
            self.note("VIOLATION", words)
            self.world.stopped = True

    # What happens.

    def begin_run(self, run: int) -> None:
        """Another run begins: what has a receipt by now is not to be sent by it."""
        self._run = run
        self._before = frozenset(self.ended)

    def break_run(self, run: int) -> None:
        """A run's driver has died: what it had not written is sent again."""
        self._broken_runs.add(run)
        self.note("driver dies", f"{len(self._exposed)} calls without a receipt")
        self._exposed.clear()

    def end_attempt(self, process: Process) -> None:
        """An attempt is killed: what it had not told is sent again."""
        self.disturbed.add(process)
        for name in [name for name, call in self._exposed.items() if call.attempt is process]:
            del self._exposed[name]

    def sent(self, call: Call) -> None:
        """Bytes of a call go."""
        now = self.world.now
        self.note("call", f"{call.request.requestId[:8]}{call.request.requestId[64:]} by {call.attempt.name}")
        if not self._before.isdisjoint(call.request.eventIds) and call.run == self._run:
            self.complain(f"{call.attempt.name} sends what had a receipt before its run began")
        if call.attempt in self.unheard:
            return
        while self._recent and self._recent[0] <= now - 1.0 + _NEARLY:
            self._recent.popleft()
        self._recent.append(now)
        self.fullest = max(self.fullest, len(self._recent))
        if len(self._recent) > self._most_in_a_second:
            self.complain(f"{len(self._recent)} calls in a second, at a limit of {self.scenario.limit:g}")

    def written(self, end: End, data: bytes) -> None:
        """Bytes go between a task and the driver: the driver's do not grow with what the attempt itself has ended."""
        attempt = end.peer.process
        if len(data) <= _ANSWER or attempt not in self.parts:
            return
        part = self.parts[attempt]
        others = sum(call.request.sessionId == part and call.attempt is not attempt for call in self.service.calls)
        if len(data) > _ANSWER + _BYTES_A_REQUEST * others:
            self.complain(f"{attempt.name} is told {len(data)} bytes at once, and {others} calls of its part by others")

    def acknowledged(self, call: Call) -> None:
        """The service takes a call's events."""
        self.note("taken", call.request.requestId[:8] + call.request.requestId[64:])
        before = [self._acknowledged[event] for event in call.request.eventIds if event in self._acknowledged]
        if before:
            self.twice += 1
            for earlier in before:
                self._excuse(earlier, call)
        self._acknowledged.update(dict.fromkeys(call.request.eventIds, call))
        if call.attempt.alive and call.run == self._run and call.run not in self._broken_runs and not call.unanswered:
            self._exposed[call.request.requestId] = call
            self.most_exposed = max(self.most_exposed, len(self._exposed))
            if len(self._exposed) > self._most_without_receipt:
                self.complain(
                    f"{len(self._exposed)} acknowledged calls without a receipt, the oldest for"
                    f" {self.world.now - next(iter(self._exposed.values())).sent:.1f} s"
                )

    def _excuse(self, earlier: Call, call: Call) -> None:
        """Events may be sent again only where nobody could know, or tell, that they were taken."""
        unknown = not earlier.told or earlier.attempt in self.disturbed
        if earlier.attempt is call.attempt and earlier.told:
            self.complain(f"{call.attempt.name} sends twice what it knows to be taken")
        elif earlier.run == call.run and not unknown:
            self.complain(f"{call.attempt.name} sends what {earlier.attempt.name} has sent, undisturbed")
        elif earlier.run != call.run and not unknown and earlier.run not in self._broken_runs:
            self.complain(f"{call.attempt.name} sends what an earlier run, undisturbed, has sent")

    def durable(self, rows: Iterable[OutcomeRow]) -> None:
        """Receipts have become durable."""
        for row in rows:
            self._receipt(row)
        self.note("receipts", str(len(self.ended)))

    def _receipt(self, row: OutcomeRow) -> None:
        name, events = row["requestId"], row["eventIds"]
        self._exposed.pop(name, None)
        self._receipts[name] += 1
        if row["status"] == "delivered":
            if any(event not in self._acknowledged for event in events):
                self.complain(f"a receipt says delivered of {name[:8]}, which the service never took")
        elif row["errorCode"] == "unanswered":
            if self.service.unanswered.isdisjoint(events):
                self.complain(f"a receipt says unanswered of {name[:8]}, which the service answered")
        elif self.service.refused.isdisjoint(events):
            self.complain(f"a receipt says refused of {name[:8]}, which the service never refused")
        elif len(events) > 1:
            self.complain(f"a receipt says refused of {len(events)} events at once")
        for event in events:
            if event in self.ended and event not in self._again(row):
                self.complain(f"a second receipt for {name[:8]}, which was sent once")
            self.ended[event] = row["status"]

    def _again(self, row: OutcomeRow) -> set[str]:
        """Events of a receipt that were called more than once, by different attempts: each may have told."""
        events = set(row["eventIds"])
        attempts: dict[str, set[Process]] = {event: set() for event in events}
        for call in self.service.calls:
            for event in events.intersection(call.request.eventIds):
                attempts[event].add(call.attempt)
        return {event for event, who in attempts.items() if len(who) > 1}

    # At the end.

    def end_run(self, run: int, kept: int, told: int, *, complete: bool, gave_up: bool) -> None:
        """A run's driver has come to its end by itself.

        Args:
            run: its number.
            kept: events of the receipts that it wrote.
            told: events that its progress counts.
            complete: whether it says that nothing is left.
            gave_up: whether the store took no receipts for so long that it ended without.
        """
        self.note("run ends", "complete" if complete else "not complete")
        if kept != told and not gave_up:
            self.complain(f"run {run} counts {told} events that ended, and wrote receipts for {kept}")
        if not gave_up and any(call.attempt not in self.disturbed and call.told for call in self._exposed.values()):
            self.complain(f"run {run} ends, and {len(self._exposed)} acknowledged calls have no receipt")
        self._exposed.clear()
        if complete and len(self.ended) < self.events:
            self.complain(f"run {run} says that it is complete, and {self.events - len(self.ended)} events are left")

    @property
    def events(self) -> int:
        return sum(len(request.eventIds) for request in self.requests.values())

    def conclude(self) -> None:
        """Everything has ended."""
        lost = [
            event for event, status in self.ended.items() if status == "delivered" and event not in self._acknowledged
        ]
        if len(self.ended) != self.events or lost:
            self.complain(f"{self.events - len(self.ended) + len(lost)} events are lost")
        if self.scenario.calm:
            self._judge_use()

    def _judge_use(self) -> None:
        """The limit is used where nothing is in the way: from the first answer on, but while tasks end, to the last.

        Judged by the calls of the second before each instant, as the limit is. Calls come in clusters, the same in each
        second: counted from one instant to another, they would be more or fewer by where the clusters lie.
        """
        limit, calls = self.scenario.limit, self.service.calls
        settling = _SETTLING + 4.0 * self.scenario.weather.longest
        last_calls = sorted({call.attempt: call.sent for call in calls}.values())
        first = next(call.acknowledged for call in calls if call.acknowledged is not None)
        used = possible = 0.0
        for begin, end in pairwise([first, *last_calls]):
            settled = begin + settling + 1.0
            if (end - settled) * limit >= _ENOUGH:
                used += sum(max(min(call.sent + 1.0, end) - max(call.sent, settled), 0.0) for call in calls)
                possible += (end - settled) * limit
        if used < _USE * possible:
            self.complain(f"{used / possible:.0%} of the limit is used, and nothing is in the way")


def short(trace: list[tuple[float, str, Any]], last: int = 40) -> str:
    """Write the end of a trace."""
    return "\n".join(f"{at:10.3f}  {what:12} {detail}" for at, what, detail in trace[-last:])
