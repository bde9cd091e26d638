"""The types of options, and a parser that raises the jobs' own errors."""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Final, NoReturn
from urllib.parse import urlsplit

from delivery.http.host_names import is_host
from expectations.interval import Interval, is_no_date
from jobs.errors import ConfigurationError
from transforms.durations import read_duration

_FORBIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, surrogates and line breaks."""
_MISSING_VALUE_ENDING: Final = "argument"
"""The end of argparse's message if an option has no value."""
_MOST_ROWS: Final = 10_000
"""The driver collects a preview."""


class JobParser(argparse.ArgumentParser):
    """An argument parser that raises instead of exiting, so that a run with a wrong command line has a summary too."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigurationError with the fault and how to see the usage."""
        hint = ": its value is missing, or begins with '-'" if message.endswith(_MISSING_VALUE_ENDING) else ""
        raise ConfigurationError(f"{self.prog}: {message}{hint}", f"{self.prog} --help shows the usage")


def check_printable(text: str) -> str:
    """Check that an option's value is UTF-8 without control characters and line breaks.

    Examples:
        >>> check_printable("/données/lake 1")
        '/données/lake 1'
    """
    for each in text:
        if unicodedata.category(each) in _FORBIDDEN_CATEGORIES:
            what = "bytes that are not UTF-8" if each >= "\ud800" else f"the character U+{ord(each):04X}"
            raise argparse.ArgumentTypeError(f"holds {what}, which is not allowed: remove it")
    return text


def check_not_blank(text: str) -> str:
    """Check that an option's value is not blank, as it is if a shell variable is not set."""
    if not check_printable(text).strip():
        raise argparse.ArgumentTypeError("must not be empty: leave the option out, or give it a value")
    return text


def endpoint_url(text: str) -> str:
    """Check the URL of a service.

    Examples:
        >>> endpoint_url("http://localhost:8080")
        'http://localhost:8080'
    """
    check_printable(text)
    try:
        url = urlsplit(text)
        is_valid = url.scheme in {"http", "https"} and is_host(url.hostname or "") and url.port != 0
    except ValueError:  # a wrong port or address
        is_valid = False
    if not is_valid:  # the message does not repeat it, because it may hold a password
        raise argparse.ArgumentTypeError("is not the URL of a service: write e.g. http://localhost:8080 or https://...")
    return text


def lake_root(text: str) -> str:
    """Check a lake's root: a folder or a URI."""
    if not check_printable(text).strip():
        raise argparse.ArgumentTypeError("must be a folder or a URI")
    return text


def batch_name(text: str) -> str:
    """Check a batch's label or a prefix of one. It names folders, so it holds only letters, digits, `-`, `_` and `.`.

    Examples:
        >>> batch_name("2024-01")
        '2024-01'
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a batch label: letters, digits, '-', '_' and '.', e.g. 2024-01-02"
        )
    return text


def batch_label(text: str) -> str:
    """Check a batch's label. If it looks like a date, it must be one, because it gives the batch's interval.

    Examples:
        >>> batch_label("2024-01-02T03")
        '2024-01-02T03'
    """
    if is_no_date(batch_name(text)):
        raise argparse.ArgumentTypeError(
            f"{text!r} looks like a date but is not one: write e.g. 2024-01-02, 2024-01-02T03, 2024-01 or 2024-W01; "
            "if it is not a date, put a word before it"
        )
    return text


def find_batch_label(argv: Sequence[str]) -> str | None:
    """Find the batch's label in a wrong command line, for the summary; None if it has no valid one.

    Examples:
        >>> find_batch_label(["--batch", "2024-01-02", "--interval", "x"]), find_batch_label(["--batch=b"])
        ('2024-01-02', 'b')
        >>> find_batch_label(["--batch"]), find_batch_label(["--batch", "2024-02-30"])
        (None, None)
    """
    found = None
    for word, following in pairwise([*argv, ""]):
        label = (
            following if word == "--batch" else word.removeprefix("--batch=") if word.startswith("--batch=") else None
        )
        if label is not None:
            with suppress(argparse.ArgumentTypeError):
                found = batch_label(label)
    return found


def interval(text: str) -> Interval:
    """Read an interval: two dates or times in ISO 8601, START/END, the end exclusive; without an offset they are UTC.

    Examples:
        >>> [time.isoformat() for time in interval("2024-01-02/2024-01-03T06:00+02:00")]
        ['2024-01-02T00:00:00+00:00', '2024-01-03T04:00:00+00:00']
    """
    start, slash, end = text.partition("/")
    if not slash:
        raise argparse.ArgumentTypeError(f"{text!r} is not an interval: write START/END, e.g. 2024-01-02/2024-01-03")
    found = Interval(moment(start).astimezone(UTC), moment(end).astimezone(UTC))
    if found.start >= found.end:
        raise argparse.ArgumentTypeError(f"{text!r} is not an interval: START must be before END, which is exclusive")
    return found


def duration(text: str) -> timedelta:
    """Read a duration."""
    try:
        return read_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def time_of_day(text: str) -> time:
    """Read a time of day.

    Examples:
        >>> time_of_day("06:30")
        datetime.time(6, 30)
    """
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time of day: write e.g. 06:30")
    return time(int(match[1]), int(match[2]))


def moment(text: str) -> datetime:
    """Read a time in ISO 8601; without an offset it is UTC.

    Examples:
        >>> moment("2024-01-02T03:00").isoformat(), moment("2024-01-02T03:00+02:00").isoformat()
        ('2024-01-02T03:00:00+00:00', '2024-01-02T03:00:00+02:00')
    """
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: write e.g. 2024-01-02T03:00:00Z") from None
    if not 1970 <= value.year <= 9000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time that a log can have")
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def batches(text: str) -> int:
    """Read a number of batches, 0 to 100."""
    if not re.fullmatch(r"\d{1,3}", text) or int(text) > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of batches: 0 to 100")
    return int(text)


def rows(text: str) -> int:
    """Read a number of rows to show, 1 or more.

    Examples:
        >>> rows("20")
        20
    """
    if text.isascii() and text.isdigit() and 0 < int(text) <= _MOST_ROWS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {_MOST_ROWS:,}")


def rate(text: str) -> float:
    """Read a number of calls a second, more than 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate: calls a second, more than 0")
    return value


def tracking_id(text: str) -> str:
    """Check a trackingId: 1 to 256 characters (botocore's service model), not only blanks."""
    if not check_printable(text).strip() or len(text) > 256:
        raise argparse.ArgumentTypeError("must be 1 to 256 characters")
    return text


def in_flight(text: str) -> int:
    """Read a number of concurrent calls, 1 to 10,000."""
    if not re.fullmatch(r"\d{1,5}", text) or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of calls: 1 to 10000")
    return int(text)


def port(text: str) -> int:
    """Read a TCP port; 0 means any free port."""
    if not re.fullmatch(r"\d{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 0 to 65535")
    return int(text)
