"""Hadoop's file systems, by which Spark reaches files: local disks, HDFS and object stores alike.

pyspark has no public API for files. Python's own libraries reach other stores than the cluster's, with other settings
and credentials. What a glob stands for, and how a file is decompressed, only the code of Spark's readers says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.spark_internals.errors import JavaError

_WHOLE: Final = 2**31 - 1
_CHECKSUM_FAULTS: Final = ("org.apache.hadoop.fs.ChecksumException", "java.io.EOFException")


class FileStatus(NamedTuple):
    """What lies at a path."""

    path: str
    is_folder: bool
    size: int


class ChecksumError(OSError):
    """A file and its `.crc` file disagree, or the `.crc` file is none."""


class HadoopFileSystem:
    """Files and folders, by path or URI; each method raises OSError, which names the path, in Java's words.

    Hadoop keeps a `.crc` file of checksums beside each file on a local disk. `checked=False` reaches past them.
    """

    def __init__(self, spark: SparkSession) -> None:
        context: Any = spark.sparkContext
        self._jvm: Any = spark._jvm
        # By its whole name, once: of a name with dots py4j asks the JVM part by part, which looks into each jar for it.
        self._path: Any = getattr(self._jvm, "org.apache.hadoop.fs.Path")
        self._conf: Any = context._jsc.hadoopConfiguration()
        self._codecs: dict[str, str | None] = {}

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder of exactly this name."""
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path)
            return bool(fs.exists(hadoop_path))

    def status(self, path: str) -> FileStatus | None:
        """Tell what lies at a path; None where there is nothing."""
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path)
            return _status(fs.getFileStatus(hadoop_path)) if fs.exists(hadoop_path) else None

    def files_below(self, folder: str) -> list[FileStatus]:
        """List all files in a folder and in those below it."""
        with _as_os_errors(folder):
            fs, hadoop_path = self._at(folder)
            listing, found = fs.listFiles(hadoop_path, True), []
            while listing.hasNext():
                found.append(_status(listing.next()))
            return found

    def folders(self, path: str) -> list[str]:
        """List the names of the folders in a folder, sorted; empty where there is no such folder."""
        with _as_os_errors(path):
            return sorted(_name(status) for status in self._statuses(path) if status.isDirectory())

    def children(self, path: str) -> list[str]:
        """List the names in a folder, sorted; empty where there is no such folder, or it is a file."""
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path)
            if not fs.exists(hadoop_path) or not fs.getFileStatus(hadoop_path).isDirectory():
                return []
            return sorted(map(_name, fs.listStatus(hadoop_path)))

    def sizes(self, path: str, *, checked: bool = True) -> dict[str, int]:
        """List the files in a folder with their sizes in bytes; empty where there is no such folder."""
        with _as_os_errors(path):
            return {_name(status): int(status.getLen()) for status in self._statuses(path, checked=checked)}

    def times(self, path: str) -> dict[str, int]:
        """List the files in a folder with when each was last written; empty where there is no such folder.

        In milliseconds by the store's own clock, which S3 cuts to seconds.
        """
        with _as_os_errors(path):
            return {_name(status): int(status.getModificationTime()) for status in self._statuses(path)}

    def statuses(self, folder: str) -> list[FileStatus]:
        """List what is in a folder, sorted by path; empty where there is no such folder, or it is a file."""
        with _as_os_errors(folder):
            fs, hadoop_path = self._at(folder)
            if not fs.exists(hadoop_path) or not fs.getFileStatus(hadoop_path).isDirectory():
                return []
            return sorted(map(_status, fs.listStatus(hadoop_path)), key=lambda status: status.path)

    def split_path(self, path_or_glob: str) -> tuple[str, str]:
        """Cut a path or glob, made absolute, into its file system and the place there.

        Returns:
            The scheme with the authority, e.g. `s3a://bucket`, and the path, which begins with a slash.
        """
        with _as_os_errors(path_or_glob):
            fs, hadoop_path = self._at(path_or_glob)
            uri = fs.makeQualified(hadoop_path).toUri()
            return f"{uri.getScheme()}://{uri.getAuthority() or ''}", str(uri.getPath())

    def glob_components(self, pattern: str) -> list[list[str]]:
        """Cut a glob, whose braces may hold slashes, into the components of the paths that it stands for."""
        return [str(one).split("/") for one in self._jvm.org.apache.hadoop.fs.GlobExpander.expand(pattern)]

    def glob_pattern(self, component: str) -> re.Pattern[str] | None:
        """Make a regular expression of one component of a glob; None where it is a plain name."""
        glob = self._jvm.org.apache.hadoop.fs.GlobPattern(component)
        return re.compile(glob.compiled().pattern(), re.DOTALL) if glob.hasWildcard() else None

    def local_path(self, path_or_glob: str) -> str | None:
        """Name the same place as Python does, absolute, where it lies on the driver's own disk; else None."""
        with _as_os_errors(path_or_glob):
            fs, hadoop_path = self._at(path_or_glob)
            uri = fs.makeQualified(hadoop_path).toUri()
            return str(uri.getPath()) if uri.getScheme() == "file" else None

    def writes_utf8_names(self) -> bool:
        """Whether the JVM's file names are UTF-8: otherwise it can neither read nor write names beyond ASCII."""
        return str(self._jvm.java.lang.System.getProperty("sun.jnu.encoding")).upper().replace("-", "") == "UTF8"

    def decode(self, text: bytes, encoding: str) -> str:
        """Decode bytes by any of the encodings that Java knows, as Spark's readers do. Python knows others."""
        with _as_os_errors(f"text in {encoding}"):
            return str(self._jvm.java.lang.String(bytearray(text), encoding))

    def keeps_checksums(self, path: str) -> bool:
        """Whether the file system of a path keeps `.crc` files."""
        with _as_os_errors(path):
            return self._has_checksums(self._at(path)[0])

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it."""
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path)
            if not fs.mkdirs(hadoop_path):
                raise OSError("the folder cannot be made")

    def delete(self, path: str, *, checked: bool = True) -> None:
        """Delete a file, or a folder with all that is in it; no matter whether it is there."""
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path, checked=checked)
            fs.delete(hadoop_path, True)

    def read_content(self, path: str, limit: int = _WHOLE, *, checked: bool = True) -> bytes:
        """Read a file's first bytes as they are.

        Raises:
            ChecksumError: the file and its `.crc` file disagree.
        """
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path, checked=checked)
            return _first_bytes(fs.open(hadoop_path), limit)

    def read_decompressed(self, path: str, limit: int) -> bytes:
        """Read a file's first bytes as Spark does: decompressed, where its name says that it is compressed."""
        with _as_os_errors(path):
            streams = self._jvm.org.apache.spark.sql.execution.datasources.CodecStreams
            return _first_bytes(streams.createInputStreamWithCloseResource(self._conf, self._path(path)), limit)

    def read_end(self, path: str, limit: int) -> bytes:
        """Read a file's last bytes as they are."""
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path)
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
                factory = self._jvm.org.apache.hadoop.io.compress.CompressionCodecFactory(self._conf)
                codec = factory.getCodec(self._path(f"file:/name.{ending}"))
                self._codecs[ending] = None if codec is None else str(codec.getClass().getSimpleName())
        return self._codecs[ending]

    def write(self, path: str, content: bytes, *, overwrite: bool) -> None:
        """Write a small file in one put; where it exists already, refuse or replace it."""
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path)
            stream = fs.create(hadoop_path, overwrite)
            stream.write(bytearray(content))
            stream.close()

    def _statuses(self, path: str, *, checked: bool = True) -> Iterable[Any]:
        fs, hadoop_path = self._at(path, checked=checked)
        found: Iterable[Any] = fs.listStatus(hadoop_path) if fs.exists(hadoop_path) else []
        return found

    def _at(self, path: str, *, checked: bool = True) -> tuple[Any, Any]:
        hadoop_path = self._path(path)
        fs = hadoop_path.getFileSystem(self._conf)
        return (fs if checked or not self._has_checksums(fs) else fs.getRawFileSystem()), hadoop_path

    def _has_checksums(self, fs: Any) -> bool:
        return bool(self._jvm.java.lang.Class.forName("org.apache.hadoop.fs.ChecksumFileSystem").isInstance(fs))


