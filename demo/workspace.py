"""The folder of the demo, which the demo may empty."""

import shutil
from dataclasses import dataclass
from pathlib import Path

_MARKER = ".clickstream-demo"


class NotOursError(Exception):
    """The folder has files that the demo did not write."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The places of one run.

    Attributes:
        root: the absolute path of the folder; logs go there.
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
        NotOursError: it has files, and they are not from an earlier run.
    """
    root = folder.resolve()
    if not _may_be_emptied(root):
        raise NotOursError(f"{folder} has files that are not from an earlier run of the demo: choose another --dir")
    root.mkdir(parents=True, exist_ok=True)
    # First, so that another run can follow an interrupted one.
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
