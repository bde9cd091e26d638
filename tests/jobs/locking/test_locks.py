"""The lock of a delivery: in every order of steps, on stores of every kind, with crashes and pauses; and for real."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from jobs.errors import ConfigurationError, UnfinishedError
from jobs.lake.filesystem import FileSystem
from jobs.locking.claims import Claims
from jobs.locking.holders import Holder, is_gone, this_process
from jobs.locking.locks import Lock, LockClock, LockLostError, hold_lock


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


def claims_in(store: Store, deliveryId: str = "d") -> Claims:
    return Claims(store, "lake", deliveryId)  # type: ignore[arg-type]


ELSEWHERE = Holder("run-0", "elsewhere", 77, "2024-01-02T03:04:05+00:00", "another boot", "pid:[1]", 5)


@pytest.fixture
def store() -> Store:
    return Store()


def lock_of(store: Store, name: str = "run-1", meanwhile: Callable[[], None] = lambda: None) -> Lock:
    """A run's lock; while it sleeps, time passes in the store, and whatever else."""

    def sleep(seconds: float) -> None:
        store.now += seconds
        meanwhile()

    return Lock(claims_in(store), name, LockClock(lambda: store.now, sleep))


def claim(store: Store, holder: Holder) -> Claims:
    """Leave the claim of another run."""
    claims = claims_in(store)
    claims.write(holder)
    return claims


