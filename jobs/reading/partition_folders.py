"""Columns that folders named `key=value` hold, for files of any format, wherever the folders stand in the path."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from pyspark.sql import Column
from pyspark.sql import functions as F

_FOLDER: Final = re.compile(r"(?<=/)([^/=]+)=([^/]*)(?=/)")
_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NULL: Final = "__HIVE_DEFAULT_PARTITION__"


def folder_columns(files: Iterable[str]) -> dict[str, Column]:
    """Find the columns that the folders above some files hold, each a STRING; null for files that have no such folder.

    Spark's own discovery of them leaves out files that lie beside such folders.

    Args:
        files: by path, as Hadoop writes it.

    Examples:
        >>> sorted(folder_columns(["file:/logs/day=1/a.parquet", "file:/logs/b.parquet", "file:/logs/a%3Ab=2/c.orc"]))
        ['a:b', 'day']
    """
    values: dict[str, set[str]] = {}
    for folders in {path.rpartition("/")[0] for path in files}:
        for key, value in _FOLDER.findall(f"{folders}/"):
            values.setdefault(key, set()).add(value)
    # A path's own `+` is no space, which is what url_decode takes it for.
    path = F.url_decode(F.replace(F.col("_metadata.file_path"), F.lit("+"), F.lit("%2B")))
    return {unquote(key): _value(path, key, values[key]) for key in sorted(values)}


def _value(path: Column, key: str, values: Iterable[str]) -> Column:
    value = F.regexp_extract(path, rf"/{re.escape(key)}=([^/]*)/", 1)
    if any("%" in one for one in values) and not any(map(_ESCAPE.search, values)):
        value = F.url_decode(F.replace(value, F.lit("+"), F.lit("%2B")))
    return F.when(~value.isin("", _NULL), value)
