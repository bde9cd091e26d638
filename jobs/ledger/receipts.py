"""The receipts of deliveries: small files, written while a delivery runs.

A file's name holds its position in the ledger's order, its plan, its run and its length:
`<epoch>.<plan>.<run>-<number>-<bytes>.parquet`. If a crash cut a file short, its length differs: then it is ignored,
and its events are sent again.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from delivery.text import sanitize
from jobs.lake.filesystem import FileSystem

log = logging.getLogger(__name__)

_RECEIPT_SCHEMA: Final = pa.schema(
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
_REFUSAL_SCHEMA: Final = pa.schema(
    [
        ("requestId", pa.string()),
        ("eventIds", pa.list_(pa.string())),
        ("errorCode", pa.string()),
        ("errorMessage", pa.string()),
        ("startedAt", pa.timestamp("us", tz="UTC")),
    ]
)
"""The service's error for a dead letter. A receipt has no column for the message."""
_FILE_NAME: Final = re.compile(r"(?P<epoch>\d+)\.(?P<plan>[^.]+)\.(?P<run>[^.]+)-\d+-(?P<bytes>\d+)\.parquet")

_UNSTORABLE: Final = (pa.ArrowException, ValueError, TypeError, OverflowError)
"""What pyarrow raises for a value that a column cannot hold; a lone surrogate is a ValueError."""
_TEXT_MAX: Final = 4_096
"""The length to which a text is cut that could not be stored unchanged."""

ReceiptRow = dict[str, Any]


class Receipts:
    """One folder of receipts, and the folder of their refusals.

    Args:
        files: the store.
        folder: the folder of the receipts.
        refusals: the folder of the refusals.
    """

    def __init__(self, files: FileSystem, folder: str, refusals: str) -> None:
        self._files = files
        self._folder = folder
        self._refusals = refusals
        self._number = 0

    def write(self, epoch: int, plan: str, run: str, rows: Sequence[ReceiptRow]) -> None:
        """Write receipts. When this returns, they are as durable as the store makes them.

        Args:
            epoch: the run's.
            plan: the runId of their plan.
            run: the run's id.
            rows: a receipt's columns, startedAt in microseconds of Unix time, and errorMessage.

        Raises:
            OSError: they could not be written.
        """
        self._number += 1
        prefix = f"{epoch:08d}.{plan}.{run}"
        refused = [row for row in rows if row["status"] == "refused"]
        if refused:  # first, so that each receipt has its refusal
            self._write_file(self._refusals, prefix, _to_parquet(refused, _REFUSAL_SCHEMA))
        self._write_file(self._folder, prefix, _to_parquet(rows, _RECEIPT_SCHEMA))

    def paths(self, plan: str | None = None) -> list[str]:
        """List the paths of whole files, of one plan or of all; the folder itself if all its files are meant."""
        return _list_whole_files(self._files, self._folder, plan)

    def refusals(self) -> list[str]:
        """List the paths of whole files of refusals."""
        return _list_whole_files(self._files, self._refusals, None)

    def plans_since(self, epoch: int) -> set[str]:
        """List the plans with receipts from this epoch or later."""
        found = filter(None, map(_FILE_NAME.fullmatch, self._files.sizes(self._folder)))
        return {match["plan"] for match in found if int(match["epoch"]) >= epoch}

    def sweep(self, ensure: Callable[[], None]) -> None:
        """Delete the files that crashes cut short.

        Only this run may write here during the listing, so a file that is cut short then can be deleted later.

        Args:
            ensure: raises UnfinishedError if another run may be writing here; called after the listing.
        """
        folders = (self._folder, self._refusals)
        sizes = {folder: self._files.sizes(folder) for folder in folders}
        cut = [
            f"{folder}/{name}"
            for folder in folders
            for name, size in sizes[folder].items()
            if _is_cut_short(name, size)
        ]
        if cut:
            ensure()
        for path in cut:
            self._files.delete(path)

    def _write_file(self, folder: str, prefix: str, data: bytes) -> None:
        self._files.replace(f"{folder}/{prefix}-{self._number:06d}-{len(data)}.parquet", data)


def _list_whole_files(files: FileSystem, folder: str, plan: str | None) -> list[str]:
    sizes = {name: size for name, size in files.sizes(folder).items() if not name.startswith((".", "_"))}
    whole_files = [
        name for name, size in sizes.items() if not _is_cut_short(name, size) and plan in (None, _parse_plan(name))
    ]
    if whole_files and len(whole_files) == len(sizes):
        return [folder]
    return [f"{folder}/{name}" for name in sorted(whole_files)]


def _is_cut_short(name: str, size: int) -> bool:
    match = _FILE_NAME.fullmatch(name)
    return match is not None and int(match["bytes"]) != size


def _parse_plan(name: str) -> str | None:
    match = _FILE_NAME.fullmatch(name)
    return match and match["plan"]


def _to_parquet(rows: Sequence[ReceiptRow], schema: pa.Schema) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(_build_table(rows, schema), buffer)
    return buffer.getvalue()


def _build_table(rows: Sequence[ReceiptRow], schema: pa.Schema) -> pa.Table:
    """Make a table of rows. A value that its column cannot hold is replaced, so that no row is lost."""
    try:
        return pa.Table.from_pylist(list(rows), schema=schema)
    except _UNSTORABLE:
        storable = [
            {column.name: _make_storable(row.get(column.name), column.type) for column in schema} for row in rows
        ]
        return pa.Table.from_pylist(storable, schema=schema)


def _make_storable(value: Any, kind: pa.DataType) -> Any:
    """Make a value storable in its column: sanitise a text, replace anything else by null."""
    try:
        pa.array([value], kind)
    except _UNSTORABLE:
        if isinstance(value, list | tuple) and pa.types.is_list(kind):
            return [_make_storable(each, kind.value_type) for each in value]
        return sanitize(value, _TEXT_MAX) if isinstance(value, str) else None
    return value
