"""One seeded scheduler for all processes of a delivery: an event loop in virtual time that knows which process acts.

Real asyncio code runs in it unchanged: tasks, futures, timeouts, streams. A callback belongs to the process that asked
for it. A process can be paused (SIGSTOP: its timers fire late, all at once), suspended (its monotonic clock stands
still too) or killed. Blocking code lets the world go on while it sleeps.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tests.simulation.network import Network

_T = TypeVar("_T")
_NEARLY = 1e-9
_MOST_STEPS = 200_000
"""In a second of the world: nobody has so much to do that does not call itself for ever."""


class Process:
    """Whoever acts: a task, a driver, the world itself.

    Attributes:
        name: for the trace.
        host: the machine on which it runs; its clocks are the machine's.
        lost: seconds that its monotonic clock has stood still.
        wrong: seconds by which its clock of the day is ahead.
        running: whether it may act now.
        alive: whether it may ever act again.
    """

    __slots__ = ("alive", "host", "lost", "name", "running", "stood_still", "withheld", "wrong")

    def __init__(self, name: str, host: str = "", wrong: float = 0.0) -> None:
        self.name, self.host, self.wrong = name, host, wrong
        self.lost = 0.0
        self.running = self.alive = True
        self.stood_still: float | None = None
        """Since when its monotonic clock stands still."""
        self.withheld: list[asyncio.Handle] = []
        """What it would do now, and does when it runs again."""


class Stopped(BaseException):
    """Ends blocking code whose process was killed."""


class World(asyncio.AbstractEventLoop):
    """The scheduler, and the event loop of all processes.

    Attributes:
        now: seconds since the start of the world.
        current: the process that acts.
        complaints: what asyncio would have logged.
        stopped: somebody has seen enough.
        spins: who calls itself for ever, so that time stands still; None where nobody does.
    """

    def __init__(self) -> None:
        self.outside = Process("world")
        self.current = self.outside
        self.now = 0.0
        self.complaints: list[dict[str, Any]] = []
        self.network: Network
        self.stopped = False
        self.spins: Process | None = None
        self._ready: deque[tuple[Process, asyncio.Handle]] = deque()
        self._timers: list[tuple[float, int, Process, asyncio.Handle]] = []
        self._number = 0
        self._steps, self._counted_since = 0, 0.0
        self._running = False
        self._ending = False
        self._held: set[Process] = set()
        """Processes that do not run."""

    # What asyncio asks of an event loop.

    def time(self) -> float:
        process = self.current
        return (self.now if process.stood_still is None else process.stood_still) - process.lost

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append((self.current, handle))
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._push(self.current, handle, when + self.current.lost)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, work: Coroutine[Any, Any, _T], *, name: str | None = None, context: Any = None) -> Any:  # type: ignore[override]
        return asyncio.Task(work, loop=self, name=name, context=context)

    async def create_connection(self, factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:  # type: ignore[override]
        return await self.network.connect(factory, host, port)

    async def create_server(self, factory: Any, *_: Any, **__: Any) -> Any:  # type: ignore[override]
        return self.network.listen(factory, self.current)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._ending:
            self.complaints.append(context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Leave it in the heap: it is passed over when it is due."""

    def boot_time(self) -> float:
        """A clock that goes on while the machine is suspended."""
        return self.now

    # Processes.

    @contextmanager
    def acting(self, process: Process) -> Iterator[None]:
        """Do something as a process: what is asked for meanwhile is its own."""
        before, self.current = self.current, process
        try:
            yield
        finally:
            self.current = before

    def soon(self, process: Process, callback: Callable[..., object], *args: Any) -> None:
        """Have a process do something now."""
        self._ready.append((process, asyncio.Handle(callback, args, self)))

    def after(self, delay: float, process: Process, callback: Callable[..., object], *args: Any) -> None:
        """Have a process do something after seconds of the world, or as soon as it runs again."""
        self._push(process, asyncio.Handle(callback, args, self), self.now + delay)

    def start(self, process: Process, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Start a coroutine in a process."""
        with self.acting(process):
            task: asyncio.Task[_T] = self.create_task(work)
        return task

    async def ask(self, process: Process, work: Coroutine[Any, Any, _T]) -> _T:
        """Wait, outside of all processes, for what one of them does."""
        done: asyncio.Future[None] = self.create_future()
        task = self.start(process, work)
        task.add_done_callback(lambda _: self.soon(self.outside, done.set_result, None))
        await done
        return task.result()

    def pause(self, process: Process, *, stands_still: bool = False) -> None:
        """Let a process do nothing until it is told to go on."""
        process.running = False
        self._held.add(process)
        if stands_still and process.stood_still is None:
            process.stood_still = self.now

    def resume(self, process: Process) -> None:
        """Let it go on: what was due meanwhile happens now, at once."""
        if process.stood_still is not None:
            process.lost += self.now - process.stood_still
            process.stood_still = None
        process.running = True
        self._held.discard(process)
        withheld, process.withheld = process.withheld, []
        for handle in withheld:
            if isinstance(handle, asyncio.TimerHandle):
                self._push(process, handle, handle.when() + process.lost)
            else:
                self._ready.append((process, handle))

    def kill(self, process: Process) -> None:
        """Let a process never act again."""
        process.running = process.alive = False
        self._held.add(process)

    # Time.

    def run(self, work: Coroutine[Any, Any, _T], until: float) -> _T | None:
        """Run until work has ended; None if it has not by a time."""
        asyncio._set_running_loop(self)
        self._running = True
        try:
            main = self.start(self.outside, work)
            while not main.done() and self.now < until and not self.stopped:
                self._step()
            return main.result() if main.done() else None
        finally:
            self._end()
            self._running = False
            asyncio._set_running_loop(None)

    def _step(self) -> None:
        if not self._ready:
            self._wait()
        process, handle = self._ready.popleft()
        if handle._cancelled:  # type: ignore[attr-defined]
            return
        if not process.running and not self._ending:
            process.withheld.append(handle)
            return
        self.current = process
        handle._run()
        self.current = self.outside
        self._count(process)

    def _count(self, process: Process) -> None:
        """See that time goes on."""
        self._steps += 1
        if self.now >= self._counted_since + 1.0:
            self._steps, self._counted_since = 0, self.now
        elif self._steps > _MOST_STEPS and self.spins is None:
            self.spins, self.stopped = process, True

    def _wait(self) -> None:
        """Let time pass until something is due."""
        while not self._ready:
            due, _, process, handle = heapq.heappop(self._timers)
            if handle._cancelled:  # type: ignore[attr-defined]
                continue
            self.now = max(self.now, due)
            if isinstance(handle, asyncio.TimerHandle) and not self._ending:
                if process.stood_still is not None:
                    process.withheld.append(handle)
                    continue
                if handle.when() + process.lost > self.now + _NEARLY:  # its clock stood still meanwhile
                    self._push(process, handle, handle.when() + process.lost)
                    continue
            self._ready.append((process, handle))

    def _push(self, process: Process, handle: asyncio.Handle, due: float) -> None:
        self._number += 1
        heapq.heappush(self._timers, (due, self._number, process, handle))

    def _end(self) -> None:
        """Leave no task and no thread behind."""
        self._ending = self.network.over = True
        for process in self._held:
            self._ready.extend((process, handle) for handle in process.withheld)
        for _ in range(100):
            left = asyncio.all_tasks(self)
            if not left:
                break
            for task in left:
                task.cancel()
            for _ in range(10_000):
                if not self._ready:
                    break
                self._step()
        self._ready.clear()
        self._timers.clear()

    # Blocking code.

    def block(self, process: Process, work: Callable[[], None]) -> None:
        """Run blocking code in a process, as a thread of it would: time passes for all while it sleeps."""
        self.soon(process, self._block, work)

    def sleep(self, seconds: float) -> None:
        """Let time pass, in blocking code."""
        process, woken = self.current, []
        self.call_at(self.time() + max(seconds, 0.0), woken.append, True)
        while not woken:
            if not process.alive or self.stopped:
                raise Stopped
            self._step()
        self.current = process

    def _block(self, work: Callable[[], None]) -> None:
        with suppress(Stopped):  # its process was killed meanwhile
            work()
