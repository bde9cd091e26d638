"""The faults of a soak: one every few seconds, drawn by a seed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

from benchmarks.soak.cluster import Cluster
from benchmarks.soak.processes import of_sessions, tell

AFTER_A_DEATH: Final = 2.0
"""Seconds before a dead worker is started again."""
TOLD_TO_END: Final = "driver told to end"
_JUST_NOW: Final = 2.0
"""Seconds."""
_KEYS: Final = "[default]\naws_access_key_id = AKIDEMULATOR\naws_secret_access_key = emulator-secret\n"


class Service:
    """The process of the emulator, and the file with the keys of its callers.

    Args:
        url: of the emulator.
        credentials: the path of that file.
    """

    def __init__(self, url: str, credentials: Path) -> None:
        self.url = url
        self._credentials = credentials
        self._token = 0

    def told(self) -> dict[str, Any]:
        """Get its counts."""
        with urlopen(f"{self.url}/soak", timeout=30) as answer:  # noqa: S310 - our own
            return dict(json.load(answer))

    def doubtful(self) -> int:
        """Get how many calls it has accepted without an answer."""
        faults = self.told()["faults"]
        return int(faults.get("reset-after", 0) + faults.get("hang-after", 0))

    def is_called(self) -> bool:
        """Whether calls arrive now."""
        last = self.told()["lastCallAt"]
        return last is not None and time.time() - last < _JUST_NOW

    def change(self, **changes: object) -> None:
        """Change its behaviour."""
        with urlopen(Request(f"{self.url}/soak", json.dumps(changes).encode()), timeout=30):  # noqa: S310 - our own
            pass

    def hand_out_keys(self) -> None:
        """Give fresh keys to callers from now on."""
        self._token += 1
        fresh = self._credentials.with_suffix(".new")
        fresh.write_text(f"{_KEYS}aws_session_token = token-{self._token}\n")
        fresh.replace(self._credentials)

    def expire_keys(self) -> None:
        """Refuse the present keys and all earlier ones."""
        self.change(expired=[f"token-{number}" for number in range(1, self._token + 1)])


@dataclass
class Scene:
    """The targets of faults.

    Attributes:
        cluster: the processes of Spark.
        service: the emulator.
        slow: the file that says how slow the store is.
        emulator: the process id of the emulator.
        rate: the limit of the delivery.
        driver: the last job.
    """

    cluster: Cluster
    service: Service
    slow: Path
    emulator: int
    rate: float
    driver: subprocess.Popen[str] | None = None

    def driver_family(self) -> list[int]:
        """List the JVM and the Python process of the driver."""
        return [each.pid for each in of_sessions([self.driver.pid])] if self.driver else []


@dataclass(frozen=True)
class Strike:
    """A fault that has begun.

    Attributes:
        seconds: how long it lasts.
        undo: ends it.
    """

    seconds: float = 0.0
    undo: Callable[[], None] = lambda: None


Fault = Callable[[Scene, random.Random], Strike | None]
"""Begins a fault; returns None if it has no target now."""


def kill_driver(scene: Scene, dice: random.Random) -> Strike | None:
    """SIGKILL to the driver's JVM or to its Python while it sends."""
    return kill_driver_at_any_time(scene, dice) if scene.service.is_called() else None


def kill_driver_at_any_time(scene: Scene, dice: random.Random) -> Strike | None:
    """SIGKILL to the driver's JVM or to its Python, also while it starts, plans or counts."""
    return _kill(dice, scene.driver_family())


def end_driver(scene: Scene, _: random.Random) -> Strike | None:
    """SIGTERM to spark-submit while it sends, as a scheduler does it."""
    if scene.driver is None or scene.driver.poll() is not None or not scene.service.is_called():
        return None
    tell([scene.driver.pid], signal.SIGTERM)
    return Strike()


def kill_executor(scene: Scene, dice: random.Random) -> Strike | None:
    """SIGKILL to the JVM of an executor; its Python processes notice it themselves."""
    return _kill(dice, [each.pid for each in scene.cluster.executors()])


def kill_task(scene: Scene, dice: random.Random) -> Strike | None:
    """SIGKILL to a Python process that sends."""
    return _kill(dice, [each.pid for each in scene.cluster.tasks()])


def kill_worker(scene: Scene, dice: random.Random) -> Strike | None:
    """SIGKILL to a worker of the cluster, which is started again; its executor notices it itself."""
    host = dice.choice(sorted(scene.cluster.workers))
    tell([scene.cluster.workers[host].pid], signal.SIGKILL)
    return Strike(AFTER_A_DEATH, lambda: scene.cluster.start_worker(host))


def stop_driver(scene: Scene, dice: random.Random) -> Strike | None:
    """SIGSTOP to JVM and Python of the driver."""
    return _stop(dice, scene.driver_family())


def stop_executor(scene: Scene, dice: random.Random) -> Strike | None:
    """SIGSTOP to an executor, its Python processes too."""
    found = scene.cluster.executors()
    return _stop(dice, scene.cluster.family(dice.choice(found).pid) if found else [])


def stop_task(scene: Scene, dice: random.Random) -> Strike | None:
    """SIGSTOP to a Python process that sends: the driver sees a silent connection."""
    found = scene.cluster.tasks()
    return _stop(dice, [dice.choice(found).pid] if found else [])


