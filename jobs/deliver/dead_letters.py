"""What to say of events that the service refused for good: why, and what to type to see them and to send them again."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pyspark.sql import functions as F

from delivery.http.endpoint import TrackerEndpoint, comparable, regional_url
from jobs.cli.arguments import IN_FLIGHT, PUT_RATE
from jobs.deliver.spark_job import PacingState
from jobs.lake.filesystem import literal
from jobs.lake.tables import Lake
from jobs.ledger.tracker_ledger import TrackerLedger
from transforms.schemas import DEAD_LETTERS

log = logging.getLogger(__name__)

_MOST_BATCHES: Final = 50
"""Batches in a command."""
_TABLE: Final = "dead_letters"


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The dead letters of one tracker.

    Attributes:
        lake: where they are.
        service: the tracker.
        pace: at which they were sent.
    """

    lake: Lake
    service: TrackerEndpoint
    pace: PacingState

    def deliveries(self, batches: Sequence[str]) -> dict[str, str]:
        """Name the deliveries of batches, by label."""
        tracker = TrackerLedger(self.lake, self.service)
        return {batch: tracker.delivery(batch) for batch in batches}

    def codes(self, batches: Sequence[str]) -> dict[str, int]:
        """Count them by the service's error codes, the most frequent first."""
        names = self.deliveries(batches).items()
        folders = [self.lake.folder(_TABLE, batch, f"deliveryId={delivery}") for batch, delivery in names]
        rows = self.lake.rows([one for one in folders if self.lake.files.exists(one)], DEAD_LETTERS)
        counts = rows.groupBy(F.coalesce("errorCode", F.lit("none")).alias("code")).count().collect()
        return {row["code"]: row["count"] for row in sorted(counts, key=lambda row: (-row["count"], row["code"]))}


def tell_dead_letters(letters: DeadLetters, batches: Sequence[str]) -> None:
    """Log how many events were refused by which code, and the commands to see them and to send them again."""
    try:
        codes = letters.codes(batches)
    except Exception as failure:  # another run may be writing them anew; how this one ends is known by now
        log.warning("the dead letters cannot be counted now: %s", type(failure).__name__)
    else:
        counted = ", ".join(f"{code} {count:,}" for code, count in codes.items())
        total = f"{sum(codes.values()):,}"
        log.warning("%s events are in dead_letters, by the service's error code: %s", total, counted)
    named = batches[:_MOST_BATCHES]
    if len(named) < len(batches):
        log.warning("the commands below are for the first %d of %d batches", len(named), len(batches))
    log.warning("to see why: %s", look_command(letters.lake.root, [*letters.deliveries(named).values()]))
    retry = retry_command(letters.lake.root, letters.service, named, letters.pace)
    log.warning("to send them again, after a correction: %s", retry)


def look_command(root: str, deliveries: Sequence[str]) -> str:
    """Write the command that shows how many events were refused with which words.

    Examples:
        >>> look_command("/lake", ["d1"])[:66]
        "spark-sql --conf spark.sql.catalogImplementation=in-memory -e 'SEL"
    """
    path = literal(f"{root}/{_TABLE}").replace("`", "``")
    names = ", ".join(f"'{name}'" for name in deliveries)
    query = (
        f"SELECT batch, errorCode, errorMessage, eventType, count(*) AS events FROM parquet.`{path}` "  # noqa: S608 - for a person
        f"WHERE deliveryId IN ({names}) GROUP BY ALL ORDER BY events DESC"
    )
    # The conf: else spark-sql makes a metastore in the working directory.
    return shlex.join(["spark-sql", "--conf", "spark.sql.catalogImplementation=in-memory", "-e", query])


def retry_command(root: str, service: TrackerEndpoint, batches: Sequence[str], pace: PacingState) -> str:
    """Write the command that sends the dead letters of batches once more, no faster than they were sent.

    Examples:
        >>> tracker, pacing = TrackerEndpoint("t", "eu-west-1", "http://a"), PacingState(500, 256, 0)
        >>> retry_command("/my lake", tracker, ["2024-01-02"], pacing)[:82]
        "spark-submit jobs/put_events.py --lake '/my lake' --batch 2024-01-02 --tracking-id"
        >>> retry_command("/lake", tracker, ["a", "b"], pacing)[:69]
        'for batch in a b; do spark-submit jobs/put_events.py --lake /lake --b'
    """
    one = len(batches) == 1
    before = shlex.join(["spark-submit", "jobs/put_events.py", "--lake", root, "--batch"])
    where = ["--tracking-id", service.trackingId, "--region", service.region]
    after = f"{shlex.join(where)}{_endpoint(service)}{_pace(pace)} --retry-dead-letters"
    label = shlex.quote(batches[0]) if one else '"$batch"'
    command = f"{before} {label} {after}"
    return command if one else f"for batch in {shlex.join(batches)}; do {command}; done"


def _endpoint(service: TrackerEndpoint) -> str:
    """Write the option where the region alone does not lead there; a password is left to whoever knows it."""
    if comparable(service.endpoint_url) == comparable(regional_url(service.region)):
        return ""
    url = "..." if "@" in urlsplit(service.endpoint_url).netloc else service.endpoint_url
    return f" {shlex.join(['--endpoint-url', url])}"


def _pace(pace: PacingState) -> str:
    """Write the options that are not as put_events would have them."""
    given = {
        "--max-rate": (_number(float(pace.max_rate)), str(PUT_RATE)),
        "--max-in-flight": (pace.in_flight, IN_FLIGHT),
    }
    given["--channel-port"] = (pace.port, 0)
    options = [f" {name} {value}" for name, (value, usual) in given.items() if value != usual]
    return "".join([*options, *([" --accept-failures"] if pace.trust.working else [])])


def _number(rate: float) -> str:
    return str(int(rate)) if rate.is_integer() else str(rate)
