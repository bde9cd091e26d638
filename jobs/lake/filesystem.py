"""Files through Spark's own Hadoop FileSystem: local disks, HDFS and object stores alike."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

NO_UTF8: Final = "Java was started in a locale without UTF-8 and cannot open such names: set LC_ALL=C.UTF-8"


_WHOLE: Final = 2**31 - 1
_CHECKSUM_FAULTS: Final = ("org.apache.hadoop.fs.ChecksumException", "java.io.EOFException")


class FileStatus(NamedTuple):
    """What lies at a path."""

    path: str
    is_folder: bool
    size: int


class FileSystem:
    """Small files and folders, by path or URI.

    Nothing here renames: on object stores a rename is a copy, and not atomic. Every method raises OSError, which names
    the path, where the store cannot do what it is asked.

    Hadoop keeps a `.crc` file of checksums beside each file on a local disk. A crash may damage either of the two, so
    `read` and `read_bytes` return a file as it is also when the two disagree, and log its name: whether a small file is
    whole, its own content says.
    """

    def __init__(self, spark: SparkSession) -> None:
        self._jvm: Any = spark._jvm
        # By its whole name, once: of a name with dots py4j asks the JVM part by part, which looks into each jar for it.
        self._path: Any = getattr(self._jvm, "org.apache.hadoop.fs.Path")
        self._conf: Any = spark._jsc.hadoopConfiguration()
        self._named: set[str] = set()

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

    def glob(self, pattern: str) -> list[FileStatus]:
        """List what a glob stands for, sorted by path."""
        with _as_os_errors(pattern):
            fs, hadoop_path = self._at(pattern)
            return sorted(map(_status, fs.globStatus(hadoop_path) or []), key=lambda status: status.path)

    def files_below(self, folder: str) -> list[FileStatus]:
        """List all files in a folder and in those below it."""
        with _as_os_errors(folder):
            fs, hadoop_path = self._at(folder)
            listing, found = fs.listFiles(hadoop_path, True), []
            while listing.hasNext():
                found.append(_status(listing.next()))
            return found

    def local_path(self, path_or_glob: str) -> str | None:
        """Name the same place as Python does, absolute, where it lies on the driver's own disk; else None."""
        with _as_os_errors(path_or_glob):
            fs, hadoop_path = self._at(path_or_glob)
            uri = fs.makeQualified(hadoop_path).toUri()
            return str(uri.getPath()) if uri.getScheme() == "file" else None

    def glob_components(self, pattern: str) -> list[list[str]]:
        """Cut a glob, whose braces may hold slashes, into the components of the paths that it stands for."""
        return [str(one).split("/") for one in self._jvm.org.apache.hadoop.fs.GlobExpander.expand(pattern)]

    def glob_pattern(self, component: str) -> re.Pattern[str] | None:
        """Make a regular expression of one component of a glob; None where it is a plain name."""
        glob = self._jvm.org.apache.hadoop.fs.GlobPattern(component)
        return re.compile(glob.compiled().pattern(), re.DOTALL) if glob.hasWildcard() else None

    def writes_utf8_names(self) -> bool:
        """Whether the JVM's file names are UTF-8: otherwise it can neither read nor write names beyond ASCII."""
        return str(self._jvm.java.lang.System.getProperty("sun.jnu.encoding")).upper().replace("-", "") == "UTF8"

    def read_start(self, path: str, limit: int, *, decompressed: bool = True) -> bytes:
        """Read a file's first bytes as Spark does: decompressed, where its name says that it is compressed."""
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path)
            streams = self._jvm.org.apache.spark.sql.execution.datasources.CodecStreams
            open_ = streams.createInputStreamWithCloseResource
            stream = open_(self._conf, hadoop_path) if decompressed else fs.open(hadoop_path)
            try:
                return bytes(stream.readNBytes(limit))
            finally:
                stream.close()

    def folders(self, path: str) -> list[str]:
        """List the names of the folders in a folder, sorted; empty where there is no such folder."""
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path)
            found = fs.listStatus(hadoop_path) if fs.exists(hadoop_path) else []
            return sorted(str(status.getPath().getName()) for status in found if status.isDirectory())

    def children(self, path: str) -> list[str]:
        """List the names in a folder, sorted; empty where there is no such folder, or it is a file."""
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path)
            if not fs.exists(hadoop_path) or not fs.getFileStatus(hadoop_path).isDirectory():
                return []
            return sorted(str(status.getPath().getName()) for status in fs.listStatus(hadoop_path))

    def decode(self, text: bytes, encoding: str) -> str:
        """Decode bytes by any of the encodings that Java knows, as Spark's readers do."""
        with _as_os_errors(f"text in {encoding}"):
            return str(self._jvm.java.lang.String(bytearray(text), encoding))

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it."""
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path)
            if not fs.mkdirs(hadoop_path):
                raise OSError("the folder cannot be made")

    def delete(self, path: str) -> None:
        """Delete a file, or a folder with all that is in it; no matter whether it is there."""
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path)
            fs.delete(hadoop_path, True)

    def read(self, path: str) -> str:
        """Read a small file whole, as UTF-8."""
        return self.read_bytes(path).decode(errors="replace")

    def read_bytes(self, path: str) -> bytes:
        """Read a small file whole."""
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path)
            try:
                return self._content(fs, hadoop_path)
            except Py4JJavaError as error:
                unchecked = self._unchecked(fs)
                if unchecked is None or not _is_checksum_fault(error.java_exception):
                    raise
                if path not in self._named:
                    self._named.add(path)
                    log.warning("%s: differs from its .crc file, as after a power loss: its content counts", path)
                return self._content(unchecked, hadoop_path)

    def sizes(self, path: str) -> dict[str, int]:
        """List the files in a folder with their sizes in bytes; empty where there is no such folder."""
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path)
            if not fs.exists(hadoop_path):
                return {}
            return {str(status.getPath().getName()): int(status.getLen()) for status in fs.listStatus(hadoop_path)}

    def times(self, path: str) -> dict[str, int]:
        """List the files in a folder with when each was last written; empty where there is no such folder.

        In milliseconds by the store's own clock, which S3 cuts to seconds.
        """
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path)
            found = fs.listStatus(hadoop_path) if fs.exists(hadoop_path) else []
            return {str(status.getPath().getName()): int(status.getModificationTime()) for status in found}

    def drop_broken_checksums(self, folder: str) -> int:
        """Delete the `.crc` files of a folder that have not the form of one; say how many. Only local disks have any.

        Such a file holds `crc` and a zero, how many bytes one checksum is of, and the checksums, in four bytes each.
        """
        with _as_os_errors(folder):
            fs, hadoop_path = self._at(folder)
            unchecked, broken = self._unchecked(fs), 0
            if unchecked is None or not fs.exists(hadoop_path):
                return 0
            sizes = {str(one.getPath().getName()): int(one.getLen()) for one in unchecked.listStatus(hadoop_path)}
            for name, size in sizes.items():
                of = name.removeprefix(".").removesuffix(".crc")
                if f".{of}.crc" == name and of in sizes:
                    path = self._path(hadoop_path, name)
                    if not _is_checksum_file(size, self._content(unchecked, path, 8) if size else b"", sizes[of]):
                        log.warning("%s/%s: cut short, as by a power loss: it is deleted", folder, name)
                        unchecked.delete(path, False)
                        broken += 1
            return broken

    def create(self, path: str, content: str | bytes) -> None:
        """Write a new small file, text as UTF-8, in one put; refuses where it exists already."""
        self._write(path, content, overwrite=False)

    def replace(self, path: str, content: str | bytes) -> None:
        """Write a small file, text as UTF-8, in one put, over what may be there."""
        self._write(path, content, overwrite=True)

    def _write(self, path: str, content: str | bytes, *, overwrite: bool) -> None:
        with _as_os_errors(path):
            fs, hadoop_path = self._at(path)
            stream = fs.create(hadoop_path, overwrite)
            stream.write(bytearray(content.encode() if isinstance(content, str) else content))
            stream.close()

    def _unchecked(self, fs: Any) -> Any | None:
        """Give the file system below one that keeps `.crc` files; None where it keeps none."""
        keeps = self._jvm.java.lang.Class.forName("org.apache.hadoop.fs.ChecksumFileSystem")
        return fs.getRawFileSystem() if keeps.isInstance(fs) else None

    def _content(self, fs: Any, hadoop_path: Any, limit: int = _WHOLE) -> bytes:
        stream = fs.open(hadoop_path)
        try:
            return bytes(stream.readNBytes(limit))
        finally:
            stream.close()

    def _at(self, path: str) -> tuple[Any, Any]:
        hadoop_path = self._path(path)
        return hadoop_path.getFileSystem(self._conf), hadoop_path


def in_a_thread(work: Callable[[], object], seconds: float = 60.0) -> None:
    """Do something with the JVM after KeyboardInterrupt, which may have come while this thread waited for its answer.

    Each thread has a connection of its own: on this one the next call would read the answer to the last.

    Args:
        work: may fail.
        seconds: how long it may take: the JVM may be gone, or be stopped.
    """

    def attempt() -> None:
        with suppress(Exception):
            work()

    thread = threading.Thread(target=attempt, name="tidying up", daemon=True)
    thread.start()
    thread.join(seconds)


def _status(status: Any) -> FileStatus:
    return FileStatus(str(status.getPath().toString()), bool(status.isDirectory()), int(status.getLen()))


def _is_checksum_file(size: int, header: bytes, of: int) -> bool:
    """Whether a `.crc` file has the form of one that belongs to a file of so many bytes.

    Args:
        size: in bytes.
        header: its first eight bytes.
        of: the size of the file.

    Examples:
        >>> header = b"crc\\0" + (512).to_bytes(4)
        >>> [_is_checksum_file(*each, 600) for each in ((16, header), (12, header), (0, b""), (16, bytes(8)))]
        [True, False, False, False]
    """
    each = int.from_bytes(header[4:])
    return header.startswith(b"crc\0") and each > 0 and size == 8 + 4 * -(-of // each)


def _is_checksum_fault(java_exception: Any) -> bool:
    """Whether a file and its `.crc` file disagree; an empty one ends too early, one of zeroes is none."""
    fault = str(java_exception.toString())
    return fault.startswith(_CHECKSUM_FAULTS) or "Not a checksum file" in fault


@contextmanager
def _as_os_errors(path: str) -> Iterator[None]:
    """Turn Java's exceptions, which pyspark gives two names, into the one that callers know; it names the path."""
    try:
        yield
    except Py4JJavaError as error:
        java = error.java_exception
        raise OSError(_naming(path, f"{java.getClass().getSimpleName()}: {java.getMessage()}")) from None
    except PySparkException as error:
        raise OSError(_naming(path, str(error))) from None


def _naming(path: str, message: str) -> str:
    first = message.split("\n", maxsplit=1)[0]
    return first if path in first else f"{path}: {first}"


def literal(path: str) -> str:
    """Keep a plain name from being taken for a glob."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", path)
