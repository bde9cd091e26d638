"""Raw text to a record's columns: the same functions serve a first reading and a second one from quarantine."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BooleanType, StringType, StructField, StructType

from transforms.conversions import converted, is_converted
from transforms.json_texts import (
    as_texts,
    has_text,
    mark_numbers,
    may_be_rewritten,
    split_objects,
    unmarked,
    with_numbers_as_written,
)
from transforms.mapping.model import Source

MALFORMED = "malformed_record"
MISMATCH = "schema_mismatch"
CORRUPT = "_corrupt_record"
RECORD_JSON = {
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}
"""How a record that has no text of its own is written as JSON: times to the microsecond."""
_READERS: Final = frozenset({"header", "linesep"})
_STRICT = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT}
_SEAL: Final = secrets.token_hex(8)
"""A key that no log can hold, because it is drawn when the module is loaded. No result depends on its value."""
_MOST_COLUMNS: Final = 200_000
"""Of a line of CSV: each parser keeps a few bytes for each."""
_LAST: Final = f'{{"{_SEAL}":true}}'


def parse_json(raw: Column, schema: StructType, source: Source) -> Column:
    """Parse one JSON object a text: STRUCT<seal ARRAY, _corrupt_record>, which `json_fault` and `record_columns` read.

    Spark's parser stops at the end of the first value, so `{"a":1}{"b":2}` alone would lose its second half unseen. So
    the text becomes the first element of an array of ours. A text that holds a bracket could close that array and open
    another one; so a sealed element follows it, whose key no text can name: the array then holds two elements, the
    second of them sealed, if and only if the text is one value.
    """
    element = StructType([*schema.fields, StructField(_SEAL, BooleanType())])
    inside = StructType([StructField(_SEAL, ArrayType(element))])
    wrapped = F.when(_may_close(raw), _sealed(raw)).otherwise(_enclosed(raw))
    return F.from_json(wrapped, _with_corrupt(inside), _options(source))


def parse_json_again(raw: Column, parsed: Column, schema: StructType, source: Source) -> Column | None:
    """Parse a text once more, with its numbers marked, if the parser may have written one of them anew in a STRING.

    Args:
        raw: the text.
        parsed: what `parse_json` gave for it.
        schema: the mapping's.
        source: the mapping's.

    Returns:
        What `record_columns` takes numbers from, null for all other texts; None if the schema has no STRING.
    """
    if not has_text(schema):
        return None
    texts = StructType([StructField(field.name, as_texts(field.dataType)) for field in schema.fields])
    return F.when(may_be_rewritten(parsed[_SEAL][0], schema), parse_json(mark_numbers(raw), texts, source))


def json_values(text: Column, source: Source) -> Column:
    """Cut the text of a file into the texts of its records, as the framing says: an ARRAY<STRING>.

    A text that is no array is one record as a whole.

    Examples:
        >>> texts = ['{"a":1} {"a":2}', '[{"a":1.50}, {"a":"[2"}]', '[{"a":1},']
        >>> df = spark.createDataFrame([(text,) for text in texts], "text STRING")
        >>> for framing in ("concatenated", "array"):
        ...     source = Source("json", framing=framing)
        ...     [row[0] for row in df.select(json_values(F.col("text"), source)).collect()]
        [['{"a":1}', '{"a":2}'], ['[{"a":1.50}, {"a":"[2"}]'], ['[{"a":1},']]
        [['{"a":1} {"a":2}'], ['{"a":1.50}', '{"a":"[2"}'], ['[{"a":1},']]
    """
    if source.framing == "concatenated":
        return split_objects(text)
    return F.coalesce(_elements(text, source), F.array(text))


def _elements(text: Column, source: Source) -> Column:
    """Take the elements of a text that is one array, as JSON texts; null for all other texts."""
    inside = StructType([StructField(_SEAL, ArrayType(StringType()))])
    whole = F.from_json(_sealed(mark_numbers(text)), inside, _options(source))[_SEAL]
    alone = (F.size(whole) == 2) & (whole[1] == _LAST)
    array = F.when(alone & whole[0].startswith("["), F.concat(F.lit(f'{{"{_SEAL}":'), whole[0], F.lit("}")))
    return F.transform(F.from_json(array, inside, _STRICT)[_SEAL], unmarked)


def json_fault(raw: Column, parsed: Column) -> Column:
    """Name what is wrong with a text that `parse_json` read: a reason code, or null."""
    values = parsed[_SEAL]
    sealed = (F.size(values) == 2) & values[1][_SEAL].isNotNull()
    alone = values[0].isNotNull() & F.when(_may_close(raw), sealed).otherwise(F.size(values) == 1)
    return F.when(~F.coalesce(alone, F.lit(False)), F.lit(MALFORMED)).when(parsed[CORRUPT].isNotNull(), F.lit(MISMATCH))


def valid_text(text: Column) -> Column:
    """Put U+FFFD for bytes that are no UTF-8: strings that hold such cannot be read by anybody else.

    Examples:
        >>> spark.sql("SELECT CAST(X'61FF62' AS STRING) AS t").select(valid_text(F.col("t"))).first()[0]
        'a\ufffdb'
    """
    return F.encode(text, "UTF-8").cast("string")


def _may_close(text: Column) -> Column:
    return text.contains("]")


def _enclosed(text: Column) -> Column:
    # A text may end in a comment, where the options allow it: what follows begins on a line of its own.
    return F.concat(F.lit(f'{{"{_SEAL}":['), text, F.lit("\n]}"))


def _sealed(text: Column) -> Column:
    return F.concat(F.lit(f'{{"{_SEAL}":['), text, F.lit(f"\n,{_LAST}]}}"))


def parse_csv(raw: Column, schema: StructType, source: Source) -> Column:
    """Parse one CSV line a text: a STRUCT of the schema's columns and `_corrupt_record`."""
    options = {**_options(source), **csv_limits(source)}
    named = {key.lower(): value for key, value in options.items()}
    separator = named.get("sep", named.get("delimiter", ",")).replace(r"\t", "\t")
    most = int(options["maxColumns"])
    # A line of more columns ends the job in Spark's parser; one column too many is as malformed.
    columns = F.octet_length(raw) - F.octet_length(F.replace(raw, F.lit(separator)))
    is_too_wide = (F.octet_length(raw) >= most) & (columns >= most * len(separator.encode()))
    line = F.when(is_too_wide, F.lit(separator * (len(schema) + 1))).otherwise(raw)
    # Spark's own reader takes a DDL text here on every version; backticks keep odd column names whole.
    return F.from_csv(line, _ddl(_with_corrupt(schema)), options)


