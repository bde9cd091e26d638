"""Columns that the folders above files hold: `dt=2024-01-02/hour=03` gives `dt` and `hour`, in every format.

Spark's own discovery of them leaves out files that lie beside such folders, and knows none above `--input`.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Collection, Iterable
from functools import reduce
from typing import Final
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import AtomicType, StringType, StructType

from jobs.errors import ConfigurationError
from transforms.columns import FAULT, SOURCE_FILE, quoted
from transforms.conversions import converted, is_converted
from transforms.parsing import MISMATCH

_FOLDER: Final = re.compile(r"(?<=/)([^/=]+)=([^/]*)(?=/)")
_NO_ESCAPE: Final = "%(?![0-9A-Fa-f]{2})"
_NULL: Final = "__HIVE_DEFAULT_PARTITION__"

log = logging.getLogger(__name__)


def folder_keys(files: Iterable[str]) -> dict[str, int]:
    """Find the keys of the folders above some files, and below how many of the files' folders each stands.

    Names are in lower case: keys that differ in case alone are one column.

    Args:
        files: by path, as Hadoop writes it.

    Examples:
        >>> folder_keys(["file:/logs/day=1/a.parquet", "file:/logs/b.parquet", "file:/logs/DAY=2/a%3AB=2/c.orc"])
        {'day': 2, 'a:b': 1}
    """
    counts: dict[str, int] = {}
    folders: dict[str, int] = {}
    for path in files:
        folder = path.rpartition("/")[0]
        folders[folder] = folders.get(folder, 0) + 1
    for folder, count in folders.items():
        for key in dict.fromkeys(unquote(key).lower() for key, _ in _FOLDER.findall(f"{folder}/")):
            counts[key] = counts.get(key, 0) + count
    return counts


def folder_value(path: Column, name: str) -> Column:
    """Read a key's value from a file's URI, as text; null where the file lies below no such folder.

    Escapes in it stand for what they say, unless one of a value's is none.

    Args:
        path: the URI.
        name: the key, in any case of letters.

    Examples:
        >>> paths = ["file:/in/City=K%253Aln+1/a", "file:/in/city=/a", "file:/a"]
        >>> df = spark.createDataFrame([(path,) for path in paths], "p STRING")
        >>> [row[0] for row in df.select(folder_value(F.col("p"), "city")).collect()]
        ['K:ln+1', None, None]
    """
    # A path's own `+` is no space, which is what url_decode takes it for.
    plain = F.url_decode(F.replace(path, F.lit("+"), F.lit("%2B")))
    value = F.regexp_extract(plain, f"(?iu)/{_key_pattern(name)}=([^/]*)/", 1)
    decoded = F.url_decode(F.replace(value, F.lit("+"), F.lit("%2B")))
    value = F.when(value.rlike(_NO_ESCAPE), value).otherwise(decoded)
    return F.when(~value.isin("", _NULL), value)


def _key_pattern(name: str) -> str:
    """Match a key as it is, or with escapes as Hive writes them."""
    parts = [char if char.isalnum() else f"(?:{re.escape(char)}|%{ord(char):02x})" for char in name]
    return "".join(parts)


def check_partitions(files: Collection[str], partitions: StructType) -> None:
    """See that files lie below the folders that a mapping says they do.

    Raises:
        ConfigurationError: none does.
    """
    keys = folder_keys(files)
    faults = []
    for name in partitions.names:
        below = keys.get(name.lower(), 0)
        if not below:
            near = difflib.get_close_matches(name.lower(), keys, n=1)
            hint = f"did you mean {near[0]}?" if near else "take it out of [source] partitions, or give other files"
            faults.append(f"--input: no file lies below a folder {name}=..., which [source] partitions names; {hint}")
        elif below < len(files):
            log.warning("--input: %d files lie below no folder %s=...: it is null there", len(files) - below, name)
    if faults:
        raise ConfigurationError(*faults)


def add_folder_values(
    records: DataFrame, schema: StructType, partitions: StructType, keys: Collection[str] | None = None
) -> DataFrame:
    """Fill a record's columns from the folders above its file, where the record itself has no value.

    Args:
        records: with the schema's columns, `_source_file` and `_fault`.
        schema: the columns of a record.
        partitions: columns that only folders hold; they are added.
        keys: those that the folders have, in lower case; None where they are not known.

    Returns:
        The records. One whose folder's value is not of the column's type is a mismatch.
    """
    own = [field for field in schema if isinstance(field.dataType, AtomicType)]
    filled = {field.name: field.dataType for field in own if keys is None or field.name.lower() in keys}
    if not filled and not partitions.names:
        return records
    path, text = F.col(SOURCE_FILE), StringType()
    columns, lost = [], []
    for name in schema.names:
        value = F.col(quoted(name))
        if name in filled:
            of_folder = folder_value(path, name)
            lost.append(value.isNull() & ~is_converted(of_folder, text, filled[name]))
            value = F.coalesce(value, converted(of_folder, text, filled[name]))
        columns.append(value.alias(name))
    for field in partitions:
        of_folder = folder_value(path, field.name)
        lost.append(~is_converted(of_folder, text, field.dataType))
        columns.append(converted(of_folder, text, field.dataType).alias(field.name))
    mismatch = F.when(reduce(lambda one, other: one | other, lost), F.lit(MISMATCH))
    others = [F.col(name) for name in records.columns if name not in (*schema.names, FAULT)]
    return records.select(*columns, *others, F.coalesce(F.col(FAULT), mismatch).alias(FAULT))
