"""Durations as users write them."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def read_duration(text: str) -> timedelta:
    """Read a duration: a whole number, more than 0, and s, m, h or d.

    Raises:
        ValueError: the text is not a duration.

    Examples:
        >>> read_duration("30m"), read_duration("24h") == read_duration("1d")
        (datetime.timedelta(seconds=1800), True)
    """
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None or int(match.group(1)) == 0:
        raise ValueError(f"{text!r} is not a duration: write e.g. 90s, 30m, 24h or 2d")
    return timedelta(**{_UNITS[match.group(2)]: int(match.group(1))})
