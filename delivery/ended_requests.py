"""Which requests have ended: 8 bytes each, told piece by piece by the driver, looked up by the tasks."""

from __future__ import annotations

import hashlib
from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

_PIECE: Final = 16_384
"""Keys that are told at once: 175 KB."""
_LONGEST_RUN: Final = 16 * _PIECE
"""Keys that are sorted at once, in some hundredths of a second: the event loop waits for it."""


class EndedRequestLog:
    """Which requests of a part have ended, in the order in which they did, in 8 bytes each: the list only grows.

    Where a part of a split request has ended, so are the wholes that it belongs to noted as begun, each by a key of its
    own.

    Attributes:
        keys: of all that have ended, in this order.
    """

    def __init__(self) -> None:
        self.keys = array("Q")

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, requestId: str) -> None:
        """Note one."""
        self.keys.append(request_key(requestId))
        self.keys.extend(map(_begun, _above(requestId)))

    def piece(self, start: int) -> tuple[str, int]:
        """Write some for a message, from a place in the list on; both ends' machines are of one byte order.

        Returns:
            What to write, and the place where the next piece starts.
        """
        keys = self.keys[start : start + _PIECE]
        return b64encode(keys.tobytes()).decode(), start + len(keys)


def request_key(requestId: str) -> int:
    """64 bits that stand for a request or a part of one: an id is a SHA-256 in hexadecimal, a part's has its path too.

    Examples:
        >>> request_key("00000000000000ff" + "e" * 48)
        255
    """
    return _hash(requestId) if "." in requestId else int(requestId[:16], 16)


class EndedRequestSet:
    """What a task is not to send: requests that have ended. It grows piece by piece, and takes 8 bytes a request.

    Args:
        requestIds: of those that have ended so far.

    Examples:
        >>> done = EndedRequestSet(["00000000000000ff" + "e" * 48, "1" * 64 + ".2"])
        >>> done.has("00000000000000ff" + "e" * 48), done.has("1" * 64), done.has("1" * 64 + ".2")
        (True, False, True)
        >>> done.has_part_of("00000000000000ff" + "e" * 48), done.has_part_of("1" * 64)
        (False, True)
    """

    def __init__(self, requestIds: Iterable[str] = ()) -> None:
        ended = EndedRequestLog()
        for each in requestIds:
            ended.add(each)
        self._runs = [array("Q", sorted(ended.keys))] if ended.keys else []
        """Each is sorted, and longer than the next or as long as a run may be."""

    def add(self, piece: str) -> None:
        """Take in what Ended wrote for a message."""
        run = array("Q")
        run.frombytes(b64decode(piece))
        while self._runs and len(self._runs[-1]) <= len(run) <= _LONGEST_RUN - len(self._runs[-1]):
            run.extend(self._runs.pop())
        self._runs.append(array("Q", sorted(run)))

    def has(self, requestId: str) -> bool:
        """Whether this very request, or part, has ended."""
        return self._holds(request_key(requestId))

    def has_part_of(self, requestId: str) -> bool:
        """Whether it was split, and a part of it has ended."""
        return bool(self._runs) and self._holds(_begun(requestId))

    def _holds(self, wanted: int) -> bool:
        places = ((run, bisect_left(run, wanted)) for run in self._runs)
        return any(place < len(run) and run[place] == wanted for run, place in places)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _begun(requestId: str) -> int:
    """The key of a request of which a part has ended."""
    return _hash(f"{requestId}.")


def _above(part: str) -> list[str]:
    """Name the wholes that a part belongs to: `a.1.2` to `a.1` and `a`."""
    pieces = part.split(".")
    return [".".join(pieces[:count]) for count in range(1, len(pieces))]
