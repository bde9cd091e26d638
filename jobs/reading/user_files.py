"""Small files that users write, mappings and thresholds: read as text, their faults told a line each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from pyspark.sql import SparkSession

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem
from transforms.mapping.model import ConfigFault


def read_user_file(option: str, path: str, spark: SparkSession) -> str:
    """Read a file that an option names, as UTF-8; an editor's byte order mark is no part of it.

    Args:
        option: for messages.
        path: of the driver's own machine, or a URI that Spark can read: where a cluster runs the driver, its disk has
            no files of the user's.
        spark: reads URIs.

    Raises:
        ConfigurationError: it cannot be read.
    """
    return _read(option, path, FileSystem(spark).read_bytes if is_uri(path) else _read_local)


def check_local_file(option: str, path: str) -> None:
    """See, before Spark is started, that a file of the driver's own machine can be read; a URI is left to Spark.

    Raises:
        ConfigurationError: it cannot.
    """
    if not is_uri(path):
        _read(option, path, _read_local)


def _read_local(path: str) -> bytes:
    return Path(path).read_bytes()


def _read(option: str, path: str, read: Callable[[str], bytes]) -> str:
    try:
        return read(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{option} {path}: cannot be read as UTF-8 text ({error})") from None


def is_uri(path: str) -> bool:
    """Whether a path names its file system.

    Examples:
        >>> is_uri("s3://conf/shop.toml"), is_uri("conf/shop.toml")
        (True, False)
    """
    return "://" in path


def faulty(name: str, faults: Iterable[ConfigFault]) -> ConfigurationError:
    """Tell the faults of a file, in the order of its lines."""
    return ConfigurationError(*[fault.describe(name) for fault in sorted(faults, key=lambda fault: fault.line)])
