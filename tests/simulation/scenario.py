"""What a seed stands for: sizes, rates, delays, and which faults there are at all (swarm testing)."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from tests.simulation.network import Weather

ServiceFault = Literal["throttle", "unavailable", "hang", "reset", "accepted", "expired", "denied", "refuses"]
"""What the service does for a while. `accepted` is a reset, or no answer, after the events were taken."""
Happening = Literal[
    "kill task", "kill driver", "vanish", "pause task", "pause driver", "suspend", "partition", "cut", "speculate",
    "interrupt", "slow store", "no store", "connections stall",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that happens at a time, for a while.

    Attributes:
        at: seconds from the beginning of the run.
        seconds: how long.
        what: happens.
        whom: a number, by which the one that it happens to is chosen.
        share: of the calls, where some alone are met.
    """

    at: float
    seconds: float
    what: Happening | ServiceFault
    whom: int = 0
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One seed's world.

    Attributes:
        seed: of everything.
        limit: calls a second.
        slots: tasks at once.
        sizes: requests, by part.
        events: events in a request, at the most.
        in_flight: calls of a task at once.
        weather: between tasks and driver.
        latency: seconds of a call, at the least and at the most.
        connecting: seconds to open a connection to the service.
        write: seconds that the store takes for a file of receipts.
        poisoned: the share of requests of which an event is refused.
        wrong_clocks: seconds by which machines' clocks of the day differ.
        fed_at_once: whether Spark gives a task all of its rows at once.
        troubles: by run: the first run's, the second's, and so on.
    """

    seed: int
    limit: float
    slots: int
    sizes: tuple[int, ...]
    events: int = 1
    in_flight: int = 64
    weather: Weather = field(default_factory=Weather)
    latency: tuple[float, float] = (0.02, 0.06)
    connecting: float = 0.002
    write: float = 0.02
    poisoned: float = 0.0
    wrong_clocks: float = 0.0
    fed_at_once: bool = True
    troubles: tuple[tuple[Trouble, ...], ...] = ()

    @property
    def requests(self) -> int:
        return sum(self.sizes)

    def has(self, *kinds: Happening | ServiceFault) -> bool:
        """Whether any of these troubles may come."""
        return any(trouble.what in kinds for run in self.troubles for trouble in run)

    @property
    def calm(self) -> bool:
        """Whether nothing is in the way: the limit is to be used."""
        return not self.troubles and not self.poisoned and not self.weather.loss

    @property
    def channel_breaks(self) -> bool:
        """Whether a task may not be heard for a while, and goes on."""
        return bool(self.weather.loss) or self.has(
            "pause task", "pause driver", "suspend", "partition", "cut", "vanish", "kill driver", "speculate"
        )


_SERVICE: Final = ("throttle", "unavailable", "hang", "reset", "accepted", "expired", "denied", "refuses")
_CLUSTER: Final = (
    "kill task", "kill driver", "vanish", "pause task", "pause driver", "suspend", "partition", "cut", "speculate",
    "interrupt", "slow store", "no store", "connections stall",
)  # fmt: skip
_MOST_REQUESTS: Final = 300
_SHORT: Final = 0.4
"""Seconds: half of all troubles are no longer. A task makes up for so short a pause."""
_LONGEST: Final[dict[str, float]] = {
    "pause task": 6.0,
    "pause driver": 5.0,
    "suspend": 8.0,
    "partition": 8.0,
    "connections stall": 4.5,
    "hang": 1.0,
    "expired": 3.0,
    "slow store": 6.0,
    "no store": 8.0,
}


def draw(seed: int) -> Scenario:
    """Draw a scenario: one of eight is calm, the others have some kinds of trouble each."""
    chance = random.Random(f"scenario {seed}")
    slots = chance.choice((1, 1, 2, 2, 3, 4, 6))
    limit = chance.choice((3.0, 5.0, 7.5, 10.0, 12.0, 20.0, 20.0, 30.0, 50.0, 100.0))
    calm = chance.random() < 0.125
    length = chance.uniform(7.0, 9.0) if calm else chance.uniform(2.0, 7.0)
    requests = min(max(int(limit * length), 4), _MOST_REQUESTS)
    parts = slots if calm else chance.choice((slots, slots, slots + 1, 2 * slots))
    scenario = Scenario(
        seed,
        limit,
        slots,
        _sizes(chance, requests, parts),
        in_flight=256 if calm else chance.choice((8, 64, 256)),
        weather=Weather(chance.choice((0.0005, 0.0005, 0.005, 0.05, 0.2)), chance.choice((0.0, 0.002, 0.05))),
        latency=chance.choice(((0.01, 0.02), (0.02, 0.06), (0.05, 0.2), (0.1, 0.9))),
        wrong_clocks=chance.choice((0.0, 0.0, 10.0, 600.0)),
    )
    return scenario if calm else _troubled(chance, scenario)


def _sizes(chance: random.Random, requests: int, parts: int) -> tuple[int, ...]:
    """Deal requests out to parts, evenly or not."""
    weights = [chance.choice((1.0, 1.0, 1.0, 0.2, 3.0)) for _ in range(parts)]
    return tuple(max(1, int(requests * weight / sum(weights))) for weight in weights)


def _troubled(chance: random.Random, scenario: Scenario) -> Scenario:
    kinds = [kind for kind in (*_SERVICE, *_CLUSTER) if chance.random() < 0.12]
    weather = scenario.weather
    if chance.random() < 0.3:
        weather = replace(weather, loss=chance.choice((0.01, 0.05, 0.2)))
    length = scenario.requests / scenario.limit
    runs = [_run(chance, kinds, length)]
    if chance.random() < 0.3:
        runs.append(_run(chance, kinds, length))
    return replace(
        scenario,
        weather=weather,
        events=chance.choice((1, 1, 4, 10)),
        connecting=chance.choice((0.002, 0.05, 0.3)),
        write=chance.choice((0.02, 0.02, 0.3, 0.8)),
        poisoned=chance.choice((0.0, 0.0, 0.02, 0.2)),
        fed_at_once=chance.random() < 0.7,
        troubles=tuple(runs),
    )


def _run(chance: random.Random, kinds: list[Happening | ServiceFault], length: float) -> tuple[Trouble, ...]:
    troubles = []
    for kind in kinds:
        for _ in range(chance.choice((1, 1, 2, 4))):
            at = chance.uniform(0.0, length + 1.5)
            longest = _LONGEST.get(kind, 3.0)
            seconds = chance.uniform(0.05, chance.choice((longest, min(longest, _SHORT))))
            share = chance.choice((1.0, 0.5, 0.1)) if kind in ("unavailable", "hang", "reset", "accepted") else 1.0
            troubles.append(Trouble(at, seconds, kind, chance.randrange(1000), share))
    return tuple(sorted(troubles, key=lambda trouble: trouble.at))
