"""JSON as services write it: one value a line, one behind the other, in an array, alone in its file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.errors import ConfigurationError
from jobs.reading.mappings import MappingText, checked_mapping
from jobs.reading.sources import read_records

MAPPING = """
[source]
format  = "json"
framing = "{framing}"
schema  = "who STRING, hits ARRAY<STRUCT<sku: STRING>>"
[event]
eventType = "'view'"
sentAt    = "timestamp_seconds(1)"
visitorId = "who"
"""

RECORDS: list[dict[str, Any]] = [
    {"who": "v1", "hits": [{"sku": "a}{b"}, {"sku": "]"}]},
    {"who": 'v"2', "hits": []},
    {"who": "v3\n", "hits": [{"sku": '"}\n{"'}]},
]
PRETTY = [json.dumps(record, indent=2) for record in RECORDS]
FLAT = [json.dumps(record) for record in RECORDS]

Read = Callable[..., list[tuple[str | None, str | None]]]


@pytest.fixture
def read(spark: SparkSession, tmp_path: Path) -> Read:
    """Read a file of a framing: who each record is of, and its fault."""

    def run(framing: str, text: str | bytes) -> list[tuple[str | None, str | None]]:
        data = text if isinstance(text, bytes) else text.encode()
        path = tmp_path / ("log.json.gz" if data[:2] == b"\x1f\x8b" else "log.json")
        path.write_bytes(data)
        mapping = checked_mapping(MappingText("test.toml", MAPPING.format(framing=framing)), spark)
        rows = read_records(spark, [str(path)], mapping).select("who", "_fault").collect()
        return sorted(((row[0], row[1]) for row in rows), key=str)

    return run


ALL = sorted((record["who"], None) for record in RECORDS)


@pytest.mark.parametrize(
    "text",
    ["".join(FLAT), "\n".join(FLAT) + "\n", " ".join(PRETTY), "\r\n\r\n".join(PRETTY), "\ufeff" + "".join(PRETTY)],
    ids=["firehose", "lines", "pretty", "apart", "marked"],
)
def test_values_one_behind_the_other(read: Read, text: str) -> None:
    assert read("concatenated", text) == ALL
    assert read("concatenated", gzip.compress(text.encode())) == ALL


@pytest.mark.parametrize("separator", [",", ",\n", " ,\t"])
@pytest.mark.parametrize("values", [FLAT, PRETTY], ids=["flat", "pretty"])
def test_the_elements_of_an_array(read: Read, separator: str, values: list[str]) -> None:
    text = f" [{separator.join(values)}]\n"
    assert read("array", text) == ALL
    assert read("document", text) == ALL


def test_one_value_alone_in_its_file(read: Read) -> None:
    assert read("document", PRETTY[0] + "\n") == [("v1", None)]
    assert read("document", '{"who": "v1"}') == [("v1", None)]


def test_what_is_cut_off_is_refused_and_loses_no_other(read: Read) -> None:
    expected = [(RECORDS[0]["who"], None), (RECORDS[1]["who"], None), (None, "malformed_record")]
    assert read("concatenated", "".join(FLAT)[:-5]) == sorted(expected, key=str)
    assert read("array", f"[{','.join(FLAT)}"[:-5]) == [(None, "malformed_record")]
    assert read("document", PRETTY[0][:-5]) == [(None, "malformed_record")]


@pytest.mark.parametrize(
    ("framing", "text", "words"),
    [
        ("lines", "".join(FLAT), 'has several JSON objects on one line: set [source] framing = "concatenated"'),
        ("lines", f"[{','.join(FLAT)}]", 'begins with a JSON array: set [source] framing = "array"'),
        ("lines", PRETTY[0], 'has a JSON object that spans lines: set [source] framing = "document"'),
        ("lines", "\n".join(PRETTY), 'has several JSON objects on one line: set [source] framing = "concatenated"'),
        ("concatenated", f"[{','.join(PRETTY)}]", 'begins with a JSON array: set [source] framing = "array"'),
        ("document", "\n".join(FLAT), 'has more than one JSON value: set [source] framing = "lines"'),
        ("document", "".join(FLAT), 'has more than one JSON value: set [source] framing = "concatenated"'),
        ("array", "\n".join(FLAT), 'has more than one JSON value: set [source] framing = "lines"'),
    ],
)
def test_another_framing_than_the_mappings_is_told(read: Read, framing: str, text: str, words: str) -> None:
    for data in (text, gzip.compress(text.encode())):
        with pytest.raises(ConfigurationError) as ended:
            read(framing, data)
        assert [line.partition(": ")[2] for line in ended.value.lines] == [words]


def test_lines_that_only_look_odd_are_read(read: Read) -> None:
    text = '[2024-01-02] ready\n[{"who": "v1"}]\n{"who": "v2"}\n{"who":\n'
    assert read("lines", text) == [("v2", None), *[(None, "malformed_record")] * 3]
