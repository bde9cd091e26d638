"""The CSV of a bulk import, in place of calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem
from jobs.replaying.waiting import Waiting
from transforms.interactions import columns_of, interactions, name_users

_WAITS: Final = "status IS NULL"
_CSV: Final = {
    "header": "true",
    # As RFC 4180 has it: a quote in a value is doubled, spaces belong to it, a missing one is empty.
    "escape": '"',
    "emptyValue": "",
    "ignoreLeadingWhiteSpace": "false",
    "ignoreTrailingWhiteSpace": "false",
    # An import takes every file in the folder for a CSV.
    "mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
}
_AVRO: Final[dict[str, Any]] = {
    "USER_ID": "string",
    "ITEM_ID": "string",
    "TIMESTAMP": "long",
    "EVENT_TYPE": "string",
    "EVENT_VALUE": ["null", "float"],
}
"""What the fixed columns hold; the others may be missing."""


def export(waiting: Waiting, folder: str, files: FileSystem) -> dict[str, int]:
    """Write what waits as a bulk import takes it: CSV files in a folder, and in `schema/` below it their schema.

    Returns:
        Events exported; those left out since an import does not take them: `withoutUser`, `withoutItem`; those that
        needed none, since the trackingId was given them: `delivered`, `refused`.

    Raises:
        ConfigurationError: the folder is not empty, or cannot be written.
    """
    _check_folder(folder, files)
    rows = name_users(waiting.events).persist(StorageLevel.DISK_ONLY)
    try:
        counts, columns = _count(rows), _columns(rows.where(_WAITS))
        table = interactions(rows.where(f"{_WAITS} AND userId IS NOT NULL AND itemId IS NOT NULL"), columns)
        table.write.mode("append").options(**_CSV).csv(folder)
    finally:
        rows.unpersist()
    files.replace(f"{folder}/schema/interactions.json", json.dumps(schema(table.columns), indent=2))
    counts["delivered"] += sum(each.delivered for each in waiting.settled)
    counts["refused"] += sum(each.refused for each in waiting.settled)
    return counts


def schema(columns: Sequence[str]) -> dict[str, Any]:
    """Write the dataset's schema, in Avro's words.

    Examples:
        >>> schema(["USER_ID", "EVENT_VALUE"])["fields"][1]
        {'name': 'EVENT_VALUE', 'type': ['null', 'float']}
    """
    fields = [{"name": name, "type": _AVRO.get(name, ["null", "string"])} for name in columns]
    namespace = "com.amazonaws.personalize.schema"
    return {"type": "record", "name": "Interactions", "namespace": namespace, "fields": fields, "version": "1.0"}


def _check_folder(folder: str, files: FileSystem) -> None:
    try:
        if files.exists(folder) and files.children(folder):
            raise ConfigurationError(f"--bulk-export {folder}: is not empty; name another folder, or empty it")
        files.make_folder(folder)
    except OSError as error:
        raise ConfigurationError(f"--bulk-export {folder}: cannot be written ({error})") from None


def _count(rows: DataFrame) -> dict[str, int]:
    waits, user, item = F.expr(_WAITS), F.col("userId").isNotNull(), F.col("itemId").isNotNull()
    found = rows.agg(
        F.count_if(waits & user & item).alias("exported"),
        F.count_if(waits & ~user).alias("withoutUser"),
        F.count_if(waits & user & ~item).alias("withoutItem"),
        F.count_if(F.col("status") == "delivered").alias("delivered"),
        F.count_if(F.col("status") == "refused").alias("refused"),
    )
    return found.collect()[0].asDict()


def _columns(rows: DataFrame) -> dict[str, Column]:
    """Find the columns that events fill beside the fixed ones."""
    keys = rows.select(F.explode(F.map_keys("properties")).alias("key")).distinct().collect()
    shown = rows.where("impression IS NOT NULL").limit(1).count()
    return columns_of(sorted(row["key"] for row in keys), impressions=shown > 0)
