"""Which requests have ended: 8 bytes each. The driver sends them in pieces, and the tasks look them up."""

from __future__ import annotations

import hashlib
from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

_PIECE: Final = 16_384
"""Keys in one message: 175 KB."""
_LONGEST_RUN: Final = 16 * _PIECE
"""Keys that are sorted at once, in a few hundredths of a second, while the event loop waits."""


class EndedRequestLog:
    """The ended requests of a part, in the order of their end, 8 bytes each. The list only grows.

    If a part of a split request has ended, the requests that it belongs to are noted as begun, each with its own key.

    Attributes:
        keys: of all ended requests, in this order.
    """

    def __init__(self) -> None:
        self.keys = array("Q")

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, requestId: str) -> None:
        """Add an ended request."""
        self.keys.append(request_key(requestId))
        self.keys.extend(map(_begun, _above(requestId)))

    def piece(self, start: int) -> tuple[str, int]:
        """Write a piece for a message, from a position in the list. Both machines must have the same byte order.

        Returns:
            The piece, and the position where the next piece starts.
        """
        keys = self.keys[start : start + _PIECE]
        return b64encode(keys.tobytes()).decode(), start + len(keys)


def request_key(requestId: str) -> int:
    """64 bits for a request or a part of one. An id is a SHA-256 in hexadecimal; the id of a part has its path too.

    Examples:
        >>> request_key("00000000000000ff" + "e" * 48)
        255
    """
    return _hash(requestId) if "." in requestId else int(requestId[:16], 16)


class EndedRequestSet:
    """The ended requests, which a task must not send. It grows piece by piece, and takes 8 bytes a request.

    Args:
        requestIds: of the requests that have ended so far.

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
        """Each run is sorted, and longer than the next one or of maximum length."""

    def add(self, piece: str) -> None:
        """Add the piece of a message."""
        run = array("Q")
        run.frombytes(b64decode(piece))
        while self._runs and len(self._runs[-1]) <= len(run) <= _LONGEST_RUN - len(self._runs[-1]):
            run.extend(self._runs.pop())
        self._runs.append(array("Q", sorted(run)))

    def has(self, requestId: str) -> bool:
        """Whether exactly this request, or part, has ended."""
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
    """The key of a request with an ended part."""
    return _hash(f"{requestId}.")


def _above(part: str) -> list[str]:
    """Name the requests that a part belongs to: for `a.1.2`, `a.1` and `a`."""
    pieces = part.split(".")
    return [".".join(pieces[:count]) for count in range(1, len(pieces))]
