"""Faults put into the code under test, one at a time: the simulation has to find each, or it proves nothing.

`python -m tests.simulation.mutants` tells how many seeds each takes.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Final
from unittest.mock import patch

from delivery.control.dispatcher import Dispatcher
from delivery.control.task_session import TaskSession
from delivery.ended_requests import EndedRequestSet
from delivery.rate import pacer
from delivery.rate.lease_budget import LeaseBudget, _Holder
from delivery.rate.pacer import Pacer
from delivery.rate.rate_lease import RateLease
from delivery.sender.request_executor import RequestExecutor
from delivery.sender.request_queue import RequestQueue
from tests.simulation.simulate import Result, simulate

Mutant = Callable[[], AbstractContextManager[Any]]


def _accept_any_number(self: Any, name: str, number: int, row: Any) -> None:
    self._attempts[name].outcomes = number
    _ACCEPT(self, name, number, row)


def _take_less(self: Any) -> Any:
    rows = _TAKE(self)
    return rows[:-1] if len(rows) > 5 else rows


def _split_in_one(self: Any, pending: Any) -> None:
    _SPLIT(self, pending)
    self._parts.pop()


def _never_resend(self: Any) -> None:
    self._question_times.clear()


def _wait_for_rate_alone(self: Any) -> float:
    return float("inf") if self.stopped else self._pacer.wait()


_ACCEPT, _TAKE = Dispatcher.accept, Dispatcher.take
_SPLIT = RequestQueue.split

MUTANTS: Final[dict[str, Mutant]] = {
    "a task counts with its newest lease, though it may use an older one": lambda: patch.object(
        _Holder, "largest_rate", property(lambda self: self.newest_rate)
    ),
    "a lost connection gives its lease back at once": lambda: patch.object(
        LeaseBudget, "lose", lambda self, task: self._holders.pop(task, None)
    ),
    "the driver leases what it likes": lambda: patch.object(
        LeaseBudget, "_free", lambda self, target, others: float("inf")
    ),
    "what was lowered or released is free at once": lambda: patch.object(Pacer, "calls_ahead", lambda self: 0.0),
    "a pacer lets what it earned go at once": lambda: patch.object(Pacer, "_room", lambda self, now, usual: 0.0),
    "calls are a twentieth further apart than they may be": lambda: patch.object(pacer, "_APART", 1.05),
    "a call needs no ownership and no lease that holds": lambda: patch.object(RateLease, "wait", _wait_for_rate_alone),
    "an outcome counts as often as it is told": lambda: patch.object(Dispatcher, "accept", _accept_any_number),
    "a receipt is dropped now and then": lambda: patch.object(Dispatcher, "take", _take_less),
    "what the store refuses is forgotten": lambda: patch.object(
        Dispatcher, "give_back", lambda self, rows: self.confirm_durable()
    ),
    "what others have ended is sent again": lambda: patch.object(EndedRequestSet, "has", lambda self, requestId: False),
    "what was told on a lost connection is not told again": lambda: patch.object(TaskSession, "start", _never_resend),
    "half of a split request is lost": lambda: patch.object(RequestQueue, "split", _split_in_one),
    "a refusal of several events is one of each": lambda: patch.object(
        RequestExecutor,
        "_refuse",
        lambda self, pending, answer, queue, ended: ended(pending.outcome("refused", answer)),
    ),
    "the driver ends nothing": lambda: patch.object(Dispatcher, "stop", lambda self: None),
}
"""By what they do."""


def hunt(mutant: Mutant, seeds: Iterable[int]) -> Result | None:
    """Give the first seed that finds a mutant."""
    with mutant():
        results = (simulate(seed) for seed in seeds)
        return next((result for result in results if result.violation is not None), None)


def main() -> int:
    missed = 0
    for name, mutant in MUTANTS.items():
        found = hunt(mutant, range(1000))
        missed += found is None
        print(f"{name}: " + (f"seed {found.seed}: {found.violation}" if found else "not found"), flush=True)
        gc.collect()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
