"""The lake: where each table's rows lie, and the manifest that makes a batch visible.

A run writes into folders of its own, `<table>/batch=<label>/runId=<run>`, and publishes them by writing one small file
last: `_batches/<label>/<version>-<run>.json`. Readers follow the newest manifest of a build that did not fail its gate,
so they never see half a batch, on any store; nothing is renamed or overwritten.

Once the manifest stands, the rows of the batch that no reader follows are deleted, of those that were there before it
was written. No clock has part in this. They belong to runs that have ended, or to runs that chose their version before
this manifest stood; and these never publish, since a run gives way to every manifest of its own version or a later one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Final

from pyspark import SparkContext
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from expectations.interval import Interval
from jobs.errors import ConfigurationError, GateFailedError, JobError, UnfinishedError
from jobs.lake.filesystem import FileSystem, literal, run_in_own_thread
from jobs.lake.manifests import Manifest, Manifests
from jobs.lake.store_errors import cannot_write, explain_unreadable
from jobs.spark_internals.catalyst import input_bytes
from transforms.schemas import EVENTS, QUARANTINE, VISITS

log = logging.getLogger(__name__)

VISITS_TABLE: Final = "_visits"
"""What a batch leaves for those after it; no table for users."""
REBUILT_TABLES: Final = ("events", "quarantine", VISITS_TABLE)
"""The tables in which a rerun replaces a batch's rows. The others are ledgers, which only grow."""
_EMPTY_IF_FAILED: Final = ("events", VISITS_TABLE)


