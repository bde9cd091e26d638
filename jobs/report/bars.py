"""The bars of a page: counts, and their shares of a whole. They are HTML, and fit every screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from expectations.rules import Rule
from jobs.report.formatting import duration
from jobs.report.report_input import SessionLengths
from transforms.measures import DURATION_BOUNDS, SIZE_BOUNDS

_DERIVED: Final = dict.fromkeys(("eventId", "sessionId"), "given by the log")
"""The notes for fields that every event has: their bars count the values that the log gave."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a group.

    Attributes:
        name: what is counted.
        count: the count.
        whole: the whole that the share is of; 0 for no share.
        note: explains the bar.
        longest: the count of the longest bar of the group.
        colour: the name of the page's colour.
    """

    name: str
    count: int
    whole: int
    longest: int
    note: str = ""
    colour: str = "c0"

    @property
    def width(self) -> float:
        """The bar's width, in per cent of the longest."""
        return round(100 * self.count / self.longest, 2) if self.longest else 0.0

    @property
    def share(self) -> float | None:
        """The share of the whole, 0 to 1; None without a whole."""
        return self.count / self.whole if self.whole else None


def record_fates(summary: Mapping[str, Any]) -> tuple[Bar, ...]:
    """Show a build's records by fate."""
    read, filtered, candidates = (int(summary[name]) for name in ("read", "filtered", "candidates"))
    several = read != filtered + candidates
    longest = max(read, candidates)
    return (
        Bar("read", read, 0, longest, "records"),
        Bar("filtered", filtered, read, longest, "not interactions, by the mapping's where", "c7"),
        Bar("candidates", candidates, 0, longest, "a record may have several, or none" if several else ""),
        Bar("quarantined", int(summary["quarantined"]), candidates, longest, "refused, with reasons", "c5"),
        Bar("duplicates", int(summary["duplicates"]), candidates, longest, "repeat an event", "c1"),
        Bar("events", int(summary["events"]), candidates, longest, "valid", "c2"),
    )


def event_fates(summary: Mapping[str, Any]) -> tuple[Bar, ...]:
    """Show a delivery's events by status."""
    events = int(summary["events"])
    kinds = (
        ("alreadyDelivered", "acknowledged in earlier runs", "c4"),
        ("delivered", "acknowledged in this run", "c2"),
        ("deadLettered", "refused for good", "c5"),
        ("pending", "not sent yet", "c1"),
    )
    rest = [Bar(name, int(summary.get(name, 0)), events, events, note, hue) for name, note, hue in kinds]
    return (Bar("events", events, 0, events, "in all"), *rest)


def reasons(counts: Mapping[str, int], candidates: int, rules: Iterable[Rule]) -> tuple[Bar, ...]:
    """Show why candidates were refused, the most frequent reason first, with the rules' messages."""
    words = {rule.code: rule.message for rule in rules}
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    longest = max(counts.values(), default=0)
    return tuple(Bar(code, count, candidates, longest, words.get(code, ""), "c5") for code, count in most_first)


def fill_rates(filled: Mapping[str, int], events: int) -> tuple[Bar, ...]:
    """Show how many of the events have each field that the mapping fills, in the mapping's order."""
    bars = (Bar(name, count, events, events, _DERIVED.get(name, ""), "c4") for name, count in filled.items())
    return tuple(bars) if events else ()


def codes(refused: Mapping[str, int]) -> tuple[Bar, ...]:
    """Show refused events by the service's error code, the most frequent first."""
    most_first = sorted(refused.items(), key=lambda item: (-item[1], item[0]))
    longest, whole = max(refused.values(), default=0), sum(refused.values())
    return tuple(Bar(code, count, whole, longest, colour="c5") for code, count in most_first)


def sizes(lengths: SessionLengths) -> tuple[Bar, ...]:
    """Show how many events sessions have."""
    return _make_class_bars(_name_ranges(SIZE_BOUNDS), lengths.sizes)


def durations(lengths: SessionLengths) -> tuple[Bar, ...]:
    """Show how long sessions last."""
    names = [duration(bound) for bound in DURATION_BOUNDS]
    spans = ["a single moment", *[f"up to {name}" for name in names[1:]], f"more than {names[-1]}"]
    return _make_class_bars(spans, lengths.durations)


def _name_ranges(bounds: Sequence[int]) -> list[str]:
    pairs = zip((0, *bounds), bounds, strict=False)
    inner = [f"{last:,}" if last - before == 1 else f"{before + 1:,} to {last:,}" for before, last in pairs]
    return [*inner, f"more than {bounds[-1]:,}"]


def _make_class_bars(spans: Sequence[str], counts: Sequence[int]) -> tuple[Bar, ...]:
    last = max((place for place, count in enumerate(counts) if count), default=-1)
    longest, whole = max(counts), sum(counts)
    shown = zip(spans[: last + 1], counts, strict=False)
    return tuple(Bar(span, count, whole, longest) for span, count in shown)