def csv_limits(source: Source) -> dict[str, str]:
    """Set how many columns a line of CSV may have: far more than Spark's 20,480, unless the mapping says it."""
    given = {key.lower(): value for key, value in source.options.items()}.get("maxcolumns", "")
    return {"maxColumns": given if given.isdecimal() else str(_MOST_COLUMNS)}


def csv_fault(raw: Column, corrupt: Column, schema: StructType, source: Source) -> Column:
    """Name what is wrong with a line that was parsed as CSV: a reason code, or null where `corrupt` is."""
    texts = StructType([StructField(name, StringType()) for name in schema.names])
    wrong_shape = parse_csv(raw, texts, source)[CORRUPT].isNotNull()  # evaluated for corrupt lines alone
    return F.when(corrupt.isNotNull(), F.when(wrong_shape, F.lit(MALFORMED)).otherwise(F.lit(MISMATCH)))


class LinePattern(NamedTuple):
    """A regular expression that lines are tried against, and the number of each of its named groups."""

    pattern: str
    groups: Mapping[str, int]


def find_matching_pattern(raw: Column, patterns: Sequence[LinePattern]) -> Column:
    """Find the first pattern that a line matches: its place, or null."""
    head, *others = patterns
    first = F.when(raw.rlike(head.pattern), 0)
    for place, each in enumerate(others, start=1):
        first = first.when(raw.rlike(each.pattern), place)
    return first


def parse_text(raw: Column, matching: Column, patterns: Sequence[LinePattern]) -> list[Column]:
    """Cut one line into the named groups of all patterns, each a STRING column.

    Args:
        raw: the line.
        matching: what `find_matching_pattern` found. Groups that this pattern does not have are null.
        patterns: at least one.
    """
    if len(patterns) == 1:
        (only,) = patterns
        return [F.regexp_extract(raw, only.pattern, number).alias(name) for name, number in only.groups.items()]
    return [_group(raw, matching, patterns, name).alias(name) for name in group_names(patterns)]


