"""Requests from the thread that reads them to the event loop that sends them, a few at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from delivery.model import Request

_FULL: Final = 400
_LOW: Final = 200
_PATIENCE: Final = 0.5
"""Seconds after which a waiting reader checks again whether the sender still takes requests."""


class RequestBuffer:
    """A queue with room for some hundred requests, so that a partition is never in memory as a whole.

    Args:
        wake: called in the reader's thread when the loop must look again.

    Attributes:
        closed: no more requests come.
        failed: no more come because the rest could not be read.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: deque[Request] = deque()
        self._room = threading.Condition()
        self._cut = False
        self.closed = False
        self.failed = False

    def put(self, requests: Iterable[Request]) -> bool:
        """Add requests as soon as there is room; False if the sender takes no more."""
        with self._room:
            while len(self._waiting) >= _FULL and not self._cut:
                self._room.wait(_PATIENCE)
        if not self._cut:
            self._waiting.extend(requests)
            self._wake()
        return not self._cut

    def close(self) -> None:
        """Say that no more requests come."""
        self.closed = True
        self._wake()

    def fail(self) -> None:
        """Say that the rest cannot be read: no further request may begin."""
        self.failed = True
        self.close()

    def take(self) -> Request | None:
        """Take the next request; None if there is none now, or if no more come."""
        if not self._waiting:
            return None
        request = self._waiting.popleft()
        if len(self._waiting) == _LOW:
            self._notify()
        return request

    @property
    def ready(self) -> bool:
        """Whether there is a request to take now."""
        return bool(self._waiting)

    @property
    def empty(self) -> bool:
        """Whether there is no request to take, and no more come."""
        return self.closed and not self._waiting

    def cut(self) -> None:
        """Say that the sender takes no more requests."""
        self._cut = True
        self._notify()

    def _notify(self) -> None:
        with self._room:
            self._room.notify_all()
