"""The receipts of deliveries: small whole files, written while a delivery is under way.

A file's name tells its place in the ledger's order, whose it is and how long it is:
`<epoch>.<plan>.<run>-<number>-<bytes>.parquet`. One that a crash cut short has another length; it is no receipt, and
its events are sent again.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.lake.filesystem import FileSystem

log = logging.getLogger(__name__)

_RECEIPT: Final = pa.schema(
    [
        ("requestId", pa.string()),
        ("userId", pa.string()),
        ("sessionId", pa.string()),
        ("eventIds", pa.list_(pa.string())),
        ("status", pa.string()),
        ("httpStatus", pa.int32()),
        ("errorCode", pa.string()),
        ("attempts", pa.int32()),
        ("awsRequestId", pa.string()),
        ("startedAt", pa.timestamp("us", tz="UTC")),
        ("latencyMs", pa.int64()),
    ]
)
_REFUSAL: Final = pa.schema(
    [
        ("requestId", pa.string()),
        ("eventIds", pa.list_(pa.string())),
        ("errorCode", pa.string()),
        ("errorMessage", pa.string()),
        ("startedAt", pa.timestamp("us", tz="UTC")),
    ]
)
"""What a dead letter tells beside its event; the service's words are no column of a receipt."""
_NAME: Final = re.compile(r"(?P<epoch>\d+)\.(?P<plan>[^.]+)\.(?P<run>[^.]+)-\d+-(?P<bytes>\d+)\.parquet")

Row = dict[str, Any]


class Receipts:
    """One folder of receipts, and beside it the words of those that are refusals.

    Args:
        files: the store.
        folder: of the receipts.
        refusals: the folder of the words.
    """

    def __init__(self, files: FileSystem, folder: str, refusals: str) -> None:
        self._files = files
        self._folder = folder
        self._refusals = refusals
        self._number = 0

    def write(self, epoch: int, plan: str, run: str, rows: Sequence[Row]) -> None:
        """Write receipts; when this returns they are as durable as the store makes what was written.

        Args:
            epoch: of the run.
            plan: the runId of the plan that they are of.
            run: the run's.
            rows: a receipt's columns, startedAt in microseconds of Unix time, and errorMessage.

        Raises:
            OSError: they could not be written.
        """
        self._number += 1
        prefix = f"{epoch:08d}.{plan}.{run}"
        refused = [row for row in rows if row["status"] == "refused"]
        if refused:  # first: a receipt says that the words are there
            self._put(self._refusals, prefix, _parquet(refused, _REFUSAL))
        self._put(self._folder, prefix, _parquet(rows, _RECEIPT))

    def paths(self, plan: str | None = None) -> list[str]:
        """Name what can be read: whole files, those of one plan, or of all; a folder in which all is whole, itself."""
        return _whole(self._files, self._folder, plan)

    def refusals(self) -> list[str]:
        """Name what can be read of the words."""
        return _whole(self._files, self._refusals, None)

    def plans_since(self, epoch: int) -> set[str]:
        """Name the plans of which there are receipts from an epoch on."""
        found = filter(None, map(_NAME.fullmatch, self._files.sizes(self._folder)))
        return {match["plan"] for match in found if int(match["epoch"]) >= epoch}

    def sweep(self) -> None:
        """Delete what crashes cut short. Nobody else may be writing here."""
        for folder in (self._folder, self._refusals):
            for name, size in self._files.sizes(folder).items():
                if _is_cut(name, size):
                    self._files.delete(f"{folder}/{name}")

    def _put(self, folder: str, prefix: str, data: bytes) -> None:
        self._files.replace(f"{folder}/{prefix}-{self._number:06d}-{len(data)}.parquet", data)


def _whole(files: FileSystem, folder: str, plan: str | None) -> list[str]:
    sizes = {name: size for name, size in files.sizes(folder).items() if not name.startswith((".", "_"))}
    kept = [name for name, size in sizes.items() if not _is_cut(name, size) and plan in (None, _plan_of(name))]
    if kept and len(kept) == len(sizes):
        return [folder]
    return [f"{folder}/{name}" for name in sorted(kept)]


def _is_cut(name: str, size: int) -> bool:
    match = _NAME.fullmatch(name)
    return match is not None and int(match["bytes"]) != size


def _plan_of(name: str) -> str | None:
    match = _NAME.fullmatch(name)
    return match and match["plan"]


def _parquet(rows: Sequence[Row], schema: pa.Schema) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer)
    return buffer.getvalue()
