"""A delivery among faults: one driver after another, as a scheduler runs them, until all is delivered."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.measuring.process import say
from benchmarks.soak.faults import Scene, Storm
from benchmarks.soak.processes import peak_memory
from benchmarks.soak.runs import Run

_LOOK: Final = 0.1
"""Seconds between two checks of the driver and the faults."""
_MEASURE: Final = 1.0
_TELL: Final = 30.0
_RERUN: Final = 2.0
"""Seconds until a job is started again."""
_STUCK: Final = 300.0
"""Seconds without an accepted call after which the delivery counts as stuck."""
_FINAL: Final = frozenset({0, 2, 3, 4})
"""Exit codes after which another run does not help."""


@dataclass
class DeliveryRecord:
    """The record of a delivery.

    Attributes:
        runs: the drivers, in order.
        memory: the peak memory of a process of each kind, in bytes.
        is_stuck: no more calls came.
        seconds: the duration.
    """

    runs: list[Run] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    is_stuck: bool = False
    seconds: float = 0.0

    def measure(self, scene: Scene) -> None:
        """Read the peak memory of each process."""
        kinds = dict.fromkeys(scene.driver_family(), "driver, Python")
        kinds |= {scene.driver.pid: "driver, JVM"} if scene.driver else {}
        kinds |= {each.pid: "executor, JVM" for each in scene.cluster.executors()}
        kinds |= {each.pid: "task, Python" for each in scene.cluster.tasks()}
        kinds[scene.emulator] = "emulator"
        for pid, kind in kinds.items():
            self.memory[kind] = max(self.memory.get(kind, 0), peak_memory(pid))


class Delivery:
    """Runs drivers and faults in turn, in one thread.

    Args:
        scene: the targets.
        storm: the faults.
        submit: starts a driver that writes to a log.
        logs: the folder of the drivers' logs and `faults.log`.
    """

    def __init__(
        self,
        scene: Scene,
        storm: Storm,
        submit: Callable[[Path], subprocess.Popen[str]],
        logs: Path,
    ) -> None:
        self._scene = scene
        self._storm = storm
        self._submit = submit
        self._logs = logs
        self._began = time.monotonic()
        self._measured = self._told = self._began
        self._heard = (0, self._began)
        self.record = DeliveryRecord()

    def through(self) -> DeliveryRecord:
        """Continue until a driver ends for good."""
        try:
            while not self._is_over():
                time.sleep(_LOOK)
                now = time.monotonic()
                if name := self._storm.tick(now):
                    self._note(f"{now - self._began:8.1f} s  run {len(self.record.runs):3}  {name}")
                self._look(now)
        finally:
            self._storm.close(time.monotonic())
            self.record.seconds = time.monotonic() - self._began
        return self.record

    def _note(self, line: str) -> None:
        with (self._logs / "faults.log").open("a") as log:
            log.write(line + "\n")

    def _is_over(self) -> bool:
        """Whether the driver has ended for good; if another run can help, start it."""
        record = self.record
        if not record.runs:
            self._rerun()
            return False
        code = self._scene.driver.poll() if self._scene.driver else None
        if code is None:
            return record.is_stuck
        record.runs[-1].end(code)
        self._note(f"{record.runs[-1].ended - self._began:8.1f} s  run {len(record.runs):3}  ended with {code}")
        if code in _FINAL or record.is_stuck:
            return True
        time.sleep(_RERUN)
        self._rerun()
        return False

    def _rerun(self) -> None:
        log = self._logs / f"driver-{len(self.record.runs) + 1:04}.log"
        self.record.runs.append(Run(log, time.monotonic()))
        self._scene.driver = self._submit(log)

    def _look(self, now: float) -> None:
        if now - self._measured >= _MEASURE:
            self._measured = now
            self.record.measure(self._scene)
        if now - self._told >= _TELL:
            self._told = now
            self._tell(now)

    def _tell(self, now: float) -> None:
        counts: dict[str, Any] = self._scene.service.told()
        accepted = int(counts["accepted"])
        if accepted > self._heard[0]:
            self._heard = (accepted, now)
        self.record.is_stuck = now - self._heard[1] > _STUCK
        say(
            f"{now - self._began:.0f} s: {accepted:,} requests accepted, "
            f"{len(self._storm.history)} faults, run {len(self.record.runs)}"
        )
