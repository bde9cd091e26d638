"""Virtual environments with just what a driver or an executor is given, made of links: nothing is fetched."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pyspark

OURS = ("delivery", "expectations", "jobs", "transforms")


def python_with_dependencies(folder: Path) -> Path:
    """A Python with all that is installed here except the project, whose editable install is a .pth file."""
    site = _empty(folder)
    (site / "here.pth").write_text(f"{Path(pyspark.__file__).parents[1]}\n")
    return folder / "bin" / "python"


def python_with(folder: Path, *names: str) -> Path:
    """A Python with nothing but some distributions and what they require."""
    site = _empty(folder)
    for name in set(_closure(names)):
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            (site / top).symlink_to(Path(str(found.locate_file(top))))
    return folder / "bin" / "python"


def can_import(python: Path, *modules: str) -> list[str]:
    """Which of some modules a Python finds."""
    code = f"from importlib.util import find_spec; print(*filter(find_spec, {modules!r}))"
    return subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split()


def _empty(folder: Path) -> Path:
    venv.create(folder, symlinks=True)
    return folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def _closure(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        try:
            required = distribution(name).requires or []
        except PackageNotFoundError:  # required on another platform or Python
            continue
        yield name
        plain = [re.match(r"[\w.-]+", each) for each in required if "extra ==" not in each]
        yield from _closure(tuple(match[0] for match in plain if match))
