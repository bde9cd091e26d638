"""Files through Spark's own Hadoop FileSystem: local disks, HDFS and object stores alike."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

NO_UTF8: Final = "Java was started in a locale without UTF-8 and cannot open such names: set LC_ALL=C.UTF-8"


class FileStatus(NamedTuple):
    """What lies at a path."""

    path: str
    is_folder: bool
    size: int


class FileSystem:
    """Small files and folders, by path or URI.

    Nothing here renames: on object stores a rename is a copy, and not atomic. Every method raises OSError where the
    store cannot do what it is asked.
    """

    def __init__(self, spark: SparkSession) -> None:
        self._jvm: Any = spark._jvm
        self._conf: Any = spark._jsc.hadoopConfiguration()

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder of exactly this name."""
        with _as_os_errors():
            fs, hadoop_path = self._at(path)
            return bool(fs.exists(hadoop_path))

    def status(self, path: str) -> FileStatus | None:
        """Tell what lies at a path; None where there is nothing."""
        with _as_os_errors():
            fs, hadoop_path = self._at(path)
            return _status(fs.getFileStatus(hadoop_path)) if fs.exists(hadoop_path) else None

    def glob(self, pattern: str) -> list[FileStatus]:
        """List what a glob stands for, sorted by path."""
        with _as_os_errors():
            fs, hadoop_path = self._at(pattern)
            return sorted(map(_status, fs.globStatus(hadoop_path) or []), key=lambda status: status.path)

    def files_below(self, folder: str) -> list[FileStatus]:
        """List all files in a folder and in those below it."""
        with _as_os_errors():
            fs, hadoop_path = self._at(folder)
            listing, found = fs.listFiles(hadoop_path, True), []
            while listing.hasNext():
                found.append(_status(listing.next()))
            return found

    def local_path(self, path_or_glob: str) -> str | None:
        """Name the same place as Python does, absolute, where it lies on the driver's own disk; else None."""
        with _as_os_errors():
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
        with _as_os_errors():
            fs, hadoop_path = self._at(path)
            streams = self._jvm.org.apache.spark.sql.execution.datasources.CodecStreams
            open_ = streams.createInputStreamWithCloseResource
            stream = open_(self._conf, hadoop_path) if decompressed else fs.open(hadoop_path)
            try:
                return bytes(stream.readNBytes(limit))
            finally:
                stream.close()

    def children(self, path: str) -> list[str]:
        """List the names in a folder, sorted; empty where there is no such folder, or it is a file."""
        with _as_os_errors():
            fs, hadoop_path = self._at(path)
            if not fs.exists(hadoop_path) or not fs.getFileStatus(hadoop_path).isDirectory():
                return []
            return sorted(str(status.getPath().getName()) for status in fs.listStatus(hadoop_path))

    def decode(self, text: bytes, encoding: str) -> str:
        """Decode bytes by any of the encodings that Java knows, as Spark's readers do."""
        with _as_os_errors():
            return str(self._jvm.java.lang.String(bytearray(text), encoding))

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it."""
        with _as_os_errors():
            fs, hadoop_path = self._at(path)
            if not fs.mkdirs(hadoop_path):
                raise OSError("the folder cannot be made")

    def delete(self, path: str) -> None:
        """Delete a file, or a folder with all that is in it; no matter whether it is there."""
        with _as_os_errors():
            fs, hadoop_path = self._at(path)
            fs.delete(hadoop_path, True)

    def read(self, path: str) -> str:
        """Read a small file whole, as UTF-8."""
        return self.read_bytes(path).decode(errors="replace")

    def read_bytes(self, path: str) -> bytes:
        """Read a small file whole."""
        with _as_os_errors():
            fs, hadoop_path = self._at(path)
            stream = fs.open(hadoop_path)
            try:
                return bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
            finally:
                stream.close()

    def sizes(self, path: str) -> dict[str, int]:
        """List the files in a folder with their sizes in bytes; empty where there is no such folder."""
        with _as_os_errors():
            fs, hadoop_path = self._at(path)
            if not fs.exists(hadoop_path):
                return {}
            return {str(status.getPath().getName()): int(status.getLen()) for status in fs.listStatus(hadoop_path)}

    def times(self, path: str) -> dict[str, int]:
        """List the files in a folder with when each was last written; empty where there is no such folder.

        In milliseconds by the store's own clock, which S3 cuts to seconds.
        """
        with _as_os_errors():
            fs, hadoop_path = self._at(path)
            found = fs.listStatus(hadoop_path) if fs.exists(hadoop_path) else []
            return {str(status.getPath().getName()): int(status.getModificationTime()) for status in found}

    def create(self, path: str, content: str | bytes) -> None:
        """Write a new small file, text as UTF-8, in one put; refuses where it exists already."""
        self._write(path, content, overwrite=False)

    def replace(self, path: str, content: str | bytes) -> None:
        """Write a small file, text as UTF-8, in one put, over what may be there."""
        self._write(path, content, overwrite=True)

    def _write(self, path: str, content: str | bytes, *, overwrite: bool) -> None:
        with _as_os_errors():
            fs, hadoop_path = self._at(path)
            stream = fs.create(hadoop_path, overwrite)
            stream.write(bytearray(content.encode() if isinstance(content, str) else content))
            stream.close()

    def _at(self, path: str) -> tuple[Any, Any]:
        hadoop_path = self._jvm.org.apache.hadoop.fs.Path(path)
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


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Turn Java's exceptions, which pyspark gives two names, into the one that callers know."""
    try:
        yield
    except Py4JJavaError as error:
        java = error.java_exception
        raise OSError(f"{java.getClass().getSimpleName()}: {java.getMessage()}".split("\n")[0]) from None
    except PySparkException as error:
        raise OSError(str(error).split("\n")[0]) from None


def literal(path: str) -> str:
    """Keep a plain name from being taken for a glob."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", path)