def test_the_second_run_says_who_holds_it_as_soon_as_that_one_beats(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    claims, start = claim(store, ELSEWHERE), store.now
    store.now += 8

    def beat_in_the_third_second() -> None:
        if store.now - start == 11:
            claims.beat("run-0")

    second = lock_of(store, meanwhile=beat_in_the_third_second)
    with pytest.raises(UnfinishedError) as caught:
        second.take()
    who = "run run-0 (host elsewhere, process 77, since 2024-01-02 03:04:05 UTC)"
    assert str(caught.value) == f"tracker d: {who} holds it: wait until it ends, or end it, then run this again"
    assert caught.value.exit_code == 5
    assert store.now - start == 11
    said = "was last active 8 s ago: waiting up to 20 s to see whether it is alive"
    assert [record.getMessage() for record in caplog.records] == [f"tracker d: {who} {said}"]


@pytest.mark.parametrize(("silent", "waited"), [(0, 21), (7, 14), (20, 1), (21, 0), (86_400, 0)])
def test_a_holder_without_a_beat_for_20_s_is_dead_and_its_files_are_deleted(
    store: Store, silent: int, waited: int
) -> None:
    claim(store, ELSEWHERE).beat("run-0")
    store.now += silent
    start = store.now
    lock_of(store).take()
    assert store.now - start == waited
    assert sorted(store.files) == ["lake/_locks/d/run-1.alive", "lake/_locks/d/run-1.claim"]


def test_a_dead_holder_is_buried_also_where_the_stores_clock_has_been_set_back_since(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    claim(store, ELSEWHERE).beat("run-0")
    store.now -= 3600
    start = store.now
    lock_of(store).take()
    assert store.now - start == 21
    assert sorted(store.files) == ["lake/_locks/d/run-1.alive", "lake/_locks/d/run-1.claim"]
    assert "was last active 0 s ago" in caplog.text


def test_hosts_clocks_are_never_compared(store: Store) -> None:
    claims = claim(store, replace(ELSEWHERE, startedAt="2031-01-01T00:00:00+00:00"))
    lock = Lock(claims, "run-1", LockClock(lambda: 0.0, lambda seconds: setattr(store, "now", store.now + seconds)))
    lock.take()
    assert "lake/_locks/d/run-0.claim" not in store.files


@pytest.mark.parametrize("text", ["", '{"runId": "run-0", "ho', "[]", '{"runId": "run-0", "of": "a later version"}'])
def test_a_claim_that_cannot_be_read_is_judged_by_its_time_alone(store: Store, text: str) -> None:
    store.create("lake/_locks/d/run-0.claim", text)
    store.now += 5
    beating = lock_of(store, meanwhile=lambda: store.replace("lake/_locks/d/run-0.alive", ""))
    with pytest.raises(UnfinishedError, match="run run-0 holds it"):
        beating.take()
    beating.release()
    store.now += 21
    lock_of(store).take()


def test_another_delivery_is_another_lock(store: Store) -> None:
    lock_of(store, "run-0").take()
    start = store.now
    Lock(claims_in(store, "other"), "run-1", LockClock(lambda: store.now)).take()
    assert store.now == start


def test_a_run_whose_store_is_down_stops_before_another_may_take_over(store: Store) -> None:
    lock = lock_of(store)
    lock.take()
    store.is_down = True
    for _ in range(5):
        store.now += 3
        lock.beat()
    store.now += 1
    with pytest.raises(
        LockLostError, match=r"could not be written \(slow down\) for 16 s, so another run may take it over"
    ):
        lock.check()
    store.is_down = False
    with pytest.raises(LockLostError):
        lock.beat()


def test_a_run_that_was_suspended_with_its_clock_learns_from_its_next_beat(store: Store) -> None:
    suspended = Lock(claims_in(store), "run-0", LockClock(lambda: 0.0))
    suspended.take()
    store.now += 60
    lock_of(store, "run-1").take()
    suspended.check()
    with pytest.raises(LockLostError, match="another run took it over") as caught:
        suspended.beat()
    assert caught.value.exit_code == 5
    suspended.release()
    assert sorted(store.files) == ["lake/_locks/d/run-1.alive", "lake/_locks/d/run-1.claim"]


def test_a_run_that_could_not_delete_its_lock_has_still_ended_well(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    lock = lock_of(store)
    lock.take()
    store.is_down = True
    lock.release()
    assert caplog.messages == ["tracker d: its lock could not be deleted: OSError"]


def test_a_lake_that_cannot_be_written_is_told(store: Store) -> None:
    store.is_down = True
    said = r"--lake lake: cannot be written \(slow down\); give a folder or URI that can"
    with pytest.raises(ConfigurationError, match=said), hold_lock(store, "lake", "d", "run-1"):  # type: ignore[arg-type]
        pytest.fail("it went on")


def test_while_it_is_held_a_thread_beats_and_ends_with_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.locking.locks.BEAT_SECONDS", 0.01)
    beaten, start = threading.Event(), store.now

    def pass_a_second() -> None:
        store.now += 1
        if store.files.get("lake/_locks/d/run-1.alive", ("", 0))[1] > (start + 30) * 1000:
            beaten.set()

    store.pause = pass_a_second
    with hold_lock(store, "lake", "d", "run-1"):  # type: ignore[arg-type]
        assert beaten.wait(60)
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "lock"]
    assert not thread.is_alive()
    assert store.files == {}


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        yield running
        running.kill()


def holder_of(process: subprocess.Popen[bytes]) -> Holder:
    fields = Path(f"/proc/{process.pid}/stat").read_text().split()
    return replace(this_process("run-0"), pid=process.pid, processStart=int(fields[21]))


@pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="only Linux shows processes so")
def test_a_process_that_ended_on_this_machine_is_dead_at_once(store: Store, process: subprocess.Popen[bytes]) -> None:
    holder, own = holder_of(process), this_process("run-1")
    assert not is_gone(holder, own)
    assert is_gone(replace(holder, processStart=1), own), "its number was given to another process"
    process.kill()
    wait_until_dead(process.pid)
    assert is_gone(holder, own), "what nobody has waited for yet is gone too"
    process.wait()
    assert is_gone(holder, own)
    elsewhere = {"host": "elsewhere"}, {"bootId": "another"}, {"pidNamespace": "pid:[1]"}, {"processStart": None}
    assert not any(is_gone(replace(holder, **other), own) for other in elsewhere)
    assert not is_gone(holder, replace(own, bootId=None, pidNamespace=None))
    claim(store, holder).beat("run-0")
    start = store.now
    lock_of(store).take()
    assert store.now == start


def wait_until_dead(pid: int) -> None:
    """Wait for a process of one's own without taking its number away."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_in_a_real_lake_the_second_leaves_and_the_next_after_the_first_goes_on(
    spark: SparkSession, tmp_path: Path
) -> None:
    files, root = FileSystem(spark), str(tmp_path / "lake")
    folder = tmp_path / "lake" / "_locks" / "d"
    with hold_lock(files, root, "d", "run-1") as first:
        sleep = lambda _seconds: first.beat()  # noqa: E731
        with (
            pytest.raises(UnfinishedError, match=r"run run-1 \(.*\) holds it"),
            hold_lock(files, root, "d", "run-2", LockClock(sleep=sleep)),
        ):
            pytest.fail("it went on")
        first.check()
        assert {path.name for path in folder.iterdir() if path.suffix != ".crc"} == {"run-1.claim", "run-1.alive"}
    assert list(folder.iterdir()) == []
    with hold_lock(files, root, "d", "run-3"):
        pass


def test_in_a_real_lake_a_killed_runs_lock_is_taken_over(
    spark: SparkSession, tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    files, root = FileSystem(spark), str(tmp_path / "lake")
    Claims(files, root, "d").write(holder_of(process))
    process.kill()
    process.wait()
    with hold_lock(files, root, "d", "run-1", LockClock(sleep=lambda _seconds: pytest.fail("it waited"))):
        assert "run-0.claim" not in files.children(f"{root}/_locks/d")


def test_a_store_tells_when_its_files_were_written(spark: SparkSession, tmp_path: Path) -> None:
    files = FileSystem(spark)
    (tmp_path / "a").write_text("")
    os.utime(tmp_path / "a", (0, 1_700_000_000))
    assert files.times(str(tmp_path)) == {"a": 1_700_000_000_000}
    assert files.times(str(tmp_path / "none")) == {}


LIMIT: Final = 2000
"""Steps of a play that would not end."""


class KilledError(BaseException):
    """Ends a run as kill -9 does: nothing that it meant to do comes after."""


class Actor(threading.Thread):
    """A run on the stage: it moves one step when it is told to, and stands still otherwise."""

    def __init__(self, stage: Stage, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.stage = stage
        self.lock = Lock(claims_in(stage.store), name, LockClock(lambda: stage.store.now, self.sleep))
        self.turn = threading.Semaphore(0)
        self.wakes = 0.0
        self.killed = False
        self.ended = False
        self.holds = False
        self.outcome: BaseException | None = None

    def run(self) -> None:
        try:
            self.turn.acquire()
            if not self.killed:
                self.deliver()
        except BaseException as error:
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
        if not self.killed:
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
        if not isinstance(actor.outcome, UnfinishedError | KilledError | None):
            raise actor.outcome
        sending = [actor.name for actor in self.actors if actor.may_send()]
        assert len(sending) <= 1, f"{sending} send at once"

    def kill(self, actor: Actor) -> None:
        actor.killed = True
        self._give_turn(actor)

    def close(self) -> None:
        for actor in self.actors:
            self.kill(actor)

    def _give_turn(self, actor: Actor) -> None:
        if not actor.ended:
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


@settings(max_examples=200)
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
