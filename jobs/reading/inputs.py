"""The files that `--input` stands for, looked up before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem, literal

ARCHIVES: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".7z", ".rar", ".xz")
"""What Spark would read as if it were text."""


def find_inputs(files: FileSystem, inputs: Sequence[str]) -> list[str]:
    """Check that every input is there and can be read.

    Returns:
        The inputs as Spark takes them.

    Raises:
        ConfigurationError: one line for each that is not there, or is an archive.
    """
    faults = [fault for path in inputs for fault in _faults(files, path)]
    if faults:
        raise ConfigurationError(*faults)
    return [literal(path) if files.exists(path) else path for path in inputs]


def has_partition_folders(files: FileSystem, paths: Sequence[str]) -> bool:
    """Whether folders named `key=value` lie in the inputs: their keys are columns, which Spark adds to the files'."""
    found = [match for path in paths for match in files.matches(path)]
    return any("=" in name for path in found for name in files.children(path))


def _faults(files: FileSystem, path: str) -> list[str]:
    try:
        found = files.matches(path)
        names = [name for match in found for name in (match, *(f"{match}/{child}" for child in files.children(match)))]
    except OSError as error:
        return [f"--input {path}: cannot be looked up ({error})"]
    if not found:
        return [f"--input {path}: there is nothing there"]
    archives = sorted({name for name in names if name.lower().endswith(ARCHIVES)})
    return [
        f"--input {name}: is an archive, which Spark cannot read: unpack it, or pack it as .gz" for name in archives
    ]
