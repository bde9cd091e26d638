"""A row of results, and how rows are kept and shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal

Of = Literal["ours / peer", "peer / ours"]
GROUPS: Final = {
    "build": "Build",
    "send": "Send",
    "whole": "End to end",
    "budget": "Budget",
    "growth": "Growth and start-up",
}

_HEAD: Final = """\
What this costs and what it saves, each figure against a peer or a floor that ran in turn with it on the same data.
Written by `make bench`; do not edit."""


@dataclass(frozen=True, slots=True)
class Row:
    """One ratio.

    Attributes:
        group: one of GROUPS.
        row: its name.
        ours: what is measured of ours, the median.
        peer: of the peer or floor, the median.
        ratio: the median of the pairs' ratios.
        of: which ratio it is; one of "ours / peer" is to be small, one of "peer / ours" large.
        goal: what the ratio is held against: the most or the least that it may be; None where it is only told.
        unit: of `ours` and `peer`.
        pairs: how many there were.
        note: what is compared, in a sentence.
    """

    group: str
    row: str
    ours: float
    peer: float
    ratio: float
    of: Of
    goal: float | None
    unit: str
    pairs: int
    note: str

    @property
    def met(self) -> bool | None:
        """Whether the goal is met, None where there is none.

        Examples:
            >>> row = compare("build", "a", [3.0], [2.0], "s", "", goal=1.5)
            >>> row.met, compare("build", "a", [3.0], [2.0], "s", "", "peer / ours", goal=1.5).met
            (True, False)
        """
        if self.goal is None:
            return None
        return self.ratio <= self.goal if self.of == "ours / peer" else self.ratio >= self.goal


def compare(  # noqa: PLR0913 - a row has as many
    group: str,
    row: str,
    ours: Sequence[float],
    peer: Sequence[float],
    unit: str,
    note: str,
    of: Of = "ours / peer",
    goal: float | None = None,
) -> Row:
    """Make a row of pairs: the first of ours and the first of the peer, and so on.

    Examples:
        >>> row = compare("build", "a", [1.0, 2.0, 9.0], [1.0, 1.0, 3.0], "s", "")
        >>> row.ours, row.peer, row.ratio
        (2.0, 1.0, 2.0)
    """
    pairs = list(zip(ours, peer, strict=True))
    ratios = [one / other if of == "ours / peer" else other / one for one, other in pairs]
    return Row(group, row, median(ours), median(peer), median(ratios), of, goal, unit, len(pairs), note)


def as_json(rows: Iterable[Row]) -> str:
    """Write rows as a JSON list."""
    return json.dumps([{**asdict(row), "met": row.met} for row in rows], indent=1) + "\n"


def from_json(text: str) -> list[Row]:
    """Read what `as_json` wrote."""
    read: list[dict[str, Any]] = json.loads(text)
    return [Row(**{name: value for name, value in row.items() if name != "met"}) for row in read]


def merged(before: Iterable[Row], rows: Sequence[Row]) -> list[Row]:
    """Put rows in the place of all those of their groups that there were before, in the order of GROUPS."""
    measured = {row.group for row in rows}
    kept = [row for row in before if row.group not in measured]
    return sorted([*kept, *rows], key=lambda row: list(GROUPS).index(row.group))


def read_rows(file: Path) -> list[Row]:
    """Read the rows of a file; none, if it is not there."""
    return from_json(file.read_text()) if file.exists() else []


def as_markdown(rows: Sequence[Row], conditions: str) -> str:
    """Write the page: under which conditions, then a table a group, and below it what each row compares."""
    parts = [
        "# Benchmarks",
        _HEAD,
        conditions,
    ]
    for group, title in GROUPS.items():
        found = [row for row in rows if row.group == group]
        if found:
            parts += [f"## {title}", _table(found), "\n".join(f"- *{row.row}*: {row.note}" for row in found)]
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Row]) -> str:
    lines = ["| row | ours | peer | ratio | goal | met |", "|---|---:|---:|---:|---:|---|"]
    lines += [
        f"| {row.row} | {number(row.ours)} {row.unit} | {number(row.peer)} {row.unit} | {row.of} = {number(row.ratio)} "
        f"({row.pairs} {'pair' if row.pairs == 1 else 'pairs'}) | {_goal(row)} | {_met(row)} |"
        for row in rows
    ]
    return "\n".join(lines)


def _goal(row: Row) -> str:
    return "" if row.goal is None else f"{'≤' if row.of == 'ours / peer' else '≥'} {number(row.goal)}"


def _met(row: Row) -> str:
    return {None: "", True: "yes", False: "**no**"}[row.met]


def number(value: float) -> str:
    """Write a number for people: three digits that count, and no fewer than the whole part.

    Examples:
        >>> [number(value) for value in (0.0, 0.01234, 1.0, 12.345, 123456.7)]
        ['0', '0.0123', '1.00', '12.3', '123,457']
    """
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
