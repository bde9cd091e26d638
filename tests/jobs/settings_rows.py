"""A small batch in every format, and all that a build makes of it, to see which of Spark's settings change a row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from shutil import rmtree

import pyarrow as pa
import pyarrow.orc as orc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from expectations.verdict import reasons, stage
from jobs.building.build import Recipe, judged_candidates
from jobs.lake.tables import Lake
from jobs.reading.sources import read_records
from transforms.bookkeeping import REFUSAL
from transforms.candidates import events_of
from transforms.mapping import EventMapping
from transforms.mapping_check import check_mapping
from transforms.mapping_reader import read_mapping
from transforms.outcomes import fates, remaining
from transforms.packing import measure, pack_requests
from transforms.schemas import EVENTS, RECEIPTS, VISITS
from transforms.sessions import SessionLimits
from transforms.visits import carry_on, fingerprint

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
arraySize = "size(shown)"
mapSize = "cardinality(tags)"
wholePage = "to_json(page)"
wholeTags = "to_json(tags)"
pageText = "CAST(page AS STRING)"
tagsText = "CAST(map_concat(map('n', n), map('m', 1)) AS STRING)"
shownText = "CAST(shown AS STRING)"
odd = "`odd name` / 3"
oddProduct = "`odd name` * CAST(1.25 AS DECIMAL(30, 12)) * CAST(2.5 AS DECIMAL(30, 12))"
hours = "timestampdiff(HOUR, TIMESTAMP '2024-01-01 00:00:00', seen)"
instant = "unix_micros(seen) + unix_micros(TIMESTAMP '2024-01-01 00:00:00')"
stamp = "date_format(seen, 'yyyy-MM-dd HH:mm:ss')"
past = "seen < '2024-01-02 12:00:00'"
day = "day + INTERVAL 1 DAY"
sameDay = "day = '2024-01-02'"
fromUnix = "from_unixtime(1704186900 + n)"
typed = "typeof(coalesce(seen, TIMESTAMP '2024-01-01 00:00:00'))"
scientific = "1e3 * n"
scale = "typeof(1e3)"
truncated = "CAST(CAST(price AS DECIMAL(20, 10)) AS STRING)"
division = "n div 2"
modulo = "n % 0"
overflow = "CAST(n + 300 AS TINYINT)"
notNumber = "CAST(sku AS INT)"
comparison = "sku > 1"
compareText = "n = '01'"
elt = "elt(2, kind, sku)"
binary = "CAST(concat(blob, blob) AS STRING)"
base64 = "base64(CAST(repeat('x', 70) AS BINARY))"
padded = "lpad(sku, 12, '*')"
encoded = "hex(encode('é', 'UTF-16'))"
encodedLatin = "decode(encode(sku, 'ISO-8859-1'), 'ISO-8859-1')"
inserted = "array_join(array_insert(shown, -1, 'z'), ',')"
someNull = "exists(shown, x -> x = 'none')"
between = "n BETWEEN 2 AND 3"
either = "NOT sku IN ('a', 'b')"
literal = '''length('a\\.b')'''
quoted = '''concat("double", 'quoted', sku)'''
nothing = "array_join(array(), ',')"
emptySplit = "size(split('abc', ''))"
lookup = "tags['a']"
lateral = "aggregate(shown, 0, (acc, x) -> acc + length(x))"
digest = "hash(sku, n)"
title = "initcap(lower(sku))"
words = "format_string('%s-%05d', kind, n)"
formatted = "format_number(price * 1000, 2)"
parsed = "from_json('{\"a\":\"\", \"b\": 1, \"t\": \"2024-01-02T00:00:00Z\"}', 'a STRING, b INT, t TIMESTAMP').b"
fromCsv = "from_csv('1,2024-01-02', 'a INT, d DATE').d"
toCsv = "to_csv(named_struct('a', n, 'b', CAST(NULL AS STRING), 't', seen))"
subtracted = "DATE '2024-01-02' - day"
extracted = "extract(DAY FROM seen)"
numbered = "to_number('454.00', '000.00')"
xpath = "xpath_string('<a><b>c</b></a>', 'a/b')"
url = "parse_url(page.url, 'HOST')"
mapped = "map_from_arrays(array('x', 'y'), array(1, 2))['x']"
zipped = "to_json(arrays_zip(shown, shown))"
long = "CAST(9223372036854775807 AS STRING)"
floating = "CAST(CAST(0.1 AS FLOAT) AS STRING)"
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
    + 'v1,2024-01-02T09:00:00+01:00,view,"",u,,,\nv1,nonsense,view,x,u,1e3,,\nv1,2024-01-02,view,x,u,1,a,1500-01-01\nv1\n',
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
    'v1,2024-01-02 09:00:00,view,"a\nb",u,1.5,a|b,2024-01-02\nv1,2024-01-02 09:01:00,view,c,"",,,\nv1,never,view,c,u,1,a,\n',
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
            "local": datetime(2024, 1, 2, 9, n),
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
    fates_of, events_by_name = [], []
    for name, (mapping, file) in inputs.items():
        yield from (f"{name}: {fault.describe('mapping')}" for fault in check_mapping(mapping, spark))
        judged = judged_candidates(read_records(spark, [file], mapping), Recipe(mapping, *RECIPE))
        fates_of.append(_fates(judged, name))
        events_by_name.append(events_of(judged).withColumn("sourceFile", F.lit(name)))
        if name == "json":
            cut = judged
    for row in _union(fates_of).collect():
        yield f"fate {row}"
    lake = Lake(spark, str(folder))
    _union(events_by_name).write.parquet(f"{folder}/events/batch=2024-01-02/runId=1")
    events = lake.rows(f"{folder}/events/batch=2024-01-02/runId=1", EVENTS)
    yield from (f"event {row}" for row in events.collect())
    requests = pack_requests(events)
    yield from (f"request {row}" for row in requests.collect())
    yield from (f"measure {row}" for row in measure(cut.withColumn("sessionId", F.col("_session"))).collect())
    carry_on(cut, None, "2024-01-02").write.parquet(f"{folder}/visits")
    visits = lake.rows(f"{folder}/visits", VISITS)
    yield from (f"visit {row}" for row in [*visits.collect(), *fingerprint(visits).collect()])
    receipts = requests.where("number = 0").select(
        "requestId", "eventIds", F.lit("delivered").alias("status"), F.lit(datetime(2024, 1, 3)).alias("startedAt")
    )
    receipts.write.parquet(f"{folder}/receipts")
    known = lake.rows(f"{folder}/receipts", RECEIPTS)
    yield from (f"receipt {row}" for row in [*fates(known).collect(), *remaining(requests, known).collect()])


def _fates(judged: DataFrame, name: str) -> DataFrame:
    broken = F.col(REFUSAL)["_broken"]
    return judged.select(
        F.lit(name).alias("input"),
        *("_fate", "_first", "userId", "_session", "_visit_since", "_visit_first"),
        F.when(broken.isNotNull(), stage(broken)).alias("stage"),
        reasons(broken)["code"].alias("codes"),
        F.col(REFUSAL)["_raw"].alias("record"),
    )


def _union(frames: list[DataFrame]) -> DataFrame:
    whole = frames[0]
    for frame in frames[1:]:
        whole = whole.unionByName(frame)
    return whole
