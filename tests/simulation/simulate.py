"""One seed, from the first call to the last receipt: runs of the driver, one after another, until nothing is left."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from delivery.control.dispatcher import ServiceHistory
from delivery.ended_requests import EndedRequestSet
from delivery.model import Request
from delivery.sender.request_executor import RetryPolicy
from delivery.task import TaskConfig, unfinished_parts
from tests.simulation import driver as drivers
from tests.simulation.driver import Driver
from tests.simulation.judge import Judge, short
from tests.simulation.network import End, Network
from tests.simulation.scenario import Scenario, Trouble, draw
from tests.simulation.service import Service
from tests.simulation.spark import Job, Running
from tests.simulation.store import Store
from tests.simulation.world import Process, World

_RETRY: Final = RetryPolicy(budget=20.0, aside=4.0, rest=2.0, renewal=5.0)
_MOST_RUNS: Final = 12
_GRACE: Final = 25.0
"""Seconds from when a run is asked to end, and nothing is in the way any more, until it has ended."""
_PATIENCE: Final = 100.0
"""Seconds, beside the calls' own time and the troubles, after which a run hangs."""
_WORLDS_END: Final = 100_000.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a seed.

    Attributes:
        seed: which.
        violation: what was wrong; None if nothing was.
        trace: what happened.
        calls: that were made.
        twice: of them, those whose events had been acknowledged before.
        runs: of the driver.
        seconds: in the world.
    """

    seed: int
    violation: str | None
    trace: list[tuple[float, str, str]] = field(repr=False)
    calls: int = 0
    twice: int = 0
    runs: int = 0
    seconds: float = 0.0
    fullest: int = 0

    @property
    def digest(self) -> str:
        """Of all that happened, and when."""
        return hashlib.sha256(repr(self.trace).encode()).hexdigest()

    def report(self) -> str:
        """Say what was wrong, and what went before."""
        return f"seed {self.seed}: {self.violation}\n{short(self.trace)}"


def simulate(scenario: Scenario | int) -> Result:
    """Run one seed, or a scenario that a test wrote down."""
    scenario = draw(scenario) if isinstance(scenario, int) else scenario
    random.seed(scenario.seed)  # the senders' jitter
    world = World()
    campaign = Campaign(world, scenario)
    with drivers.replaced(world):
        world.run(campaign.deliver(), _WORLDS_END)
    judge = campaign.judge
    if world.spins is not None:
        judge.complain(f"{world.spins.name} calls itself for ever")
    if judge.violation is None and world.complaints:
        judge.complain(f"asyncio complains: {world.complaints[0]}")
    calls = len(campaign.service.calls)
    return Result(
        scenario.seed, judge.violation, judge.trace, calls, judge.twice, campaign.runs, world.now, judge.fullest
    )


class Campaign:
    """Runs of the driver until nothing is left, and what befalls them."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        self.world, self.scenario = world, scenario
        seed = scenario.seed
        self.chance = random.Random(f"campaign {seed}")
        self.requests = _requests(scenario)
        poison = frozenset(
            self.chance.choice(request.eventIds)
            for request in self.requests
            if self.chance.random() < scenario.poisoned
        )
        self.service = Service(world, random.Random(f"service {seed}"), scenario, poison)
        self.store = Store(world, scenario.write)
        self.network = world.network = Network(world, random.Random(f"network {seed}"), scenario.weather)
        self.judge = Judge(world, scenario, self.service, {one.requestId: one for one in self.requests})
        self.service.on_sent, self.service.on_acknowledged = self.judge.sent, self.judge.acknowledged
        self.store.on_durable = self.judge.durable
        self.network.on_receive, self.network.on_write = self._heard, self.judge.written
        skew = scenario.wrong_clocks
        self.hosts = [(f"executor {slot}", self.chance.uniform(-skew, skew)) for slot in range(scenario.slots)]
        self.names: Iterator[int] = itertools.count()
        self.runs = 0
        self.troubles_until = 0.0
        self.asked_at: float | None = None
        self.ended_ids: set[str] = set()
        self.driver: Driver
        self.job: Job

    async def deliver(self) -> None:
        """Run after run."""
        while True:
            left = self._left()
            if not left:
                break
            if self.runs >= _MOST_RUNS:
                self.judge.complain(f"{len(left)} requests are left after {self.runs} runs")
                return
            await self._run(left)
            if self.judge.violation:
                return
            self.runs += 1
        self.judge.conclude()

    def _left(self) -> list[Request]:
        """Plan: what has no receipt."""
        ended = EndedRequestSet(row["requestId"] for row in self.store.durable)
        return [part for request in self.requests for part in unfinished_parts(request, ended)]

    async def _run(self, left: list[Request]) -> None:
        world, number = self.world, self.runs
        self.judge.begin_run(number)
        troubles = self.scenario.troubles[number] if number < len(self.scenario.troubles) else ()
        # A vanished machine's delivery is taken over by another one.
        process = Process(f"driver {number}", f"driver {number}")
        trust = ServiceHistory(
            any(row["status"] == "delivered" for row in self.store.durable), number >= _MOST_RUNS - 4
        )
        driver = self.driver = Driver(world, process, self.store, self.scenario.limit, trust)
        address = await world.ask(process, driver.listen())
        terms = lambda client: TaskConfig(client, address, self.scenario.in_flight, _RETRY)  # noqa: E731
        self.job = Job(
            world, self.network, self.service, self.chance, number, self._parts(left), self.hosts,
            self.scenario.fed_at_once, self.names, terms, self._attempt_starts, self._attempt_dies,
        )  # fmt: skip
        begun, kept_before = world.now, len(self.store.durable)
        self.judge.note("run begins", f"{len(left)} requests")
        self.troubles_until, self.asked_at = begun, None
        for trouble in troubles:
            world.after(trouble.at, world.outside, self._befall, trouble, driver)
            self.troubles_until = max(self.troubles_until, begun + trouble.at + trouble.seconds)
        driver.attend(self.job)
        calls = sum(2 * len(request.events) for request in left)
        until = self.troubles_until + _PATIENCE + 4.0 * calls / self.scenario.limit
        while not driver.over and process.alive and not self.judge.violation:
            await asyncio.sleep(0.5)
            self._see_that_it_ends(until)
        if process.alive and driver.over:
            self._account(driver, number, kept_before)
            world.kill(process)
            self.network.die(process)
        await asyncio.sleep(self._until_next(driver))
        self.service.troubles.clear()
        self.store.troubles.clear()

    def _see_that_it_ends(self, until: float) -> None:
        now = self.world.now
        if now > until:
            self.judge.complain("the run does not end")
        elif self.asked_at is not None and now > max(self.asked_at, self.troubles_until) + _GRACE:
            self.judge.complain(f"asked to end, the run goes on for more than {_GRACE:g} s")

    def _until_next(self, driver: Driver) -> float:
        """Another driver on the same machine starts at once; elsewhere, only when the lock is silent for long."""
        return 21.0 if driver.process.host in self.network.gone else self.chance.uniform(3.0, 6.0)

    def _account(self, driver: Driver, number: int, kept_before: int) -> None:
        sent = driver.sent
        with self.world.acting(driver.process):
            progress = driver.dispatcher.progress()
        rows = self.store.durable[kept_before:]
        whole = sent is not None and sent.ending is None and sent.failure is None and not driver.dispatcher.stopped
        kept = sum(len(row["eventIds"]) for row in rows)
        gave_up = driver.error is not None and "receipts" in str(driver.error)
        self.judge.end_run(number, kept, progress.delivered + progress.refused, complete=whole, gave_up=gave_up)

    def _parts(self, left: list[Request]) -> list[list[Request]]:
        """Lay requests into parts: as the scenario has it, what is left of each."""
        parts: list[list[Request]] = [[] for _ in self.scenario.sizes]
        for request in left:
            parts[int(request.sessionId)].append(request)
        return parts

    # What befalls a run.

    def _befall(self, trouble: Trouble, driver: Driver) -> None:  # noqa: PLR0912 - a table of what may happen
        if driver is not self.driver or driver.over or not driver.process.alive:
            return
        world, running = self.world, [one for one in self.job.running if one.process.alive]
        one = running[trouble.whom % len(running)] if running else None
        self.judge.note("trouble", f"{trouble.what} for {trouble.seconds:.2f} s")
        match trouble.what:
            case "kill task" if one is not None:
                self.job.kill(one)
            case "kill driver" | "vanish":
                self._kill_driver(driver, silently=trouble.what == "vanish")
            case "pause task" if one is not None:
                self._pause([one.process], trouble.seconds, stands_still=False)
            case "suspend" if one is not None:
                same = [other.process for other in running if other.process.host == one.process.host]
                self._pause(same, trouble.seconds, stands_still=True)
            case "pause driver":
                self.judge.disturbed.update(each.process for each in running)
                self._pause([driver.process], trouble.seconds, stands_still=False)
            case "partition" if one is not None:
                self.judge.disturbed.update(other.process for other in running)
                self.network.part(one.process.host, trouble.seconds)
            case "cut" if one is not None:
                self.judge.disturbed.add(one.process)
                self.network.cut(one.process, ("both", "mine", "theirs", "none")[trouble.whom % 4])
            case "speculate":
                self.job.speculate(trouble.whom)
            case "interrupt":
                self.asked_at = world.now if self.asked_at is None else self.asked_at
                if trouble.whom % 3:
                    driver.asked.set()
                else:
                    driver.lock_lost = True
            case "slow store" | "no store":
                self._last(self.store.troubles, trouble)
            case _:
                self._last(self.service.troubles, trouble)

    def _last(self, troubles: list[Trouble], trouble: Trouble) -> None:
        """Let a trouble last for its time; a service that refuses everything does so until somebody mends it."""
        troubles.append(trouble)
        if trouble.what != "refuses":
            self.world.after(trouble.seconds, self.world.outside, _remove, troubles, trouble)

    def _kill_driver(self, driver: Driver, *, silently: bool) -> None:
        self.judge.break_run(self.runs)
        self.judge.disturbed.update(one.process for one in self.job.running)
        self.world.kill(driver.process)
        self.network.die(driver.process, silently=silently)
        self.job.abandon()

    def _pause(self, processes: list[Process], seconds: float, *, stands_still: bool) -> None:
        for process in processes:
            self.judge.disturbed.add(process)
            self.world.pause(process, stands_still=stands_still)
            self.world.after(seconds, self.world.outside, self._resume, process, stands_still)

    def _resume(self, process: Process, stood_still: bool) -> None:
        if process.alive:
            if stood_still:
                self.judge.unheard.add(process)
            self.world.resume(process)

    def _attempt_starts(self, one: Running) -> None:
        self.judge.note("attempt", one.process.name)
        self.judge.parts[one.process] = str(one.part)
        if self.scenario.weather.loss or self.scenario.weather.longest > 0.4:
            self.judge.disturbed.add(one.process)

    def _attempt_dies(self, one: Running) -> None:
        self.judge.note("killed", one.process.name)
        self.judge.end_attempt(one.process)

    def _heard(self, end: End) -> None:
        self.judge.unheard.discard(end.process)


def _remove(troubles: list[Trouble], trouble: Trouble) -> None:
    if trouble in troubles:
        troubles.remove(trouble)


def _requests(scenario: Scenario) -> list[Request]:
    chance = random.Random(f"requests {scenario.seed}")
    return [
        _request(scenario.seed, part, number, chance.randint(1, scenario.events))
        for part, size in enumerate(scenario.sizes)
        for number in range(size)
    ]


def _request(seed: int, part: int, number: int, events: int) -> Request:
    name = hashlib.sha256(f"{seed} {part} {number}".encode()).hexdigest()
    return Request(name, None, str(part), tuple(f"{name[:16]}-{place}" for place in range(events)), ("{}",) * events)
