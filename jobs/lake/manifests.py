"""Reads and writes the manifests of a lake: one small file for each publication of a batch, which readers follow."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from typing import Final, NamedTuple

from jobs.errors import ConfigurationError
from jobs.lake.batch_order import BatchOrder, IntervalNotes
from jobs.lake.filesystem import FileSystem

LAYOUT: Final = 3
"""It grows if an older version of this project could not read, or would misread, what a newer one writes."""
_FAILED_ENDING: Final = ".failed.json"
"""The end of a manifest's name if its build failed its gate. In layout 2 the name did not show it."""
_REQUIRED_FIELDS: Final = {"batch": str, "version": int, "runId": str, "gate": str, "events": int, "quarantined": int}
"""The fields of every manifest since the first layout."""
_NAME_PATTERN: Final = re.compile(r"(?P<version>[0-9]{8,})-(?P<run>.+?)(?P<failed>\.failed)?\.json")
_LABEL_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""The form of a batch's label; folders with other names in `_batches` are not ours."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a batch consists of.

    Attributes:
        batch: the label.
        version: counts the batch's publications, from 1.
        runId: the run whose folders hold the rows.
        gate: `passed`, `warned` or `failed`; a failed batch keeps no events.
        events: rows in `events`.
        quarantined: rows in `quarantine`.
        duplicates: candidates that repeated an event.
        read: records; None if an older version built the batch, which did not keep it.
        filtered: records that are not interactions.
        profile: numbers whose medians later batches are compared with, by name.
        warnings: the gate's warnings, a line each; about the batch, never about a record.
        explode: the mapping's; the indexes of exploded elements in quarantine refer to it.
        visits: rows of visits that it leaves for later batches.
        ids: the exclusive or of the hashes of its eventIds.
        left: the fingerprint of its events and visits; None in layout 1.
        lookBack: how many earlier batches were searched for repeats.
        upon: `left` of the batches that it depends on, by label.
        until: the latest event time so far, in microseconds; None if there was never an event.
        interval: start and end that the batch was given, in ISO 8601, UTC; None if it was given none.
        dataBytes: bytes of the files in the run's folder, by table; empty in older versions.
        layout: of the lake.
    """

    batch: str
    version: int
    runId: str
    gate: str
    events: int
    quarantined: int
    duplicates: int = 0
    read: int | None = None
    filtered: int = 0
    profile: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    explode: str | None = None
    visits: int = 0
    ids: int = 0
    left: str | None = None
    lookBack: int = 0
    upon: dict[str, str | None] = field(default_factory=dict)
    until: int | None = None
    interval: tuple[str, str] | None = None
    dataBytes: dict[str, int] = field(default_factory=dict)
    layout: int = field(default=LAYOUT)

    @property
    def candidates(self) -> int:
        """The batch's candidates. The number is wrong for a failed batch, which keeps no events."""
        return self.events + self.quarantined + self.duplicates


class ManifestName(NamedTuple):
    """The name of a manifest's file. The version gives the order, not the run id, which holds a host's time.

    Attributes:
        version: the manifest's.
        text: the whole name.
        run: the id of the run that wrote it.
        has_failed: whether the name says that the build failed its gate.
    """

    version: int
    text: str
    run: str
    has_failed: bool


@dataclass(frozen=True, slots=True)
class Publications:
    """The publications of a batch.

    Attributes:
        current: the publication for readers: the newest that did not fail its gate; if all failed, the newest.
        newest: the last build that ended.
    """

    current: Manifest | None
    newest: Manifest | None

    @property
    def failed_since(self) -> Manifest | None:
        """The last build, if it failed its gate and an earlier publication stays current; otherwise None."""
        return self.newest if self.newest is not None and self.newest != self.current else None


