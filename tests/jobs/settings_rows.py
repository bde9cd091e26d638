"""A small batch in every format, and all that a build makes of it, to see which of Spark's settings change a row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from shutil import rmtree

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from expectations.verdict import reasons, stage
from jobs.building.batch_rows import BuildConfig, judge_records
from jobs.lake.tables import Lake
from jobs.reading.mapping_check import check_mapping
from jobs.reading.sources import read_records
from jobs.spark_internals.catalyst import CatalystExpressions
from transforms.candidates import events_of
from transforms.columns import EVENT, REFUSAL
from transforms.mapping.expressions import guarded
from transforms.mapping.model import EventMapping
from transforms.mapping.reader import read_mapping
from transforms.packing import measure_requests, pack_requests
from transforms.schemas import EVENTS
from transforms.sessions import SessionLimits, fingerprint, update_visits

RECIPE = (SessionLimits(timedelta(minutes=30), timedelta(hours=24)), datetime(2024, 1, 3, tzinfo=UTC))

_EVENT = """
[event]
eventType = "kind"
sentAt    = "at"
visitorId = "who"
userId    = "USER"
itemId    = "sku"
"""

JSON = (
    r"""
[source]
format = "json"
schema = '''who STRING, user STRING, kind STRING, at STRING, sku STRING, price DOUBLE, `odd name` DECIMAL(10,3),
            shown ARRAY<STRING>, page STRUCT<url: STRING, depth: INT>, tags MAP<STRING, STRING>, n BIGINT, day DATE,
            seen TIMESTAMP, flag BOOLEAN, blob BINARY'''
