"""The raw log: what happened in the shop, as its clients write it, with faults and repeats."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from random import Random
from typing import TextIO

from demo.expected import EventTally, ExpectedCounts
from demo.faults import FAULTS, LogFault, Raw, to_line
from demo.shop import Hit, hits

FILES = 6
FEWEST_RECORDS = 1000
"""With fewer records, some kinds of line would be missing."""


class Plain(Enum):
    """Lines without faults."""

    EVENT = "an event"
    HEARTBEAT = "a heartbeat, filtered by the mapping"
    REPEAT = "an event that a client sent again"
    BLANK = "an empty line, left by log rotation"


_SHARES = {Plain.HEARTBEAT: 0.05, Plain.REPEAT: 0.015, Plain.BLANK: 0.0001}
# A client without an answer sends the event again soon: at most this many events later.
_RESEND_WITHIN = 500


def write_log(folder: Path, records: int, seed: int) -> ExpectedCounts:
    """Write the raw records of a day to `folder`, and return the expected results.

    Args:
        folder: an existing, empty folder; each collector writes one file, all over the same hours.
        records: the number of lines, at least `FEWEST_RECORDS`.
        seed: the same seed gives the same files, byte for byte.
    """
    with ExitStack() as stack:
        names = [folder / f"collector-{number}.jsonl" for number in range(1, FILES + 1)]
        files = [stack.enter_context(name.open("w", encoding="utf-8", newline="\n")) for name in names]
        # Separate random streams: what happens in the shop does not depend on how it is written.
        writer = _Writer(files, Random(f"{seed} lines"))
        plan = _plan(records, Random(f"{seed} plan"))
        needed = sum(line not in (Plain.REPEAT, Plain.BLANK) for line in plan)
        writer.write(plan, hits(needed, Random(f"{seed} shop")))
    return writer.tally.expected()


def _plan(records: int, rng: Random) -> list[Plain | LogFault]:
    """Plan the kind of each line: every kind in its exact number, at least once, in random order."""
    shares: list[tuple[Plain | LogFault, float]] = [
        *_SHARES.items(),
        *((fault, fault.share) for fault in FAULTS),
    ]
    plan = [kind for kind, share in shares for _ in range(max(1, round(share * records)))]
    plan += [Plain.EVENT] * (records - 1 - len(plan))
    rng.shuffle(plan)
    return [Plain.EVENT, *plan]  # an event first, so that there is something to repeat


class _Writer:
    def __init__(self, files: Sequence[TextIO], rng: Random) -> None:
        self.tally = EventTally()
        self._files = files
        self._rng = rng
        self._lately: deque[Hit] = deque(maxlen=_RESEND_WITHIN)

    def write(self, plan: list[Plain | LogFault], happened: Iterator[Hit]) -> None:
        for kind in plan:
            self._rng.choice(self._files).write(self._line(kind, happened) + "\n")

    def _line(self, kind: Plain | LogFault, happened: Iterator[Hit]) -> str:
        if isinstance(kind, LogFault):
            return self._spoilt(next(happened), kind)
        return self._sound(kind, happened)

    def _spoilt(self, hit: Hit, fault: LogFault) -> str:
        self.tally.refuse(fault.reasons)
        return fault.write(self._raw(hit), self._rng)

    def _sound(self, kind: Plain, happened: Iterator[Hit]) -> str:
        if kind is Plain.BLANK:
            self.tally.filter()
            return ""
        if kind is Plain.HEARTBEAT:
            self.tally.filter()
            return to_line(self._raw(_heartbeat(next(happened))))
        hit = self._rng.choice(self._lately) if kind is Plain.REPEAT else next(happened)
        self._lately.append(hit)
        self.tally.accept(hit)
        return to_line(self._raw(hit))

    def _raw(self, hit: Hit) -> Raw:
        """Write a hit as its client does; a missing value has one of the client's forms."""
        raw: Raw = {"at": _iso(hit.at, hit.client.utc_offset), "type": hit.kind, "sdk": hit.client.name}
        ids = {"id": hit.event_id, "visitor": hit.visitor, "user": hit.user, "session": hit.session}
        for key, value in {**ids, "item": hit.item, "reco": hit.reco}.items():
            written = value or self._rng.choice(hit.client.nothing)
            if written != "absent":
                raw[key] = written
        if hit.shown or self._rng.random() < 0.1:
            raw["shown"] = hit.shown
        raw |= {"value": hit.value} if hit.value else {}
        raw |= {"campaign": hit.campaign} if hit.campaign else {}
        received = hit.at + self._rng.randint(20, 4000)
        return {**raw, "context": dict(hit.properties), "received": _iso(received, 0)}


def _heartbeat(hit: Hit) -> Hit:
    return replace(hit, kind="heartbeat", item=None, value=None, shown=(), reco=None)


def _iso(at: int, utc_offset: int) -> str:
    zone = timezone(timedelta(hours=utc_offset)) if utc_offset else UTC
    text = datetime.fromtimestamp(at / 1000, zone).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
