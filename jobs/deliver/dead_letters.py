"""Reports events that the service refused for good: the reasons, and the commands to see them and to send them."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pyspark.sql import functions as F

from delivery.http.endpoint import TrackerEndpoint, comparable, regional_url
from jobs.deliver.delivery_config import DeliveryConfig, write_put_options
from jobs.lake.filesystem import literal
from jobs.lake.tables import Lake
from jobs.ledger.tracker_ledger import TrackerLedger
from transforms.schemas import DEAD_LETTERS

log = logging.getLogger(__name__)

_MOST_BATCHES: Final = 50
"""The most batches in a command."""
_TABLE: Final = "dead_letters"


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The dead letters of one tracker.

    Attributes:
        lake: where they are.
        service: the tracker.
        config: the config of the delivery that sent them.
    """

    lake: Lake
    service: TrackerEndpoint
    config: DeliveryConfig

    def deliveries(self, batches: Sequence[str]) -> dict[str, str]:
        """Give the deliveryIds of batches, by label."""
        tracker = TrackerLedger(self.lake, self.service)
        return {batch: tracker.delivery(batch) for batch in batches}

    def codes(self, batches: Sequence[str]) -> dict[str, int]:
        """Count the dead letters by the service's error codes, the most frequent first."""
        names = self.deliveries(batches).items()
        folders = [self.lake.folder(_TABLE, batch, f"deliveryId={delivery}") for batch, delivery in names]
        rows = self.lake.rows([one for one in folders if self.lake.files.exists(one)], DEAD_LETTERS)
        counts = rows.groupBy(F.coalesce("errorCode", F.lit("none")).alias("code")).count().collect()
        return {row["code"]: row["count"] for row in sorted(counts, key=lambda row: (-row["count"], row["code"]))}


def log_dead_letters(letters: DeadLetters, batches: Sequence[str]) -> None:
    """Log how many events were refused by which code, and the commands to see them and to send them again."""
    try:
        codes = letters.codes(batches)
    except Exception as failure:  # another run may be writing them; how this run ends is already known
        log.warning("the dead letters cannot be counted now: %s", type(failure).__name__)
    else:
        counts_by_code = ", ".join(f"{code} {count:,}" for code, count in codes.items())
        total = f"{sum(codes.values()):,}"
        log.warning("%s events are in dead_letters, by the service's error code: %s", total, counts_by_code)
    listed = batches[:_MOST_BATCHES]
    if len(listed) < len(batches):
        log.warning("the commands below are for the first %d of %d batches", len(listed), len(batches))
    log.warning("to see why: %s", look_command(letters.lake.root, [*letters.deliveries(listed).values()]))
    retry = retry_command(letters.lake.root, letters.service, listed, letters.config)
    log.warning("to send them again, after a correction: %s", retry)


def look_command(root: str, deliveries: Sequence[str]) -> str:
    """Write the command that counts the refused events by error message.

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
    # Without the conf, spark-sql makes a metastore in the working directory.
    return shlex.join(["spark-sql", "--conf", "spark.sql.catalogImplementation=in-memory", "-e", query])


def retry_command(root: str, service: TrackerEndpoint, batches: Sequence[str], config: DeliveryConfig) -> str:
    """Write the command that sends the dead letters of batches again, with the same limits.

    Examples:
        >>> tracker, config = TrackerEndpoint("t", "eu-west-1", "http://a"), DeliveryConfig(500.0)
        >>> retry_command("/my lake", tracker, ["2024-01-02"], config)[:82]
        "spark-submit jobs/put_events.py --lake '/my lake' --batch 2024-01-02 --tracking-id"
        >>> retry_command("/lake", tracker, ["a", "b"], config)[:69]
        'for batch in a b; do spark-submit jobs/put_events.py --lake /lake --b'
    """
    is_single = len(batches) == 1
    start = shlex.join(["spark-submit", "jobs/put_events.py", "--lake", root, "--batch"])
    tracker_options = ["--tracking-id", service.trackingId, "--region", service.region]
    endpoint = _write_endpoint_option(service)
    options = f"{shlex.join(tracker_options)}{endpoint}{write_put_options(config)} --retry-dead-letters"
    label = shlex.quote(batches[0]) if is_single else '"$batch"'
    command = f"{start} {label} {options}"
    return command if is_single else f"for batch in {shlex.join(batches)}; do {command}; done"


def _write_endpoint_option(service: TrackerEndpoint) -> str:
    """Write the option for an endpoint that is not the region's own. A password is left out."""
    if comparable(service.endpoint_url) == comparable(regional_url(service.region)):
        return ""
    url = "..." if "@" in urlsplit(service.endpoint_url).netloc else service.endpoint_url
    return f" {shlex.join(['--endpoint-url', url])}"
