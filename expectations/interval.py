"""The interval of time that a batch's label names."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_LABEL = re.compile(r"(\d{4})-?(?:W(\d\d)|(\d\d)(?:-?(\d\d)(?:T(\d\d))?)?)?")


class Interval(NamedTuple):
    """From `start`, which belongs to it, to `end`, which does not; both UTC."""

    start: datetime
    end: datetime


def batch_interval(label: str) -> Interval | None:
    """Read a label as a year, month, week, day or hour; None where it is none of them.

    Examples:
        >>> for label in ("2024-01-02", "20240102T03", "2024-02", "2024-W05", "2023"):
        ...     print(*(time.strftime("%d.%m.%y %H") for time in batch_interval(label)), sep=" to ")
        02.01.24 00 to 03.01.24 00
        02.01.24 03 to 02.01.24 04
        01.02.24 00 to 01.03.24 00
        29.01.24 00 to 05.02.24 00
        01.01.23 00 to 01.01.24 00
        >>> batch_interval("backfill-7"), batch_interval("2024-02-30")
        (None, None)
        >>> batch_interval("0001"), batch_interval("1001")
        (None, None)
    """
    match = _LABEL.fullmatch(label)
    if match is None:
        return None
    year, week, month, day, hour = (None if part is None else int(part) for part in match.groups())
    if year is None or not 1970 <= year < 2200:  # a number that counts something else
        return None
    try:
        return _interval(year, week, month, day, hour)
    except ValueError:
        return None


def _interval(year: int, week: int | None, month: int | None, day: int | None, hour: int | None) -> Interval:
    if week is not None:
        start = datetime.fromisocalendar(year, week, 1).replace(tzinfo=UTC)
        return Interval(start, start + timedelta(days=7))
    start = datetime(year, month or 1, day or 1, hour or 0, tzinfo=UTC)
    if hour is not None:
        return Interval(start, start + timedelta(hours=1))
    if day is not None:
        return Interval(start, start + timedelta(days=1))
    if month is not None:
        return Interval(start, datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC))
    return Interval(start, datetime(year + 1, 1, 1, tzinfo=UTC))
