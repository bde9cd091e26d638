"""Files through Spark's own Hadoop FileSystem: local disks, HDFS and object stores alike."""

from __future__ import annotations

from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession


class FileSystem:
    """Small files and folders, by path or URI.

    Nothing here renames: on object stores a rename is a copy, and not atomic.
    """

    def __init__(self, spark: SparkSession) -> None:
        self._jvm: Any = spark._jvm
        self._conf: Any = spark._jsc.hadoopConfiguration()

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder of exactly this name."""
        fs, hadoop_path = self._at(path)
        return bool(fs.exists(hadoop_path))

    def matches(self, path_or_glob: str) -> list[str]:
        """List the paths that a glob, or a plain path, stands for; empty where there are none."""
        fs, hadoop_path = self._at(path_or_glob)
        if fs.exists(hadoop_path):
            return [str(hadoop_path)]
        return sorted(str(status.getPath()) for status in fs.globStatus(hadoop_path) or [])

    def children(self, path: str) -> list[str]:
        """List the names in a folder, sorted; empty where there is no such folder."""
        fs, hadoop_path = self._at(path)
        if not fs.exists(hadoop_path):
            return []
        return sorted(str(status.getPath().getName()) for status in fs.listStatus(hadoop_path))

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it.

        Raises:
            OSError: it cannot be made.
        """
        fs, hadoop_path = self._at(path)
        try:
            made = fs.mkdirs(hadoop_path)
        except Py4JJavaError as error:
            raise OSError(_cause(error)) from None
        if not made:
            raise OSError("the folder cannot be made")

    def delete(self, path: str) -> None:
        """Delete a file, or a folder with all that is in it; no matter whether it is there."""
        fs, hadoop_path = self._at(path)
        fs.delete(hadoop_path, True)

    def read(self, path: str) -> str:
        """Read a small file whole, as UTF-8.

        Raises:
            OSError: it cannot be read.
        """
        fs, hadoop_path = self._at(path)
        try:
            stream = fs.open(hadoop_path)
            try:
                return str(self._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
            finally:
                stream.close()
        except Py4JJavaError as error:
            raise OSError(_cause(error)) from None

    def create(self, path: str, text: str) -> None:
        """Write a new small file, as UTF-8, in one put.

        Raises:
            OSError: it exists already, or cannot be written.
        """
        fs, hadoop_path = self._at(path)
        try:
            stream = fs.create(hadoop_path, False)
            stream.write(bytearray(text.encode()))
            stream.close()
        except Py4JJavaError as error:
            raise OSError(_cause(error)) from None

    def _at(self, path: str) -> tuple[Any, Any]:
        hadoop_path = self._jvm.org.apache.hadoop.fs.Path(path)
        return hadoop_path.getFileSystem(self._conf), hadoop_path


def _cause(error: Py4JJavaError) -> str:
    java = error.java_exception
    return f"{java.getClass().getSimpleName()}: {java.getMessage()}".split("\n")[0]
