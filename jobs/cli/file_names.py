"""Checks file names beyond ASCII. A JVM in a locale without UTF-8 can neither read nor write them."""

from __future__ import annotations

from pyspark.sql import SparkSession

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import NO_UTF8, FileSystem


def require_writable_name(option: str, path: str, spark: SparkSession) -> None:
    """Check that the JVM can write a path on the driver's disk under its real name.

    spark-submit replaces a letter that it cannot read by `?`, which no real folder of tables has in its name.

    Raises:
        ConfigurationError: the JVM would write into a folder of another name.
    """
    files = FileSystem(spark)
    try:
        local = files.local_path(path)
    except OSError:  # no file system knows the path: its first use reports that
        return
    if local is None or files.writes_utf8_names():
        return
    if not local.isascii() or "?" in local:
        raise ConfigurationError(f"{option} {path}: {NO_UTF8}")
