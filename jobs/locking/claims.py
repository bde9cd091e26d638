"""The claims of runs on a tracker or a batch: small files in a folder of the lake."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final, Literal

from jobs.lake.filesystem import FileSystem
from jobs.locking.holders import Holder, parse_holder

Kind = Literal["tracker", "batch"]
"""What is locked: all deliveries to a tracker, or the build of a batch."""

_BATCH_PREFIX: Final = "batch="
"""The prefix of the names of batches' locks. A tracker's lock has hex digits."""
_CLAIM_ENDING: Final = ".claim"
_ALIVE_ENDING: Final = ".alive"


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """What a listing shows of a run's claim. Claims are ordered by time, the first claim first.

    Attributes:
        made: when it was made, in milliseconds by the store's clock.
        runId: its run.
        heard: the last sign of life of its run, likewise in milliseconds.
    """

    made: int
    runId: str
    heard: int


class Claims:
    """The folder of the claims on one lock. Every method raises OSError if the store fails.

    Args:
        files: of the lake.
        root: of the lake.
        name: of the lock: a tracker's name, or that of `batch_lock`.

    Attributes:
        kind: what is locked.
        subject: what is locked, for messages.
    """

    def __init__(self, files: FileSystem, root: str, name: str) -> None:
        self.kind: Kind = "batch" if name.startswith(_BATCH_PREFIX) else "tracker"
        self.subject = f"{self.kind} {name.removeprefix(_BATCH_PREFIX)}"
        self._files = files
        self._folder = f"{root}/_locks/{name}"

    def write(self, holder: Holder) -> None:
        """Write a claim."""
        self._files.create(self._path(holder.runId, _CLAIM_ENDING), json.dumps(asdict(holder)))

    def beat(self, runId: str) -> bool:
        """Write a sign of life of a run; return False if its claim is gone."""
        if not self._files.exists(self._path(runId, _CLAIM_ENDING)):
            return False
        self._files.replace(self._path(runId, _ALIVE_ENDING), runId)
        return True

    def list_claims(self) -> dict[str, Claim]:
        """List the claims, by runId."""
        return claims_in(self._files.times(self._folder))

    def holder(self, runId: str) -> Holder | None:
        """Read the holder of a claim; None if it is gone, or only half-written."""
        try:
            return parse_holder(json.loads(self._files.read(self._path(runId, _CLAIM_ENDING))))
        except (OSError, ValueError):
            return None

    def describe_holder(self, claim: Claim) -> str:
        """Describe the holder of a claim, for messages."""
        return str(self.holder(claim.runId) or f"run {claim.runId}")

    def remove(self, runId: str) -> None:
        """Delete a run's files, the claim last. A claim that stays for lack of time is dead without its beats."""
        self._files.delete(self._path(runId, _ALIVE_ENDING))
        self._files.delete(self._path(runId, _CLAIM_ENDING))

    def _path(self, runId: str, kind: str) -> str:
        return f"{self._folder}/{runId}{kind}"


def batch_lock(label: str) -> str:
    """Give the name of the lock on the build of a batch.

    Examples:
        >>> batch_lock("2024-01-02")
        'batch=2024-01-02'
    """
    return _BATCH_PREFIX + label


def claims_in(times: dict[str, int]) -> dict[str, Claim]:
    """Make the claims from a listing: names of files, and when each was written.

    Examples:
        >>> claims_in({"run-1.alive": 9000, "run-1.claim": 1000, "run-2.claim": 2000})
        {'run-1': Claim(made=1000, runId='run-1', heard=9000), 'run-2': Claim(made=2000, runId='run-2', heard=2000)}
    """
    claims = {name.removesuffix(_CLAIM_ENDING): made for name, made in times.items() if name.endswith(_CLAIM_ENDING)}
    return {run: Claim(made, run, max(made, times.get(run + _ALIVE_ENDING, made))) for run, made in claims.items()}
