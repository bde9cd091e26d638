"""The interval of time that a batch's label names."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

_LABEL: Final = re.compile(r"(\d{4})-?(?:W(\d\d)|(\d\d)(?:-?(\d\d)(?:T(\d\d)(?:-?(\d\d))?)?)?)?")
_DATE: Final = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:T(\d{1,2})(?:-(\d{1,2}))?)?(?![A-Za-z0-9])")
"""The beginning of a label that looks like a date, even with a missing digit."""


class Interval(NamedTuple):
    """A time interval in UTC: `start` is inclusive, `end` is exclusive."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """The time from start to end."""
        return self.end - self.start

    def holds(self, other: Interval) -> bool:
        """Whether another interval lies within this one. An interval holds itself."""
        return self.start <= other.start and other.end <= self.end


@lru_cache(maxsize=1 << 16)
def batch_interval(label: str) -> Interval | None:
    """Read a label as a year, month, week, day, hour or minute; None for any other label.

    Examples:
        >>> for label in ("2024-01-02", "20240102T03", "2024-02", "2024-W05", "2023", "2024-01-02T03-15"):
        ...     print(*(time.strftime("%d.%m.%y %H:%M") for time in batch_interval(label)), sep=" to ")
        02.01.24 00:00 to 03.01.24 00:00
        02.01.24 03:00 to 02.01.24 04:00
        01.02.24 00:00 to 01.03.24 00:00
        29.01.24 00:00 to 05.02.24 00:00
        01.01.23 00:00 to 01.01.24 00:00
        02.01.24 03:15 to 02.01.24 03:16
        >>> batch_interval("backfill-7"), batch_interval("2024-02-30")
        (None, None)
        >>> batch_interval("0001"), batch_interval("1001")
        (None, None)
    """
    match = _LABEL.fullmatch(label)
    if match is None or not _is_log_year(match[1]):
        return None
    try:
        return _build_interval(int(match[1]), *(None if part is None else int(part) for part in match.groups()[1:]))
    except ValueError:
        return None


def is_no_date(label: str) -> bool:
    """Whether a label is, or begins with, an impossible date or one that lacks a digit.

    Numbers count as dates only if they begin with a plausible year. Two numbers with a sign between can be anything.

    Examples:
        >>> [is_no_date(label) for label in ("2024-13-45", "2024-02-30-b", "20240231", "2024-01-02T25", "2024-W60")]
        [True, True, True, True, True]
        >>> [is_no_date(label) for label in ("2024-1-5", "2024-01-02T3", "2024-01-02T03-75", "2024-13", "202400")]
        [True, True, True, True, True]
        >>> [is_no_date(label) for label in ("2024-02-29", "2024-01-02-b", "2024-01-02T03-15", "1.2.3", "2024-1")]
        [False, False, False, False, False]
        >>> [is_no_date(label) for label in ("0001", "12345678", "9999-99-99", "1.2024-13-45", "20240102030405")]
        [False, False, False, False, False]
    """
    begins = _DATE.match(label)
    if begins is not None and _is_log_year(begins[1]):
        return batch_interval(begins[0]) is None
    whole = _LABEL.fullmatch(label)
    return whole is not None and _is_log_year(whole[1]) and batch_interval(label) is None


def _is_log_year(digits: str) -> bool:
    """Whether four digits are a year that a log can be of; other numbers mean something else."""
    return 1970 <= int(digits) < 2200


def _build_interval(year: int, week: int | None, *parts: int | None) -> Interval:
    """Build an interval from a year and a week, or from a year and, if given, its month, day, hour and minute."""
    month, day, hour, minute = parts
    if week is not None:
        start = datetime.fromisocalendar(year, week, 1).replace(tzinfo=UTC)
        return Interval(start, start + timedelta(days=7))
    start = datetime(
        year, _or_default(month, 1), _or_default(day, 1), _or_default(hour, 0), _or_default(minute, 0), tzinfo=UTC
    )
    if minute is not None:
        return Interval(start, start + timedelta(minutes=1))
    if hour is not None:
        return Interval(start, start + timedelta(hours=1))
    if day is not None:
        return Interval(start, start + timedelta(days=1))
    if month is not None:
        return Interval(start, datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC))
    return Interval(start, datetime(year + 1, 1, 1, tzinfo=UTC))


def _or_default(part: int | None, default: int) -> int:
    return default if part is None else part
