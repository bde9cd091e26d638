"""Keys that end while calls go on: refreshed in time and beside them, or found from scratch when they have ended."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials

from delivery.http.credentials import RefreshingKeys, SigningKeys, freeze
from delivery.responses import SourceSilentError

NOW = datetime(2024, 1, 1, tzinfo=UTC)


class Source:
    """Gives keys that last an hour, new ones each time, but not before it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.asked = 0
        self.now = NOW
        self.broken = False

    def refresh(self) -> dict[str, str]:
        self.asked += 1
        self.let.wait()
        if self.broken:
            raise OSError("nobody is there")
        return self._metadata(self.asked)

    def credentials(self) -> RefreshableCredentials:
        """Give keys number 0."""
        return RefreshableCredentials(
            "AKID0", "secret-0", "token-0", self.now + timedelta(hours=1), self.refresh, "test", lambda: self.now
        )

    def _metadata(self, number: int) -> dict[str, str]:
        expiry_time = (self.now + timedelta(hours=1)).isoformat()
        keys = {"access_key": f"AKID{number}", "secret_key": f"secret-{number}", "token": f"token-{number}"}
        return keys | {"expiry_time": expiry_time}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def nothing_else() -> Credentials:
    raise AssertionError("nobody asked for other credentials")


async def until(done: Callable[[], bool]) -> None:
    while not done():
        await asyncio.sleep(0.001)  # a thread is at work


def test_keys_are_refreshed_before_their_end_while_the_old_ones_go_on_being_used() -> None:
    async def live() -> None:
        source, clock = Source(), Clock()
        ring = RefreshingKeys(source.credentials(), nothing_else, clock)
        source.now += timedelta(minutes=46)  # 14 are left: botocore refreshes from 15 on
        assert ring.keys() == SigningKeys("AKID0", "secret-0", "token-0")
        assert source.asked == 0, "too early for a look"
        clock.now = 10.0
        for _ in range(3):
            assert ring.keys() == SigningKeys("AKID0", "secret-0", "token-0")
        await until(lambda: source.asked == 1)
        clock.now = 20.0
        assert ring.keys() == SigningKeys("AKID0", "secret-0", "token-0"), "the source is not in a hurry"
        source.let.set()
        await until(lambda: ring.keys() == SigningKeys("AKID1", "secret-1", "token-1"))
        assert source.asked == 1

    asyncio.run(live())


def test_keys_that_last_are_looked_at_and_not_refreshed() -> None:
    looks: list[int] = []

    class Watched(RefreshableCredentials):
        def get_frozen_credentials(self) -> ReadOnlyCredentials:
            looks.append(1)
            return super().get_frozen_credentials()

    async def live() -> None:
        source, clock = Source(), Clock()
        credentials = source.credentials()
        credentials.__class__ = Watched
        ring = RefreshingKeys(credentials, nothing_else, clock)
        first = ring.keys()
        while len(looks) < 5:
            clock.now += 10.0
            assert ring.keys() is first
            await asyncio.sleep(0.001)  # a thread is at work
        assert source.asked == 0

    asyncio.run(live())


def test_a_source_that_fails_leaves_the_keys_as_they_were_and_is_asked_again() -> None:
    async def live() -> None:
        source, clock = Source(), Clock()
        source.broken = True
        source.let.set()
        ring = RefreshingKeys(source.credentials(), nothing_else, clock)
        source.now += timedelta(minutes=55)
        while source.asked < 3:
            clock.now += 10.0
            assert ring.keys() == SigningKeys("AKID0", "secret-0", "token-0")
            await asyncio.sleep(0.001)  # a thread is at work
        source.broken = False
        while ring.keys() == SigningKeys("AKID0", "secret-0", "token-0"):
            clock.now += 10.0
            await asyncio.sleep(0.001)

    asyncio.run(live())


# From scratch.


def test_those_who_ask_at_once_have_one_search() -> None:
    let, searches = threading.Event(), []

    def find() -> Credentials:
        searches.append(1)
        let.wait()
        return Credentials("AKIDNEW", "new")

    async def live() -> None:
        ring = RefreshingKeys(Credentials("AKIDOLD", "old"), find, Clock())
        renewals = [asyncio.create_task(ring.renew()) for _ in range(5)]
        await until(lambda: len(searches) == 1)
        assert ring.keys() == SigningKeys("AKIDOLD", "old")
        let.set()
        assert await asyncio.gather(*renewals) == [True] * 5
        assert ring.keys() == SigningKeys("AKIDNEW", "new")
        assert await ring.renew() is False
        assert len(searches) == 2

    asyncio.run(live())


def test_a_look_that_ends_after_a_search_changes_nothing() -> None:
    async def live() -> None:
        source, clock = Source(), Clock()
        ring = RefreshingKeys(source.credentials(), lambda: Credentials("AKIDNEW", "new"), clock)
        source.now += timedelta(minutes=55)
        clock.now = 10.0
        ring.keys()
        await until(lambda: source.asked == 1)
        assert await ring.renew()
        source.let.set()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert len(others) == 1
        await asyncio.wait(others)
        assert ring.keys() == SigningKeys("AKIDNEW", "new")

    asyncio.run(live())


def test_one_who_waits_no_longer_ends_the_search_of_nobody_else() -> None:
    let = threading.Event()

    def find() -> Credentials:
        let.wait()
        return Credentials("AKIDNEW", "new")

    async def live() -> None:
        ring = RefreshingKeys(Credentials("AKIDOLD", "old"), find, Clock())
        first, second = asyncio.create_task(ring.renew()), asyncio.create_task(ring.renew())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        let.set()
        assert first.cancelled()
        assert await second

    asyncio.run(live())


def test_a_search_that_fails_says_that_the_source_is_silent_and_leaves_the_keys_in_use() -> None:
    def find() -> Credentials:
        raise OSError("nobody is there")

    async def live() -> None:
        ring = RefreshingKeys(Credentials("AKIDOLD", "old"), find, Clock())
        with pytest.raises(SourceSilentError, match="OSError"):
            await ring.renew()
        assert ring.keys() == SigningKeys("AKIDOLD", "old")

    asyncio.run(live())


def test_a_search_that_hangs_holds_nobody_up_who_closes() -> None:
    let = threading.Event()

    def find() -> Credentials:
        let.wait()
        return Credentials("AKIDNEW", "new")

    async def live() -> None:
        ring = RefreshingKeys(Credentials("AKIDOLD", "old"), find, Clock())
        renewal = asyncio.create_task(ring.renew())
        await asyncio.sleep(0)
        ring.close()
        await asyncio.wait([renewal])
        assert renewal.cancelled()

    asyncio.run(live())
    let.set()


# Keys themselves.


def test_keys_are_those_of_botocore() -> None:
    assert freeze(Credentials("AKID", "secret", "token")) == SigningKeys("AKID", "secret", "token")


@pytest.mark.parametrize("bad", ["token\n", "tok\r\nX-Injected: 1", "to ken", "tökén", "\0"])
def test_what_no_header_may_hold_is_refused_unseen(bad: str) -> None:
    for made in (lambda: SigningKeys(bad, "s"), lambda: SigningKeys("AKID", "s", bad)):
        with pytest.raises(ValueError, match="has a forbidden character") as raised:
            made()
        assert bad not in str(raised.value)


def test_keys_show_nothing_of_themselves() -> None:
    assert repr(SigningKeys("AKID", "secret", "token")) == "SigningKeys()"
