"""The header lines of CSV files: found, held against the schema, and taken out."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from jobs.errors import ConfigurationError
from transforms.bookkeeping import RAW
from transforms.mapping import Source
from transforms.parsing import CORRUPT, parse_csv
from transforms.records import is_blank

_MOST = 20
"""More different first lines than this are no headers."""


def without_headers(lines: DataFrame, schema: StructType, source: Source) -> DataFrame:
    """Take out every line that is some file's first, wherever it stands.

    Args:
        lines: `_raw` and Spark's `_metadata`; one row a line.
        schema: the mapping's.
        source: the mapping's, for its options.

    Raises:
        ConfigurationError: a header does not go with the schema: columns go by place.
    """
    headers = _headers(lines)
    faults = [fault for line, file in headers.items() if (fault := _fault(lines, line, file, schema, source))]
    if faults:
        raise ConfigurationError(*faults)
    return lines.where(~F.col(RAW).isin(*headers)) if headers else lines


def _headers(lines: DataFrame) -> dict[str, str]:
    """Find the different headers, each with a file that has it."""
    # A file's first block lies in one partition, in order: the first row that a partial aggregate sees is its first.
    starts = lines.where((F.col("_metadata.file_block_start") == 0) & ~is_blank(F.col(RAW)))
    firsts = starts.groupBy(F.col("_metadata.file_path").alias("file")).agg(F.first(RAW).alias("line"))
    different = firsts.groupBy("line").agg(F.min("file").alias("file")).limit(_MOST + 1).collect()
    if len(different) > _MOST:
        raise ConfigurationError(
            f'--input: more than {_MOST} different header lines: do the files have headers? Then header = "false"'
        )
    return {row["line"]: row["file"] for row in different}


def _fault(lines: DataFrame, line: str, file: str, schema: StructType, source: Source) -> str | None:
    """Tell how a header contradicts the schema; names that the schema does not know are another matter."""
    texts = StructType([StructField(f"_{place}", StringType()) for place in range(len(schema))])
    one = lines.sparkSession.createDataFrame([(line,)], "line STRING")
    fields = one.select(parse_csv(F.col("line"), texts, source).alias("fields")).collect()[0]["fields"].asDict()
    if fields.pop(CORRUPT) is not None:
        return f"--input {file}: its header has not the {len(schema)} columns that the mapping's schema has"
    places = {str(name).strip().lower(): place for place, name in enumerate(fields.values(), start=1)}
    for place, name in enumerate(schema.names, start=1):
        if places.get(name.lower(), place) != place:
            at = places[name.lower()]
            return f"--input {file}: {name} is column {at} of its header and {place} of the schema: columns go by place"
    return None
