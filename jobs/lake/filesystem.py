"""Reads and writes files through Spark's own Hadoop FileSystem: on local disks, HDFS and object stores."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pyspark.sql import SparkSession

from jobs.spark_internals.hadoop import ChecksumError, HadoopFileSystem

log = logging.getLogger(__name__)

NO_UTF8: Final = "Java was started in a locale without UTF-8 and cannot open such names: set LC_ALL=C.UTF-8"


class FileSystem(HadoopFileSystem):
    """Small files and folders, by path or URI.

    No method renames, because on object stores a rename is a copy, and not atomic. Every method raises OSError, which
    names the path, if the store fails.

    Hadoop keeps a `.crc` file of checksums beside each file on a local disk. A crash may damage either of the two. If
    they disagree, `read` and `read_bytes` return the file as it is, and log its name: the content of a small file
    shows whether it is whole.
    """

    def __init__(self, spark: SparkSession) -> None:
        super().__init__(spark)
        self._warned_paths: set[str] = set()

    def read(self, path: str) -> str:
        """Read a whole small file as UTF-8."""
        return self.read_bytes(path).decode(errors="replace")

    def read_bytes(self, path: str) -> bytes:
        """Read a whole small file."""
        try:
            return self.read_content(path)
        except ChecksumError:
            if not self.keeps_checksums(path):
                raise
            if path not in self._warned_paths:
                self._warned_paths.add(path)
                log.warning("%s: differs from its .crc file, as after a power loss: its content counts", path)
            return self.read_content(path, checked=False)

    def read_start(self, path: str, limit: int, *, decompressed: bool = True) -> bytes:
        """Read a file's first bytes as Spark does: decompressed, if its name says that it is compressed."""
        return self.read_decompressed(path, limit) if decompressed else self.read_content(path, limit)

    def drop_broken_checksums(self, folder: str) -> int:
        """Delete the malformed `.crc` files of a folder; return their number. Only local disks have such files.

        A `.crc` file holds `crc`, a zero, the number of bytes that a checksum covers, and checksums of four bytes.
        """
        if not self.keeps_checksums(folder):
            return 0
        sizes, broken = self.sizes(folder, checked=False), 0
        for name, size in sizes.items():
            base_name = name.removeprefix(".").removesuffix(".crc")
            if f".{base_name}.crc" == name and base_name in sizes:
                path = f"{folder}/{name}"
                header = self.read_content(path, 8, checked=False) if size else b""
                if not _is_checksum_file(size, header, sizes[base_name]):
                    log.warning("%s: cut short, as by a power loss: it is deleted", path)
                    self.delete(path, checked=False)
                    broken += 1
        return broken

    def create(self, path: str, content: str | bytes) -> None:
        """Write a new small file, text as UTF-8, in one put; fail if it exists."""
        self.write(path, _to_bytes(content), overwrite=False)

    def replace(self, path: str, content: str | bytes) -> None:
        """Write a small file, text as UTF-8, in one put; replace an existing one."""
        self.write(path, _to_bytes(content), overwrite=True)


def run_in_own_thread(work: Callable[[], object], seconds: float = 60.0) -> None:
    """Call the JVM after a KeyboardInterrupt, which may have come while this thread waited for the JVM.

    Each thread has its own connection. On this thread's, the next call would read the answer to the last one.

    Args:
        work: is called; it may fail.
        seconds: how long to wait, because the JVM may be gone or stopped.
    """

    def attempt() -> None:
        with suppress(Exception):
            work()

    thread = threading.Thread(target=attempt, name="tidying up", daemon=True)
    thread.start()
    thread.join(seconds)


def _to_bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _is_checksum_file(size: int, header: bytes, file_size: int) -> bool:
    """Whether a `.crc` file is well-formed for a file of this size.

    Args:
        size: of the `.crc` file, in bytes.
        header: its first eight bytes.
        file_size: the size of the file itself.

    Examples:
        >>> header = b"crc\\0" + (512).to_bytes(4)
        >>> [_is_checksum_file(*each, 600) for each in ((16, header), (12, header), (0, b""), (16, bytes(8)))]
        [True, False, False, False]
    """
    bytes_per_checksum = int.from_bytes(header[4:])
    return (
        header.startswith(b"crc\0") and bytes_per_checksum > 0 and size == 8 + 4 * -(-file_size // bytes_per_checksum)
    )


def literal(path: str) -> str:
    """Escape a path, so that it is not taken for a glob."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", path)