[record]
where = '''kind <> "ping" AND size(tags) < 9 AND n IN (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)'''
[event]
eventType = '''concat(lower(kind), IF(kind RLIKE '\\.', '.', ""))'''
sentAt = "to_timestamp(at)"
visitorId = "who"
userId = "User"
itemId = '''element_at(split(sku, '\\.'), -1)'''
eventValue = "price * 1.10 - 0.5"
impression = "slice(array_sort(array_distinct(shown)), 1, 25)"
recommendationId = '''regexp_replace(sku, '^\\w+\\.', 'R-')'''
eventAttributionSource = "page.url"
[event.properties]
mapSize = "cardinality(tags)"
stamp = "date_format(TIMESTAMP '2024-01-02 03:04:05', 'yyyy-MM-dd')"
odd = "`odd name` / 3"
""",
    "\n".join(
        [
            *(
                json.dumps(
                    {
                        "who": f"v{n % 3}",
                        "user": ("u1", "undefined", None)[n % 3],
                        "kind": ("View", "a.b", "buy", "ping")[n % 4],
                        "at": (datetime(2024, 1, 2, 9, tzinfo=UTC) + timedelta(minutes=11 * n)).isoformat(),
                        "sku": f"shop.{'é' * (n % 3)}item{n}",
                        "price": (19.9, 1e7, -0.0, 1.5e-5)[n % 4],
                        "odd name": f"{n}.125",
                        "shown": [f"i{n}", "none", None, ""][: n % 5],
                        "page": {"url": "https://shop.example/a?b=c", "depth": None if n % 2 else n},
                        "tags": {"a": "x", "b": None} if n % 2 else {},
                        "n": n % 13,
                        "day": "2024-01-02",
                        "seen": "2024-01-02T10:00:00.123456+02:00",
                        "flag": bool(n % 2),
                        "blob": "eHk=",
                    }
                )
                for n in range(1, 15)
            ),
            '{"who":"v9","at":"2024-01-02T10:00:00Z","kind":"view","sku":"shop.x","n":2,"day":"no day"}',
            '{"who":"v9","at":"2024-01-02 10:00","kind":"view","sku":"shop.x","n":"2","price":"NaN","tags":{}}',
            '{"who":"v9","at":"1500-02-28T10:00:00Z","kind":"view","sku":"shop.x","n":2,"shown":"","tags":{}}',
            '{"WHO":"v8","Who":"v7","at":"2024-01-02T10:00:00Z","kind":"view","n":2,"tags":{"a":"1","a":"2"}}',
            '{"who":"v9","at":"2024-01-02T10:00:00Z","kind":"view","sku":"","n":3,"page":"","tags":{}}',
            '{"who":"v9","at":"2024-01-02T10:00:00Z","kind":"view","sku":"shop.r","n":4,"tags":{},"page":{"depth":"x"}}',
            '{"who":"v9", "at":"2024-01-02T11:00:00Z", "kind":"view","price":1.00,"user":{"b" : 1.50},"n":5,"tags":{}}',
            '{"who":"v9"',
            "",
        ]
    )
    + "\n",
)
EXPRESSIONS = (
    r"""size(shown)""",
    r"""cardinality(tags)""",
    r"""to_json(page)""",
    r"""to_json(tags)""",
    r"""CAST(page AS STRING)""",
    r"""CAST(map_concat(map('n', n), map('m', 1)) AS STRING)""",
    r"""CAST(shown AS STRING)""",
    r"""`odd name` / 3""",
    r"""`odd name` * CAST(1.25 AS DECIMAL(30, 12)) * CAST(2.5 AS DECIMAL(30, 12))""",
    r"""timestampdiff(HOUR, TIMESTAMP '2024-01-01 00:00:00', seen)""",
    r"""unix_micros(seen) + unix_micros(TIMESTAMP '2024-01-01 00:00:00')""",
    r"""date_format(seen, 'yyyy-MM-dd HH:mm:ss')""",
    r"""seen < '2024-01-02 12:00:00'""",
    r"""day + INTERVAL 1 DAY""",
    r"""day = '2024-01-02'""",
    r"""from_unixtime(1704186900 + n)""",
    r"""typeof(coalesce(seen, TIMESTAMP '2024-01-01 00:00:00'))""",
    r"""1e3 * n""",
    r"""typeof(1e3)""",
    r"""CAST(CAST(price AS DECIMAL(20, 10)) AS STRING)""",
    r"""n div 2""",
    r"""n % 0""",
    r"""CAST(n + 300 AS TINYINT)""",
    r"""CAST(sku AS INT)""",
    r"""sku > 1""",
    r"""n = '01'""",
    r"""elt(2, kind, sku)""",
    r"""CAST(concat(blob, blob) AS STRING)""",
    r"""base64(CAST(repeat('x', 70) AS BINARY))""",
    r"""lpad(sku, 12, '*')""",
    r"""hex(encode('é', 'UTF-16'))""",
    r"""decode(encode(sku, 'ISO-8859-1'), 'ISO-8859-1')""",
    r"""array_join(array_insert(shown, -1, 'z'), ',')""",
    r"""exists(shown, x -> x = 'none')""",
    r"""n BETWEEN 2 AND 3""",
    r"""NOT sku IN ('a', 'b')""",
    r"""length('a\\.b')""",
    r"""concat("double", 'quoted', sku)""",
    r"""array_join(array(), ',')""",
    r"""size(split('abc', ''))""",
    r"""tags['a']""",
    r"""aggregate(shown, 0, (acc, x) -> acc + length(x))""",
    r"""hash(sku, n)""",
    r"""initcap(lower(sku))""",
    r"""format_string('%s-%05d', kind, n)""",
    r"""format_number(price * 1000, 2)""",
    r"""from_json('{"a":"", "b": 1, "t": "2024-01-02T00:00:00Z"}', 'a STRING, b INT, t TIMESTAMP').b""",
    r"""from_csv('1,2024-01-02', 'a INT, d DATE').d""",
    r"""to_csv(named_struct('a', n, 'b', CAST(NULL AS STRING), 't', seen))""",
    r"""DATE '2024-01-02' - day""",
    r"""extract(DAY FROM seen)""",
    r"""to_number('454.00', '000.00')""",
    r"""xpath_string('<a><b>c</b></a>', 'a/b')""",
    r"""parse_url(page.url, 'HOST')""",
    r"""map_from_arrays(array('x', 'y'), array(1, 2))['x']""",
    r"""to_json(arrays_zip(shown, shown))""",
    r"""CAST(9223372036854775807 AS STRING)""",
    r"""CAST(CAST(0.1 AS FLOAT) AS STRING)""",
)
"""What a mapping may ask of the records of JSON; each is written as text."""
CSV = (
    r"""
