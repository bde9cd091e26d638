"""A build with DuckDB on two threads: it reads, maps, checks, cuts into sessions, writes and counts the same records.

python duckdb_build.py RAW OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import duckdb

GAP: Final = 1_800_000_000
LONGEST: Final = 86_400_000_000
LATEST: Final = 1_704_326_400_000_000  # 2024-01-04T00:00:00Z: --as-of and a day
MISSING: Final = "('', 'null', 'undefined', 'none', 'nan')"

READ: Final = """
CREATE TEMP VIEW lines AS SELECT raw, filename AS sourceFile, CASE WHEN json_valid(raw) AND json_type(raw) = 'OBJECT'
    THEN json_transform(raw, '{"visitor": "VARCHAR", "user": "VARCHAR", "action": "VARCHAR", "at": "JSON",
                               "sku": "VARCHAR", "price": "JSON", "device": "VARCHAR"}') END AS r
FROM read_csv('%s/*', columns = {'raw': 'VARCHAR'}, delim = '\x01', quote = '', escape = '', header = false,
              auto_detect = false, filename = true)
"""
RECORDS: Final = """
CREATE TEMP VIEW records AS SELECT raw, sourceFile, r IS NULL AS malformed,
    r.visitor AS visitor, r.user AS "user", r.action AS action, r.sku AS sku, r.device AS device,
    TRY_CAST(r.at AS BIGINT) AS millis, TRY_CAST(r.price AS DOUBLE) AS price,
    coalesce(r.at <> 'null' AND millis IS NULL OR r.price <> 'null' AND price IS NULL, false) AS mismatch
FROM lines
"""
MAPPED: Final = f"""
CREATE TEMP VIEW mapped AS SELECT raw, sourceFile, malformed, mismatch, NOT malformed AND NOT mismatch AS whole,
    CASE WHEN NOT lower(trim(visitor)) IN {MISSING} THEN visitor END AS visitorId,
    CASE WHEN NOT lower(trim("user")) IN {MISSING} THEN "user" END AS userId,
    CASE WHEN NOT lower(trim(sku)) IN {MISSING} THEN sku END AS itemId,
    action AS eventType, price AS eventValue, millis * 1000 AS micros, device,
    '{{"device":' || to_json(device) || '}}' AS properties,
    coalesce('v:' || visitorId, 'u:' || userId) AS visitor
