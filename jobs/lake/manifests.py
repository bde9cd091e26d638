"""The manifests of a lake: one small file for each publication of a batch, which readers follow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem

LAYOUT: Final = 2
"""Grows when an older version of this project could not read what a newer one writes."""


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
        read: records; None where an older version built the batch, and did not keep it.
        filtered: records that were no interactions.
        profile: numbers that later batches are held against the medians of, by name.
        warnings: what the gate found unusual, a line each; of a batch, never of a record.
        explode: of the mapping: what the places of exploded elements in quarantine refer to.
        visits: rows that it leaves for the batches after it.
        ids: the exclusive or of the hashes of its eventIds.
        left: the fingerprint of its events and visits; None in layout 1.
        lookBack: how many batches before it are looked back on.
        upon: `left` of the batches that it rests on, by label.
        until: where time has come to with it, in microseconds; None where no event was ever seen.
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
    layout: int = field(default=LAYOUT)

    @property
    def candidates(self) -> int:
        """All that the batch's records held; of a failed batch, whose events are gone, it says nothing."""
        return self.events + self.quarantined + self.duplicates


class Manifests:
    """The folder `_batches` of a lake.

    Args:
        files: reads and writes them.
        root: of the lake.
    """

    def __init__(self, files: FileSystem, root: str) -> None:
        self._files = files
        self._root = root

    def folder(self, batch: str) -> str:
        """Name the folder of a batch's manifests."""
        return f"{self._root}/_batches/{batch}"

    def newest(self, batch: str) -> Manifest | None:
        """Read a batch's newest manifest; None where it was never published.

        Raises:
            ConfigurationError: the lake cannot be read, or a newer version of this project wrote it.
        """
        try:
            for name in reversed(self._files.children(self.folder(batch))):
                values = _parsed(self._files.read(f"{self.folder(batch)}/{name}"))
                if values is not None:
                    return self._checked(values)
        except OSError as error:
            raise ConfigurationError(f"--lake {self._root}: cannot be read ({error})") from None
        return None

    def alike_before(self, batch: str, most: int) -> list[Manifest]:
        """Read the nearest batches before one: the newest `most` labels of its length, failed ones left out.

        Labels of another length name intervals of another length.
        """
        earlier = [label for label in self.labels() if label < batch and len(label) == len(batch)][-most:]
        published = [manifest for label in earlier if (manifest := self.newest(label)) is not None]
        return [manifest for manifest in published if manifest.gate != "failed"]

    def before(self, batch: str) -> Iterator[Manifest]:
        """Go back over the batches of earlier labels that have passed their gate, the newest first."""
        return self._passed(label for label in reversed(self.labels()) if label < batch)

    def after(self, batch: str) -> Iterator[Manifest]:
        """Go on over the batches of later labels that have passed their gate, the next first."""
        return self._passed(label for label in self.labels() if label > batch)

    def next_version(self, batch: str) -> int:
        """Count on from every manifest there is, also one that a crash left half-written."""
        names = self._files.children(self.folder(batch))
        return max((int(name[:8]) for name in names if name[:8].isdigit()), default=0) + 1

    def write(self, manifest: Manifest) -> None:
        """Write a manifest.

        Raises:
            OSError: it could not be written; it may stand all the same.
        """
        self._files.create(self._path(manifest), json.dumps(asdict(manifest)))

    def withdraw(self, manifest: Manifest) -> None:
        """Delete a manifest.

        Raises:
            OSError: it could not be deleted.
        """
        self._files.delete(self._path(manifest))

    def rivals(self, manifest: Manifest, onto: Manifest) -> list[str]:
        """Find other runs' manifests that came after the one that `manifest` adds to."""
        names = self._files.children(self.folder(manifest.batch))
        return [name for name in names if name[:8] > f"{onto.version:08d}" and manifest.runId not in name]

    def labels(self) -> list[str]:
        """List the labels that were ever begun, in their order.

        Raises:
            ConfigurationError: the lake cannot be read.
        """
        try:
            return self._files.children(f"{self._root}/_batches")
        except OSError as error:
            raise ConfigurationError(f"--lake {self._root}: cannot be read ({error})") from None

    def _passed(self, labels: Iterable[str]) -> Iterator[Manifest]:
        newest = (self.newest(label) for label in labels)
        return (manifest for manifest in newest if manifest is not None and manifest.gate != "failed")

    def _path(self, manifest: Manifest) -> str:
        return f"{self.folder(manifest.batch)}/{manifest.version:08d}-{manifest.runId}.json"

    def _checked(self, values: dict[str, Any]) -> Manifest:
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