class Lake:
    """The tables under one root.

    Args:
        spark: reads and writes them.
        root: folder or URI.

    Attributes:
        files: the store.
        root: without a slash at its end.
        manifests: the lake's.
    """

    def __init__(self, spark: SparkSession, root: str) -> None:
        self._spark = spark
        self.files = FileSystem(spark)
        self.root = root.rstrip("/") or root
        self.manifests = Manifests(self.files, self.root)

    @classmethod
    def existing(cls, spark: SparkSession, root: str) -> Lake:
        """Open an existing lake; make nothing if there is none.

        Raises:
            ConfigurationError: there is no lake at the root, or it cannot be read.
        """
        lake = cls(spark, root)
        try:
            there = lake.files.exists(f"{lake.root}/_batches")
        except OSError as error:
            raise ConfigurationError(f"--lake {lake.root}: cannot be read ({error})") from None
        if not there:
            raise ConfigurationError(
                f"--lake {lake.root}: there is no lake: name the lake of build_events, or run build_events first"
            )
        return lake

    @property
    def context(self) -> SparkContext:
        """Spark's context, which cancels jobs."""
        return self._spark.sparkContext

    def prepare(self, batch: str) -> None:
        """Make the folder of a batch's manifests, which proves that the lake can be written.

        Raises:
            ConfigurationError: it cannot be written.
        """
        self._make_folder(self.manifests.folder(batch))

    def folder(self, table: str, batch: str, part: str = "") -> str:
        """Give the folder of a batch's rows of a table; `part` is a folder in it, e.g. `runId=...`."""
        return "/".join(filter(None, [self.root, table, f"batch={batch}", part]))

    def parts(self, table: str, batch: str) -> list[str]:
        """List the folders in a batch's folder, e.g. `deliveryId=...`."""
        return [name for name in self.files.children(self.folder(table, batch)) if "=" in name]

    def published_events(self, manifests: Sequence[Manifest]) -> DataFrame:
        """Read the events of published batches.

        Raises:
            UnfinishedError: a batch was built again meanwhile.
            ConfigurationError: files of them are missing.
        """
        # An object store keeps no empty folder.
        return self._read_published("events", [manifest for manifest in manifests if manifest.events], EVENTS)

    def check_kept(self, manifests: Iterable[Manifest]) -> None:
        """Check the events of publications that are current only because a later manifest is damaged.

        If that manifest was whole once, its run has deleted the rows of the earlier publication.

        Raises:
            UnfinishedError: a batch was built again meanwhile.
            ConfigurationError: files of them are gone.
        """
        for one in manifests:
            if one.batch in self.manifests.torn and "events" in one.dataBytes:
                folder = self.folder("events", one.batch, f"runId={one.runId}")
                there = _sum_data_bytes(self.files.sizes(folder))
                if there != one.dataBytes["events"]:
                    raise self._explain_missing(folder, one, there)

    def rows(self, folders: str | list[str], schema: StructType) -> DataFrame:
        """Read the Parquet files of folders, or single files; without any, there are no rows."""
        names = [folders] if isinstance(folders, str) else folders
        if not names:
            # Not made of a Python list: that would start a Python on the executors.
            nothing = [F.lit(None).cast(field.dataType).alias(field.name) for field in schema.fields]
            return self._spark.range(0).select(*nothing)
        # Folders in them, e.g. of runs, are not partition columns.
        reader = self._spark.read.schema(schema).option("recursiveFileLookup", "true")
        return reader.parquet(*map(literal, names))

    def publish(self, manifest: Manifest) -> None:
        """Write a run's manifest, then delete the rows of the batch that are no longer current.

        A run that did not fail its gate becomes the batch's publication. A failed run is recorded, and the earlier
        publication stays. If there was none, the failed run's quarantine stays, for inspection.

        Args:
            manifest: the run's. Its version was chosen before the run read anything. Two concurrent runs have the same
                version, and the first to write its manifest wins.

        Raises:
            UnfinishedError: another run published the batch meanwhile, or the manifest could not be written; the run's
                rows are deleted.
        """
        before = self._list_runs(manifest.batch)
        try:
            self._note_interval(manifest)
            if not self.manifests.rivals(manifest):
                self.manifests.write(manifest)
                if self.manifests.rivals(manifest):
                    self.manifests.withdraw(manifest)
        except OSError as error:
            log.warning("writing the manifest: %s", error)  # the file may still exist: read what there is
        found = self.manifests.publications(manifest.batch)
        if found.newest is None or found.current is None or found.newest.runId != manifest.runId:
            self.discard(manifest.batch, manifest.runId)
            raise UnfinishedError(
                f"batch {manifest.batch}: another run published it meanwhile, or the manifest could not be written; "
                "nothing was changed: run this again"
            )
        self._delete_other_runs(found.current, before)

    def _note_interval(self, manifest: Manifest) -> None:
        """Note a publication's given interval before it is visible. A failed build does not change a good one's."""
        if manifest.interval is None:
            return
        if manifest.gate == "failed":
            current = self.manifests.current(manifest.batch)
            if current is not None and current.gate != "failed":
                return
        interval = Interval(*map(datetime.fromisoformat, manifest.interval))
        self.manifests.notes.note(manifest.batch, interval, manifest.runId)

    @contextmanager
    def unpublished(
        self, batch: str, run_id: str, before: Manifest | None, others: Iterable[Manifest] = ()
    ) -> Iterator[None]:
        """Delete the rows that a run wrote if it ends before it has published them.

        Args:
            batch: the label.
            run_id: the run's.
            before: the batch's newest manifest when the run began.
            others: the publications of other batches that it reads.

        Raises:
            UnfinishedError: another run has replaced one of these publications, and so deleted rows that this one read.
        """
        newest = None
        try:
            yield
        except BaseException as error:
            if not isinstance(error, Exception):
                run_in_own_thread(lambda: self._discard_unpublished(batch, run_id))
                raise
            with suppress(Exception):  # the JVM may be gone; then the next publication of the batch deletes the rows
                newest = self._discard_unpublished(batch, run_id)
            is_input_fault = isinstance(error, ConfigurationError) and self.root not in str(error)
            is_explained = is_input_fault or isinstance(error, GateFailedError | UnfinishedError)
            is_current = newest is None or newest.runId == run_id or newest == before
            rebuilt = None if is_explained else (batch if not is_current else self._find_rebuilt(others))
            if rebuilt is not None:
                raise UnfinishedError(
                    f"batch {rebuilt}: another run published it meanwhile; nothing was changed: run this again"
                ) from None
            raise

    def _discard_unpublished(self, batch: str, run_id: str) -> Manifest | None:
        """Delete a run's rows, unless its manifest exists: an interruption can come after it was written."""
        newest = self.manifests.newest(batch)
        if newest is None or newest.runId != run_id:
            self.discard(batch, run_id)
        return newest

    def _find_rebuilt(self, publications: Iterable[Manifest]) -> str | None:
        with suppress(Exception):  # the lake cannot be read: the run's own error says more
            return next((one.batch for one in publications if self.manifests.current(one.batch) != one), None)
        return None

    def discard(self, batch: str, run_id: str) -> None:
        """Delete all rows that a run wrote for a batch, if the store allows it."""
        for table in REBUILT_TABLES:
            self._delete_folder(self.folder(table, batch, f"runId={run_id}"))

    def published_quarantine(self, manifest: Manifest) -> DataFrame:
        """Read the quarantine of a published batch.

        Raises:
            UnfinishedError: it was built again meanwhile.
            ConfigurationError: files of it are missing.
        """
        return self._read_published("quarantine", [manifest], QUARANTINE)

    def has_quarantine(self, manifest: Manifest) -> bool:
        """Whether the quarantine of a published batch exists.

        Raises:
            ConfigurationError: the lake cannot be read.
        """
        try:
            return self.files.exists(self.folder("quarantine", manifest.batch, f"runId={manifest.runId}"))
        except OSError as error:
            raise ConfigurationError(f"--lake {self.root}: cannot be read ({error})") from None

    def published_visits(self, manifest: Manifest) -> DataFrame:
        """Read the visits that a published batch leaves for later batches.

        Raises:
            UnfinishedError: it was built again meanwhile.
            ConfigurationError: files of them are gone.
        """
        return self._read_published(VISITS_TABLE, [manifest], VISITS)

    def _read_published(self, table: str, manifests: Sequence[Manifest], schema: StructType) -> DataFrame:
        """Read the rows of manifests, and check that no file is missing: Spark reads an incomplete folder silently.

        Spark ignores an empty file. The check needs no listing besides Spark's own.
        """
        folders = {self.folder(table, one.batch, f"runId={one.runId}"): one for one in manifests}
        try:
            rows = self.rows(list(folders), schema)
        except AnalysisException as error:
            if "PATH_NOT_FOUND" not in str(error):
                raise
            missing = next((folder for folder in folders if not self.files.exists(folder)), next(iter(folders)))
            raise self._explain_missing(missing, folders[missing], 0) from None
        counted = {folder: one.dataBytes[table] for folder, one in folders.items() if table in one.dataBytes}
        if counted and (len(counted) < len(folders) or input_bytes(rows) != sum(counted.values())):
            for folder, size in counted.items():
                there = _sum_data_bytes(self.files.sizes(folder))
                if there != size:
                    raise self._explain_missing(folder, folders[folder], there)
        return rows

    def _explain_missing(self, folder: str, manifest: Manifest, found_bytes: int) -> JobError:
        if self._find_rebuilt([manifest]) is not None:
            return UnfinishedError(f"batch {manifest.batch}: it has just been rebuilt: run this again")
        wrote = manifest.dataBytes.get(folder.removeprefix(self.root).split("/")[1])
        what = "its build wrote more" if wrote is None else f"its build wrote {wrote:,}"
        return ConfigurationError(
            f"batch {manifest.batch}: {folder} holds {found_bytes:,} bytes of data, and {what}: files were deleted, "
            "cut short or added since; build the batch again, from its --input"
        )

    def explain(self, error: BaseException) -> JobError | None:
        """Explain an error about a file of the lake that cannot be read; None for other errors."""
        try:
            return explain_unreadable(self.files, self.manifests, error)
        except (JobError, OSError):  # nothing can be read: the error itself says more
            return None

    def note_run(self, batch: str, job: str, run_id: str, ending: str, content: str) -> str:
        """Write a file of a run under `runs/`.

        Args:
            batch: the label.
            job: its name.
            run_id: the run's.
            ending: the end of the file's name, e.g. `.json`.
            content: the file's.

        Returns:
            The file's path.

        Raises:
            OSError: it cannot be written.
        """
        path = f"{self.root}/runs/{batch}/{job}-{run_id}{ending}"
        self.files.create(path, content)
        return path

    def run_files(self, batch: str, ending: str) -> list[str]:
        """List the files of a batch's runs under `runs/` whose names have this ending."""
        return [name for name in self.files.children(f"{self.root}/runs/{batch}") if name.endswith(ending)]

    def _list_runs(self, batch: str) -> dict[str, list[str]]:
        """List the folders of runs that hold rows of a batch, by table."""
        found: dict[str, list[str]] = {}
        for table in REBUILT_TABLES:
            try:
                found[table] = self.parts(table, batch)
            except OSError as error:
                log.warning("the files of older runs of %s cannot be listed: %s", table, error)
        return found

    def _delete_other_runs(self, current: Manifest, before: Mapping[str, Iterable[str]]) -> None:
        """Delete a batch's rows except those of its current publication; if that failed, also its events and visits.

        Args:
            current: the batch's publication.
            before: the folders of runs, by table, as listed before the newest manifest was written.
        """
        for table, parts in before.items():
            kept = {f"runId={current.runId}"} if current.gate != "failed" or table not in _EMPTY_IF_FAILED else set()
            for part in sorted(set(parts) - kept):
                self._delete_folder(self.folder(table, current.batch, part))

    def _make_folder(self, folder: str) -> None:
        try:
            self.files.make_folder(folder)
        except OSError as error:
            raise cannot_write("--lake", self.root, error) from None

    def _delete_folder(self, folder: str) -> None:
        """Delete a folder that is not needed. If that fails it does no harm, because readers follow manifests."""
        try:
            self.files.delete(folder)
        except OSError as error:
            log.warning("%s could not be deleted: %s", folder, error)


def _sum_data_bytes(sizes: Mapping[str, int]) -> int:
    return sum(size for name, size in sizes.items() if not name.startswith(("_", ".")))