FROM records WHERE malformed OR mismatch OR action <> 'ping'
"""
RULES: Final = (
    ("malformed_record", "", "malformed"),
    ("schema_mismatch", "", "mismatch"),
    ("identity_missing", "", "whole AND visitor IS NULL"),
    ("eventType_missing", "eventType", "whole AND coalesce(eventType, '') = ''"),
    ("eventType_too_long", "eventType", "length(eventType) > 256"),
    ("sentAt_missing", "sentAt", "whole AND micros IS NULL"),
    ("sentAt_before_1970", "sentAt", "micros < 0"),
    ("sentAt_in_future", "sentAt", f"micros > {LATEST}"),
    ("userId_too_long", "userId", "length(userId) > 256"),
    ("itemId_too_long", "itemId", "length(itemId) > 256"),
    ("eventValue_not_finite", "eventValue", "NOT isfinite(eventValue)"),
    ("properties_too_long", "properties", "length(properties) > 1024"),
    (
        "event_too_large",
        "",
        """strlen(concat(eventType, itemId)) * 6 + coalesce(strlen(properties), 0) * 2 + 512 > 10240 AND
        strlen(to_json({e: eventType, i: itemId, p: properties, v: eventValue, s: micros})) + 64 > 10240""",
    ),
)
_BITS: Final = " + ".join(f"CASE WHEN {broken} THEN {1 << bit} ELSE 0 END" for bit, (*_, broken) in enumerate(RULES))
JUDGED: Final = f"CREATE TEMP VIEW judged AS SELECT *, {_BITS} AS broken FROM mapped"
_CONTENT: Final = ", ".join(
    f"'{name}=' || length({text}) || ':' || {text}"
    for name, text in (
        ("visitorId", "visitorId"),
        ("userId", "userId"),
        ("eventType", "eventType"),
        ("sentAt", "CAST(micros AS VARCHAR)"),
        ("itemId", "itemId"),
        ("eventValue", "CAST(eventValue AS VARCHAR)"),
        ("properties", "properties"),
    )
)
SESSIONS: Final = f"""
CREATE TEMP TABLE candidates AS
WITH named AS (SELECT *, CASE WHEN broken = 0 THEN sha256(concat_ws(';', {_CONTENT})) END AS eventId FROM judged),
before AS (
    SELECT * EXCLUDE (raw, malformed, mismatch, whole, broken),
        CAST(NULL AS VARCHAR) AS raw, broken, lag(micros) OVER w AS last, lag(eventId) OVER w AS other
    FROM named WHERE broken = 0 WINDOW w AS (PARTITION BY visitor ORDER BY micros, eventId, sourceFile)
),
begun AS (
    SELECT *, max(CASE WHEN last IS NULL OR micros - last > {GAP} THEN micros END) OVER
        (PARTITION BY visitor ORDER BY micros, eventId, sourceFile ROWS UNBOUNDED PRECEDING) AS since
    FROM before
)
SELECT userId, visitorId,
    sha256(concat_ws('|', visitor, since, nullif(greatest(0, (micros - since - 1) // {LONGEST}), 0))) AS sessionId,
    eventId, eventType, eventValue, itemId, device, micros, sourceFile, coalesce(other = eventId, false) AS repeated,
    broken, raw
FROM begun
UNION ALL BY NAME
SELECT sourceFile, broken, raw, false AS repeated FROM named WHERE broken <> 0
"""
EVENTS: Final = """
COPY (SELECT userId, visitorId, sessionId, eventId, eventType, eventValue, itemId,
    CAST(NULL AS VARCHAR[]) AS impression, CASE WHEN device IS NOT NULL THEN MAP {'device': device} END AS properties,
    CAST(NULL AS VARCHAR) AS recommendationId, CAST(NULL AS VARCHAR) AS eventAttributionSource,
    make_timestamp(micros) AS sentAt, sourceFile
    FROM candidates WHERE broken = 0 AND NOT repeated) TO '%s/events/0.parquet'
"""
_REASONS: Final = ", ".join(
    f"CASE WHEN broken & {1 << bit} <> 0 THEN {{'code': '{code}', 'field': nullif('{field}', ''), "
    f"'message': replace('{code}', '_', ' ')}} END"
    for bit, (code, field, _) in enumerate(RULES)
)
QUARANTINE: Final = f"""
COPY (SELECT CASE WHEN broken < 4 THEN 'read' ELSE 'validate' END AS stage,
    list_filter([{_REASONS}], lambda reason: reason IS NOT NULL) AS reasons, raw AS record, sourceFile
    FROM candidates WHERE broken <> 0) TO '%s/quarantine/0.parquet'
"""
COUNTS: Final = """
WITH counted AS (SELECT userId, sessionId, count(*) AS events FROM candidates
                 WHERE broken = 0 AND NOT repeated GROUP BY ALL),
fates AS (SELECT count(*) AS candidates, count_if(broken <> 0) AS quarantined, count_if(repeated) AS duplicates
          FROM candidates),
totals AS (SELECT coalesce(sum(events), 0)::BIGINT AS events, count(DISTINCT sessionId) AS sessions,
           count(DISTINCT userId) AS users, coalesce(sum(ceil(events / 10)), 0)::BIGINT AS requests FROM counted)
SELECT read, read - candidates AS filtered, candidates, events, quarantined, duplicates, sessions, users, requests
FROM (SELECT count(*) AS read FROM lines), fates, totals
"""
BY_REASON: Final = """
SELECT reason.code, count(*)
FROM (SELECT unnest(reasons) AS reason FROM '%s/quarantine/*.parquet') GROUP BY 1 ORDER BY 1
"""


def main(raw: str, out: str) -> None:
    """Build one batch."""
    for table in ("events", "quarantine"):
        Path(out, table).mkdir(parents=True)
    connection = duckdb.connect(config={"threads": 2, "memory_limit": "4GB", "preserve_insertion_order": False})
    for statement in (READ % raw, RECORDS, MAPPED, JUDGED, SESSIONS, EVENTS % out, QUARANTINE % out):
        connection.execute(statement)
    counted = connection.execute(COUNTS)
    names = [column[0] for column in counted.description or ()]
    counters = dict(zip(names, counted.fetchall()[0], strict=True))
    reasons = dict(connection.execute(BY_REASON % out).fetchall())
    print(json.dumps({**counters, "reasons": reasons}))


if __name__ == "__main__":
    main(*sys.argv[1:])
