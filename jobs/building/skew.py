"""Warns if one visitor has a large part of the log, because one task must sort all rows of a visitor."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

from pyspark.sql import DataFrame

from jobs.spark_internals.catalyst import CatalystExpressions, input_bytes
from transforms.candidates import map_candidates
from transforms.columns import visitor_key
from transforms.mapping.model import EventMapping
from transforms.records import select_records

log = logging.getLogger(__name__)

LARGE_INPUT: Final = 256 * 2**20
"""Bytes of input files from which on one visitor's share matters; smaller batches are not sampled."""
SAMPLE: Final = 20_000
"""The number of candidates in the sample: the first ones that Spark reads."""
LARGEST_SHARE: Final = 0.1
"""The share of the sample from which on a visitor is reported."""
_FIELD_BY_PREFIX: Final = {"v": "visitorId", "u": "userId", "s": "sessionId"}


def warn_of_heavy_visitor(records: DataFrame, mapping: EventMapping) -> None:
    """Log which field gives one visitor a large share of a large input. No id is logged.

    Args:
        records: what `read_records` or `read_again` gives.
        mapping: how they become candidates.
    """
    if input_bytes(records) < LARGE_INPUT:
        return
    expressions = CatalystExpressions(records.sparkSession)
    candidates = map_candidates(select_records(records, mapping, expressions), mapping, expressions)
    keys = [row[0] for row in candidates.select(visitor_key()).limit(SAMPLE).collect()]
    found = Counter(key for key in keys if key is not None).most_common(1)
    if found and found[0][1] > LARGEST_SHARE * len(keys):
        key, count = found[0]
        field = _FIELD_BY_PREFIX[key[0]]
        log.warning(
            "one %s has %s of the first %s candidates (%.0f %%): one task orders all rows of a visitor, so it takes as "
            "long as that one. If it is a robot, filter it with [record] where; if it is many people, map [event] %s "
            "to a field that tells them apart",
            field,
            f"{count:,}",
            f"{len(keys):,}",
            100 * count / len(keys),
            field,
        )
