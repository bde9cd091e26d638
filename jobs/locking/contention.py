"""Decides which of several runs gets a lock. `jobs/locking/locks.py` explains why two never do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from jobs.locking.claims import Claim, Claims
from jobs.locking.holders import Holder, is_gone

log = logging.getLogger(__name__)

DEAD_SECONDS: Final = 20.0
"""The silence after which a run is dead: six missed beats, which is longer than a store's retries."""
_POLL_SECONDS: Final = 1.0
_MOST_POLLS: Final = 45
"""More than twice `DEAD_SECONDS`: another run that is still there then is alive, and does not give way."""


class Contention:
    """A run that wants a lock, and has written its claim.

    Args:
        claims: the claims on the lock.
        own: this run.
        beat: writes this run's sign of life; raises if its claim is gone.
        sleep: waits for so many seconds.
    """

    def __init__(self, claims: Claims, own: Holder, beat: Callable[[], None], sleep: Callable[[float], None]) -> None:
        self._claims = claims
        self._own = own
        self._beat = beat
        self._sleep = sleep
        self._first_claims: dict[str, Claim] = {}
        self._slept = 0.0
        self._last_heard: dict[str, tuple[int, float]] = {}
        """For each other run: its last sign of life by the store's clock, and how long this run had slept by then."""

    def find_rival(self) -> Claim | None:
        """Wait until no other run claims the lock; otherwise return the run that this one must give way to.

        Raises:
            OSError: the store cannot be read or written.
        """
        others: list[Claim] = []
        for _ in range(_MOST_POLLS):
            own, others = self._list_claims()
            if not others:
                return None
            living = [one for one in others if not self._remove_if_dead(one, own)]
            beating = [one for one in living if one.heard > self._find_first_claim(one, own).heard]
            if before := [one for one in beating if one < own]:
                return before[0]
            if living:
                self._sleep(_POLL_SECONDS)
                self._slept += _POLL_SECONDS
                self._beat()
        return others[0]

    def _list_claims(self) -> tuple[Claim, list[Claim]]:
        """List this run's claim, and the others in their order."""
        claims = self._claims.list_claims()
        if self._own.runId not in claims:
            self._beat()
        return claims.pop(self._own.runId), sorted(claims.values())

    def _remove_if_dead(self, other: Claim, own: Claim) -> bool:
        """Delete the claim of another run, if that run is dead; return whether it is."""
        holder = self._claims.holder(other.runId)
        if self._measure_silence(other, own) <= DEAD_SECONDS and not (holder and is_gone(holder, self._own)):
            return False
        log.warning("%s: %s is dead: taken over", self._claims.subject, self._claims.describe_holder(other))
        self._claims.remove(other.runId)
        return True

    def _find_first_claim(self, other: Claim, own: Claim) -> Claim:
        if other.runId not in self._first_claims:
            self._first_claims[other.runId] = other
            log.info(
                "%s: %s was last active %.0f s ago: waiting up to %.0f s to see whether it is alive",
                *(
                    self._claims.subject,
                    self._claims.describe_holder(other),
                    max(self._measure_silence(other, own), 0.0),
                    DEAD_SECONDS,
                ),
            )
        return self._first_claims[other.runId]

    def _measure_silence(self, other: Claim, own: Claim) -> float:
        """Measure the seconds since the last sign of life of another run.

        They are the difference of both runs' last files by the store's clock, or, because that clock may have been set
        back, the time for which this run has seen no newer sign, whichever is longer.
        """
        heard, slept = self._last_heard.get(other.runId, (None, 0.0))
        if heard != other.heard:
            slept = self._slept
            self._last_heard[other.runId] = other.heard, slept
        return max((own.heard - other.heard) / 1000, self._slept - slept)
