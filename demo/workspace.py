"""The folder that the demonstration works in, and may empty."""

import shutil
from dataclasses import dataclass
from pathlib import Path

_MARKER = ".clickstream-demo"


class NotOursError(Exception):
    """The folder holds what the demonstration did not put there."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The places of one run.

    Attributes:
        root: the folder itself, absolute; logs go there.
    """

    root: Path

    @property
    def raw(self) -> Path:
        """Where the raw records are."""
        return self.root / "raw"

    @property
    def lake(self) -> Path:
        """Where the jobs keep their tables."""
        return self.root / "lake"


def prepare(folder: Path) -> Workspace:
    """Make the folder, or empty it if it is from an earlier run.

    Raises:
        NotOursError: there is something in it, and it is not from an earlier run.
    """
    root = folder.resolve()
    if not _may_be_emptied(root):
        raise NotOursError(f"{folder} is not from an earlier run of the demo, so it stays: give another --dir")
    root.mkdir(parents=True, exist_ok=True)
    # First of all, so that a run that is broken off can be followed by another.
    (root / _MARKER).touch()
    for entry in root.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != _MARKER:
            entry.unlink()
    workspace = Workspace(root)
    workspace.raw.mkdir()
    return workspace


def _may_be_emptied(root: Path) -> bool:
    if not root.exists():
        return True
    return root.is_dir() and ((root / _MARKER).is_file() or not any(root.iterdir()))
