"""Scenarios that have found a fault, shortened to what each needs: a fault that was mended is not to return."""

from __future__ import annotations

from typing import Final

from tests.simulation.network import Weather
from tests.simulation.scenario import Scenario, Trouble

FOUND: Final[dict[str, Scenario]] = {
    "each reconnect told an attempt again what it had ended itself": Scenario(
        1, 50.0, 2, (100, 100), troubles=((Trouble(2.5, 0.0, "cut", 0),),)
    ),
    "a driver that is silent breaks all connections at once": Scenario(
        2, 50.0, 3, (90, 90, 90), troubles=((Trouble(2.5, 2.5, "pause driver"),),)
    ),
    "a lowered lease was heard late, and the difference was leased to another at once": Scenario(
        11, 100.0, 3, (100, 10, 10, 10, 100, 50), weather=Weather(loss=0.1, retransmission=(0.9,)), troubles=((),)
    ),
    "connections that opened late let all permits go at once": Scenario(
        4, 50.0, 1, (300,), in_flight=256, troubles=((Trouble(0.0, 4.5, "connections stall"),),)
    ),
    "each new connection took a while, and calls came closer together than they were permitted": Scenario(
        5, 20.0, 2, (60, 60), connecting=0.3, latency=(0.1, 0.9), troubles=((),)
    ),
    "a store that takes 1 s for a file": Scenario(6, 50.0, 2, (150, 150), write=1.0, troubles=((),)),
    "a store that takes 2.5 s for a file": Scenario(7, 50.0, 2, (150, 150), write=2.5, troubles=((),)),
    "a store that takes 4.5 s for a file": Scenario(8, 50.0, 2, (150, 150), write=4.5, troubles=((),)),
    "a store that takes nothing for a while": Scenario(
        9, 50.0, 2, (150, 150), troubles=((Trouble(1.5, 6.0, "no store"),),)
    ),
    "a machine was suspended, and its monotonic clock stood still": Scenario(
        10, 50.0, 2, (150, 150), troubles=((Trouble(2.0, 8.0, "suspend", 0),),)
    ),
    "a task that lost its part kept the one call that was still granted, and nobody else could call": Scenario(
        1159,
        20.0,
        2,
        (25, 25),
        events=4,
        in_flight=8,
        latency=(0.05, 0.2),
        fed_at_once=True,
        troubles=(
            (
                Trouble(0.3, 1.5, "expired", 715),
                Trouble(0.4, 0.4, "refuses", 359),
                Trouble(1.6, 0.7, "speculate", 18),
                Trouble(1.7, 5.0, "pause task", 419),
            ),
        ),
    ),
    "a wait shorter than a clock tells apart let a task call itself for ever": Scenario(
        5316,
        10.0,
        6,
        (3, 3, 3, 3, 3, 3, 3, 9, 1, 3, 9, 3),
        in_flight=256,
        weather=Weather(jitter=0.05),
        latency=(0.05, 0.2),
        connecting=0.05,
        troubles=(
            (Trouble(1.5, 2.2, "accepted", 446), Trouble(2.8728468287668387, 0.4525465626694248, "suspend", 674)),
        ),
    ),
    "a lease was lowered right after a pause, and what the task caught up on was leased to another too": Scenario(
        2065,
        500.0,
        2,
        (800, 500),
        weather=Weather(delay=0.0002),
        latency=(0.01, 0.05),
        connecting=0.001,
        troubles=(
            (
                Trouble(0.15, 0.16, "pause task", 613),
                Trouble(0.24, 0.28, "pause task", 238),
                Trouble(1.07, 0.25, "pause task", 460),
            ),
        ),
    ),
    "a task is killed": Scenario(11, 20.0, 2, (60, 60), troubles=((Trouble(1.5, 0.0, "kill task", 0),),)),
    "the driver is killed": Scenario(12, 20.0, 2, (60, 60), troubles=((Trouble(1.5, 0.0, "kill driver", 0),),)),
    "the driver's machine vanishes": Scenario(13, 20.0, 2, (60, 60), troubles=((Trouble(1.5, 0.0, "vanish", 0),),)),
}
"""By what went wrong. An empty run of troubles says that the limit need not be used up."""
