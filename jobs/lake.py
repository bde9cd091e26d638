"""The lake: where each table's rows lie, and the manifest that makes a batch visible.

A run writes into folders of its own, `<table>/batch=<label>/runId=<run>`, and publishes them by writing one small file
last: `_batches/<label>/<version>.json`. Readers follow the newest manifest, so they never see half a batch, on any
store; nothing is renamed or overwritten. What older runs of the batch left is deleted once the manifest stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from jobs.errors import ConfigurationError, UnfinishedError
from jobs.filesystem import FileSystem

LAYOUT: Final = 1
"""Grows when an older version of this project could not read what a newer one writes."""
REBUILT_TABLES: Final = ("events", "quarantine")
"""The tables whose rows a rerun of their batch replaces. The others are ledgers: rows are only added."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a batch consists of.

    Attributes:
        batch: the label.
        version: counts the batch's publications, from 1.
        runId: the run whose folders hold the rows.
        gate: `passed`, `warned` or `failed`; of a failed batch no events are kept.
        events: rows in `events`.
        quarantined: rows in `quarantine`.
        layout: of the lake.
    """

    batch: str
    version: int
    runId: str
    gate: str
    events: int
    quarantined: int
    layout: int = field(default=LAYOUT)


class Lake:
    """The tables under one root.

    Args:
        spark: reads and writes them.
        root: folder or URI.
    """

    def __init__(self, spark: SparkSession, root: str) -> None:
        self._spark = spark
        self._files = FileSystem(spark)
        self._root = root.rstrip("/") or root

    @contextmanager
    def staging(self, batch: str, run_id: str) -> Iterator[str]:
        """Lend a run a folder where nobody else reads; that it can be made proves that the lake can be written.

        Raises:
            ConfigurationError: it cannot.
        """
        folder = f"{self._root}/_staging/{batch}/{run_id}"
        try:
            self._files.make_folder(folder)
        except OSError as error:
            raise ConfigurationError(
                f"--lake {self._root}: cannot be written ({error}); give a folder or URI that can"
            ) from None
        try:
            yield folder
        finally:
            with suppress(OSError):  # what a crash leaves there, the next publication of the batch sweeps
                self._files.delete(folder)

    def folder(self, table: str, batch: str, part: str = "") -> str:
        """Where a table's rows of a batch lie; `part` is the folder below, e.g. `runId=...`."""
        return "/".join(filter(None, [self._root, table, f"batch={batch}", part]))

    def parts(self, table: str, batch: str) -> list[str]:
        """List the folders below a batch's, e.g. `deliveryId=...`."""
        return [name for name in self._files.children(self.folder(table, batch)) if "=" in name]

    def manifest(self, batch: str) -> Manifest | None:
        """Read a batch's newest manifest; None where it was never published.

        Raises:
            ConfigurationError: a newer version of this project wrote it.
        """
        for name in reversed(self._files.children(self._manifests(batch))):
            values = self._parsed(f"{self._manifests(batch)}/{name}")
            if values is not None:
                return self._manifest(values)
        return None

    def published_events(self, manifest: Manifest, schema: StructType) -> DataFrame:
        """Read the events of a published batch."""
        if manifest.events == 0:  # an object store keeps no empty folder
            return self._spark.createDataFrame([], schema)
        return self.rows(self.folder("events", manifest.batch, f"runId={manifest.runId}"), schema)

    def rows(self, folders: str | list[str], schema: StructType) -> DataFrame:
        """Read the Parquet files of folders."""
        return self._spark.read.schema(schema).parquet(*([folders] if isinstance(folders, str) else folders))

    def publish(self, manifest: Manifest) -> None:
        """Make a run's rows the batch's: write its manifest, then delete what older runs left.

        Raises:
            UnfinishedError: another run published the batch meanwhile; nothing is changed.
        """
        path = f"{self._manifests(manifest.batch)}/{manifest.version:08d}.json"
        try:
            self._files.create(path, json.dumps(asdict(manifest)))
        except OSError as error:
            self.discard(manifest.batch, manifest.runId)
            raise UnfinishedError(
                f"batch {manifest.batch}: could not be published ({error}); "
                "if another run of it is under way let it end, then run this one again"
            ) from None
        self._sweep(manifest)

    def discard(self, batch: str, run_id: str) -> None:
        """Delete all that a run wrote of a batch."""
        for table in REBUILT_TABLES:
            self._files.delete(self.folder(table, batch, f"runId={run_id}"))

    def note_run(self, batch: str, job: str, run_id: str, summary: str) -> None:
        """Keep a run's summary under `runs/`.

        Raises:
            OSError: it cannot be written.
        """
        self._files.create(f"{self._root}/runs/{batch}/{job}-{run_id}.json", summary)

    def _sweep(self, manifest: Manifest) -> None:
        for table in REBUILT_TABLES:
            keep = f"runId={manifest.runId}" if table != "events" or manifest.gate != "failed" else None
            for part in self.parts(table, manifest.batch):
                if part != keep:
                    self._files.delete(self.folder(table, manifest.batch, part))
        self._files.delete(f"{self._root}/_staging/{manifest.batch}")

    def _manifests(self, batch: str) -> str:
        return f"{self._root}/_batches/{batch}"

    def _parsed(self, path: str) -> dict[str, Any] | None:
        """Read a manifest; None where a crash left half of one."""
        try:
            values = json.loads(self._files.read(path))
        except (OSError, ValueError):
            return None
        return values if isinstance(values, dict) else None

    def _manifest(self, values: dict[str, Any]) -> Manifest:
        if values.get("layout", 0) > LAYOUT:
            raise ConfigurationError(
                f"--lake {self._root}: its layout is {values['layout']}, this version knows {LAYOUT}: upgrade"
            )
        return Manifest(**values)
