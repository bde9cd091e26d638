"""Explains errors of the store: a full disk, a file that cannot be read, a batch that was rebuilt meanwhile.

After a power loss, files can be shorter than they were written, or full of zeroes. On local disks Hadoop keeps a
`.crc` file of checksums beside each file, and a power loss may damage only that one. A malformed `.crc` file says
nothing about its file: it is deleted, and the next run reads the file. A well-formed one that disagrees means that the
file is damaged, and the user must decide.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple
from urllib.parse import unquote

from jobs.errors import ConfigurationError, JobError, UnfinishedError
from jobs.lake.filesystem import FileSystem
from jobs.lake.manifests import Manifest, Manifests
from jobs.spark_internals.errors import java_messages

_LONGEST_CHAIN: Final = 20


class _Refusal(NamedTuple):
    """An error with which a store refuses to write.

    Attributes:
        pattern: is searched in the error's text.
        message: what is wrong.
        remedy: what to do.
        is_temporary: whether the same command can succeed later.
    """

    pattern: re.Pattern[str]
    message: str
    remedy: str
    is_temporary: bool


_REFUSALS: Final = (
    _Refusal(
        re.compile(r"No space left on device|not enough space on the disk|ENOSPC"),
        "no space left",
        "make room",
        is_temporary=True,
    ),
    _Refusal(
        re.compile(r"Disk quota exceeded|QuotaExceededException|EDQUOT"),
        "no space left within the quota",
        "free some space, or raise the quota",
        is_temporary=True,
    ),
    _Refusal(
        re.compile(r"Read-only file system|EROFS"),
        "the file system is read-only",
        "mount it writable",
        False,
    ),
    _Refusal(
        re.compile(r"Permission denied|AccessControlException|AccessDeniedException|EACCES"),
        "permission denied",
        "give the user of the run the right to read and write there",
        is_temporary=False,
    ),
)
_WRITTEN_TO: Final = re.compile(r"Task failed while writing rows to (\S+?)\.?(?:\s|$)")
_PATH_BEFORE_REASON: Final = re.compile(
    r"(/[^\n()]*?) \((?:No space left on device|Disk quota exceeded|Read-only file system|Permission denied)\)"
)
_PYTHON_ERROR_PATH: Final = re.compile(r"\[Errno \d+\] [A-Za-z -]+: '([^']+)'")
_DENIED_INODE: Final = re.compile(r"Permission denied:.*?inode=\"([^\"]+)\"")


def store_refusal(failure: BaseException, root: str | None) -> JobError | None:
    """Explain a failure that comes from a store's refusal; None for other failures.

    Args:
        failure: the error that was raised.
        root: of the lake, which the message names if the error names no path; None if it is not known yet.
    """
    words = "\n".join(_list_messages(failure))
    refusal = next((each for each in _REFUSALS if each.pattern.search(words)), None)
    if refusal is None:
        return None
    place = next(
        (
            found[1]
            for sign in (_PATH_BEFORE_REASON, _WRITTEN_TO, _DENIED_INODE, _PYTHON_ERROR_PATH)
            if (found := sign.search(words))
        ),
        root,
    )
    where = f" at {place}" if place else ""
    if refusal.is_temporary:
        return UnfinishedError(
            f"{refusal.message}{where}, or in Spark's own folders (spark.local.dir): {refusal.remedy}, "
            "then run it again"
        )
    return ConfigurationError(f"{refusal.message}{where}: {refusal.remedy}, then run it again")


def cannot_write(option: str, path: str, error: OSError) -> JobError:
    """Explain that a path which the user named cannot be written.

    Args:
        option: the option that names it.
        path: its value.
        error: the store's.
    """
    full = next((each for each in _REFUSALS if each.is_temporary and each.pattern.search(str(error))), None)
    if full is not None:
        return UnfinishedError(f"{option} {path}: {full.message} ({error}): {full.remedy}, then run it again")
    return ConfigurationError(f"{option} {path}: cannot be written ({error}); give a folder or URI that can")


def _list_messages(failure: BaseException) -> Iterator[str]:
    """List the messages of a failure, of its causes, and of the Java exceptions behind them."""
    link: BaseException | None = failure
    for _ in range(_LONGEST_CHAIN):
        if link is None:
            return
        yield str(link)
        yield from java_messages(link)
        link = link.__cause__ or link.__context__


log = logging.getLogger(__name__)

_UNREADABLE_SIGNS: Final = ("FAILED_READ_FILE", "Encountered error while reading file", "fs.ChecksumException")
_FILE_URI: Final = re.compile(r"(?:file|s3[an]?|hdfs|viewfs|gs|abfss?|wasbs?|oss|cosn):/\S+")
_UNREADABLE_REASONS: Final = {
    "File does not exist": "it existed, and is gone",
    "ChecksumException": "its bytes have changed",
    "is not a Parquet file": "it is not whole",
}


def explain_unreadable(files: FileSystem, manifests: Manifests, error: BaseException) -> JobError | None:
    """Explain an error about a file of the lake: which file, why it cannot be read, and what to do.

    Args:
        files: of the lake.
        manifests: of the lake.
        error: usually Spark's.

    Returns:
        The explanation; None if the error is not about a file of the lake.
    """
    text = str(error)
    if not any(sign in text for sign in _UNREADABLE_SIGNS):
        return None
    root = _normalise_path(files.local_path(manifests.root) or manifests.root)
    paths = (_normalise_path(match.group().rstrip(".,")) for match in _FILE_URI.finditer(text))
    path = next((path for path in paths if path.startswith(f"{root}/")), None)
    if path is None:
        return None
    folder = path.rpartition("/")[0]
    if healed := files.drop_broken_checksums(folder):
        return UnfinishedError(
            f"{path}: could not be read, because .crc files of its folder were cut short, as by a power loss: "
            f"{healed:,} are deleted now; run this again"
        )
    reason = next((words for sign, words in _UNREADABLE_REASONS.items() if sign in text), "Spark cannot read it")
    return _explain_file(manifests, path, path.removeprefix(f"{root}/").split("/"), reason)


def _explain_file(manifests: Manifests, path: str, parts: list[str], reason: str) -> JobError:
    table, batch = parts[0], parts[1].removeprefix("batch=")
    if table == "_plans" and len(parts) > 3:
        tracker, batch, run = parts[1:4]
        plan = f"{manifests.root}/_plans/{tracker}/{batch}~*~{run}~*.json"
        remedy = (
            f"delete {plan}, and run this again: the batch is planned again, and what has a receipt is not sent again"
        )
    elif table == "_refusals":
        remedy = "delete it, and run this again: its dead letters then have no message of the service"
    elif table == "receipts":
        remedy = "delete it, and run this again: its calls are made again, with the same eventIds"
    elif table == "dead_letters":
        remedy = "delete its folder, and run put_events for its batch: it writes the dead letters again"
    else:
        current = manifests.current(batch)
        if current is None or f"runId={current.runId}" not in parts:
            return UnfinishedError(f"batch {batch}: it has just been rebuilt: run this again")
        remedy = f"build batch {batch} again, from its --input"
    return ConfigurationError(f"{path}: cannot be read: {reason}, as after a power loss; {remedy}")


def _normalise_path(path: str) -> str:
    """Normalise a path or URI, so that two can be compared.

    Examples:
        >>> _normalise_path("file:///a%20lake/events"), _normalise_path("/a lake/events"), _normalise_path("s3a://bucket/lake")
        ('/a lake/events', '/a lake/events', 's3a://bucket/lake')
    """
    return re.sub(r"^file:/+", "/", unquote(path))


@contextmanager
def unfinished_if_rebuilt(manifests: Manifests, read: Iterable[Manifest]) -> Iterator[None]:
    """If the block fails because a batch that it reads was published again, raise an error that says so.

    Args:
        manifests: of the lake.
        read: the publications whose rows the block reads.

    Raises:
        UnfinishedError: the block failed, and a batch has another publication now.
    """
    try:
        yield
    except JobError:
        raise
    except Exception:
        rebuilt = _find_rebuilt(manifests, read)
        if rebuilt is None:
            raise
        raise UnfinishedError(f"batch {rebuilt}: it has just been rebuilt: run this again") from None


def _find_rebuilt(manifests: Manifests, read: Iterable[Manifest]) -> str | None:
    with suppress(Exception):  # the lake cannot be read: the block's own error says more
        return next((one.batch for one in read if manifests.current(one.batch) != one), None)
    return None
