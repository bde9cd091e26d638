"""The lock of a delivery: in every order of steps, on stores of every kind, with crashes and pauses; and for real."""

from __future__ import annotations

import itertools
import json
import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from jobs.claims import Claims
from jobs.errors import ConfigurationError, UnfinishedError
from jobs.filesystem import FileSystem
from jobs.holders import Holder, is_gone, parse_holder, this_process
from jobs.locks import Clock, Lock, LockLostError, held

LIMIT: Final = 2000
"""Steps of a play that would not end."""


class KilledError(BaseException):
    """Ends a run as kill -9 does: nothing that it meant to do comes after."""


@dataclass
class Store:
    """Files in memory, by the store's own clock.

    Attributes:
        pause: is called between the steps of every operation: there others may come in between.
        kind: when a new file is seen: `at once`; `late`, after its time was taken, as on S3; or `early`, while still
            empty, as on HDFS, where closing it gives it another time.
        unit: what times are cut to, in ms.
        now: seconds.
    """

    pause: Callable[[], None] = lambda: None
    kind: str = "at once"
    unit: int = 1
    now: float = 1_700_000_000.0
    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    is_down: bool = False

    def create(self, path: str, text: str) -> None:
        self.replace(path, text)

    def replace(self, path: str, text: str) -> None:
        self._step()
        written = self._time()
        if self.kind == "early":
            self.files[path] = ("", written)
        if self.kind != "at once":
            self._step()
        self.files[path] = (text, written if self.kind == "late" else self._time())

    def delete(self, path: str) -> None:
        self._step()
        self.files.pop(path, None)

    def exists(self, path: str) -> bool:
        self._step()
        return path in self.files

    def read(self, path: str) -> str:
        self._step()
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path][0]

    def times(self, folder: str) -> dict[str, int]:
        self._step()
        return {path.rpartition("/")[2]: written for path, (_, written) in self.files.items() if folder in path}

    def _time(self) -> int:
        return int(self.now * 1000) // self.unit * self.unit

    def _step(self) -> None:
        self.pause()
        if self.is_down:
            raise OSError("slow down")


