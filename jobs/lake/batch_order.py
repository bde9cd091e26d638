"""Orders batches by their intervals in time, whatever their labels.

A batch's interval is the one that it was given (`--interval`), otherwise the one that its label names. Given intervals
are in the names of small files in one folder, so that one listing orders any number of batches:

    _intervals/<label>~<number>~<start>~<end>

The note with the highest number counts. A build writes it before the manifest that makes the batch visible. Batches are
ordered by start, then by end, then by label as text. Batches without an interval come last, in the order of their
labels as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from expectations.interval import Interval, batch_interval
from jobs.lake.filesystem import FileSystem

_TIME_FORMAT: Final = "%Y%m%dT%H%M%S.%fZ"
_ALIKE_FACTOR: Final = 1.25
"""How many times longer an alike interval can be: months, and days on which clocks change, differ in length."""


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """Orders labels.

    Attributes:
        labels: of all batches with a build that was started.
        given: intervals that batches were given, by label.
    """

    labels: tuple[str, ...]
    given: Mapping[str, Interval] = field(default_factory=dict)

    def with_batch(self, label: str, interval: Interval | None) -> BatchOrder:
        """Add a batch, which may be new, and its interval, if it is known."""
        given = {**self.given, label: interval} if interval is not None else self.given
        return replace(self, labels=tuple({*self.labels, label}), given=given)

    def interval(self, label: str) -> Interval | None:
        """Find a batch's interval; None if it was given none and its label names none."""
        return self.given.get(label) or batch_interval(label)

    def in_order(self) -> list[str]:
        """List the labels, the first batch first.

        Examples:
            >>> BatchOrder(("2024-01-05", "backfill", "2024-01-05T00", "2024-01-04")).in_order()
            ['2024-01-04', '2024-01-05T00', '2024-01-05', 'backfill']
            >>> BatchOrder(("first", "2024-01-06", "2024-01-04"), {"first": batch_interval("20240105")}).in_order()
            ['2024-01-04', 'first', '2024-01-06']
        """
        return sorted(self.labels, key=self._sort_key)

    def before(self, label: str) -> list[str]:
        """List the labels before one, the nearest first."""
        place = self._sort_key(label)
        return [other for other in reversed(self.in_order()) if self._sort_key(other) < place]

    def after(self, label: str) -> list[str]:
        """List the labels after one, the nearest first."""
        place = self._sort_key(label)
        return [other for other in self.in_order() if self._sort_key(other) > place]

    def alike(self, label: str, other: str) -> bool:
        """Whether two batches' intervals have about the same length, or neither batch has one."""
        one, two = self.interval(label), self.interval(other)
        if one is None or two is None:
            return one is two
        shorter, longer = sorted((one.length, two.length))
        return longer <= _ALIKE_FACTOR * shorter

    def _sort_key(self, label: str) -> tuple[bool, datetime, datetime, str]:
        interval = self.interval(label)
        start, end = interval or (datetime.max.replace(tzinfo=UTC),) * 2
        return interval is None, start, end, label


class IntervalNotes:
    """The folder of the intervals that batches were given. Every method raises OSError if the store fails.

    Args:
        files: of the lake.
        root: of the lake.
    """

    def __init__(self, files: FileSystem, root: str) -> None:
        self._files = files
        self._folder = f"{root}/_intervals"

    def read(self) -> dict[str, Interval]:
        """Read the intervals by label, by one listing."""
        return {
            label: interval for label, (_, interval) in _find_newest_notes(self._files.children(self._folder)).items()
        }

    def note(self, label: str, interval: Interval, run_id: str) -> None:
        """Note the interval of a batch, unless it already has this interval."""
        names = self._files.children(self._folder)
        number, known = _find_newest_notes(names).get(label, (0, batch_interval(label)))
        if known != interval:
            start, end = (time.strftime(_TIME_FORMAT) for time in interval)
            self._files.create(f"{self._folder}/{label}~{number + 1:08d}~{start}~{end}", run_id)
            for name in names:
                if name.startswith(f"{label}~"):
                    self._files.delete(f"{self._folder}/{name}")


def _find_newest_notes(names: Iterable[str]) -> dict[str, tuple[int, Interval]]:
    """Find the newest note of each label, by the names of notes: its number and interval.

    Examples:
        >>> night = "20240101T220000.000000Z~20240102T040000.000000Z"
        >>> names = [f"night~00000002~{night}", "night~00000001~x~y", "night~00000001~" + night, "note.txt"]
        >>> [(label, number, str(interval.length)) for label, (number, interval) in _find_newest_notes(names).items()]
        [('night', 2, '6:00:00')]
    """
    found: dict[str, tuple[int, Interval]] = {}
    for name in names:
        try:
            label, number, start, end = name.split("~")
            note = int(number), Interval(_parse_time(start), _parse_time(end))
        except ValueError:  # not a note
            continue
        found[label] = max(note, found.get(label, note))
    return found


def _parse_time(time: str) -> datetime:
    return datetime.strptime(time, _TIME_FORMAT).replace(tzinfo=UTC)
