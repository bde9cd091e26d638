"""The named groups of a Java regular expression: Java 17 tells their values, but not their numbers."""

from __future__ import annotations

import re
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

# What may stand between groups: an escape, a quotation, a character class (which may hold classes), a group's start.
_TOKEN = re.compile(r"\\Q.*?(?:\\E|$)|\\.|\[|\]|\((?:\?<([A-Za-z][A-Za-z0-9]*)>|(\?))?", re.DOTALL)


def named_groups(pattern: str, spark: SparkSession) -> dict[str, int]:
    """Number the named groups of a pattern, as `regexp_extract` counts them.

    Raises:
        ValueError: the pattern is no Java regular expression, or has no named group; the message says so.
    """
    compiled = _compile(pattern, spark)
    groups, count = _scan(pattern)
    if compiled.matcher("").groupCount() != count:
        raise ValueError("has groups that could not be counted: write it without comments and odd quoting")
    if not groups:
        raise ValueError(r"has no named group, e.g. (?<ip>\S+): its groups are the columns")
    return groups


def _compile(pattern: str, spark: SparkSession) -> Any:
    jvm: Any = spark._jvm
    try:
        return jvm.java.util.regex.Pattern.compile(pattern)
    except PySparkException as error:  # pyspark's name for Java's IllegalArgumentException
        cause = str(error).split("\n")[0]
        raise ValueError(f"is not a Java regular expression: {cause}") from None


def _scan(pattern: str) -> tuple[dict[str, int], int]:
    r"""Find named groups and count all capturing ones.

    Examples:
        >>> _scan(r'^(?<ip>\S+) \((a|b)\) [(](?:x)(?<day>[^]]+)\]$')
        ({'ip': 1, 'day': 3}, 3)
    """
    groups: dict[str, int] = {}
    count = depth = 0
    class_start = -1
    for token in _TOKEN.finditer(pattern):
        text = token.group()
        if text == "[":
            depth, class_start = depth + 1, token.end() if depth == 0 else class_start
        elif text == "]" and depth and not _opens_class(pattern, class_start, token.start()):
            depth -= 1
        elif text.startswith("(") and not depth and token.group(2) is None:
            count += 1
            if token.group(1):
                groups[token.group(1)] = count
    return groups, count


def _opens_class(pattern: str, start: int, at: int) -> bool:
    """Whether a `]` stands first in its class, where it is a plain character."""
    return pattern[start:at] in ("", "^")
