"""Writes the CSV of a bulk import, instead of making calls."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem
from jobs.lake.store_errors import cannot_write
from jobs.replay.pending import PendingEvents
from transforms.interactions import SEPARATOR, columns_of, find_clashing_keys, has_separator, interactions, name_users

log = logging.getLogger(__name__)

_IS_PENDING: Final = "status IS NULL"
_CSV_OPTIONS: Final = {
    "header": "true",
    # As in RFC 4180: a quote in a value is doubled, spaces are part of the value, a missing value is empty.
    "escape": '"',
    "emptyValue": "",
    "ignoreLeadingWhiteSpace": "false",
    "ignoreTrailingWhiteSpace": "false",
    # An import reads every file in the folder as CSV, so neither Spark's _SUCCESS nor Hadoop's .crc files are written.
    "mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    "fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    "fs.file.impl.disable.cache": "true",
}
_SCHEMA_FILE: Final = "interactions.json"
_AVRO_TYPES: Final[dict[str, Any]] = {
    "USER_ID": "string",
    "ITEM_ID": "string",
    "TIMESTAMP": "long",
    "EVENT_TYPE": "string",
    "EVENT_VALUE": ["null", "float"],
}
"""The Avro types of the fixed columns. The other columns are nullable strings."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The counts of an export.

    Attributes:
        exported: events that were written.
        withoutUser: pending events that were not written because their user is unknown.
        withoutItem: pending events that were not written because they have no item.
        withSeparator: pending events that were not written because an item id of their impression holds the separator.
        delivered: events that need no export because the tracker has acknowledged them.
        refused: events that were not written because the tracker has refused them for good.
        leftOut: keys of properties without a column.
    """

    exported: int
    withoutUser: int
    withoutItem: int
    withSeparator: int
    delivered: int
    refused: int
    leftOut: tuple[str, ...]

    @property
    def waiting(self) -> int:
        """All pending events, written or not."""
        return self.exported + self.withoutUser + self.withoutItem + self.withSeparator


def export(waiting: PendingEvents, folder: str, files: FileSystem) -> ExportResult:
    """Write the pending events as a bulk import takes them: CSV files in a folder, their schema in `schema/`.

    Raises:
        ConfigurationError: the folder is not empty, or cannot be written.
    """
    _check_folder(folder, files)
    rows = name_users(waiting.events, waiting.settledEvents).persist(StorageLevel.DISK_ONLY)
    try:
        counts, keys, impressions = (
            _count_events(rows),
            _find_property_keys(rows.where(_IS_PENDING)),
            _has_impressions(rows.where(_IS_PENDING)),
        )
        columns = columns_of(keys, impressions=impressions)
        importable = F.col("userId").isNotNull() & F.col("itemId").isNotNull() & ~has_separator()
        table = interactions(rows.where(_IS_PENDING).where(importable), columns)
        table.write.mode("append").options(**_CSV_OPTIONS).csv(folder)
    finally:
        rows.unpersist()
    _write_schema(f"{folder}/schema", schema(table.columns), files)
    counts["delivered"] += sum(each.delivered for each in waiting.settled)
    counts["refused"] += sum(each.refused for each in waiting.settled)
    if counts["withSeparator"]:
        log.warning(
            "%d events are left out: an item id of their impression holds '%s', which separates the items in "
            "an import's IMPRESSION; calls can: deliver their batches, or remove it from the ids and build again",
            counts["withSeparator"],
            SEPARATOR,
        )
    left_out = find_clashing_keys(keys)
    if left_out:
        log.warning("no column can hold the properties %s: other columns have their names", ", ".join(left_out))
    return ExportResult(**counts, leftOut=left_out)


def schema(columns: Sequence[str]) -> dict[str, Any]:
    """Make the dataset's schema, in Avro.

    Examples:
        >>> schema(["USER_ID", "EVENT_VALUE"])["fields"][1]
        {'name': 'EVENT_VALUE', 'type': ['null', 'float']}
    """
    fields = [{"name": name, "type": _AVRO_TYPES.get(name, ["null", "string"])} for name in columns]
    namespace = "com.amazonaws.personalize.schema"
    return {"type": "record", "name": "Interactions", "namespace": namespace, "fields": fields, "version": "1.0"}


def _check_folder(folder: str, files: FileSystem) -> None:
    try:
        if files.exists(folder) and files.children(folder):
            raise ConfigurationError(f"--bulk-export {folder}: is not empty; name another folder, or empty it")
        files.make_folder(folder)
    except OSError as error:
        raise cannot_write("--bulk-export", folder, error) from None


def _write_schema(folder: str, content: dict[str, Any], files: FileSystem) -> None:
    files.replace(f"{folder}/{_SCHEMA_FILE}", json.dumps(content, indent=2))
    files.delete(f"{folder}/.{_SCHEMA_FILE}.crc")


def _count_events(rows: DataFrame) -> dict[str, int]:
    is_pending, user, item = F.expr(_IS_PENDING), F.col("userId").isNotNull(), F.col("itemId").isNotNull()
    separator = has_separator()
    found = rows.agg(
        F.count_if(is_pending & user & item & ~separator).alias("exported"),
        F.count_if(is_pending & ~user).alias("withoutUser"),
        F.count_if(is_pending & user & ~item).alias("withoutItem"),
        F.count_if(is_pending & user & item & separator).alias("withSeparator"),
        F.count_if(F.col("status") == "delivered").alias("delivered"),
        F.count_if(F.col("status") == "refused").alias("refused"),
    )
    return found.collect()[0].asDict()


def _find_property_keys(rows: DataFrame) -> list[str]:
    """Find all keys of properties."""
    return [row["key"] for row in rows.select(F.explode(F.map_keys("properties")).alias("key")).distinct().collect()]


def _has_impressions(rows: DataFrame) -> bool:
    return rows.where("impression IS NOT NULL").limit(1).count() > 0