class Manifests:
    """The folder `_batches` of a lake, and the order of its batches.

    Args:
        files: reads and writes them.
        root: of the lake.

    Attributes:
        root: of the lake.
        notes: the intervals that batches were given.
        torn: labels of batches with a damaged manifest, as far as they were read.
    """

    def __init__(self, files: FileSystem, root: str) -> None:
        self._files = files
        self._warned_paths: set[str] = set()
        self.root = root
        self.notes = IntervalNotes(files, root)
        self.torn: set[str] = set()

    def folder(self, batch: str) -> str:
        """Name the folder of a batch's manifests."""
        return f"{self.root}/_batches/{batch}"

    def current(self, batch: str) -> Manifest | None:
        """Read a batch's current publication; None if it was never published.

        A build that failed its gate never replaces one that did not.

        Raises:
            ConfigurationError: as `publications` does.
        """
        return self.publications(batch).current

    def newest(self, batch: str) -> Manifest | None:
        """Read the manifest of a batch's last build, whether it passed its gate or not; None if there is none.

        Raises:
            ConfigurationError: as `publications` does.
        """
        return self.publications(batch).newest

    def publications(self, batch: str) -> Publications:
        """Read a batch's newest manifest and its current one: at most two small files, mostly one.

        Raises:
            ConfigurationError: the lake cannot be read, or a newer version of this project wrote it.
        """
        newest = None
        try:
            for name in reversed(self._list_names(batch)):
                if newest is not None and name.has_failed:
                    continue
                manifest = self._read_manifest(batch, name)
                if manifest is None:
                    continue
                newest = newest or manifest
                if manifest.gate != "failed":
                    return Publications(manifest, newest)
        except OSError as error:
            raise ConfigurationError(f"--lake {self.root}: cannot be read ({error})") from None
        return Publications(newest, newest)

    def order(self) -> BatchOrder:
        """Find the order of all batches, also of those whose first build has not ended, by two listings.

        Raises:
            ConfigurationError: the lake cannot be read.
        """
        try:
            names = self._files.folders(f"{self.root}/_batches")
            return BatchOrder(tuple(filter(_LABEL_PATTERN.fullmatch, names)), self.notes.read())
        except OSError as error:
            raise ConfigurationError(f"--lake {self.root}: cannot be read ({error})") from None

    def alike_before(self, order: BatchOrder, batch: str, most: int) -> list[Manifest]:
        """Read the nearest earlier batches with an interval of about the same length, without failed ones.

        Args:
            order: of the lake, with the batch itself.
            batch: the label.
            most: how many labels are checked.
        """
        earlier = (label for label in order.before(batch) if order.alike(label, batch))
        return list(self.iterate_passed(islice(earlier, most)))

    def iterate_passed(self, labels: Iterable[str]) -> Iterator[Manifest]:
        """Iterate over the current publications that have passed their gate, in the order of the labels."""
        current = (self.current(label) for label in labels)
        return (manifest for manifest in current if manifest is not None and manifest.gate != "failed")

    def next_version(self, batch: str) -> int:
        """Give the version after that of every manifest, also of one that a crash left half-written."""
        return max((name.version for name in self._list_names(batch)), default=0) + 1

    def write(self, manifest: Manifest) -> None:
        """Write a manifest.

        Raises:
            OSError: writing it failed; the file may still exist.
        """
        self._files.create(self._path(manifest), json.dumps(asdict(manifest)))

    def withdraw(self, manifest: Manifest) -> None:
        """Delete a manifest.

        Raises:
            OSError: it could not be deleted.
        """
        self._files.delete(self._path(manifest))

    def rivals(self, manifest: Manifest) -> list[str]:
        """List the manifests of other runs that were written after the run of `manifest` chose its version."""
        names = self._list_names(manifest.batch)
        return [name.text for name in names if name.version >= manifest.version and name.run != manifest.runId]

    def _list_names(self, batch: str) -> list[ManifestName]:
        """List the names of a batch's manifests, the oldest first; other files in the folder are ignored."""
        found = map(parse_name, self._files.children(self.folder(batch)))
        return sorted(name for name in found if name is not None)

    def _read_manifest(self, batch: str, name: ManifestName) -> Manifest | None:
        """Read a manifest; if the file is not a whole manifest, log its name and return None."""
        path = f"{self.folder(batch)}/{name.text}"
        try:
            text = self._files.read(path)
        except OSError:
            if self._files.exists(path):
                raise
            return None  # withdrawn meanwhile
        manifest = self._parse_manifest(text)
        if manifest is None:
            self.torn.add(batch)
        if manifest is None and path not in self._warned_paths:
            self._warned_paths.add(path)
            log.warning(
                "%s: not a whole manifest, as after a crash or a power loss: batch %s is what the last whole one says; "
                "build it again if that is not what it should hold",
                *(path, batch),
            )
        return manifest

    def _path(self, manifest: Manifest) -> str:
        ending = _FAILED_ENDING if manifest.gate == "failed" else ".json"
        return f"{self.folder(manifest.batch)}/{manifest.version:08d}-{manifest.runId}{ending}"

    def _parse_manifest(self, text: str) -> Manifest | None:
        """Parse a manifest; None if the text is not a whole manifest."""
        try:
            values = json.loads(text)
        except ValueError:
            return None
        if not isinstance(values, dict):
            return None
        layout = values.get("layout", 0)
        if isinstance(layout, int) and layout > LAYOUT:
            raise ConfigurationError(
                f"--lake {self.root}: its layout is {layout}, this version knows {LAYOUT}: upgrade"
            )
        known = {item.name: values[item.name] for item in fields(Manifest) if item.name in values}
        if any(not isinstance(known.get(name), kind) for name, kind in _REQUIRED_FIELDS.items()):
            return None
        interval = known.get("interval")
        return Manifest(**known | {"interval": tuple(interval) if interval else None})


def parse_name(text: str) -> ManifestName | None:
    """Parse the name of a manifest's file; None for any other name.

    Examples:
        >>> parse_name("00000012-run-1.failed.json")
        ManifestName(version=12, text='00000012-run-1.failed.json', run='run-1', has_failed=True)
        >>> parse_name("notes.json"), parse_name("20240102.json")
        (None, None)
    """
    match = _NAME_PATTERN.fullmatch(text)
    return match and ManifestName(int(match["version"]), text, match["run"], match["failed"] is not None)
