"""The scheduler does to processes what a machine does, and the network what TCP does."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.simulation.network import Network, Weather
from tests.simulation.world import Process, World


def world_with(weather: Weather | None = None) -> World:
    world = World()
    world.network = Network(world, random.Random(1), weather or Weather())
    return world


def run(world: World, work: Callable[[], Coroutine[Any, Any, Any]], until: float = 100.0) -> Any:
    result = world.run(work(), until)
    assert world.complaints == []
    return result


def ticks(world: World, process: Process) -> list[tuple[float, float]]:
    """Have a process note the world's time and its own every second."""
    noted: list[tuple[float, float]] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(1.0)
            noted.append((world.now, world.time()))

    world.start(process, tick())
    return noted


def test_a_paused_process_does_at_once_what_was_due_meanwhile_and_another_goes_on() -> None:
    world, process, other = world_with(), Process("one"), Process("other")
    seen, others = ticks(world, process), ticks(world, other)

    async def story() -> None:
        await asyncio.sleep(1.5)
        world.pause(process)
        await asyncio.sleep(3.0)
        world.resume(process)
        await asyncio.sleep(2.0)

    run(world, story)
    assert seen == [(1.0, 1.0), (4.5, 4.5), (5.5, 5.5), (6.5, 6.5)][: len(seen)] and len(seen) >= 3
    assert len(others) == 6


def test_a_suspended_process_does_not_know_how_long_it_was() -> None:
    world, process = world_with(), Process("one")
    seen = ticks(world, process)

    async def story() -> None:
        await asyncio.sleep(1.5)
        world.pause(process, stands_still=True)
        await asyncio.sleep(3.0)
        world.resume(process)
        await asyncio.sleep(2.0)

    run(world, story)
    assert seen == [(1.0, 1.0), (5.0, 2.0), (6.0, 3.0)]


def test_a_killed_process_never_acts_again() -> None:
    world, process = world_with(), Process("one")
    seen = ticks(world, process)

    async def story() -> None:
        await asyncio.sleep(1.5)
        world.kill(process)
        await asyncio.sleep(3.0)

    run(world, story)
    assert seen == [(1.0, 1.0)]


def test_who_calls_itself_for_ever_is_named_and_stopped() -> None:
    world, process = world_with(), Process("one")

    def spin() -> None:
        asyncio.get_running_loop().call_later(0.0, spin)

    async def story() -> None:
        await asyncio.sleep(1.5)
        world.soon(process, spin)
        await asyncio.sleep(3.0)

    assert run(world, story) is None
    assert world.spins is process and world.now == 1.5


def test_blocking_code_lets_the_world_go_on_while_it_sleeps() -> None:
    world, process = world_with(), Process("one")
    others = ticks(world, Process("other"))
    woken: list[float] = []

    def work() -> None:
        for _ in range(3):
            world.sleep(2.0)
            woken.append(world.time())

    async def story() -> None:
        world.block(process, work)
        await asyncio.sleep(7.0)

    run(world, story)
    assert woken == [2.0, 4.0, 6.0]
    assert len(others) >= 6


async def echo(world: World, server: Process, client: Process, heard: list[tuple[float, bytes]]) -> None:
    """Have a client say a word each tenth of a second to a server that notes it."""

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        try:
            while word := await reader.readline():
                heard.append((world.now, word))
        except ConnectionResetError:
            heard.append((world.now, b"reset"))

    listener = await world.ask(server, asyncio.start_server(serve, "", 0))
    host, port = listener.sockets[0].getsockname()

    async def speak() -> None:
        _, writer = await asyncio.open_connection(host, port)
        for number in range(10):
            writer.write(b"%d\n" % number)
            await asyncio.sleep(0.1)

    world.start(client, speak())


def test_bytes_come_late_but_all_and_in_order() -> None:
    world = world_with(Weather(0.01, 0.05, loss=0.5))
    heard: list[tuple[float, bytes]] = []

    async def story() -> None:
        await echo(world, Process("server", "a"), Process("client", "b"), heard)
        await asyncio.sleep(5.0)

    run(world, story)
    assert [word for _, word in heard] == [b"%d\n" % number for number in range(10)]
    assert heard[-1][0] > 1.0


@pytest.mark.parametrize(("side", "knows"), [("both", True), ("theirs", True), ("mine", False), ("none", False)])
def test_a_connection_that_is_cut_brings_nothing_more_and_may_be_noticed_or_not(side: str, knows: bool) -> None:
    world, client = world_with(), Process("client", "b")
    heard: list[tuple[float, bytes]] = []

    async def story() -> None:
        await echo(world, Process("server", "a"), client, heard)
        await asyncio.sleep(0.45)
        world.network.cut(client, side)
        await asyncio.sleep(2.0)

    run(world, story)
    words = [word for _, word in heard]
    assert words == [b"%d\n" % number for number in range(5)] + [b"reset"] * knows


def test_a_host_that_is_cut_off_is_heard_again_afterwards() -> None:
    world = world_with()
    heard: list[tuple[float, bytes]] = []

    async def story() -> None:
        await echo(world, Process("server", "a"), Process("client", "b"), heard)
        await asyncio.sleep(0.25)
        world.network.part("b", 3.0)
        await asyncio.sleep(5.0)

    run(world, story)
    assert [word for _, word in heard] == [b"%d\n" % number for number in range(10)]
    assert [at > 3.2 for at, _ in heard] == [False] * 3 + [True] * 7


@pytest.mark.parametrize(("silently", "last"), [(False, [b"reset"]), (True, [])])
def test_who_dies_is_reset_and_who_vanishes_is_not(silently: bool, last: list[bytes]) -> None:
    world, client = world_with(), Process("client", "b")
    heard: list[tuple[float, bytes]] = []

    async def story() -> None:
        await echo(world, Process("server", "a"), client, heard)
        await asyncio.sleep(0.25)
        world.kill(client)
        world.network.die(client, silently=silently)
        await asyncio.sleep(2.0)

    run(world, story)
    assert [word for _, word in heard] == [b"0\n", b"1\n", b"2\n", *last]
