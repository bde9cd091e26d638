"""Formats a run's status, numbers and durations for readers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from jobs.errors import Exit


class RunStatus(NamedTuple):
    """How a run ended.

    Attributes:
        level: `passed`, `warned` or `failed`, as the style sheet has them.
        word: the text of a badge.
        sentence: what it means for the reader.
    """

    level: str
    word: str
    sentence: str


_STATUS_BY_EXIT: Final = {
    Exit.DONE: RunStatus("passed", "done", "Everything is done."),
    Exit.CONFIGURATION: RunStatus("failed", "could not go on", "Somebody must correct something first."),
    Exit.GATE_FAILED: RunStatus("failed", "gate failed", "Nothing of this batch is sent."),
    Exit.DEAD_LETTERS: RunStatus(
        "warned",
        "dead letters",
        "All else is delivered. The table dead_letters says why; after a correction, "
        "put_events --retry-dead-letters --batch LABEL sends them.",
    ),
    Exit.INTERRUPTED: RunStatus("warned", "unfinished", "The run did not finish."),
}
_WITHOUT_CALLS: Final = {
    "plan": "Nothing was sent: this was a plan.",
    "bulkExport": "Nothing was sent: pending events were written for a bulk import.",
}
"""Sentences for runs without calls, by a key of their summaries."""
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB")
_THOUSAND: Final = 1000.0
_HALF: Final = 0.5
_OUR_FAULT: Final = RunStatus(
    "failed", "fault", "A fault of this program: the log says where. Run it again; report it."
)


def run_status(summary: Mapping[str, Any]) -> RunStatus:
    """Find the status of a run.

    Examples:
        >>> run_status({"exitCode": 5}).word, run_status({"exitCode": 0, "gate": "warned"}).level
        ('unfinished', 'warned')
        >>> run_status({"exitCode": 3, "kept": "run-1"}).sentence
        'Nothing of this build is sent: the batch keeps what run run-1 published.'
        >>> run_status({"exitCode": 2, "kept": "run-1"}).sentence
        'Somebody must correct something first. What run run-1 published stays as it is.'
    """
    code = summary["exitCode"]
    found = _STATUS_BY_EXIT.get(Exit(code), _OUR_FAULT) if code in set(Exit) else _OUR_FAULT
    if found.level == "passed" and summary.get("gate") == "warned":
        return RunStatus("warned", "done", "It may be sent. Something is unusual.")
    if code == Exit.GATE_FAILED and summary.get("kept"):
        return found._replace(
            sentence=f"Nothing of this build is sent: the batch keeps what run {summary['kept']} published."
        )
    if code != Exit.DONE and summary.get("kept"):
        return found._replace(sentence=f"{found.sentence} What run {summary['kept']} published stays as it is.")
    for name, sentence in _WITHOUT_CALLS.items():
        if name in summary and found.level == "passed":
            return found._replace(sentence=sentence)
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


def number(value: float) -> str:
    """Write a number: whole from 100 on, otherwise with one decimal, or with two digits if it is small.

    Examples:
        >>> number(92320), number(99.96), number(12.34), number(3.0), number(0.04), number(0.0)
        ('92,320', '100', '12.3', '3', '0.04', '0')
    """
    if value == round(value) or abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 0.95 else f"{value:.2g}"


def percentile_name(share: float) -> str:
    """Name a percentile.

    Examples:
        >>> percentile_name(0.5), percentile_name(0.95), percentile_name(0.99)
        ('median', '95th percentile', '99th percentile')
    """
    return "median" if share == _HALF else f"{share * 100:.0f}th percentile"


def size(count: int) -> str:
    """Write a number of bytes.

    Examples:
        >>> size(999), size(402_000_000), size(999_949), size(999_999)
        ('999 bytes', '402.0 MB', '999.9 kB', '1.0 MB')
    """
    value, unit = float(count), 0
    while (value if unit == 0 else round(value, 1)) >= _THOUSAND and unit < len(_UNITS) - 1:
        value, unit = value / _THOUSAND, unit + 1
    return f"{value:,.1f} {_UNITS[unit]}" if unit else f"{count} bytes"


def percentage(share: float) -> str:
    """Write a share, 0 to 1, as a percentage with one decimal, or with two if it is very small.

    Only exactly none and all are written as 0 % and 100 %.

    Examples:
        >>> percentage(0.05807), percentage(0.0004433), percentage(0.25), percentage(1), percentage(0)
        ('5.8 %', '0.04 %', '25 %', '100 %', '0 %')
        >>> percentage(0.00001), percentage(0.9999)
        ('less than 0.01 %', 'more than 99.9 %')
    """
    number = share * 100
    if 0 < number < 0.01:
        return "less than 0.01 %"
    if 99.9 < number < 100:
        return "more than 99.9 %"
    text = f"{number:.2f}" if number < 0.1 else f"{number:.1f}".removesuffix(".0")
    return f"{'0' if number == 0 else text} %"