def _status(status: Any) -> FileStatus:
    return FileStatus(str(status.getPath().toString()), bool(status.isDirectory()), int(status.getLen()))


def _name(status: Any) -> str:
    return str(status.getPath().getName())


def _first_bytes(stream: Any, limit: int) -> bytes:
    try:
        return bytes(stream.readNBytes(limit))
    finally:
        stream.close()


@contextmanager
def _as_os_errors(path: str) -> Iterator[None]:
    """Turn Java's exceptions, which pyspark gives two names, into the one that callers know; it names the path."""
    try:
        yield
    except JavaError as error:
        java = error.java_exception
        message = _naming(path, f"{java.getClass().getSimpleName()}: {java.getMessage()}")
        raise (ChecksumError if _is_checksum_fault(str(java.toString())) else OSError)(message) from None
    except PySparkException as error:
        raise OSError(_naming(path, str(error))) from None


def _is_checksum_fault(fault: str) -> bool:
    """Whether a file and its `.crc` file disagree; an empty one ends too early, one of zeroes is none."""
    return fault.startswith(_CHECKSUM_FAULTS) or "Not a checksum file" in fault


def _naming(path: str, message: str) -> str:
    first = message.split("\n", maxsplit=1)[0]
    return first if path in first else f"{path}: {first}"