[source]
format = "csv"
schema = "who STRING, at TIMESTAMP, kind STRING, sku STRING, USER STRING, price DECIMAL(12,4), shown STRING, day DATE"
options = { header = "true" }
"""
    + _EVENT
    + r"""
eventValue = "price"
impression = "split(shown, '[|]')"
[event.properties]
day = "day"
next = "day + 1"
""",
    "who,at,kind,sku,user,price,shown,day\n"
    + "".join(
        f'v{n % 2},2024-01-02 09:{n:02}:00,view,"i,{n}",{"" if n % 2 else "u"},{n}.25000,a|b,2024-01-02\n'
        for n in range(9)
    )
    + 'v1,2024-01-02T09:00:00+01:00,view,"",u,,,\nv1,nonsense,view,x,u,1e3,,\n'
    + "v1,2024-01-02,view,x,u,1,a,1500-01-01\nv1\n",
)
TEXT = (
    r"""
[source]
format = "text"
pattern = '^(?<ip>\S+) \[(?<time>[^\]]+)\] "(?<line>[^"]*)" (?<bytes>\d+|-)$'
[event]
eventType = "regexp_extract(line, '^([A-Z]+)\\\\s', 1)"
sentAt = "to_timestamp(time, 'dd/MMM/yyyy:HH:mm:ss Z')"
visitorId = "sha2(ip, 256)"
itemId = "regexp_extract(line, r'\\s(\\S+)', 1)"
eventValue = "CAST(bytes AS DOUBLE)"
""",
    "".join(f'10.0.0.{n % 3} [02/Jan/2024:09:{n:02}:00 +0100] "GET /p{n}" {n or "-"}\n' for n in range(8))
    + '10.0.0.1 [02/Jan/24:09:00:00 +0100] "GET /x" 1\n10.0.0.1 [] "" -\nno line\n',
)
COLUMNS = r"""
[source]
format = "FORMAT"
schema = '''who STRING, USER STRING, kind STRING, at TIMESTAMP, sku STRING, price DECIMAL(12,4), shown ARRAY<STRING>,
            local TIMESTAMP_NTZ, day DATE, tags MAP<STRING, STRING>, blob BINARY, n INT, gone STRING'''
""" + (
    _EVENT
    + """
eventValue = "price"
impression = "shown"
[event.properties]
local = "local"
day = "day"
tags = "to_json(tags)"
blob = "hex(blob)"
n = "n"
"""
)
WHOLE_JSON = (
    r"""
