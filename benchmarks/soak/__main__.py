"""`python -m benchmarks.soak`: deliver a batch among faults, then check the promises.

Master, workers, drivers and emulator are separate processes on the loopback of this machine. They end with this
process, in every case. Their logs and a log of the faults stay in build/soak; if a promise was broken, the tape too.
All other files are in build/soak/work. If this soak is killed, the next one removes them.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.measuring.emulator import REGION, TRACKER
from benchmarks.measuring.process import ROOT, say
from benchmarks.soak.batch import BATCH, EVENTS_A_REQUEST, make_lake, read_event_ids
from benchmarks.soak.cluster import Cluster
from benchmarks.soak.faults import Scene, Service, Storm
from benchmarks.soak.faulty_delivery import Delivery
from benchmarks.soak.processes import end, start, wait_for
from benchmarks.soak.report import describe
from benchmarks.soak.verdict import Terms, judge, read_tape

LOGS: Final = ROOT / "build" / "soak"
SCRIPT: Final = Path(__file__).with_name("slow_store.py")
IN_FLIGHT: Final = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a soak.

    Attributes:
        requests: requests of the batch.
        seconds: from one fault to the next.
        rate: calls a second, --max-rate.
        workers: workers of the cluster, each with one core.
        seed: of the faults.
    """

    requests: int
    seconds: float
    rate: float
    workers: int
    seed: int

    def __str__(self) -> str:
        return (
            f"--requests {self.requests} --seconds-between-faults {self.seconds:g} --max-rate {self.rate:g} "
            f"--workers {self.workers} --seed {self.seed}"
        )


def main(argv: Sequence[str]) -> int:
    """Run a soak; return 0 if all promises were kept, otherwise 1."""
    plan = parse(argv)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    shutil.rmtree(LOGS, ignore_errors=True)
    (LOGS / "work").mkdir(parents=True)
    say(f"python -m benchmarks.soak {plan}; logs: {LOGS}")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, LOGS / "work", ignore_errors=True)
        return soak(plan, LOGS / "work", stack)


def parse(argv: Sequence[str]) -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="A long delivery among faults.")
    add = parser.add_argument
    add("--requests", type=int, default=1_000_000, metavar="N", help="requests of the batch (1000000)")
    add("--seconds-between-faults", type=float, default=20.0, metavar="S", help="seconds between two faults (20)")
    add("--max-rate", type=float, default=1_000.0, metavar="N", help="calls a second (1000)")
    add("--workers", type=int, default=2, metavar="N", help="workers of the cluster, each with one core (2)")
    add("--seed", type=int, default=secrets.randbelow(10**6), metavar="N", help="seed of the faults (random)")
    given = parser.parse_args(argv)
    return Plan(given.requests, given.seconds_between_faults, given.max_rate, given.workers, given.seed)


def soak(plan: Plan, folder: Path, stack: ExitStack) -> int:
    """Make a batch, deliver it among faults, report the result."""
    credentials, tape, slow = folder / "credentials", folder / "tape", folder / "slow"
    cluster = Cluster(folder, LOGS, credentials)
    stack.callback(cluster.close)
    lake = make_lake(folder, plan.requests, lambda arguments: cluster.build(LOGS / "build.log", arguments))
    log = LOGS / "emulator.log"
    emulator = start([sys.executable, "-m", "benchmarks.soak.service", str(tape)], log, os.environ)
    stack.callback(end, emulator)
    wait_for(lambda: log.read_text().endswith("\n"), "the emulator")
    service = Service(log.read_text().split()[0], credentials)
    service.hand_out_keys()
    cluster.start(plan.workers)
    say("the lake and the cluster are ready")

    where = ["--lake", str(lake), "--batch", BATCH, "--tracking-id", TRACKER, "--region", REGION]
    pace = ["--endpoint-url", service.url, "--max-rate", str(plan.rate), "--max-in-flight", str(IN_FLIGHT)]
    scene = Scene(cluster, service, slow, emulator.pid, plan.rate)
    storm = Storm(scene, plan.seconds, random.Random(plan.seed))  # noqa: S311 - the same faults for the same seed
    record = Delivery(scene, storm, lambda run: cluster.submit(run, SCRIPT, [str(slow), *where, *pace]), LOGS).through()
    counts = service.told()
    cluster.close()
    emulator.terminate()
    emulator.wait()

    say("judging")
    terms = Terms(plan.rate, plan.workers, IN_FLIGHT, EVENTS_A_REQUEST)
    with tape.open() as lines:
        verdict = judge(read_tape(lines), read_event_ids(lake), storm.history, terms, record.runs)
    print(f"{plan}\n\n{describe(verdict, terms, counts, record)}")
    if verdict.broken:
        shutil.copy(tape, LOGS)
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
