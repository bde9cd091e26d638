"""The lock on a tracker, or on a batch while it is built. Of two concurrent runs, the second names the holder and ends.

A run writes `_locks/<tracker>/<runId>.claim`, or `_locks/batch=<label>/...`, once, and `<runId>.alive` again with every
beat. Another run takes over a dead holder's lock. The store must list a file as soon as it was written. The rule is:

    A run holds the lock only if a listing, made after its own claim was written, has its own claim and no other.

Two runs never both hold it. Assume that A and B do. A's listing has no claim of B, so B wrote its claim after A's
listing, and B's listing is later still. So B's listing comes after A's claim, and has it, and B does not hold the lock.
The exception is that A's claim was deleted before: by A, which had ended, or by a run that took A for dead. Times play
no part in this. They only decide which of two runs that see each other gives way: the later by the store's time, then
by name.

A run is dead if its process is gone, which its own machine can see, or if it has not written a beat for
`DEAD_SECONDS`. That time is measured between files, by the store's one clock; hosts' clocks are never compared. A run
that is alive but cannot write beats is taken for dead too. Its own clock warns it before other runs may take over. If
it was suspended, it finds at its next beat that its claim is gone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from jobs.errors import UnfinishedError
from jobs.lake.filesystem import FileSystem
from jobs.lake.store_errors import cannot_write
from jobs.locking.claims import Claims, Kind
from jobs.locking.contention import DEAD_SECONDS, Contention
from jobs.locking.holders import this_process

log = logging.getLogger(__name__)

BEAT_SECONDS: Final = 3.0
_LOST_SECONDS: Final = 15.0
"""Less than `DEAD_SECONDS`, so that the run's calls in flight end before those of another run begin."""
_CONSEQUENCES: Final[dict[Kind, str]] = {
    "tracker": "nothing more is sent",
    "batch": "the build of this run is not published",
}
"""What a run no longer does after it has lost its lock."""
_POSSIBLE_CONSEQUENCES: Final[dict[Kind, str]] = {
    "tracker": "nothing more is sent; run this again, it resumes",
    "batch": "if one does, the build of this run is not published",
}
"""What happens if another run may have taken the lock. A build checks that when it publishes."""
_END_SECONDS: Final = 5.0
"""How long to wait at the end for a beat in progress, because the store may hang."""


class LockLostError(UnfinishedError):
    """Another run may hold the lock now: send nothing more, publish nothing."""


@dataclass(frozen=True, slots=True)
class LockClock:
    """This process's time, in seconds.

    Attributes:
        monotonic: reads the time, from any start.
        sleep: waits.
    """

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


_CLOCK: Final = LockClock()


@contextmanager
def hold_lock(files: FileSystem, root: str, name: str, runId: str, clock: LockClock = _CLOCK) -> Iterator[Lock]:
    """Hold a lock while the block runs. A thread writes the beats.

    Args:
        files: of the lake.
        root: of the lake.
        name: of the lock: a tracker's name, or that of `batch_lock`.
        runId: the run's id.
        clock: this process's.

    Raises:
        UnfinishedError: another run holds it. For a silent run this is known only after `DEAD_SECONDS`.
        ConfigurationError: the lake cannot be written.
    """
    lock = Lock(Claims(files, root, name), runId, clock)
    over = threading.Event()
    beats = threading.Thread(target=_keep_beating, args=(lock, over), name="lock", daemon=True)
    try:
        _take_lock(lock, root)
        beats.start()
        yield lock
    finally:
        over.set()
        if beats.ident is not None:
            beats.join(_END_SECONDS)
        lock.release()


def _take_lock(lock: Lock, root: str) -> None:
    try:
        lock.take()
    except OSError as error:
        raise cannot_write("--lake", root, error) from None


def _keep_beating(lock: Lock, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        try:
            lock.beat()
        except LockLostError as error:
            log.warning("%s", error)
            return


class Lock:
    """A lock, as one run sees it.

    Args:
        claims: the claims on the lock.
        runId: this run.
        clock: this process's.
    """

    def __init__(self, claims: Claims, runId: str, clock: LockClock) -> None:
        self._claims = claims
        self._own = this_process(runId)
        self._clock = clock
        self._last_beat = clock.monotonic()
        self._beat_error: str | None = None
        """The error of the last beat; None if it was written."""
        self._taken_over = False

    def check(self) -> None:
        """Check by this process's clock that the lock is still held, without asking the store: call it often.

        Raises:
            LockLostError: another run has taken it over, or may have.
        """
        if self._taken_over:
            raise LockLostError(
                f"{self._claims.subject}: another run took it over, because this one was silent for "
                f"{DEAD_SECONDS:.0f} s: {_CONSEQUENCES[self._claims.kind]}; run this again when that one has ended"
            )
        silence = self._clock.monotonic() - self._last_beat
        if silence > _LOST_SECONDS:
            why = (
                f"the lake could not be written ({self._beat_error})"
                if self._beat_error
                else "this run was silent (it was suspended, or the lake did not answer)"
            )
            raise LockLostError(
                f"{self._claims.subject}: {why} for {silence:.0f} s, so another run may take it over: "
                f"{_POSSIBLE_CONSEQUENCES[self._claims.kind]}"
            )

    def confirm(self) -> None:
        """Check by the store that no other run has taken over the lock, however long this run was silent.

        It is for work that does no harm if the store does not answer.

        Raises:
            LockLostError: another run has taken it over.
        """
        try:
            self._taken_over = not self._claims.beat(self._own.runId)
        except OSError as error:
            log.warning("%s: its lock could not be read: %s", self._claims.subject, error)
        if self._taken_over:
            self.check()

    def ensure(self) -> None:
        """Check by this process's clock and by the store that the lock is still held.

        Call it right before changing anything that another run may use, because this run may have been suspended.

        Raises:
            LockLostError: another run has taken it over, or may by now.
        """
        self.confirm()
        self.check()

    def beat(self) -> None:
        """Write a sign of life of this run; log it if that fails.

        Raises:
            LockLostError: as `check` does.
        """
        started = self._clock.monotonic()
        lives = False
        try:
            lives = self._claims.beat(self._own.runId)
            self._taken_over = not lives
        except Exception as error:  # the store's OSError, or another error if the JVM is gone
            self._beat_error = str(error) if isinstance(error, OSError) else type(error).__name__
            log.warning("%s: its lock could not be renewed: %s", self._claims.subject, self._beat_error)
        self.check()  # before this beat counts, because other runs may still act on the silence before it
        if lives:
            self._last_beat, self._beat_error = started, None

    def take(self) -> None:
        """Take the lock.

        Raises:
            UnfinishedError: another run holds it.
            OSError: the lake cannot be written.
        """
        self._claims.write(self._own)
        rival = Contention(self._claims, self._own, self.beat, self._clock.sleep).find_rival()
        if rival is not None:
            raise UnfinishedError(
                f"{self._claims.subject}: {self._claims.describe_holder(rival)} holds it: "
                "wait until it ends, or end it, then run this again"
            )
        self.beat()

    def release(self) -> None:
        """Delete this run's claim. If the store refuses, the claim soon counts as dead."""
        try:
            self._claims.remove(self._own.runId)
        except Exception as error:  # as in `beat`
            log.warning("%s: its lock could not be deleted: %s", self._claims.subject, type(error).__name__)
