"""Checks the promises of docs/delivery.md with the tape of a soak."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from benchmarks.soak.faults import CRASHES, Struck
from benchmarks.soak.runs import Run, ended_badly

SLACK: Final = 1.02
"""No second has more calls than the limit and 2 %."""
NOT_DURABLE: Final = 2.0
"""Seconds: outcomes of the last so many may have no receipt after a crash."""
_LINGERS: Final = 5.0
"""Seconds for which a past fault still has effects: calls in flight, leases, retries."""
_BEFORE: Final = 3.0
"""Seconds before a fault: events that were accepted in them may come again because of it."""
_DISTURBED: Final = 9.0
"""The same after another recent fault: a slow store takes so long for two writes."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of the promises.

    Attributes:
        rate: the limit, in calls a second.
        tasks: tasks that send at the same time.
        in_flight: calls in flight in each task.
        events: events of a request.
    """

    rate: float
    tasks: int
    in_flight: int
    events: int


@dataclass
class Tape:
    """The tape of the emulator.

    Attributes:
        first: when each event was accepted first, by its id.
        again: for each repeated acceptance, when the event was accepted first.
        moments: of all calls, in order.
        signed: calls by the Unix second of their signature, by the senders' clocks.
        late: spans in which the emulator did not read its sockets, from and to.
    """

    first: dict[bytes, float] = field(default_factory=dict)
    again: list[float] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    signed: Counter[int] = field(default_factory=Counter)
    late: list[tuple[float, float]] = field(default_factory=list)


def read_tape(lines: Iterable[str]) -> Tape:
    """Read a tape; see `benchmarks.soak.service` for its lines."""
    tape = Tape()
    for line in lines:
        kind, moment, *rest = line.split()
        at = float(moment)
        if kind == "late":
            tape.late.append((at, float(rest[0])))
            continue
        tape.moments.append(at)
        tape.signed[int(rest[0])] += 1
        for text in rest[2:]:
            first = tape.first.setdefault(bytes.fromhex(text), at)
            if first != at:
                tape.again.append(first)
    return tape


@dataclass(frozen=True, slots=True)
class Fullest:
    """The most calls in one second.

    Attributes:
        read: in any second, as the emulator read them.
        onTime: in seconds that begin while the emulator reads its sockets. Another second has calls that were sent
            before it began.
        share: the share of such seconds among those that begin with a call.
        signed: in Unix seconds of the signatures.
    """

    read: int
    onTime: int
    share: float
    signed: int


def fullest(tape: Tape) -> Fullest:
    """Find the fullest seconds: half-open, each begins with a call.

    Examples:
        >>> fullest(Tape(moments=[0.0, 0.5, 0.9, 1.0], signed=Counter({0: 3, 1: 1})))
        Fullest(read=3, onTime=3, share=1.0, signed=3)
    """
    starts, ends = [start for start, _ in tape.late], [end for _, end in tape.late]
    read = on_time = counted = 0
    beyond = 0
    for number, moment in enumerate(tape.moments):
        while beyond < len(tape.moments) and tape.moments[beyond] < moment + 1.0:
            beyond += 1
        held = beyond - number
        read = max(read, held)
        if bisect_left(ends, moment) == bisect_right(starts, moment):  # no span is open here
            on_time, counted = max(on_time, held), counted + 1
    share = counted / len(tape.moments) if tape.moments else 1.0
    return Fullest(read, on_time, share, max(tape.signed.values(), default=0))


def bound(struck: Struck, terms: Terms) -> int:
    """Return how many events may come twice because of a fault.

    After a crash: those of the calls in flight, and of calls that ended in the last two seconds. After lost answers:
    those of these calls. After any other fault: none.
    """
    crash = terms.tasks * terms.in_flight + round(NOT_DURABLE * terms.rate)
    return terms.events * (struck.doubtful + (crash if struck.name in CRASHES else 0))


def attribute(again: Sequence[float], history: Sequence[Struck], terms: Terms) -> tuple[list[int], int]:
    """Find the fault that made each event come again, by its first acceptance; of two, the more severe one.

    Returns:
        The number of repeated events of each fault, and of those without a fault.
    """
    spans = [(_since(history, number), one.ended + _LINGERS) for number, one in enumerate(history)]
    found, by_none = [0] * len(history), 0
    for first in again:
        near = [n for n, (since, until) in enumerate(spans) if since <= first < until]
        if near:
            found[max(near, key=lambda n: bound(history[n], terms))] += 1
        else:
            by_none += 1
    return found, by_none


def _since(history: Sequence[Struck], number: int) -> float:
    began = history[number].began
    disturbed = any(other.ended > began - _DISTURBED for other in history[:number])
    return began - (_DISTURBED if disturbed else _BEFORE)


@dataclass(frozen=True, slots=True)
class Kind:
    """Faults of one kind.

    Attributes:
        name: of the kind.
        times: the number of faults.
        twice: repeated events of all of them.
        most: the most repeated events of one of them.
        bound: how many repeated events all of them may cause.
    """

    name: str
    times: int
    twice: int
    most: int
    bound: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a soak.

    Attributes:
        events: the number of events of the lake.
        lost: events that were never accepted.
        foreign: accepted events that the lake does not have.
        twice: repeated acceptances.
        bound: how many of these are allowed.
        kinds: the faults by kind.
        fullest: the fullest seconds.
        broken: broken promises, as text.
    """

    events: int
    lost: int
    foreign: int
    twice: int
    bound: int
    kinds: tuple[Kind, ...]
    fullest: Fullest
    broken: tuple[str, ...]