def _group(raw: Column, matching: Column, patterns: Sequence[LinePattern], name: str) -> Column:
    value = F.lit(None).cast("string")
    for place, (pattern, groups) in enumerate(patterns):
        if name in groups:
            value = F.when(matching == place, F.regexp_extract(raw, pattern, groups[name])).otherwise(value)
    return value


def group_names(patterns: Sequence[LinePattern]) -> list[str]:
    """Name the columns that patterns give together, in order.

    Examples:
        >>> group_names([LinePattern("(?<b>.)", {"b": 1}), LinePattern("(?<a>.)(?<b>.)", {"a": 1, "b": 2})])
        ['b', 'a']
    """
    return list(dict.fromkeys(name for each in patterns for name in each.groups))


def text_fault(matching: Column) -> Column:
    """Name what is wrong with a line: no pattern matches it. A reason code, or null."""
    return F.when(matching.isNull(), F.lit(MALFORMED))


def record_columns(parsed: Column, schema: StructType, source: Source, again: Column | None = None) -> list[Column]:
    """Take a record's columns out of what `parse_json` or `parse_csv` read; numbers, out of `parse_json_again`."""
    record = parsed[_SEAL][0] if source.format == "json" else parsed
    if again is None:
        return [record[name].alias(name) for name in schema.names]
    marked = again[_SEAL][0]
    columns = []
    for field in schema.fields:
        value = record[field.name]
        if has_text(field.dataType):
            as_written = with_numbers_as_written(value, marked[field.name], field.dataType)
            value = F.when(marked.isNull(), value).otherwise(as_written)
        columns.append(value.alias(field.name))
    return columns


def parse_record_json(raw: Column, schema: StructType) -> tuple[list[Column], Column]:
    """Read back a record that was written as JSON because it has no text of its own.

    Single values, nested ones too, are read as text and converted, as they were when they came out of their file.

    Returns:
        The record's columns, and what is wrong with it: a reason code, or null.

    Examples:
        >>> schema = spark.createDataFrame([], "at TIMESTAMP, n INT").schema
        >>> columns, fault = parse_record_json(F.col("raw"), schema)
        >>> raw = [('{"at":"2024-01-02T03:04:05.000006Z","n":"7"}',), ('{"n":"seven"}',)]
        >>> df = spark.createDataFrame(raw, "raw STRING").select(*[column.cast("string") for column in columns], fault)
        >>> [tuple(row) for row in df.collect()]
        [('2024-01-02 03:04:05.000006', '7', None), (None, None, 'schema_mismatch')]
    """
    texts = StructType([StructField(field.name, as_texts(field.dataType)) for field in schema.fields])
    record = F.from_json(raw, _with_corrupt(texts), _STRICT)
    pairs = [(record[field.name], field.dataType) for field in schema.fields]
    kept = [is_converted(value, as_texts(kind), kind) for value, kind in pairs]
    mismatch = record[CORRUPT].isNotNull() | ~F.array_min(F.array(*kept))
    something = F.coalesce(F.array_max(F.array(*[value.isNotNull() for value, _ in pairs])), F.lit(False))
    fault = F.when(mismatch, F.when(something, F.lit(MISMATCH)).otherwise(MALFORMED))
    values = [converted(value, as_texts(kind), kind) for value, kind in pairs]
    return [value.alias(name) for value, name in zip(values, schema.names, strict=True)], fault


def _with_corrupt(schema: StructType) -> StructType:
    return StructType([*schema.fields, StructField(CORRUPT, StringType())])


def _options(source: Source) -> dict[str, str]:
    # Header, line ends and encoding belong to the reader: a parser gets one record, as text.
    readers = _READERS if source.format == "csv" else _READERS | {"encoding", "charset", "multiline"}
    theirs = {key: value for key, value in source.options.items() if key.lower() not in readers}
    return {**theirs, **_STRICT}


def _ddl(schema: StructType) -> str:
    return ", ".join(f"`{field.name.replace('`', '``')}` {field.dataType.simpleString()}" for field in schema.fields)
