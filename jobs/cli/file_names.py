"""File names beyond ASCII: a JVM that was started in a locale without UTF-8 can neither read nor write them."""

from __future__ import annotations

from pyspark.sql import SparkSession

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import NO_UTF8, FileSystem


def require_writable_name(option: str, path: str, spark: SparkSession) -> None:
    """Check that the JVM can write a path of the driver's disk as it is.

    spark-submit itself hands on a letter that it cannot read as `?`, which no folder of tables bears otherwise.

    Raises:
        ConfigurationError: it would write into a folder of another name.
    """
    files = FileSystem(spark)
    try:
        local = files.local_path(path)
    except OSError:  # a path that no file system knows: whoever uses it says so
        return
    if local is None or files.writes_utf8_names():
        return
    if not local.isascii() or "?" in local:
        raise ConfigurationError(f"{option} {path}: {NO_UTF8}")