def judge(tape: Tape, events: Set[bytes], history: Sequence[Struck], terms: Terms, runs: Sequence[Run]) -> Verdict:
    """Check the promises with a tape.

    Args:
        tape: of the emulator.
        events: the ids of the events in the lake.
        history: the past faults.
        terms: of the promises.
        runs: the drivers; the last one reports that all is delivered.
    """
    lost, foreign = len(events - tape.first.keys()), len(tape.first.keys() - events)
    again, by_none = attribute(tape.again, history, terms)
    bounds = [bound(one, terms) for one in history]
    seconds, most = fullest(tape), terms.rate * SLACK
    accounted = {"exitCode": 0, "events": len(events), "pending": 0, "deadLettered": 0}
    summary = runs[-1].summary()
    said = {name: summary.get(name) for name in accounted}
    broken = [
        *([f"{lost} events were lost"] if lost else []),
        *([f"{foreign} events were sent that the lake does not have"] if foreign else []),
        *([f"{by_none} events were sent twice, and no fault was near"] if by_none else []),
        *(
            f"{one.name} after {one.began:.1f} s: {count} events were sent twice, {allowed} are allowed"
            for one, count, allowed in zip(history, again, bounds, strict=True)
            if count > allowed
        ),
        *(
            f"{count} calls in a second {where}, the limit is {terms.rate:g}"
            for count, where in ((seconds.signed, "by their signatures"), (seconds.onTime, "on their arrival"))
            if count > most
        ),
        *ended_badly(runs, history),
        *([f"the last run reports {said}, not {accounted}"] if said != accounted else []),
    ]
    kinds = _kinds([one.name for one in history], again, bounds)
    return Verdict(len(events), lost, foreign, len(tape.again), sum(bounds), kinds, seconds, tuple(broken))


def _kinds(names: Sequence[str], again: Sequence[int], bounds: Sequence[int]) -> tuple[Kind, ...]:
    found = []
    for name in dict.fromkeys(names):
        own = [number for number, other in enumerate(names) if other == name]
        twice = [again[number] for number in own]
        found.append(Kind(name, len(own), sum(twice), max(twice), sum(bounds[number] for number in own)))
    return tuple(found)
