"""TCP between processes: bytes come late, in order, or not at all; connections are cut, by halves too."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.simulation.world import Process, World

_SYN: float = 0.0005


@dataclass(frozen=True, slots=True)
class Weather:
    """What the network does to segments.

    Attributes:
        delay: seconds that each is under way, at the least.
        jitter: seconds more, at the most.
        loss: the share that is lost, and comes by retransmission.
        retransmission: seconds that this takes; one of them.
    """

    delay: float = 0.0005
    jitter: float = 0.0
    loss: float = 0.0
    retransmission: tuple[float, ...] = (0.2, 0.4, 0.9)

    @property
    def longest(self) -> float:
        return self.delay + self.jitter + (max(self.retransmission) if self.loss else 0.0)


class End(asyncio.Transport):
    """One end of a connection.

    Attributes:
        process: whose it is.
        peer: the other end.
        heard: bytes that came, for whoever measures.
    """

    def __init__(self, network: Network, process: Process, protocol: Any) -> None:
        super().__init__()
        self.network, self.process, self.protocol = network, process, protocol
        self.peer: End
        self.closed = False
        """This end was closed, or knows that the connection is gone."""
        self.latest = 0.0
        """When what was written last comes to the other end."""

    def write(self, data: bytes) -> None:  # type: ignore[override]
        if not self.closed and self.process.alive:
            self.network.on_write(self, data)
            self._bring(self.peer.receive, data)

    def receive(self, data: bytes) -> None:
        if self.process.alive and not self.closed:
            self.network.on_receive(self)
            self.protocol.data_received(data)
        elif not self.process.alive or self.closed:
            self._bring(self.peer.reset)

    def hung_up(self) -> None:
        if self.process.alive and not self.closed:
            self.protocol.eof_received()

    def reset(self) -> None:
        if self.process.alive and not self.closed:
            self.closed = True
            self.protocol.connection_lost(ConnectionResetError("reset by the other end"))

    def close(self) -> None:
        if not self.closed and self.process.alive and not self.network.over:
            self.closed = True
            self._bring(self.peer.hung_up)
            self.network.world.soon(self.process, self.protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Nothing waits in between: what came is there."""

    def resume_reading(self) -> None:
        """Nothing waits in between: what came is there."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """What is written is under way at once."""

    def _bring(self, what: Callable[..., None], *args: Any) -> None:
        """Let something come to the other end, after all that went before, unless the way is dead."""
        arrival = self.network.arrival(self.process.host, self.peer.process.host)
        if arrival is not None:
            self.latest = max(self.latest, arrival)
            world = self.network.world
            world.after(self.latest - world.now, self.peer.process, what, *args)


class _Listener:
    """What `start_server` gives."""

    def __init__(self, network: Network, key: tuple[str, int], process: Process, factory: Callable[[], Any]) -> None:
        self.network, self.key, self.process, self.factory = network, key, process, factory
        self.sockets = [self]

    def getsockname(self) -> tuple[str, int]:
        return self.key

    def close(self) -> None:
        self.network.listeners.pop(self.key, None)


class Network:
    """Hosts and the ways between them.

    Args:
        world: whose time it is.
        chance: of delays and losses.
        weather: on all ways.

    Attributes:
        on_write: is told of what is written.
        on_receive: is told of who hears something.
        over: the world ends: nothing is to happen any more.
    """

    def __init__(self, world: World, chance: random.Random, weather: Weather) -> None:
        self.world, self.weather = world, weather
        self._chance = chance
        self.listeners: dict[tuple[str, int], _Listener] = {}
        self.ends: list[End] = []
        self.gone: set[str] = set()
        """Hosts that vanished without a word."""
        self.apart: dict[str, float] = {}
        """Hosts that are cut off, and until when."""
        self.on_write: Callable[[End, bytes], None] = lambda _end, _data: None
        self.on_receive: Callable[[End], None] = lambda _end: None
        self.over = False
        self._ports = 1000

    # Called by asyncio.open_connection and asyncio.start_server.

    async def connect(self, factory: Callable[[], Any], host: str, port: int) -> tuple[End, Any]:
        world, process = self.world, self.world.current
        there = self.arrival(process.host, host)
        if there is None:
            await world.create_future()  # until the caller has had enough
        assert there is not None
        back = self.arrival(host, process.host)
        if back is None:
            await world.create_future()
        assert back is not None
        await asyncio.sleep(there + back - 2 * world.now)
        listener = self.listeners.get((host, port))
        if listener is None or not listener.process.alive:
            raise ConnectionRefusedError(f"nobody listens at {host}:{port}")
        protocol = factory()
        mine, theirs = End(self, process, protocol), End(self, listener.process, listener.factory())
        mine.peer, theirs.peer = theirs, mine
        self.ends += [mine, theirs]
        world.soon(listener.process, theirs.protocol.connection_made, theirs)
        protocol.connection_made(mine)
        return mine, protocol

    def listen(self, factory: Callable[[], Any], process: Process) -> _Listener:
        self._ports += 1
        listener = _Listener(self, (process.host, self._ports), process, factory)
        self.listeners[listener.key] = listener
        return listener

    # What goes wrong.

    def part(self, host: str, seconds: float) -> None:
        """Cut a host off for a while: what is sent meanwhile comes afterwards, by retransmission."""
        self.apart[host] = max(self.apart.get(host, 0.0), self.world.now + seconds)

    def cut(self, process: Process, side: str) -> None:
        """Break the connections of a process: `both` ends learn of it, or `mine` or `theirs` alone, or `none`."""
        for end in [end for end in self.ends if end.process is process and not end.closed]:
            for each, knows in ((end, side in ("both", "mine")), (end.peer, side in ("both", "theirs"))):
                each.network = _Nowhere(self)  # type: ignore[assignment]
                if knows:
                    self.world.soon(each.process, each.reset)

    def die(self, process: Process, *, silently: bool = False) -> None:
        """Close what a process that was killed had open, unless its machine has vanished."""
        if silently:
            self.gone.add(process.host)
        for end in [end for end in self.ends if end.process is process and not end.closed]:
            end.closed = True
            if not silently:
                end._bring(end.peer.reset)
        for key in [key for key, listener in self.listeners.items() if listener.process is process]:
            if not silently:
                del self.listeners[key]

    def arrival(self, one: str, other: str) -> float | None:
        """When a segment that is sent now arrives; None if never."""
        if self.over or one in self.gone or other in self.gone:
            return None
        weather, chance = self.weather, self._chance
        delay = weather.delay + (weather.jitter * chance.random() if weather.jitter else 0.0)
        if weather.loss and chance.random() < weather.loss:
            delay += chance.choice(weather.retransmission)
        arrival = self.world.now + delay
        heals = max(self.apart.get(one, 0.0), self.apart.get(other, 0.0))
        return arrival if heals <= self.world.now else max(arrival, heals + chance.random() * 0.4)


class _Nowhere:
    """The way of a connection that is cut: nothing comes through."""

    def __init__(self, network: Network) -> None:
        self.world, self.on_write, self.on_receive = network.world, network.on_write, network.on_receive
        self.over = False

    def arrival(self, _one: str, _other: str) -> None:
        return None
