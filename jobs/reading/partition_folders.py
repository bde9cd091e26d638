"""Columns that folders named `key=value` hold, for files of any format, wherever the folders stand in the path."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from pyspark.sql import Column
from pyspark.sql import functions as F

_FOLDER: Final = re.compile(r"(?<=/)([^/=]+)=([^/]*)(?=/)")
_NO_ESCAPE: Final = "%(?![0-9A-Fa-f]{2})"
_NULL: Final = "__HIVE_DEFAULT_PARTITION__"


def folder_columns(files: Iterable[str]) -> dict[str, Column]:
    """Find the columns that the folders above some files hold, each a STRING; null for files that have no such folder.

    Spark's own discovery of them leaves out files that lie beside such folders. Names are in lower case: keys that
    differ in case alone are one column.

    Args:
        files: by path, as Hadoop writes it.

    Examples:
        >>> sorted(folder_columns(["file:/logs/day=1/a.parquet", "file:/logs/b.parquet", "file:/logs/a%3AB=2/c.orc"]))
        ['a:b', 'day']
    """
    folders = {path.rpartition("/")[0] for path in files}
    keys = {key for folder in folders for key, _ in _FOLDER.findall(f"{folder}/")}
    # A path's own `+` is no space, which is what url_decode takes it for.
    path = F.url_decode(F.replace(F.col("_metadata.file_path"), F.lit("+"), F.lit("%2B")))
    columns: dict[str, list[Column]] = {}
    for key in sorted(keys):
        columns.setdefault(unquote(key).lower(), []).append(_value(path, key))
    return {name: F.coalesce(*values) for name, values in columns.items()}


def _value(path: Column, key: str) -> Column:
    """Read the value of a folder's key; escapes stand for what they say, unless one of a value's is none."""
    value = F.regexp_extract(path, rf"/{re.escape(key)}=([^/]*)/", 1)
    decoded = F.url_decode(F.replace(value, F.lit("+"), F.lit("%2B")))
    value = F.when(value.rlike(_NO_ESCAPE), value).otherwise(decoded)
    return F.when(~value.isin("", _NULL), value)
