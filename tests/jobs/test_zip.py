"""The zip for clusters holds the project whole, and works where there is nothing else of it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.jobs.processes import ROOT
from tests.jobs.pythons import OURS, can_import, python_with_dependencies

EVERYTHING = """
import sys
from importlib import import_module
from pathlib import PurePath
from pkgutil import walk_packages

archive = sys.argv[1]
sys.path.insert(0, archive)
for package in sys.argv[2:]:
    top = import_module(package)
    for name in [package, *(found.name for found in walk_packages(top.__path__, f"{package}."))]:
        assert import_module(name).__file__.startswith(archive), name
        print(name)

# What is read from files beside the code: shipped mappings, the pages' templates, the reference's.
from expectations.page import IndexRow, index_page
from expectations.reference import rules_page
from jobs.reading.mappings import find_mapping
assert "explode" in find_mapping("otto", None).text
assert "2024-01-02.html" in index_page([IndexRow("2024-01-02", "passed")])
assert "sentAt_missing" in rules_page()
"""


def sources() -> set[str]:
    """The files of the packages as they stand in the repository."""
    files = (path for package in OURS for path in (ROOT / package).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}


def test_it_holds_four_packages_with_all_their_files_and_nothing_else(cluster_zip: Path) -> None:
    names = zipfile.ZipFile(cluster_zip).namelist()
    assert {name.split("/")[0] for name in names} == set(OURS) == {"jobs", "transforms", "expectations", "delivery"}
    assert set(names) == sources()
    assert {Path(name).suffix for name in names} == {".py", ".typed", ".toml", ".j2", ".css", ".md"}


def test_every_module_and_file_of_it_is_found_where_nothing_else_of_ours_is(cluster_zip: Path, tmp_path: Path) -> None:
    python = python_with_dependencies(tmp_path / "python")
    assert can_import(python, "pyspark", *OURS, "emulator", "demo") == ["pyspark"]
    command = [python, "-I", "-c", EVERYTHING, cluster_zip, *OURS]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    imported = {name.replace(".", "/") for name in ended.stdout.split()}
    modules = {name.removesuffix(".py").removesuffix("/__init__") for name in sources() if name.endswith(".py")}
    assert imported == modules


def test_the_same_wheel_gives_the_same_bytes(wheel: Path, cluster_zip: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    subprocess.run([sys.executable, str(ROOT / "tools" / "cluster_zip.py"), str(wheel), str(again)], check=True)
    assert again.read_bytes() == cluster_zip.read_bytes()
