"""The lock of a tracker, or of a batch that is built: of two runs at once the second says who holds it, and leaves.

`_locks/<tracker>/<runId>.claim`, or `_locks/batch=<label>/...`, says who wants it, and is written once;
`<runId>.alive` is written anew with every beat. A dead holder's lock is taken over. Of the store one thing is asked:
what was written is listed from then on. The rule is:

    A run goes on only when a listing, made after its own claim was written, holds its own claim and no other.

Two never both go on. Say that A and B did. A's listing shows no claim of B's, so B's was written after A's listing, and
B's listing is later still. It comes after A's claim was written, so it shows that claim, and B does not go on; unless
the claim was deleted by then: by A, which had left, or by somebody who took A for dead. Times have no part in this.
They only choose which of two that see each other gives way: the later by the store's time, then by name.

A run is dead when its process is gone, which can be seen on its own machine, or when it has not beaten for
`DEAD_SECONDS`. Both ends of that are times of files, so of the store's one clock; hosts' clocks are never compared. A
run that lives but cannot beat is taken for dead as well. While it runs, its own clock tells it before others may think
so; where it was suspended, it finds its claim gone at the first beat after.
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
"""Sooner than others may take one for dead, so that its calls under way end before theirs begin."""
_CONSEQUENCES: Final[dict[Kind, str]] = {
    "tracker": "nothing more is sent",
    "batch": "the build of this run is not published",
}
"""What a run does not do any more that has lost its lock."""
_POSSIBLE_CONSEQUENCES: Final[dict[Kind, str]] = {
    "tracker": "nothing more is sent; run this again, it resumes",
    "batch": "if one does, the build of this run is not published",
}
"""What follows where another run may have taken the lock. What a build publishes can be looked up at its end."""
_END_SECONDS: Final = 5.0
"""How long a beat under way is waited for at the end: the store may hang."""


class LockLostError(UnfinishedError):
    """What was locked may be another run's by now: send nothing more, publish nothing."""


@dataclass(frozen=True, slots=True)
class LockClock:
    """This process's time, in seconds.

    Attributes:
        monotonic: reads it, from any start.
        sleep: lets it pass.
    """

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


_CLOCK: Final = LockClock()


@contextmanager
def hold_lock(files: FileSystem, root: str, name: str, runId: str, clock: LockClock = _CLOCK) -> Iterator[Lock]:
    """Hold a lock while the block runs; a thread of its own beats meanwhile.

    Args:
        files: of the lake.
        root: of the lake.
        name: of what is locked: a tracker's, or what `batch_lock` gives.
        runId: who locks it; unique.
        clock: this process's.

    Raises:
        UnfinishedError: another run holds it. Of one that is silent this is known after `DEAD_SECONDS` only.
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
    """One run's part in a lock.

    Args:
        claims: on what is locked.
        runId: this run.
        clock: this process's.
    """

    def __init__(self, claims: Claims, runId: str, clock: LockClock) -> None:
        self._claims = claims
        self._own = this_process(runId)
        self._clock = clock
        self._last_beat = clock.monotonic()
        self._beat_error: str | None = None
        """Why no beat could be written since the last one."""
        self._taken_over = False

    def check(self) -> None:
        """Make sure that the lock is held still. It asks nobody, so it can be called often.

        Raises:
            LockLostError: another run has taken it over, or may by now.
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
        """See that no other run has taken the lock over, by asking the store, however long this run was silent.

        For work that does no harm where the store cannot be asked.

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
        """See that the lock is held still, by one's own clock and by asking the store.

        To be called right before anything is changed that another run may rest on: this one may have been suspended.

        Raises:
            LockLostError: another run has taken it over, or may by now.
        """
        self.confirm()
        self.check()

    def beat(self) -> None:
        """Say that this run lives; where that cannot be written, it is logged.

        Raises:
            LockLostError: as `check` does.
        """
        started = self._clock.monotonic()
        lives = False
        try:
            lives = self._claims.beat(self._own.runId)
            self._taken_over = not lives
        except Exception as error:  # an OSError of the store's; others where the JVM is gone
            self._beat_error = str(error) if isinstance(error, OSError) else type(error).__name__
            log.warning("%s: its lock could not be renewed: %s", self._claims.subject, self._beat_error)
        self.check()  # by the beat before this one: what others saw of a silence they may be acting on still
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
        """Give the lock back, if the store lets one; otherwise it is dead soon."""
        try:
            self._claims.remove(self._own.runId)
        except Exception as error:  # as in `beat`
            log.warning("%s: its lock could not be deleted: %s", self._claims.subject, type(error).__name__)
