"""Tasks and their driver over real sockets: many at once, broken lines, strangers, and a clean end."""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import socket
import threading
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from delivery.call_statistics import CallStatistics
from delivery.control import server as server_module
from delivery.control import task_connection
from delivery.control.dispatcher import Dispatcher
from delivery.control.server import ControlServer, serving_tasks
from delivery.control.task_connection import DriverNotReachedError, TaskAttempt, TaskConnection
from delivery.control.task_session import TaskSession
from delivery.control.wire import DriverAddress, Message, message_macs, nonce
from delivery.model import OutcomeRow, Response
from delivery.rate.aimd import AimdRateController
from delivery.rate.rate_lease import RateLease
from tests.delivery.control.questions import question
from tests.delivery.relay import Relay, relaying

LIMIT = 100.0
SOON = 30.0
"""Seconds that a test waits for what must happen, before it fails."""
NEVER = 1e6
"""Seconds."""


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Have what comes again and again come ten times as often; nobody is given up soon, on a busy machine neither."""
    patience = {"_BEAT": 0.02, "_SILENT": 0.4, "_AGAIN": 0.02, "_NEVER": SOON, "_LOST": SOON, "_GOODBYE": SOON}
    for name, seconds in patience.items():
        monkeypatch.setattr(task_connection, name, seconds)
    monkeypatch.setattr(server_module, "_SILENT", 0.4)
    return monkeypatch


@dataclass
class Sender:
    """Makes no calls; it is there to be told of."""

    calls: CallStatistics = field(default_factory=CallStatistics)
    ending: Response | None = None
    unreachable: Response | None = None
    refusal: Response | None = None
    ready: bool = False
    failing: tuple[int, int] = (0, 0)
    has_others: bool = False
    in_flight: int = 0
    starved: bool = True
    exhausted: bool = False
    on_news: Callable[[], None] = lambda: None

    def pump(self) -> None:
        pass


class EagerSession(TaskSession):
    """Wants as much as there is, and keeps what it asks and hears.

    Attributes:
        asked: the number of the last question.
        answered: the number of the last question that was answered.
        answers: all that the driver said.
    """

    def __init__(self, rate_lease: RateLease, sender: Sender, clock: Callable[[], float]) -> None:
        super().__init__(rate_lease, sender, clock)  # type: ignore[arg-type]
        self.asked = self.answered = 0
        self.answers: list[Message] = []

    def make_question(self) -> Message:
        question = super().make_question()
        self.asked = question["number"]
        return {**question, "wants": None}

    def apply_answer(self, answer: Message) -> None:
        self.answered = answer.get("to", self.answered)
        self.answers.append(answer)
        super().apply_answer(answer)


class Task:
    """A task's end of the channel."""

    def __init__(self, address: DriverAddress, name: str, part: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.rate_lease = RateLease(loop.time)
        self.sender = Sender()
        self.task_session = EagerSession(self.rate_lease, self.sender, loop.time)
        self.line = TaskConnection(address, TaskAttempt(name, part), self.task_session, loop.time)
        self.reported = 0
        self.holding = loop.create_task(self.line.hold())

    def report(self, count: int) -> None:
        for number in range(self.reported, self.reported + count):
            events = [f"{self.name}-{number}"]
            self.task_session.report({"requestId": f"{number:064x}", "status": "delivered", "eventIds": events})
        self.reported += count

    @property
    def expected(self) -> Counter[str]:
        return Counter(f"{self.name}-{number}" for number in range(self.reported))

    @property
    def is_answered(self) -> bool:
        """Whether the driver has said anything."""
        return bool(self.task_session.answers)

    @property
    def told(self) -> bool:
        """Whether the driver has said to have everything."""
        return not list(self.task_session.unacknowledged())

    async def go(self) -> None:
        self.line.leave(complete=True)
        await self.holding


@asynccontextmanager
async def tasks(address: DriverAddress, *parts: int) -> AsyncIterator[list[Task]]:
    """Have a task at each part, for as long as the context lasts."""
    made = [Task(address, f"task-{number}", part) for number, part in enumerate(parts)]
    try:
        yield made
    finally:
        for task in made:
            task.holding.cancel()
        await asyncio.gather(*(task.holding for task in made), return_exceptions=True)


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(SOON):
        while not holds():
            await asyncio.sleep(0.005)


@contextmanager
def driving() -> Iterator[tuple[ControlServer, Dispatcher, DriverAddress]]:
    dispatcher = Dispatcher(AimdRateController(LIMIT))
    with serving_tasks(dispatcher, "127.0.0.1", "127.0.0.1", 0) as (server, address):
        yield server, dispatcher, address


def events(rows: list[OutcomeRow]) -> Counter[str]:
    return Counter(event for row in rows for event in row["eventIds"])


def run(scenario: Callable[..., Any]) -> None:
    """Run a scenario with a driver of its own."""
    with driving() as driver:
        asyncio.run(scenario(*driver))


# Many at once.


def test_many_tasks_tell_everything_once_and_leave() -> None:
    async def scenario(server: ControlServer, dispatcher: Dispatcher, address: DriverAddress) -> None:
        async with tasks(address, *range(40)) as many:
            for task in many:
                task.report(100)
            await asyncio.gather(*(task.go() for task in many))
            assert server.call(dispatcher.progress).tasks == 0
            assert events(server.call(dispatcher.take)) == sum((task.expected for task in many), Counter())

    run(scenario)


def test_tasks_share_the_limit() -> None:
    async def scenario(_server: ControlServer, _dispatcher: Dispatcher, address: DriverAddress) -> None:
        async with tasks(address, *range(4)) as some:
            await until(lambda: [task.rate_lease.rate for task in some] == [48.0, 24.0, 16.0, 12.0])

    run(scenario)


def test_what_a_task_gives_back_another_is_told_of_at_once(hasty: pytest.MonkeyPatch) -> None:
    """Long before it asks again."""

    async def scenario(_server: ControlServer, _dispatcher: Dispatcher, address: DriverAddress) -> None:
        async with tasks(address, 1, 2) as (first, second):
            await until(lambda: (first.rate_lease.rate, second.rate_lease.rate) == (66.0, 34.0))
            await ask_no_more(hasty, first, second)
            await first.go()
            await until(lambda: second.rate_lease.rate == LIMIT)

    run(scenario)


def test_the_end_reaches_all_at_once(hasty: pytest.MonkeyPatch) -> None:
    """Also who waits for a part; long before it asks again."""

    async def scenario(server: ControlServer, _dispatcher: Dispatcher, address: DriverAddress) -> None:
        async with tasks(address, 1, 2, 2, 3, 3) as some:
            await until(lambda: all(task.is_answered for task in some))
            await ask_no_more(hasty, *some)
            server.stop()
            await until(lambda: all(task.rate_lease.stopped for task in some))

    run(scenario)


def test_an_end_that_one_task_asks_for_reaches_all_at_once(hasty: pytest.MonkeyPatch) -> None:
    async def scenario(_server: ControlServer, dispatcher: Dispatcher, address: DriverAddress) -> None:
        async with tasks(address, 1, 2, 3) as some:
            await until(lambda: all(task.is_answered for task in some))
            await ask_no_more(hasty, *some)
            some[0].sender.ending = Response(403, "AccessDeniedException")
            some[0].line.ask()
            await until(lambda: all(task.rate_lease.stopped for task in some))
            assert dispatcher.ending == Response(403, "AccessDeniedException")

    run(scenario)


async def ask_no_more(patch: pytest.MonkeyPatch, *some: Task) -> None:
    """Have the next question come in a long while; all that were asked are answered."""
    patch.setattr(task_connection, "_BEAT", NEVER)
    for module in (task_connection, server_module):
        patch.setattr(module, "_SILENT", NEVER)
    for task in some:
        task.line.ask()
    await until(lambda: all(task.task_session.answered == task.task_session.asked for task in some))


# Lines that break.


def test_a_line_that_is_cut_comes_again_and_everything_is_told_once() -> None:
    async def scenario(server: ControlServer, dispatcher: Dispatcher, address: DriverAddress) -> None:
        async with relaying(address) as relay, tasks(relay.address, 0, 1, 2) as some:
            for _ in range(15):
                for task in some:
                    task.report(20)
                    task.line.ask()
                await asyncio.sleep(0.01)
                relay.cut()
                await asyncio.sleep(0.03)
            await asyncio.gather(*(task.go() for task in some))
            assert all(task.told for task in some)
            assert events(server.call(dispatcher.take)) == sum((task.expected for task in some), Counter())
            assert relay.connections > len(some)

    run(scenario)


def test_a_line_that_is_frozen_is_given_up_by_both_ends_and_made_anew(hasty: pytest.MonkeyPatch) -> None:
    async def scenario(server: ControlServer, dispatcher: Dispatcher, address: DriverAddress) -> None:
        async with relaying(address) as relay, tasks(relay.address, 0) as (task,):
            await until(lambda: task.rate_lease.rate == LIMIT)
            lost = record_calls(hasty, dispatcher, "lose")
            relay.freeze()
            await until(lambda: lost == [("task-0",)])
            await until(lambda: relay.connections > 1)
            task.report(10)
            relay.thaw()
            await task.go()
            assert events(server.call(dispatcher.take)) == task.expected

    run(scenario)


def test_a_task_that_the_driver_hangs_up_on_makes_no_call_until_it_is_heard_again(hasty: pytest.MonkeyPatch) -> None:
    """It had been silent for so long that its lease has ended, whatever its own clock says: its machine stood still."""
    hasty.setattr("delivery.rate.rate_lease.LEASE_SECONDS", NEVER)
    for pause in ("_BEAT", "_AGAIN", "_LOST", "_SILENT"):  # it asks once, and never notices its own silence
        hasty.setattr(task_connection, pause, NEVER)

    async def scenario(_server: ControlServer, _dispatcher: Dispatcher, address: DriverAddress) -> None:
        async with tasks(address, 0) as (task,):
            await until(lambda: task.is_answered and not task.rate_lease.is_owned)
            assert [(answer["owns"], answer["rate"]) for answer in task.task_session.answers] == [(True, LIMIT)]
            assert (task.rate_lease.rate, task.rate_lease.stopped) == (0.0, False)

    run(scenario)


def test_a_message_that_was_tampered_with_breaks_the_line_and_changes_nothing() -> None:
    async def scenario(server: ControlServer, dispatcher: Dispatcher, address: DriverAddress) -> None:
        async with relaying(address) as relay, tasks(relay.address, 0) as (task,):
            await until(lambda: task.is_answered)
            task.report(10)
            relay.tamper(lambda data: data.replace(b'"gone":false', b'"gone":true '))
            await until(lambda: relay.connections == 2)
            await until(lambda: task.told)
            assert server.call(dispatcher.progress).tasks == 1
            await task.go()
            assert events(server.call(dispatcher.take)) == task.expected

    run(scenario)


def test_of_two_lines_of_one_task_the_later_counts() -> None:
    """The earlier one, which the network held up, brings old news."""

    async def scenario(server: ControlServer, dispatcher: Dispatcher, address: DriverAddress) -> None:
        async with Spoken(address, "a") as old, Spoken(address, "a") as new:
            await new.say(number=2, ended=[outcome(0)], **{"from": 0})
            assert (await new.hear())["got"] == 1
            await old.say(number=1, gone=True)
            assert await old.is_hung_up()
            await new.say(number=3)
            assert (await new.hear())["owns"]
            assert server.call(dispatcher.progress).tasks == 1

    run(scenario)


def test_a_driver_that_was_never_reached_is_told_from_one_that_was(hasty: pytest.MonkeyPatch) -> None:
    hasty.setattr(task_connection, "_NEVER", 0.6)

    async def scenario(_server: ControlServer, _dispatcher: Dispatcher, address: DriverAddress) -> None:
        async with relaying(address) as relay:
            relay.freeze()
            addresses = [
                replace(address, port=unused_port()),
                relay.address,
                replace(address, secret="another"),
            ]
            for other in addresses:
                with pytest.raises(DriverNotReachedError, match=f"{other.host}:{other.port}"):
                    await Task(other, "a").holding

    run(scenario)


def test_a_driver_that_is_silent_for_long_is_given_up(hasty: pytest.MonkeyPatch) -> None:
    hasty.setattr(task_connection, "_LOST", 0.8)
    hasty.setattr(task_connection, "_GOODBYE", 0.6)

    async def scenario(_server: ControlServer, _dispatcher: Dispatcher, address: DriverAddress) -> None:
        async with relaying(address) as relay, tasks(relay.address, 0) as (task,):
            await until(lambda: task.is_answered)
            task.report(3)
            relay.freeze()
            await until(lambda: task.rate_lease.stopped)
            await task.go()
            assert len(list(task.task_session.unacknowledged())) == 3

    run(scenario)


def test_a_driver_that_is_dead_is_given_up_at_once(hasty: pytest.MonkeyPatch) -> None:
    hasty.setattr(task_connection, "_LOST", NEVER)
    hasty.setattr(task_connection, "_GOODBYE", 0.6)

    async def scenario() -> None:
        with driving() as (_server, _dispatcher, address):
            task = Task(address, "a")
            await until(lambda: task.is_answered)
            await asyncio.to_thread(lambda: None)
        task.report(3)
        await until(lambda: task.rate_lease.stopped)
        await task.go()
        assert len(list(task.task_session.unacknowledged())) == 3

    asyncio.run(scenario())


def test_what_takes_long_to_come_is_no_silence() -> None:
    """A task that takes a part up is told of a million requests; meanwhile others go on."""

    async def scenario(server: ControlServer, dispatcher: Dispatcher, address: DriverAddress) -> None:
        tell_of(dispatcher, 0, 1_000_000)
        async with tasks(address, 0, 1) as (successor, other):
            await until(lambda: successor.rate_lease.done.has(f"{999_999:016x}"))
            await until(lambda: successor.rate_lease.is_owned and other.rate_lease.is_owned)
            assert not successor.rate_lease.done.has(f"{1_000_000:016x}")

    run(scenario)


def test_a_line_that_comes_again_brings_nothing_that_is_known(hasty: pytest.MonkeyPatch) -> None:
    """However much has ended: told by others before, or by the task itself."""
    for silence in ("_SILENT", "_LOST", "_GOODBYE"):  # a busy machine is no broken line
        hasty.setattr(task_connection, silence, SOON)
    hasty.setattr(server_module, "_SILENT", SOON)

    async def scenario(server: ControlServer, dispatcher: Dispatcher, address: DriverAddress) -> None:
        tell_of(dispatcher, 0, 200_000)
        async with relaying(address) as relay, tasks(relay.address, 0) as (task,):
            await until(lambda: task.rate_lease.rate == LIMIT)
            task.report(5_000)
            await until(lambda: task.told)
            for _ in range(3):
                relay.cut()
                before = relay.connections
                await until(lambda before=before: relay.connections > before and task.rate_lease.is_owned)
                await until(lambda: task.rate_lease.rate == LIMIT)
            assert len(relay.to_task[0]) > 2_000_000
            assert all(len(said) < 20_000 for said in relay.to_task[1:])
            await task.go()
            assert events(server.call(dispatcher.take)) == task.expected

    run(scenario)


def tell_of(dispatcher: Dispatcher, part: int, count: int) -> None:
    """Have so many of a part's requests ended before, with durable receipts."""
    dispatcher.add_attempt("before", part)
    for number in range(count):
        dispatcher.accept("before", number, {"requestId": f"{number:016x}", "status": "delivered", "eventIds": []})
    dispatcher.take()
    dispatcher.confirm_durable()


def record_calls(patch: pytest.MonkeyPatch, of: object, method: str) -> list[tuple[Any, ...]]:
    """Record the arguments of each call of a method."""
    calls: list[tuple[Any, ...]] = []
    original = getattr(of, method)

    def record(*arguments: Any) -> Any:
        result = original(*arguments)
        calls.append(arguments)
        return result

    patch.setattr(of, method, record)
    return calls


# Strangers.


class Spoken:
    """A connection on which a test says what it likes."""

    def __init__(self, address: DriverAddress, name: str, part: int = 0) -> None:
        self._address = address
        self._hello = {"attempt": name, "part": part}

    async def __aenter__(self) -> Spoken:
        self.reader, self.writer = await asyncio.open_connection(self._address.host, self._address.port)
        mine, theirs = nonce(), await self.reader.readline()
        self._to_driver, self._to_task = message_macs(self._address.secret, theirs, mine)
        self.writer.write(mine + self._to_driver.sign(self._hello))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def say(self, **said: Any) -> None:
        told = question(**{"idle": True, "ready": False, "others": False, **said})
        self.writer.write(self._to_driver.sign(told))
        await self.writer.drain()

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(SOON):
            return self._to_task.verify(await self.reader.readline())

    async def is_hung_up(self) -> bool:
        return await hangs_up(self.reader)


async def hangs_up(reader: asyncio.StreamReader) -> bool:
    """Whether nothing more comes, within the time that a test waits, but the end."""
    async with asyncio.timeout(SOON):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


def outcome(number: int) -> OutcomeRow:
    return {"requestId": f"{number:064x}", "status": "delivered", "eventIds": [f"e{number}"]}


def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


GARBAGE = {
    "nothing": b"",
    "a browser": b"GET / HTTP/1.1\r\nHost: driver\r\n\r\n",
    "a nonce and nothing": nonce(),
    "a nonce and an empty line": nonce() + b"\n",
    "a nonce and a seal of its own": nonce() + b"0" * 64 + b' {"attempt":"a","part":0}\n',
    "bytes": secrets.token_bytes(500) + b"\n",
    "a line without an end": b"x" * 10_000_000,
    "a nonce and a line without an end": nonce() + b"x" * 10_000_000,
}


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_stranger_learns_nothing_changes_nothing_and_disturbs_nobody(
    said: bytes, caplog: pytest.LogCaptureFixture, hasty: pytest.MonkeyPatch
) -> None:
    async def scenario(server: ControlServer, dispatcher: Dispatcher, address: DriverAddress) -> None:
        attempts = record_calls(hasty, dispatcher, "add_attempt")
        async with tasks(address, 0) as (task,):
            await until(lambda: task.rate_lease.rate == LIMIT)
            reader, writer = await asyncio.open_connection(address.host, address.port)
            assert len(await reader.readline()) == 33  # a nonce
            writer.write(said)
            assert await hangs_up(reader)
            writer.close()
            assert {name for name, _ in attempts} == {"task-0"}
            task.report(5)
            await task.go()
            assert events(server.call(dispatcher.take)) == task.expected
            assert address.secret not in caplog.text

    with caplog.at_level(logging.DEBUG):
        run(scenario)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("before", [b"", nonce()], ids=["at once", "after a nonce"])
def test_a_stranger_is_not_listened_to_at_length(before: bytes, hasty: pytest.MonkeyPatch) -> None:
    """Not for as long as it goes on talking: what it says would fill the memory."""
    hasty.setattr(server_module, "_SILENT", NEVER)

    async def scenario(_server: ControlServer, _dispatcher: Dispatcher, address: DriverAddress) -> None:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        await reader.readline()
        writer.write(before + b"x" * 100_000)
        assert await hangs_up(reader)
        writer.close()

    run(scenario)


def test_what_was_overheard_can_be_said_to_nobody_again(hasty: pytest.MonkeyPatch) -> None:
    """Neither to the driver, nor, in its name, to a task."""

    async def scenario(server: ControlServer, dispatcher: Dispatcher, address: DriverAddress) -> None:
        async with relaying(address) as relay:
            task = Task(relay.address, "a")
            task.report(5)
            await until(lambda: task.told)
            await task.go()
            overheard = relay
        dispatcher.take()
        dispatcher.confirm_durable()
        reader, writer = await asyncio.open_connection(address.host, address.port)
        await reader.readline()
        writer.write(bytes(overheard.to_driver[0]))
        assert await hangs_up(reader)
        writer.close()
        assert not server.call(dispatcher.has_rows)
        hasty.setattr(task_connection, "_NEVER", 0.6)
        await expect_no_driver(overheard)

    run(scenario)


async def expect_no_driver(overheard: Relay) -> None:
    """Play the driver's part with what it said before."""

    async def repeat(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(overheard.to_task[0]))
        writer.close()

    listener = await asyncio.start_server(repeat, "127.0.0.1", 0)
    async with listener:
        task = Task(replace(overheard.address, port=listener.sockets[0].getsockname()[1]), "a")
        with pytest.raises(DriverNotReachedError) as error:
            await task.holding
    assert not task.rate_lease.is_owned
    assert overheard.address.secret not in str(error.value)


def test_many_silent_strangers_keep_nobody_out() -> None:
    async def scenario(_server: ControlServer, _dispatcher: Dispatcher, address: DriverAddress) -> None:
        strangers = [await asyncio.open_connection(address.host, address.port) for _ in range(200)]
        async with tasks(address, 0) as (task,):
            await until(lambda: task.rate_lease.rate == LIMIT)
        for reader, writer in strangers:
            await reader.readline()
            assert await hangs_up(reader)
            writer.close()

    run(scenario)


def test_of_many_strangers_at_once_the_oldest_are_closed_and_tasks_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delivery.control.server._MOST_UNAUTHENTICATED", 20)
    monkeypatch.setattr("delivery.control.server._SILENT", 10 * SOON)

    async def scenario(_server: ControlServer, _dispatcher: Dispatcher, address: DriverAddress) -> None:
        strangers = []
        for _ in range(30):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            await reader.readline()
            strangers.append((reader, writer))
        for reader, _ in strangers[:10]:
            assert await hangs_up(reader)
        async with tasks(address, 0) as (task,):
            await until(lambda: task.rate_lease.rate == LIMIT)
        assert await hangs_up(strangers[10][0])
        assert not strangers[-1][0].at_eof()
        for _, writer in strangers:
            writer.close()

    run(scenario)


# The server's own end.


def test_a_mistake_of_ours_shows_and_disturbs_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(_server: ControlServer, _dispatcher: Dispatcher, address: DriverAddress) -> None:
        async with tasks(address, 0) as (task,), Spoken(address, "mistaken", 1) as mistaken:
            await mistaken.say(number="one", calls={"no such": 1})
            assert await mistaken.is_hung_up()
            await until(lambda: task.rate_lease.rate == LIMIT)

    run(scenario)
    assert "Unhandled exception in client_connected_cb" in caplog.text


def test_work_is_done_between_two_messages_and_its_exceptions_come_back() -> None:
    with driving() as (server, _dispatcher, _address):
        assert server.call(lambda: threading.current_thread().name) == "delivery-server"
        with pytest.raises(ZeroDivisionError):
            server.call(lambda: 1 // 0)


@pytest.mark.filterwarnings("error")
def test_a_server_that_is_closed_leaves_nothing_behind(
    caplog: pytest.LogCaptureFixture, hasty: pytest.MonkeyPatch
) -> None:
    """However its connections stand: asking, just made, silent, not reading."""
    gc.collect()  # what other tests have left is theirs
    before = set(threading.enumerate())

    async def scenario() -> None:
        with driving() as (_server, dispatcher, address):
            tell_of(dispatcher, 9, 1_000_000)
            questions = record_calls(hasty, dispatcher, "handle_message")
            deaf = await Spoken(address, "deaf", 9).__aenter__()
            deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
            for number in range(60):  # each is answered by a piece of a million requests
                await deaf.say(number=number)
            some = [Task(address, f"task-{number}", number) for number in range(5)]
            await until(lambda: all(task.is_answered for task in some))
            # Its answers are longer than any buffer of a socket: some wait in the server.
            await until(lambda: [name for name, _ in list(questions)].count("deaf") == 60)
            connections = [await asyncio.open_connection(address.host, address.port) for _ in range(5)]
        for reader, writer in connections:
            await reader.readline()
            assert await hangs_up(reader)
            writer.close()
        deaf.writer.transport.abort()
        for task in some:
            task.holding.cancel()
        await asyncio.gather(*(task.holding for task in some), return_exceptions=True)

    asyncio.run(scenario())
    assert set(threading.enumerate()) == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
    assert not caplog.records


def test_a_port_in_use_is_an_error_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with (
            pytest.raises(OSError, match="in use"),
            serving_tasks(Dispatcher(AimdRateController(LIMIT)), "127.0.0.1", "127.0.0.1", other.getsockname()[1]),
        ):
            pytest.fail("it serves")
    assert set(threading.enumerate()) == before


def test_a_port_can_be_chosen_and_every_delivery_has_a_secret_of_its_own() -> None:
    port = unused_port()
    with serving_tasks(Dispatcher(AimdRateController(LIMIT)), "driver", "127.0.0.1", port) as (server, address):
        assert (address.host, address.port, server.port) == ("driver", port, port)
    with driving() as (_, _, other):
        assert other.secret != address.secret
        assert len(other.secret) == 64
