"""The keys that calls are signed with, kept fresh beside the calls: none of them waits for new keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from botocore.credentials import Credentials

from delivery.http.faults import SourceSilentError
from delivery.http.flight import Flight
from delivery.http.keys import Keys, freeze

_LOOK_AGAIN: Final = 10.0
"""Seconds. botocore refreshes keys from 15 minutes before their end on."""


class KeyRing:
    """Holds the keys to sign with. Lives in one event loop, but may be built anywhere.

    Args:
        credentials: botocore's: asked from time to time, they refresh themselves.
        find: finds credentials from scratch; blocks.
        clock: seconds, monotonic.

    Raises:
        Exception: whatever the source of the credentials raises.
    """

    def __init__(self, credentials: Credentials, find: Callable[[], Credentials], clock: Callable[[], float]) -> None:
        self._credentials = credentials
        self._keys = freeze(credentials)
        self._clock = clock
        self._look_at = clock() + _LOOK_AGAIN
        self._look = Flight(lambda: _frozen(self._credentials))
        self._search = Flight(lambda: _frozen(find()))
        self._looking: asyncio.Task[None] | None = None

    def keys(self) -> Keys:
        """Return the keys to sign a call with now; from time to time, have a look for fresher ones begin."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + _LOOK_AGAIN
            self._looking = asyncio.get_running_loop().create_task(self._refresh())
        return self._keys

    async def renew(self) -> bool:
        """Find credentials from scratch; say whether they are others than those in use.

        Raises:
            SourceSilentError: their source gave none, whatever it is by now: it has given some before.
        """
        before = self._keys
        try:
            self._take(*await self._search.result())
        except Exception as error:
            raise SourceSilentError(type(error).__name__) from None
        return self._keys != before

    def close(self) -> None:
        """Wait no longer for a source of credentials."""
        self._look.cancel()
        self._search.cancel()

    async def _refresh(self) -> None:
        with suppress(Exception):  # botocore logs it, and the keys at hand may be good for minutes yet
            credentials, keys = await self._look.result()
            if credentials is self._credentials:  # else they have been renewed meanwhile
                self._take(credentials, keys)

    def _take(self, credentials: Credentials, keys: Keys) -> None:
        self._credentials = credentials
        if keys != self._keys:
            self._keys = keys


def _frozen(credentials: Credentials) -> tuple[Credentials, Keys]:
    return credentials, freeze(credentials)
