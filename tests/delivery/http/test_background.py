"""Names that are looked up: once at a time, and nobody waits for one that hangs."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from delivery.http.background import LookupLoop

SOON = 60.0


class NameServer:
    """Answers when it is told to.

    Attributes:
        asked: how often it was asked.
        answers: whether it does.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.answers = threading.Event()

    def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        self.answers.wait()
        if host == "none.example":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server, before = NameServer(), set(threading.enumerate())
    monkeypatch.setattr(socket, "getaddrinfo", server.getaddrinfo)
    yield server
    server.answers.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(SOON)
        assert not thread.is_alive()


async def ask(name: str) -> list[Any]:
    return await asyncio.get_running_loop().getaddrinfo(name, 80, type=socket.SOCK_STREAM)


def test_who_asks_for_the_same_name_meanwhile_waits_for_the_same_answer(names: NameServer) -> None:
    async def scenario() -> None:
        asking = [asyncio.create_task(ask("a.example")) for _ in range(50)]
        await asyncio.sleep(0.0)
        names.answers.set()
        assert {answers[0][4] for answers in await asyncio.gather(*asking)} == {("127.0.0.1", 80)}
        assert names.asked == 1
        await ask("a.example")
        assert names.asked == 2, "an address may change"

    with asyncio.Runner(loop_factory=LookupLoop) as runner:
        runner.run(scenario())


def test_a_name_that_is_none_is_told(names: NameServer) -> None:
    names.answers.set()
    with asyncio.Runner(loop_factory=LookupLoop) as runner, pytest.raises(socket.gaierror):
        runner.run(ask("none.example"))


def test_names_that_hang_hold_up_neither_another_nor_the_end(
    names: NameServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        for number in range(40):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await ask(f"{number}.example")
        assert names.asked == 40

    with asyncio.Runner(loop_factory=LookupLoop) as runner:
        runner.run(scenario())
    assert not names.answers.is_set(), "the loop was closed while they hang"
    names.answers.set()
    assert caplog.records == []