def slow_store(scene: Scene, dice: random.Random) -> Strike | None:
    """Each write takes so many seconds longer."""
    scene.slow.write_text(f"{dice.uniform(0.5, 4.0):.2f}")
    return Strike(dice.uniform(4.0, 8.0), scene.slow.unlink)


def throttle(scene: Scene, dice: random.Random) -> Strike | None:
    """The quota falls below the limit."""
    if not scene.service.is_called():
        return None
    scene.service.change(quota=max(1, round(scene.rate * dice.uniform(0.1, 0.7))))
    return Strike(_some(dice), lambda: scene.service.change(quota=0))


def errors(scene: Scene, dice: random.Random) -> Strike | None:
    """Calls are answered with 500 or 503."""
    return _inject(scene, dice, error_rate=dice.choice((0.1, 0.5, 1.0)))


def resets(scene: Scene, dice: random.Random) -> Strike | None:
    """Connections are reset, before or after the events were accepted."""
    return _inject(scene, dice, reset_before_rate=dice.uniform(0.02, 0.3), reset_after_rate=dice.uniform(0.01, 0.1))


def hangs(scene: Scene, dice: random.Random) -> Strike | None:
    """Calls get no answer, with or without acceptance of their events."""
    return _inject(scene, dice, hang_before_rate=0.005, hang_after_rate=0.005)


def expire(scene: Scene, dice: random.Random) -> Strike | None:
    """The keys expire; fresh ones come some seconds later."""
    if not scene.service.is_called():
        return None
    scene.service.expire_keys()
    return Strike(_some(dice), scene.service.hand_out_keys)


FAULTS: Final[Mapping[str, Fault]] = {
    "driver killed": kill_driver,
    "driver killed at any time": kill_driver_at_any_time,
    TOLD_TO_END: end_driver,
    "executor killed": kill_executor,
    "task killed": kill_task,
    "worker killed": kill_worker,
    "driver stopped": stop_driver,
    "executor stopped": stop_executor,
    "task stopped": stop_task,
    "slow store": slow_store,
    "throttling": throttle,
    "5xx": errors,
    "connections reset": resets,
    "calls unanswered": hangs,
    "keys expired": expire,
}
DRIVER_KILLED: Final = frozenset({"driver killed", "driver killed at any time"})
CRASHES: Final = DRIVER_KILLED | {"executor killed", "task killed", "worker killed"}
"""After these, events may come twice: docs/delivery.md."""


def _some(dice: random.Random) -> float:
    return dice.uniform(2.0, 6.0)


def _kill(dice: random.Random, pids: list[int]) -> Strike | None:
    if not pids:
        return None
    tell([dice.choice(sorted(pids))], signal.SIGKILL)
    return Strike()


def _stop(dice: random.Random, pids: list[int]) -> Strike | None:
    if not pids:
        return None
    tell(pids, signal.SIGSTOP)
    return Strike(dice.uniform(1.0, 5.0), lambda: tell(pids, signal.SIGCONT))


def _inject(scene: Scene, dice: random.Random, **rates: float) -> Strike | None:
    if not scene.service.is_called():
        return None
    scene.service.change(faults=rates)
    return Strike(_some(dice), lambda: scene.service.change(faults={}))


@dataclass
class Struck:
    """A past fault.

    Attributes:
        name: of its kind.
        began, ended: in seconds of the system's monotonic clock; the end is infinite while it lasts.
        doubtful: calls that the emulator accepted meanwhile without an answer.
    """

    name: str
    began: float
    ended: float = float("inf")
    doubtful: int = 0


@dataclass
class Storm:
    """One fault after another: all kinds in random order, then all in another order.

    Attributes:
        scene: the targets.
        seconds: from one fault to the next.
        dice: the random numbers.
        history: past faults, in order.
    """

    scene: Scene
    seconds: float
    dice: random.Random
    history: list[Struck] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._to_come: list[str] = []
        self._next: float | None = None
        self._running: list[tuple[float, Strike, Struck, int]] = []

    def tick(self, now: float) -> str | None:
        """End faults that are over, begin a fault that is due; return its name."""
        self._next = now + self.seconds if self._next is None else self._next
        self._end([each for each in self._running if each[0] <= now])
        if now < self._next:
            return None
        if not self._to_come:
            self._to_come = self.dice.sample(list(FAULTS), len(FAULTS))
        for name in self._to_come:
            doubtful = self.scene.service.doubtful()
            strike = FAULTS[name](self.scene, self.dice)
            if strike is not None:
                self._to_come.remove(name)
                self._next = now + self.seconds
                self.history.append(Struck(name, now))
                self._running.append((now + strike.seconds, strike, self.history[-1], doubtful))
                return name
        return None

    def close(self, now: float) -> None:
        """End all present faults."""
        self._end(list(self._running))
        for each in self.history:
            each.ended = min(each.ended, now)

    def _end(self, over: list[tuple[float, Strike, Struck, int]]) -> None:
        for each in over:
            until, strike, struck, doubtful = each
            self._running.remove(each)
            strike.undo()
            struck.ended = until
            struck.doubtful = self.scene.service.doubtful() - doubtful
