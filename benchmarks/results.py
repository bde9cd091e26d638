"""The rows of results: how they are kept and shown."""

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
What this project costs and saves. Each figure is compared with a peer or a floor that ran in turn on the same data.
`make bench` writes this page: do not edit it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One ratio.

    Attributes:
        group: one of GROUPS.
        row: its name.
        ours: the median of this project.
        peer: the median of the peer or floor.
        ratio: the median of the ratios of the pairs.
        of: which ratio it is; "ours / peer" should be small, "peer / ours" large.
        goal: the maximum or minimum of the ratio; None if there is no goal.
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
        """Whether the goal is met; None if there is none.

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
    """Make a row from pairs: the first of ours and the first of the peer, and so on.

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
    """Read the output of `as_json`."""
    read: list[dict[str, Any]] = json.loads(text)
    return [Row(**{name: value for name, value in row.items() if name != "met"}) for row in read]


def merged(before: Iterable[Row], rows: Sequence[Row]) -> list[Row]:
    """Replace all earlier rows of the groups of the new rows, in the order of GROUPS."""
    measured = {row.group for row in rows}
    kept = [row for row in before if row.group not in measured]
    return sorted([*kept, *rows], key=lambda row: list(GROUPS).index(row.group))


def read_rows(file: Path) -> list[Row]:
    """Read the rows of a file; none if it does not exist."""
    return from_json(file.read_text()) if file.exists() else []


def as_markdown(rows: Sequence[Row], conditions: str) -> str:
    """Write the page: the conditions, a table for each group, and below it what each row compares."""
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
    """Write a number for people: three significant digits, and always the whole part.

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
