"""jobs/put_events.py with a store that is slow while a file says so.

`spark-submit slow_store.py FILE ARGUMENTS...`: while FILE exists, each write takes its number of seconds longer.
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path
from typing import Final

from jobs.lake.filesystem import FileSystem

SCRIPT: Final = Path(__file__).parents[2] / "jobs" / "put_events.py"


def slow_down(control: Path) -> None:
    """Delay each write of a small file by the number of seconds in the file `control`, while that exists."""
    write = FileSystem.write

    def slowly(files: FileSystem, path: str, content: bytes, *, overwrite: bool) -> None:
        time.sleep(seconds_of(control))
        write(files, path, content, overwrite=overwrite)

    FileSystem.write = slowly  # type: ignore[assignment, method-assign]


def seconds_of(control: Path) -> float:
    """Read how slow the store is now."""
    try:
        return float(control.read_text())
    except (OSError, ValueError):
        return 0.0


if __name__ == "__main__":
    slow_down(Path(sys.argv.pop(1)))
    runpy.run_path(str(SCRIPT), run_name="__main__")
