"""What a store refuses, read off Java's words: Spark and Hadoop tell a full disk by an exception like any other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

from jobs.errors import ConfigurationError, JobError, UnfinishedError

_LONGEST_CHAIN: Final = 20


class _Refusal(NamedTuple):
    """How a store says that it takes nothing.

    Attributes:
        sign: found in Java's words.
        words: what is wrong.
        mend: what to do.
        passes: whether the same run may succeed later, without other arguments.
    """

    sign: re.Pattern[str]
    words: str
    mend: str
    passes: bool


_REFUSALS: Final = (
    _Refusal(
        re.compile(r"No space left on device|not enough space on the disk|ENOSPC"),
        "no space left",
        "make room",
        passes=True,
    ),
    _Refusal(
        re.compile(r"Disk quota exceeded|QuotaExceededException|EDQUOT"),
        "no space left within the quota",
        "make room, or have the quota raised",
        passes=True,
    ),
    _Refusal(
        re.compile(r"Read-only file system|EROFS"),
        "the file system is read-only",
        "have it mounted to be written",
        False,
    ),
    _Refusal(
        re.compile(r"Permission denied|AccessControlException|AccessDeniedException|EACCES"),
        "permission denied",
        "give the run's user the right to read and write there",
        passes=False,
    ),
)
_WRITTEN_TO: Final = re.compile(r"Task failed while writing rows to (\S+?)\.?(?:\s|$)")
_NAMED: Final = re.compile(
    r"(/[^\n()]*?) \((?:No space left on device|Disk quota exceeded|Read-only file system|Permission denied)\)"
)
_PYTHONS: Final = re.compile(r"\[Errno \d+\] [A-Za-z -]+: '([^']+)'")
_DENIED: Final = re.compile(r"Permission denied:.*?inode=\"([^\"]+)\"")


def store_refusal(failure: BaseException, root: str | None) -> JobError | None:
    """Say what a store refused, where that is what a failure comes from.

    Args:
        failure: anything that was raised.
        root: of the lake, which is named where the words name no path; None while it is not known.
    """
    words = "\n".join(_words(failure))
    refusal = next((each for each in _REFUSALS if each.sign.search(words)), None)
    if refusal is None:
        return None
    place = next((found[1] for sign in (_NAMED, _WRITTEN_TO, _DENIED, _PYTHONS) if (found := sign.search(words))), root)
    where = f" at {place}" if place else ""
    if refusal.passes:
        return UnfinishedError(
            f"{refusal.words}{where}, or in Spark's own folders (spark.local.dir): {refusal.mend}, then run it again"
        )
    return ConfigurationError(f"{refusal.words}{where}: {refusal.mend}, then run it again")


def cannot_write(option: str, path: str, error: OSError) -> JobError:
    """Say that a place which the user named cannot be written.

    Args:
        option: that names it.
        path: its value.
        error: the store's.
    """
    full = next((each for each in _REFUSALS if each.passes and each.sign.search(str(error))), None)
    if full is not None:
        return UnfinishedError(f"{option} {path}: {full.words} ({error}): {full.mend}, then run it again")
    return ConfigurationError(f"{option} {path}: cannot be written ({error}); give a folder or URI that can")


def _words(failure: BaseException) -> Iterator[str]:
    """Give the words of a failure, of what it comes from, and of Java's own chain behind each."""
    link: BaseException | None = failure
    for _ in range(_LONGEST_CHAIN):
        if link is None:
            return
        yield str(link)
        yield from _java_words(getattr(link, "java_exception", None) or getattr(link, "_origin", None))
        link = link.__cause__ or link.__context__


def _java_words(throwable: Any) -> Iterator[str]:
    with suppress(Exception):  # the JVM may be gone
        for _ in range(_LONGEST_CHAIN):
            if throwable is None:
                return
            yield str(throwable.toString())
            throwable = throwable.getCause()