[source]
format = "json"
schema = "who STRING, at TIMESTAMP, kind STRING, sku STRING, user STRING, n INT, page STRUCT<a: INT, b: STRING>"
options = { multiLine = "true" }
"""
    + _EVENT
    + '[event.properties]\nn = "n"\nb = "page.b"\n',
    json.dumps(
        [
            {"who": f"v{n}", "at": "2024-01-02T09:00:00Z", "kind": "view", "sku": f"i{n}", "n": n, "page": page}
            for n, page in enumerate([{"a": 1}, {"a": "x", "b": "y"}, None, "", {}])
        ],
        indent=1,
    ),
)
WHOLE_CSV = (
    CSV[0].replace('header = "true"', 'multiLine = "true"'),
    'v1,2024-01-02 09:00:00,view,"a\nb",u,1.5,a|b,2024-01-02\nv1,2024-01-02 09:01:00,view,c,"",,,\nv1,-,view,c,,,,\n',
)


def write_inputs(folder: Path) -> dict[str, tuple[EventMapping, str]]:
    """Write a file of each format; returns the mappings and the files, by a name of their own."""
    folder.mkdir(parents=True)
    texts = {"json": JSON, "csv": CSV, "text": TEXT, "wholeJson": WHOLE_JSON, "wholeCsv": WHOLE_CSV}
    found = {name: (mapping_of(mapping), str(folder / f"{name}.log")) for name, (mapping, _) in texts.items()}
    for name, (_, text) in texts.items():
        (folder / f"{name}.log").write_text(text)
    at = datetime(2024, 1, 2, 9, tzinfo=UTC)
    rows = [
        {
            "who": f"v{n % 2}",
            "user": "u" if n % 3 else None,
            "kind": "view",
            "at": at + timedelta(minutes=n * 7, microseconds=n) if n < 8 else datetime(1500, 2, 28, tzinfo=UTC),
            "sku": f"item{n}",
            "price": Decimal(n) / 4,
            "shown": ["a", f"b{n}"] if n % 2 else None,
            "local": (at + timedelta(minutes=n)).replace(tzinfo=None),
            "day": date(1500 if n == 3 else 2024, 1, 2),
            "tags": [("a", "1"), ("b", None)],
            "blob": b"\xff\x00",
            "n": 2**33 if n == 4 else n,
        }
        for n in range(9)
    ]
    kinds = {"price": pa.decimal128(14, 5), "tags": pa.map_(pa.string(), pa.string()), "n": pa.int64()}
    kinds |= {"at": pa.timestamp("us", tz="UTC"), "local": pa.timestamp("us"), "shown": pa.list_(pa.string())}
    schema = pa.schema([(name, kinds.get(name, pa.infer_type([rows[1][name]]))) for name in rows[0]])
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table, folder / "columns.parquet", row_group_size=4)
    naive = table.schema.field("local").type  # Spark cannot read ORC's other type of times
    orc.write_table(table.set_column(3, "at", table["at"].cast(naive)), folder / "columns.orc")
    for name in ("parquet", "orc"):
        found[name] = (mapping_of(COLUMNS.replace("FORMAT", name)), str(folder / f"columns.{name}"))
    return found


def mapping_of(text: str) -> EventMapping:
    mapping, faults = read_mapping(text)
    assert mapping is not None and not faults, faults
    return mapping


def rows(spark: SparkSession, inputs: dict[str, tuple[EventMapping, str]], folder: Path) -> list[str]:
    """Build the batch, and say all that came of it, a line each, in an order of their own."""
    rmtree(folder, ignore_errors=True)
    return sorted(_lines(spark, inputs, folder))


def _lines(spark: SparkSession, inputs: dict[str, tuple[EventMapping, str]], folder: Path) -> Iterator[str]:
    judged = {
        name: judge_records(read_records(spark, [file], mapping), BuildConfig(mapping, *RECIPE))
        for name, (mapping, file) in inputs.items()
    }
    yield from (f"fate {row}" for row in _union([_fates(rows, name) for name, rows in judged.items()]).collect())
    mapping, file = inputs["json"]
    yield from (f"fault {fault.describe('mapping')}" for fault in check_mapping(mapping, spark))
    records = read_records(spark, [file], mapping).withColumn("_fault", F.lit(None).cast("string"))
    expressions = CatalystExpressions(spark)
    values = [guarded(text, expressions).cast("string").alias(text) for text in EXPRESSIONS]
    yield from (
        f"value {name}: {value}" for row in records.select(values).collect() for name, value in row.asDict().items()
    )
    lake = Lake(spark, str(folder))
    events_of(judged["parquet"]).unionByName(events_of(judged["csv"])).write.parquet(
        f"{folder}/events/batch=2024-01-02"
    )
    events = lake.rows(f"{folder}/events/batch=2024-01-02", EVENTS)
    yield from (f"request {row}" for row in pack_requests(events).collect())
    cut = judged["json"]
    yield from (f"measure {row}" for row in measure_requests(cut.withColumn("sessionId", F.col("_session"))).collect())
    yield from (f"visits {row}" for row in fingerprint(update_visits(cut, None, "2024-01-02")).collect())


def _fates(judged: DataFrame, name: str) -> DataFrame:
    broken = F.col(REFUSAL)["_broken"]
    return judged.select(
        F.lit(name).alias("input"),
        *("_fate", "_first", "userId", "_session", "_visit_since", "_visit_first"),
        F.when(broken.isNotNull(), stage(broken)).alias("stage"),
        reasons(broken)["code"].alias("codes"),
        F.col(REFUSAL)["_raw"].alias("record"),
        "eventId",
        F.unix_micros("sentAt").alias("sentAt"),
        *(
            F.col(EVENT)[field].alias(field)
            for field in ("eventType", "eventValue", "itemId", "impression", "properties")
        ),
    )


def _union(frames: list[DataFrame]) -> DataFrame:
    whole = frames[0]
    for frame in frames[1:]:
        whole = whole.unionByName(frame)
    return whole
