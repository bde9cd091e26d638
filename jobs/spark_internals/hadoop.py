"""Hadoop's file systems, through which Spark accesses files on local disks, HDFS and object stores.

pyspark has no public API for files. Python's own libraries do not have the cluster's settings and credentials. Only the
code of Spark's readers defines which files a glob matches, and how a file is decompressed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.spark_internals.errors import JavaError

_WHOLE_FILE: Final = 2**31 - 1
_CHECKSUM_FAULTS: Final = ("org.apache.hadoop.fs.ChecksumException", "java.io.EOFException")


class FileStatus(NamedTuple):
    """A file or folder at a path."""

    path: str
    is_folder: bool
    size: int


class ChecksumError(OSError):
    """A file and its `.crc` file disagree, or the `.crc` file is malformed."""


class HadoopFileSystem:
    """Files and folders, by path or URI. Each method raises OSError with the path and Java's message.

    Hadoop keeps a `.crc` file of checksums beside each file on a local disk. `checked=False` ignores them.
    """

    def __init__(self, spark: SparkSession) -> None:
        context: Any = spark.sparkContext
        self._jvm: Any = spark._jvm
        # By its whole name, once: py4j resolves a name with dots part by part, and the JVM then searches each jar.
        self._make_path: Any = getattr(self._jvm, "org.apache.hadoop.fs.Path")
        self._hadoop_conf: Any = context._jsc.hadoopConfiguration()
        self._codecs: dict[str, str | None] = {}

    def exists(self, path: str) -> bool:
        """Whether a file or folder of exactly this name exists."""
        with _as_os_errors(path):
            fs, hadoop_path = self._resolve_path(path)
            return bool(fs.exists(hadoop_path))

    def status(self, path: str) -> FileStatus | None:
        """Get the status of a file or folder; None if there is none."""
        with _as_os_errors(path):
            fs, hadoop_path = self._resolve_path(path)
            return _to_file_status(fs.getFileStatus(hadoop_path)) if fs.exists(hadoop_path) else None

    def files_below(self, folder: str) -> list[FileStatus]:
        """List all files in a folder, recursively."""
        with _as_os_errors(folder):
            fs, hadoop_path = self._resolve_path(folder)
            listing, found = fs.listFiles(hadoop_path, True), []
            while listing.hasNext():
                found.append(_to_file_status(listing.next()))
            return found

    def folders(self, path: str) -> list[str]:
        """List the names of the folders in a folder, sorted; empty if the folder does not exist."""
        with _as_os_errors(path):
            return sorted(_to_name(status) for status in self._list_statuses(path) if status.isDirectory())

    def children(self, path: str) -> list[str]:
        """List the names in a folder, sorted; empty if the folder does not exist, or is a file."""
        with _as_os_errors(path):
            fs, hadoop_path = self._resolve_path(path)
            if not fs.exists(hadoop_path) or not fs.getFileStatus(hadoop_path).isDirectory():
                return []
            return sorted(map(_to_name, fs.listStatus(hadoop_path)))

    def sizes(self, path: str, *, checked: bool = True) -> dict[str, int]:
        """List the files in a folder with their sizes in bytes; empty if the folder does not exist."""
        with _as_os_errors(path):
            return {_to_name(status): int(status.getLen()) for status in self._list_statuses(path, checked=checked)}

    def times(self, path: str) -> dict[str, int]:
        """List the files in a folder with the time of their last write; empty if the folder does not exist.

        The times are milliseconds by the store's own clock, which S3 truncates to seconds.
        """
        with _as_os_errors(path):
            return {_to_name(status): int(status.getModificationTime()) for status in self._list_statuses(path)}

    def statuses(self, folder: str) -> list[FileStatus]:
        """List what is in a folder, sorted by path; empty where there is no such folder, or it is a file."""
        with _as_os_errors(folder):
            fs, hadoop_path = self._resolve_path(folder)
            if not fs.exists(hadoop_path) or not fs.getFileStatus(hadoop_path).isDirectory():
                return []
            return sorted(map(_to_file_status, fs.listStatus(hadoop_path)), key=lambda status: status.path)

    def split_path(self, path_or_glob: str) -> tuple[str, str]:
        """Cut a path or glob, made absolute, into its file system and the place there.

        Returns:
            The scheme with the authority, e.g. `s3a://bucket`, and the path, which begins with a slash.
        """
        with _as_os_errors(path_or_glob):
            fs, hadoop_path = self._resolve_path(path_or_glob)
            uri = fs.makeQualified(hadoop_path).toUri()
            return f"{uri.getScheme()}://{uri.getAuthority() or ''}", str(uri.getPath())

    def glob_components(self, pattern: str) -> list[list[str]]:
        """Expand the braces of a glob, which may hold slashes, and split each result into path components."""
        return [str(one).split("/") for one in self._jvm.org.apache.hadoop.fs.GlobExpander.expand(pattern)]

    def glob_pattern(self, component: str) -> re.Pattern[str] | None:
        """Make a regular expression of one component of a glob; None if it is a plain name."""
        glob = self._jvm.org.apache.hadoop.fs.GlobPattern(component)
        return re.compile(glob.compiled().pattern(), re.DOTALL) if glob.hasWildcard() else None

    def local_path(self, path_or_glob: str) -> str | None:
        """Give the absolute path for Python, if the path or glob is on the driver's disk; otherwise None."""
        with _as_os_errors(path_or_glob):
            fs, hadoop_path = self._resolve_path(path_or_glob)
            uri = fs.makeQualified(hadoop_path).toUri()
            return str(uri.getPath()) if uri.getScheme() == "file" else None

    def writes_utf8_names(self) -> bool:
        """Whether the JVM's file names are UTF-8. Otherwise it can neither read nor write names beyond ASCII."""
        return str(self._jvm.java.lang.System.getProperty("sun.jnu.encoding")).upper().replace("-", "") == "UTF8"

    def decode(self, text: bytes, encoding: str) -> str:
        """Decode bytes by one of Java's encodings, as Spark's readers do. Python has other encodings."""
        with _as_os_errors(f"text in {encoding}"):
            return str(self._jvm.java.lang.String(bytearray(text), encoding))

    def keeps_checksums(self, path: str) -> bool:
        """Whether the file system of a path keeps `.crc` files."""
        with _as_os_errors(path):
            return self._has_checksums(self._resolve_path(path)[0])

    def make_folder(self, path: str) -> None:
        """Make a folder and its parents."""
        with _as_os_errors(path):
            fs, hadoop_path = self._resolve_path(path)
            if not fs.mkdirs(hadoop_path):
                raise OSError("the folder cannot be made")

    def delete(self, path: str, *, checked: bool = True) -> None:
        """Delete a file, or a folder with its content, if it exists."""
        with _as_os_errors(path):
            fs, hadoop_path = self._resolve_path(path, checked=checked)
            fs.delete(hadoop_path, True)

    def read_content(self, path: str, limit: int = _WHOLE_FILE, *, checked: bool = True) -> bytes:
        """Read a file's first bytes without decompressing them.

        Raises:
            ChecksumError: the file and its `.crc` file disagree.
        """
        with _as_os_errors(path):
            fs, hadoop_path = self._resolve_path(path, checked=checked)
            return _first_bytes(fs.open(hadoop_path), limit)

    def read_decompressed(self, path: str, limit: int) -> bytes:
        """Read a file's first bytes as Spark does: decompressed, if its name says that it is compressed."""
        with _as_os_errors(path):
            streams = self._jvm.org.apache.spark.sql.execution.datasources.CodecStreams
            return _first_bytes(
                streams.createInputStreamWithCloseResource(self._hadoop_conf, self._make_path(path)), limit
            )

    def read_end(self, path: str, limit: int) -> bytes:
        """Read a file's last bytes as they are."""
        with _as_os_errors(path):
            fs, hadoop_path = self._resolve_path(path)
            size = int(fs.getFileStatus(hadoop_path).getLen())
            stream = fs.open(hadoop_path)
            stream.seek(max(size - limit, 0))
            return _first_bytes(stream, limit)

    def codec_of(self, path: str) -> str | None:
        """Name the class that unpacks a file when Spark reads it, by the end of the file's name; None where none does.

        Each ending is looked up once.
        """
        _, dot, ending = path.rpartition("/")[2].rpartition(".")
        if not dot or not ending.isalnum():
            return None
        if ending not in self._codecs:
            with _as_os_errors(path):
                factory = self._jvm.org.apache.hadoop.io.compress.CompressionCodecFactory(self._hadoop_conf)
                codec = factory.getCodec(self._make_path(f"file:/name.{ending}"))
                self._codecs[ending] = None if codec is None else str(codec.getClass().getSimpleName())
        return self._codecs[ending]

    def write(self, path: str, content: bytes, *, overwrite: bool) -> None:
        """Write a small file in one put; if it exists, replace it or fail."""
        with _as_os_errors(path):
            fs, hadoop_path = self._resolve_path(path)
            stream = fs.create(hadoop_path, overwrite)
            stream.write(bytearray(content))
            stream.close()

    def _list_statuses(self, path: str, *, checked: bool = True) -> Iterable[Any]:
        fs, hadoop_path = self._resolve_path(path, checked=checked)
        found: Iterable[Any] = fs.listStatus(hadoop_path) if fs.exists(hadoop_path) else []
        return found

    def _resolve_path(self, path: str, *, checked: bool = True) -> tuple[Any, Any]:
        hadoop_path = self._make_path(path)
        fs = hadoop_path.getFileSystem(self._hadoop_conf)
        return (fs if checked or not self._has_checksums(fs) else fs.getRawFileSystem()), hadoop_path

    def _has_checksums(self, fs: Any) -> bool:
        return bool(self._jvm.java.lang.Class.forName("org.apache.hadoop.fs.ChecksumFileSystem").isInstance(fs))


def _to_file_status(status: Any) -> FileStatus:
    return FileStatus(str(status.getPath().toString()), bool(status.isDirectory()), int(status.getLen()))


def _to_name(status: Any) -> str:
    return str(status.getPath().getName())


def _first_bytes(stream: Any, limit: int) -> bytes:
    try:
        return bytes(stream.readNBytes(limit))
    finally:
        stream.close()


@contextmanager
def _as_os_errors(path: str) -> Iterator[None]:
    """Turn both classes of Java exceptions into OSError with the path."""
    try:
        yield
    except JavaError as error:
        java = error.java_exception
        message = _add_path(path, f"{java.getClass().getSimpleName()}: {java.getMessage()}")
        raise (ChecksumError if _is_checksum_fault(str(java.toString())) else OSError)(message) from None
    except PySparkException as error:
        raise OSError(_add_path(path, str(error))) from None


def _is_checksum_fault(fault: str) -> bool:
    """Whether an error is about a `.crc` file: it disagrees with its file, ends too early, or is malformed."""
    return fault.startswith(_CHECKSUM_FAULTS) or "Not a checksum file" in fault


def _add_path(path: str, message: str) -> str:
    first = message.split("\n", maxsplit=1)[0]
    return first if path in first else f"{path}: {first}"
