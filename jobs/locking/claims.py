"""The claims on a tracker or a batch: small files in a folder of the lake, and what a listing tells of their runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final, Literal

from jobs.lake.filesystem import FileSystem
from jobs.locking.holders import Holder, parse_holder

Kind = Literal["tracker", "batch"]
"""What is locked: all sending to a tracker, or the building of a batch."""

_BATCH_PREFIX: Final = "batch="
"""What the names of batches' locks begin with; a tracker's is of hex digits."""
_CLAIM_ENDING: Final = ".claim"
_ALIVE_ENDING: Final = ".alive"


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """What a listing shows of a run. The one that claimed first comes first.

    Attributes:
        made: when it made its claim, in ms by the store's clock.
        runId: its run.
        heard: when it was last heard of, in the same.
    """

    made: int
    runId: str
    heard: int


class Claims:
    """The folder of the claims on one thing. Every method raises OSError where the store cannot do what it is asked.

    Args:
        files: of the lake.
        root: of the lake.
        name: of what is claimed: a tracker's, or what `batch_lock` gives.

    Attributes:
        kind: what is claimed.
        subject: what is claimed, for people.
    """

    def __init__(self, files: FileSystem, root: str, name: str) -> None:
        self.kind: Kind = "batch" if name.startswith(_BATCH_PREFIX) else "tracker"
        self.subject = f"{self.kind} {name.removeprefix(_BATCH_PREFIX)}"
        self._files = files
        self._folder = f"{root}/_locks/{name}"

    def write(self, holder: Holder) -> None:
        """Make a claim."""
        self._files.create(self._path(holder.runId, _CLAIM_ENDING), json.dumps(asdict(holder)))

    def beat(self, runId: str) -> bool:
        """Say that a run lives; False where its claim is gone."""
        if not self._files.exists(self._path(runId, _CLAIM_ENDING)):
            return False
        self._files.replace(self._path(runId, _ALIVE_ENDING), runId)
        return True

    def list_claims(self) -> dict[str, Claim]:
        """List the claims there are, by runId."""
        return claims_in(self._files.times(self._folder))

    def holder(self, runId: str) -> Holder | None:
        """Read whose claim it is; None where it is gone, or only half-written so far."""
        try:
            return parse_holder(json.loads(self._files.read(self._path(runId, _CLAIM_ENDING))))
        except (OSError, ValueError):
            return None

    def describe_holder(self, claim: Claim) -> str:
        """Say whose claim it is, for people."""
        return str(self.holder(claim.runId) or f"run {claim.runId}")

    def remove(self, runId: str) -> None:
        """Delete a run's files. The claim goes last: one that stays for want of time is dead without its beats."""
        self._files.delete(self._path(runId, _ALIVE_ENDING))
        self._files.delete(self._path(runId, _CLAIM_ENDING))

    def _path(self, runId: str, kind: str) -> str:
        return f"{self._folder}/{runId}{kind}"


def batch_lock(label: str) -> str:
    """Name the lock on the building of a batch.

    Examples:
        >>> batch_lock("2024-01-02")
        'batch=2024-01-02'
    """
    return _BATCH_PREFIX + label


def claims_in(times: dict[str, int]) -> dict[str, Claim]:
    """Read the claims off a listing: names of files, and when each was written.

    Examples:
        >>> claims_in({"run-1.alive": 9000, "run-1.claim": 1000, "run-2.claim": 2000})
        {'run-1': Claim(made=1000, runId='run-1', heard=9000), 'run-2': Claim(made=2000, runId='run-2', heard=2000)}
    """
    claims = {name.removesuffix(_CLAIM_ENDING): made for name, made in times.items() if name.endswith(_CLAIM_ENDING)}
    return {run: Claim(made, run, max(made, times.get(run + _ALIVE_ENDING, made))) for run, made in claims.items()}
