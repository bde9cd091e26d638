"""The lake: where each table's rows lie, and the manifest that makes a batch visible.

A run writes into folders of its own, `<table>/batch=<label>/runId=<run>`, and publishes them by writing one small file
last: `_batches/<label>/<version>-<run>.json`. Readers follow the newest manifest, so they never see half a batch, on
any store; nothing is renamed or overwritten. What older runs of the batch left is deleted once the manifest stands.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from jobs.errors import ConfigurationError, GateFailedError, UnfinishedError
from jobs.filesystem import FileSystem
from jobs.inputs import literal

log = logging.getLogger(__name__)

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
        duplicates: candidates that repeated an event.
        explode: of the mapping: what the places of exploded elements in quarantine refer to.
        layout: of the lake.
    """

    batch: str
    version: int
    runId: str
    gate: str
    events: int
    quarantined: int
    duplicates: int = 0
    explode: str | None = None
    layout: int = field(default=LAYOUT)

    @property
    def candidates(self) -> int:
        """All that the batch's records held; of a failed batch, whose events are gone, it says nothing."""
        return self.events + self.quarantined + self.duplicates


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

    def prepare(self, batch: str) -> None:
        """Make the folder of a batch's manifests: the proof that the lake can be written.

        Raises:
            ConfigurationError: it cannot.
        """
        self._make(self._manifests(batch))

    @contextmanager
    def staging(self, batch: str, run_id: str) -> Iterator[str]:
        """Lend a run a folder where nobody else reads. What fails in it is left there, for somebody to look at.

        Raises:
            ConfigurationError: the lake cannot be written.
        """
        folder = f"{self._root}/_staging/{batch}/{run_id}"
        self._make(folder)
        yield folder
        self._forget(folder)

    def folder(self, table: str, batch: str, part: str = "") -> str:
        """Where a table's rows of a batch lie; `part` is the folder below, e.g. `runId=...`."""
        return "/".join(filter(None, [self._root, table, f"batch={batch}", part]))

    def parts(self, table: str, batch: str) -> list[str]:
        """List the folders below a batch's, e.g. `deliveryId=...`."""
        return [name for name in self._files.children(self.folder(table, batch)) if "=" in name]

    def manifest(self, batch: str) -> Manifest | None:
        """Read a batch's newest manifest; None where it was never published.

        Raises:
            ConfigurationError: the lake cannot be read, or a newer version of this project wrote it.
        """
        try:
            for name in reversed(self._files.children(self._manifests(batch))):
                values = _parsed(self._files.read(f"{self._manifests(batch)}/{name}"))
                if values is not None:
                    return self._manifest(values)
        except OSError as error:
            raise ConfigurationError(f"--lake {self._root}: cannot be read ({error})") from None
        return None

    def sizes_before(self, batch: str, most: int) -> list[int]:
        """Count the candidates of batches before one: the newest `most` labels of its length, failed ones left out.

        Labels of another length name intervals of another length.
        """
        labels = self._files.children(f"{self._root}/_batches")
        earlier = [label for label in labels if label < batch and len(label) == len(batch)][-most:]
        published = [manifest for label in earlier if (manifest := self.manifest(label)) is not None]
        return [manifest.candidates for manifest in published if manifest.gate != "failed"]

    def next_version(self, batch: str) -> int:
        """Count on from every manifest there is, also one that a crash left half-written."""
        names = self._files.children(self._manifests(batch))
        return max((int(name[:8]) for name in names if name[:8].isdigit()), default=0) + 1

    def published_events(self, manifest: Manifest, schema: StructType) -> DataFrame:
        """Read the events of a published batch."""
        if manifest.events == 0:  # an object store keeps no empty folder
            return self._spark.createDataFrame([], schema)
        return self.rows(self.folder("events", manifest.batch, f"runId={manifest.runId}"), schema)

    def rows(self, folders: str | list[str], schema: StructType) -> DataFrame:
        """Read the Parquet files of folders."""
        names = [folders] if isinstance(folders, str) else folders
        return self._spark.read.schema(schema).parquet(*map(literal, names))

    def publish(self, manifest: Manifest, onto: Manifest | None = None) -> None:
        """Make a run's rows the batch's: write its manifest, then delete what older runs left.

        Args:
            manifest: the run's. Its version was chosen before the run read anything: of two runs at once, both have
                the same, and the younger one wins.
            onto: what the run has added to, which must still be the batch's.

        Raises:
            UnfinishedError: another run published the batch meanwhile, or the manifest could not be written; the rows
                are no batch's.
        """
        name = f"{manifest.version:08d}-{manifest.runId}.json"
        try:
            self._files.create(f"{self._manifests(manifest.batch)}/{name}", json.dumps(asdict(manifest)))
        except OSError as error:
            log.warning("writing the manifest: %s", error)  # it may stand all the same: see what there is
        newest = self.manifest(manifest.batch)
        if onto is not None and self._rivals(manifest, onto):
            self._forget(f"{self._manifests(manifest.batch)}/{name}")
            newest = None
        if newest is None or newest.runId != manifest.runId:
            self.discard(manifest.batch, manifest.runId)
            raise UnfinishedError(
                f"batch {manifest.batch}: another run published it meanwhile, or the manifest could not be written; "
                "nothing was changed: run this again"
            )
        self._sweep(manifest)

    @contextmanager
    def unpublished(self, batch: str, run_id: str, before: Manifest | None) -> Iterator[None]:
        """Delete what a run wrote of a batch if it ends before it has published it.

        Raises:
            UnfinishedError: another run has published the batch since `before`, and so swept what this one needed.
        """
        newest = None
        try:
            yield
        except BaseException as error:
            with suppress(Exception):  # the JVM may be gone; the next publication of the batch sweeps then
                newest = self.manifest(batch)
                if newest is None or newest.runId != run_id:  # an interruption may come when the manifest stands
                    self.discard(batch, run_id)
            said = isinstance(error, GateFailedError | UnfinishedError) or not isinstance(error, Exception)
            if not said and newest is not None and newest.runId != run_id and newest != before:
                raise UnfinishedError(
                    f"batch {batch}: another run published it meanwhile; nothing was changed: run this again"
                ) from None
            raise

    def _rivals(self, manifest: Manifest, onto: Manifest) -> list[str]:
        """Find other runs' manifests that came after the one that was added to."""
        names = self._files.children(self._manifests(manifest.batch))
        return [name for name in names if name[:8] > f"{onto.version:08d}" and manifest.runId not in name]

    def discard(self, batch: str, run_id: str) -> None:
        """Delete all that a run wrote of a batch, if the store lets it."""
        for table in REBUILT_TABLES:
            self._forget(self.folder(table, batch, f"runId={run_id}"))

    def published_quarantine(self, manifest: Manifest, schema: StructType) -> DataFrame:
        """Read the quarantine of a published batch."""
        return self.rows(self.folder("quarantine", manifest.batch, f"runId={manifest.runId}"), schema)

    def note_run(self, batch: str, job: str, run_id: str, summary: str) -> None:
        """Keep a run's summary under `runs/`.

        Raises:
            OSError: it cannot be written.
        """
        self._files.create(f"{self._root}/runs/{batch}/{job}-{run_id}.json", summary)

    def _sweep(self, manifest: Manifest) -> None:
        """Delete what older runs left; of a batch that failed its gate, its own events instead."""
        failed = manifest.gate == "failed"
        if failed:
            self._forget(self.folder("events", manifest.batch, f"runId={manifest.runId}"))
        for table in ("quarantine",) if failed else REBUILT_TABLES:
            for part in self.parts(table, manifest.batch):
                if part < f"runId={manifest.runId}":  # a younger run may still be writing
                    self._forget(self.folder(table, manifest.batch, part))

    def _make(self, folder: str) -> None:
        try:
            self._files.make_folder(folder)
        except OSError as error:
            raise ConfigurationError(
                f"--lake {self._root}: cannot be written ({error}); give a folder or URI that can"
            ) from None

    def _forget(self, folder: str) -> None:
        """Delete a folder that nobody needs; what cannot be deleted now does no harm to those who read by manifest."""
        try:
            self._files.delete(folder)
        except OSError as error:
            log.warning("%s could not be deleted: %s", folder, error)

    def _manifests(self, batch: str) -> str:
        return f"{self._root}/_batches/{batch}"

    def _manifest(self, values: dict[str, Any]) -> Manifest:
        if values.get("layout", 0) > LAYOUT:
            raise ConfigurationError(
                f"--lake {self._root}: its layout is {values['layout']}, this version knows {LAYOUT}: upgrade"
            )
        return Manifest(**values)


def _parsed(text: str) -> dict[str, Any] | None:
    """Parse a manifest; None where a crash left half of one."""
    try:
        values = json.loads(text)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None
