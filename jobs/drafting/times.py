"""Times as logs write them: which expression reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

_ENOUGH: Final = 0.7
"""Of the values; the others may be missing or damaged."""
_ISO: Final = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?( ?(Z|UTC|GMT|[+-]\d\d(:?\d\d)?))?)?", re.ASCII
)
_NUMBER: Final = re.compile(r"\d{9,19}(\.\d+)?", re.ASCII)
_EPOCHS: Final = (
    (1e8, 1e11, "seconds", "timestamp_seconds({})"),
    (1e11, 1e14, "milliseconds", "timestamp_millis({})"),
    (1e14, 1e17, "microseconds", "timestamp_micros({})"),
    (1e17, 1e19, "nanoseconds", "timestamp_micros({} DIV 1000)"),
)
"""From, to, unit and expression: 1973 to 5138 in seconds, and so on."""
_PATTERNS: Final = tuple(
    (re.compile(sign, re.ASCII), pattern)
    for sign, pattern in (
        (r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}", "dd/MMM/yyyy:HH:mm:ss Z"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[+-]\d{4}", "yyyy-MM-dd['T'][ ]HH:mm:ssZ"),
        (r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", "yyyy/MM/dd HH:mm:ss"),
        (r"\d\d\.\d\d\.\d{4} \d\d:\d\d:\d\d", "dd.MM.yyyy HH:mm:ss"),
        (r"\d\d\.\d\d\.\d{4} \d\d:\d\d", "dd.MM.yyyy HH:mm"),
        (r"\d{8}T\d{6}Z", "yyyyMMdd'T'HHmmssX"),
        (r"\d{14}", "yyyyMMddHHmmss"),
        (r"\d{8}", "yyyyMMdd"),
    )
)
_SLASHES: Final = re.compile(r"(\d\d)/(\d\d)/\d{4} \d\d:\d\d(:\d\d)?", re.ASCII)
_LARGEST_MONTH: Final = 12


@dataclass(frozen=True, slots=True)
class TimeReading:
    """How a column is read as a time.

    Attributes:
        template: an expression with `{}` for the column.
        why: what its values look like.
        is_sure: whether they can be nothing else.
    """

    template: str
    why: str
    is_sure: bool = True


def find_time(values: Sequence[Any]) -> TimeReading | None:
    """Find how values are read as times; None if most of them are none.

    Examples:
        >>> find_time([1704186900250, 1704186900251]).template
        'timestamp_millis({})'
        >>> find_time(["1704186900.25"]).template
        'timestamp_seconds(CAST({} AS DOUBLE))'
        >>> find_time(["soon", "2024-01-02T09:15:00Z"]) is None
        True
        >>> find_time(["31/01/2024 10:15", "02/01/2024 10:15"]).template
        "to_timestamp({}, 'dd/MM/yyyy HH:mm')"
    """
    present = [value for value in values if value is not None and not isinstance(value, bool)]
    if not present:
        return None
    if all(isinstance(value, int | float) for value in present):
        return _find_epoch([float(value) for value in present], "{}")
    texts = [str(value).strip() for value in present]
    needed = _ENOUGH * len(texts)
    iso = [match for text in texts if (match := _ISO.fullmatch(text))]
    if len(iso) >= needed:
        has_offsets = all(match[4] for match in iso)
        why = "ISO 8601" if has_offsets else "ISO 8601 without an offset: is it UTC?"
        return TimeReading("to_timestamp({})", why, is_sure=has_offsets)
    for sign, pattern in _PATTERNS:
        if sum(sign.fullmatch(text) is not None for text in texts) >= needed and _is_pattern(pattern, texts):
            return TimeReading(f"to_timestamp({{}}, '{_escape(pattern)}')", f"like {pattern}")
    numbers = [float(text) for text in texts if _NUMBER.fullmatch(text)]
    if len(numbers) >= needed:
        kind = "DOUBLE" if any("." in text for text in texts) else "BIGINT"
        return _find_epoch(numbers, f"CAST({{}} AS {kind})")
    return _find_slashes(texts, needed)


def _find_epoch(numbers: Sequence[float], column: str) -> TimeReading | None:
    middle = median(numbers)
    for least, most, unit, template in _EPOCHS:
        if least <= middle < most and sum(least <= one < most for one in numbers) >= _ENOUGH * len(numbers):
            return TimeReading(template.format(column), f"{unit} since 1970")
    return None


def _find_slashes(texts: Sequence[str], needed: float) -> TimeReading | None:
    found = [match for text in texts if (match := _SLASHES.fullmatch(text))]
    if len(found) < needed:
        return None
    seconds = ":ss" if found[0][3] else ""
    day_first = any(int(match[1]) > _LARGEST_MONTH for match in found)
    month_first = any(int(match[2]) > _LARGEST_MONTH for match in found)
    pattern = f"{'dd/MM' if day_first else 'MM/dd'}/yyyy HH:mm{seconds}"
    why = f"like {pattern}" + ("" if day_first != month_first else ": or is the day first?")
    return TimeReading(f"to_timestamp({{}}, '{pattern}')", why, is_sure=day_first != month_first)


def _is_pattern(pattern: str, texts: Sequence[str]) -> bool:
    """Whether digits alone can be a date: of 14 or 8, the first four must be a year of today's."""
    digits = pattern.startswith("yyyyMMdd") and "T" not in pattern
    return not digits or all("1990" <= text[:4] <= "2100" and "01" <= text[4:6] <= "12" for text in texts)


def _escape(pattern: str) -> str:
    """Write quotation marks for a text of Spark SQL."""
    return pattern.replace("'", "\\'")
