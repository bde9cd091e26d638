"""Files of the lake that cannot be read: which file it is, why, and what to do, in place of Spark's stack trace.

A power loss leaves files that are shorter than they were written, or full of zeroes; and on local disks, where Hadoop
keeps a `.crc` file of checksums beside each file, it may damage only that one. A `.crc` file that has not the form of
one says nothing of its file: it is deleted, and the next run reads the file. One that has, and disagrees, means that
the file is damaged, and somebody must decide.
"""

from __future__ import annotations

import logging
import re
from typing import Final
from urllib.parse import unquote

from jobs.errors import ConfigurationError, JobError, UnfinishedError
from jobs.lake.filesystem import FileSystem
from jobs.lake.manifests import Manifests

log = logging.getLogger(__name__)

_SIGNS: Final = ("FAILED_READ_FILE", "Encountered error while reading file", "fs.ChecksumException")
_PATH: Final = re.compile(r"(?:file|s3[an]?|hdfs|viewfs|gs|abfss?|wasbs?|oss|cosn):/\S+")
_REASONS: Final = {
    "File does not exist": "it was there, and is gone",
    "ChecksumException": "its bytes are not those that were written",
    "is not a Parquet file": "it is not whole",
}


def explain_unreadable(files: FileSystem, manifests: Manifests, error: BaseException) -> JobError | None:
    """Say which file of the lake an error is about, why it cannot be read, and what to do.

    Args:
        files: of the lake.
        manifests: of the lake.
        error: of Spark's, as a rule.

    Returns:
        None where it is about no file of the lake.
    """
    text = str(error)
    if not any(sign in text for sign in _SIGNS):
        return None
    root = _plain(files.local_path(manifests.root) or manifests.root)
    paths = (_plain(match.group().rstrip(".,")) for match in _PATH.finditer(text))
    path = next((path for path in paths if path.startswith(f"{root}/")), None)
    if path is None:
        return None
    folder = path.rpartition("/")[0]
    if healed := files.drop_broken_checksums(folder):
        return UnfinishedError(
            f"{path}: could not be read, since .crc files of its folder were cut short, as by a power loss: "
            f"{healed:,} are deleted now; run this again"
        )
    reason = next((words for sign, words in _REASONS.items() if sign in text), "Spark cannot read it")
    return _explain(manifests, path, path.removeprefix(f"{root}/").split("/"), reason)


def _explain(manifests: Manifests, path: str, parts: list[str], reason: str) -> JobError:
    table, batch = parts[0], parts[1].removeprefix("batch=")
    if table == "_plans" and len(parts) > 3:
        tracker, batch, run = parts[1:4]
        plan = f"{manifests.root}/_plans/{tracker}/{batch}~*~{run}~*.json"
        remedy = (
            f"delete {plan}, and run this again: the batch is planned anew, and what has a receipt is not sent again"
        )
    elif table == "_refusals":
        remedy = "delete it, and run this again: the dead letters that it is about have no words of the service then"
    elif table == "receipts":
        remedy = "delete it, and run this again: the calls that it is about are made again, under the same eventIds"
    elif table == "dead_letters":
        remedy = "delete its folder, and run put_events for its batch: it writes the dead letters anew"
    else:
        current = manifests.current(batch)
        if current is None or f"runId={current.runId}" not in parts:
            return UnfinishedError(f"batch {batch}: it was rebuilt just now: run this again")
        remedy = f"build batch {batch} again, from its --input"
    return ConfigurationError(f"{path}: cannot be read: {reason}, as after a power loss; {remedy}")


def _plain(path: str) -> str:
    """Write a path or URI in the one way in which two can be compared.

    Examples:
        >>> _plain("file:///a%20lake/events"), _plain("/a lake/events"), _plain("s3a://bucket/lake")
        ('/a lake/events', '/a lake/events', 's3a://bucket/lake')
    """
    return re.sub(r"^file:/+", "/", unquote(path))