class Actor(threading.Thread):
    """A run on the stage: it moves one step when it is told to, and stands still otherwise."""

    def __init__(self, stage: Stage, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.stage = stage
        self.lock = Lock(Claims(stage.store, "lake", "d"), name, Clock(lambda: stage.store.now, self.sleep))  # type: ignore[arg-type]
        self.turn = threading.Semaphore(0)
        self.wakes = 0.0
        self.killed = False
        self.ended = False
        self.holds = False
        self.outcome: BaseException | None = None

    def run(self) -> None:
        try:
            self.turn.acquire()
            self.deliver()
        except (UnfinishedError, KilledError) as error:
            self.outcome = error
        finally:
            self.ended = True
            self.holds = False
            self.stage.moved.release()

    def deliver(self) -> None:
        """Take the lock and keep it until the others have left."""
        try:
            self.lock.take()
            self.holds = True
            self.stage.winners.append(self.name)
            while any(not other.ended for other in self.stage.actors if other is not self):
                self.sleep(3)
                self.lock.beat()
        finally:
            self.holds = False
            self.lock.release()

    def sleep(self, seconds: float) -> None:
        self.wakes = self.stage.store.now + seconds
        self.stand_still()

    def stand_still(self) -> None:
        self.stage.moved.release()
        self.turn.acquire()
        if self.killed:
            raise KilledError

    def may_send(self) -> bool:
        """Whether this run believes, rightly or not, that it may send."""
        try:
            self.lock.check()
        except LockLostError:
            return False
        return self.holds and not self.killed


class Stage:
    """Runs that want one delivery, moved step by step; after every step it is seen that at most one may send.

    Args:
        names: of the runs.
        kind: of the store.
        unit: of its times, in ms.
        seconds: that each step takes.
    """

    def __init__(self, names: Sequence[str], kind: str = "at once", unit: int = 1, seconds: float = 0.01) -> None:
        self.store = Store(self._pause, kind, unit)
        self.seconds = seconds
        self.moved = threading.Semaphore(0)
        self.winners: list[str] = []
        self.actors = [Actor(self, name) for name in names]
        for actor in self.actors:
            actor.start()

    def ready(self) -> list[Actor]:
        """List those that can move; where all sleep, time passes until one wakes."""
        there = [actor for actor in self.actors if not actor.ended]
        if there:
            self.store.now = max(self.store.now, min(actor.wakes for actor in there))
        return [actor for actor in there if actor.wakes <= self.store.now]

    def move(self, actor: Actor) -> None:
        self._give_turn(actor)
        sending = [actor.name for actor in self.actors if actor.may_send()]
        assert len(sending) <= 1, f"{sending} send at once"

    def kill(self, actor: Actor) -> None:
        if not actor.ended:
            actor.killed = True
            self._give_turn(actor)

    def close(self) -> None:
        for actor in self.actors:
            self.kill(actor)

    def _give_turn(self, actor: Actor) -> None:
        self.store.now += self.seconds
        actor.turn.release()
        self.moved.acquire()

    def _pause(self) -> None:
        actor = threading.current_thread()
        if isinstance(actor, Actor):
            actor.stand_still()


def play(stage: Stage, choose: Callable[[list[Actor]], Actor | None]) -> None:
    """Move the actors in an order of one's choosing; once nobody is chosen, in turns until all have ended."""
    for number in range(LIMIT):
        if not (ready := stage.ready()):
            return
        stage.move(choose(ready) or ready[number % len(ready)])
    pytest.fail("it does not end")


def plays(make: Callable[[], Stage], choices: int) -> Iterator[Stage]:
    """Play a piece in every order of its steps, as far as the first `choices` times when one of several can move."""
    script: list[int] | None = []
    while script is not None:
        made: list[tuple[int, int]] = []
        with closing(make()) as stage:
            play(stage, _following(script, made, choices))
            yield stage
        script = _next(made)


def _following(script: list[int], made: list[tuple[int, int]], choices: int) -> Callable[[list[Actor]], Actor | None]:
    def choose(ready: list[Actor]) -> Actor | None:
        if len(ready) == 1 or len(made) == choices:
            return None
        made.append((script[len(made)] if len(made) < len(script) else 0, len(ready)))
        return ready[made[-1][0]]

    return choose


def _next(made: list[tuple[int, int]]) -> list[int] | None:
    """Choose otherwise at the last choice that was not the last of its options; None where all were."""
    while made and made[-1][0] + 1 == made[-1][1]:
        made.pop()
    return [*(chosen for chosen, _ in made[:-1]), made[-1][0] + 1] if made else None


@pytest.mark.parametrize("kind", ["at once", "late", "early"])
@pytest.mark.parametrize(("unit", "seconds"), [(1, 0.01), (1000, 0.01), (1000, 0.3)])
def test_of_two_that_begin_together_one_delivers_and_the_other_says_who_in_every_order(
    kind: str, unit: int, seconds: float
) -> None:
    seen = Counter[str]()
    for stage in plays(lambda: Stage(["run-a", "run-b"], kind, unit, seconds), choices=7):
        assert len(stage.winners) == 1
        (loser,) = [actor for actor in stage.actors if actor.name not in stage.winners]
        assert isinstance(loser.outcome, UnfinishedError) and f"run {stage.winners[0]} " in str(loser.outcome)
        assert stage.store.files == {}
        seen[stage.winners[0]] += 1
    assert seen["run-a"] > 20 and seen["run-b"] > 20


MOVES = st.one_of(
    st.tuples(st.just("move"), st.integers(0, 2)),
    st.tuples(st.just("kill"), st.integers(0, 2)),
    st.tuples(st.just("pass"), st.sampled_from([1, 4, 9, 16, 25])),
)


@settings(max_examples=150, deadline=None)
@given(script=st.lists(MOVES, max_size=60), kind=st.sampled_from(["at once", "late", "early"]))
def test_three_runs_that_stall_and_die_anywhere_never_send_two_at_a_time(
    script: list[tuple[str, int]], kind: str
) -> None:
    moves = iter(script)

    def choose(ready: list[Actor]) -> Actor | None:
        for what, number in moves:
            if what == "move":
                return ready[number % len(ready)]
            if what == "kill":
                stage.kill(stage.actors[number])
                return None
            stage.store.now += number
        return None

    with closing(Stage(["run-a", "run-b", "run-c"], kind)) as stage:
        play(stage, choose)
