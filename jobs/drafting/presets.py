"""Logs of well-known sources: those whose columns are the ones that a shipped mapping takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from jobs.drafting.log_sample import LogSample
from jobs.reading.mapping_check import record_schema
from jobs.reading.mappings import SHIPPED_MAPPINGS
from transforms.mapping.model import COLUMNAR_FORMATS, EventMapping
from transforms.mapping.reader import read_mapping

_ENVELOPE: Final = frozenset({"schema", "payload"})
"""What the JSON converter of Kafka Connect puts around each message, whatever the message is."""
_LEAST_SHARE: Final = 0.8
"""Of a mapping's columns that a log must have."""
_LEAST_COLUMNS: Final = 4
"""Fewer columns and fields in common say nothing of the source."""
_LEAST_WITHOUT_NAMES: Final = 20
"""Columns of a file without a header whose number alone tells the source."""


def find_presets(spark: SparkSession, sample: LogSample) -> list[str]:
    """List the shipped mappings whose columns a log has, the one with the most of them first."""
    if _lower(sample.schema.names) >= _ENVELOPE:
        return ["debezium", "kafka_connect"]
    found = []
    for name in SHIPPED_MAPPINGS:
        mapping, _ = read_mapping(SHIPPED_MAPPINGS[name], SHIPPED_MAPPINGS)
        if mapping is not None and (common := _count_common_columns(mapping, sample, spark)):
            extends = "extends" in SHIPPED_MAPPINGS[name].partition("[")[0]
            found.append((-common, extends, name))
    return [name for _, _, name in sorted(found)]


def find_text_presets() -> list[str]:
    """List the shipped mappings of lines that patterns take apart."""
    found = []
    for name in SHIPPED_MAPPINGS:
        mapping, _ = read_mapping(SHIPPED_MAPPINGS[name], SHIPPED_MAPPINGS)
        if mapping is not None and mapping.source.format == "text":
            found.append(name)
    return found


def write_extension(name: str, sample: LogSample | None) -> str:
    """Write a mapping that extends a shipped one, as it is; of another format where the files are."""
    mapping, _ = read_mapping(SHIPPED_MAPPINGS[name], SHIPPED_MAPPINGS)
    other = sample is not None and mapping is not None and mapping.source.format != sample.format
    source = [] if not other or sample is None else ["", "[source]", f'format = "{sample.format}"']
    return "\n".join([f'extends = "{name}"', *source, ""])


def _count_common_columns(mapping: EventMapping, sample: LogSample, spark: SparkSession) -> int:
    """Count the columns and fields that a mapping and a log have in common; 0 where they are of different sources."""
    source = mapping.source
    if source.format == "text" or not _is_same_kind(source.format, sample.format):
        return 0
    schema = record_schema(mapping, spark)
    has_header = sample.options.get("header") == "true"
    if sample.format == "csv" and (source.option("header") == "true") != has_header:
        return 0
    is_as_wide = len(schema.names) == len(sample.schema.names)
    if sample.format == "csv" and not has_header:
        is_alike = is_as_wide and source.option("sep") == sample.options.get("sep")
        return len(schema.names) if is_alike and len(schema.names) >= _LEAST_WITHOUT_NAMES else 0
    columns = _lower(schema.names) & _lower(sample.schema.names)
    if len(columns) < _LEAST_SHARE * len(schema.names) and not (sample.format == "csv" and is_as_wide):
        return 0
    common = len({*_paths(schema)} & {*_paths(sample.schema)})
    return common if common >= _LEAST_COLUMNS else 0


def _lower(names: Iterable[str]) -> set[str]:
    return {name.lower() for name in names}


def _paths(kind: StructType, above: str = "") -> Iterator[str]:
    """List the names of columns and of the fields in them, in lower case."""
    for field in kind.fields:
        path = f"{above}/{field.name.lower()}"
        yield path
        if isinstance(field.dataType, StructType):
            yield from _paths(field.dataType, path)


def _is_same_kind(one: str, other: str) -> bool:
    nested = ("json", *COLUMNAR_FORMATS)
    return one == other or (one in nested and other in nested)
