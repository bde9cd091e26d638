"""How a run stands, in words: what its reader is to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from jobs.errors import Exit


class Standing(NamedTuple):
    """How a run ended.

    Attributes:
        level: `passed`, `warned` or `failed`, as the style sheet has them.
        word: for a badge.
        sentence: for its reader.
    """

    level: str
    word: str
    sentence: str


_STANDINGS: Final = {
    Exit.DONE: Standing("passed", "done", "All that was to be done is done."),
    Exit.CONFIGURATION: Standing("failed", "could not go on", "Something must be mended first."),
    Exit.GATE_FAILED: Standing("failed", "gate failed", "Nothing of this batch is sent."),
    Exit.DEAD_LETTERS: Standing(
        "warned",
        "dead letters",
        "All else is delivered. The table dead_letters says why; mended, they are sent by --retry-dead-letters.",
    ),
    Exit.INTERRUPTED: Standing("warned", "unfinished", "Not all is done."),
}
_OUR_FAULT: Final = Standing("failed", "fault", "A fault of this program: the log says where. Run it again; report it.")


def standing(summary: Mapping[str, Any]) -> Standing:
    """Say how a run stands.

    Examples:
        >>> standing({"exitCode": 5}).word, standing({"exitCode": 0, "gate": "warned"}).level
        ('unfinished', 'warned')
    """
    code = summary["exitCode"]
    found = _STANDINGS.get(Exit(code), _OUR_FAULT) if code in set(Exit) else _OUR_FAULT
    if found.level == "passed" and summary.get("gate") == "warned":
        return Standing("warned", "done", "It may be sent. Something is not as usual.")
    return found


def duration(seconds: float) -> str:
    """Write a duration.

    Examples:
        >>> duration(0.42), duration(10), duration(300), duration(1830), duration(7200), duration(86_400)
        ('0.42 s', '10 s', '5 min', '30 min 30 s', '2 h', '24 h')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    parts = [(whole // 3600, "h"), (whole // 60 % 60, "min"), (whole % 60 if whole < 3600 else 0, "s")]
    return " ".join(f"{number:,} {unit}" for number, unit in parts if number)
