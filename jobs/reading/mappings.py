"""From `--mapping` to a mapping without a fault."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

from pyspark.sql import SparkSession

from jobs.errors import ConfigurationError
from jobs.reading.mapping_check import check_mapping
from jobs.reading.user_files import check_local_file, faulty, is_uri, read_user_file
from transforms.mapping.model import EventMapping
from transforms.mapping.reader import read_mapping

_SHIPPED: Final = resources.files("transforms") / "mappings"


class _ShippedMappings(Mapping[str, str]):
    """The texts of the mappings that ship with the project, by name; each is read when it is asked for."""

    def __getitem__(self, name: str) -> str:
        if name not in list(self):
            raise KeyError(name)
        return (_SHIPPED / f"{name}.toml").read_text("utf-8")

    def __iter__(self) -> Iterator[str]:
        return iter(
            sorted(item.name.removesuffix(".toml") for item in _SHIPPED.iterdir() if item.name.endswith(".toml"))
        )

    def __len__(self) -> int:
        return len(list(iter(self)))


SHIPPED_MAPPINGS: Final = _ShippedMappings()


class MappingText(NamedTuple):
    """A mapping file: what to call it in a message, and its text."""

    name: str
    text: str


def find_mapping(name_or_path: str, spark: SparkSession) -> MappingText:
    """Read a mapping file, by path or URI, or one that ships with the project.

    Raises:
        ConfigurationError: there is neither.
    """
    check_mapping_file(name_or_path)
    if _is_file(name_or_path):
        return MappingText(name_or_path, read_user_file("--mapping", name_or_path, spark))
    return MappingText(f"{name_or_path}.toml", SHIPPED_MAPPINGS[name_or_path])


def check_mapping_file(name_or_path: str) -> None:
    """See, before Spark is started, that there is such a mapping; a URI is left to Spark.

    Raises:
        ConfigurationError: there is none, or its file cannot be read.
    """
    if _is_file(name_or_path):
        check_local_file("--mapping", name_or_path)
    elif name_or_path not in SHIPPED_MAPPINGS:
        near = difflib.get_close_matches(name_or_path, SHIPPED_MAPPINGS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f" (there are {', '.join(SHIPPED_MAPPINGS)})"
        raise ConfigurationError(f"--mapping {name_or_path}: no such file, and no mapping of that name ships{hint}")


def _is_file(name_or_path: str) -> bool:
    return is_uri(name_or_path) or Path(name_or_path).is_file()


def checked_mapping(found: MappingText, spark: SparkSession) -> EventMapping:
    """Read and check a mapping whole.

    Raises:
        ConfigurationError: one line for each fault, with its place in the file.
    """
    mapping, faults = read_mapping(found.text, SHIPPED_MAPPINGS)
    if mapping is not None:
        faults = [*faults, *check_mapping(mapping, spark)]
    if mapping is None or faults:
        raise faulty(found.name, faults)
    return mapping
