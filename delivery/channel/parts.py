"""Who may send which part: one attempt at a time, so that retries, speculation and lost executors do not double."""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Ended:
    """Which requests have ended, in 8 bytes each.

    Attributes:
        whole: of those that were never split, the first 64 bits of the id.
        split: the ids of others' parts.
    """

    whole: array[int] = field(default_factory=lambda: array("Q"))
    split: list[str] = field(default_factory=list)

    def add(self, requestId: str) -> None:
        """Note one."""
        if "." in requestId:
            self.split.append(requestId)
        else:
            self.whole.append(key(requestId))

    def packed(self) -> dict[str, Any]:
        """Write it for a message, in 11 bytes a request; both ends' machines are of one byte order."""
        return {"whole": b64encode(self.whole.tobytes()).decode(), "split": self.split}


def key(requestId: str) -> int:
    """The first 64 bits of an id, which is a SHA-256 in hexadecimal.

    Examples:
        >>> key("00000000000000ff" + "e" * 48)
        255
    """
    return int(requestId[:16], 16)


class Done:
    """What a task is not to send: requests that others have ended.

    Args:
        whole: as Ended's.
        split: as Ended's.

    Examples:
        >>> done = Done([255], [f"{'0' * 15}1{'e' * 48}.2"])
        >>> done.has("00000000000000ff" + "e" * 48), done.has("0" * 15 + "1" + "e" * 48)
        (True, False)
        >>> done.has_part_of("0" * 15 + "1" + "e" * 48), done.has("0" * 15 + "1" + "e" * 48 + ".2")
        (True, True)
    """

    def __init__(self, whole: Iterable[int] = (), split: Iterable[str] = ()) -> None:
        self._whole = frozenset(whole)
        self._split = frozenset(split)
        self._begun = frozenset(above for part in self._split for above in _above(part))

    @classmethod
    def unpacked(cls, whole: str, split: Iterable[str]) -> Done:
        """Read what Ended wrote for a message."""
        ended = array("Q")
        ended.frombytes(b64decode(whole))
        return cls(ended, split)

    def has(self, requestId: str) -> bool:
        """Whether this very request, or part, has ended."""
        return requestId in self._split if "." in requestId else key(requestId) in self._whole

    def has_part_of(self, requestId: str) -> bool:
        """Whether it was split, and a part of it has ended."""
        return requestId in self._begun


def _above(part: str) -> list[str]:
    """Name the wholes that a part belongs to: `a.1.2` to `a.1` and `a`."""
    pieces = part.split(".")
    return [".".join(pieces[:count]) for count in range(1, len(pieces))]


@dataclass(slots=True)
class _Part:
    owner: str | None = None
    until: float = 0.0
    """When the owner's time is over, if it is not heard again."""
    heir: str | None = None
    """The attempt that came last: it is to have the part."""
    awaited: float = 0.0
    """Until when the heir is waited for, if it is not heard again."""
    complete: bool = False
    ended: Ended = field(default_factory=Ended)


class Parts:
    """Ownership of the parts of a delivery, on the driver.

    An attempt sends only while it owns its part, and knows itself until when: a time that starts when it asked, not
    when it was answered, so that it never ends later there than here. Of two attempts at one part the later is to have
    it (Spark starts another one where the first is slow or lost): the earlier hands it over when its calls have ended,
    or, if it cannot be heard, loses it when its time is over. Where the later is not heard for as long, it goes to who
    still asks.

    Args:
        clock: seconds, monotonic.
        grace: seconds that an attempt owns its part after it was last heard.
    """

    def __init__(self, clock: Callable[[], float], grace: float) -> None:
        self._clock = clock
        self._grace = grace
        self._parts: dict[int, _Part] = {}

    def come(self, number: int, attempt: str) -> None:
        """An attempt at a part has started."""
        part = self._parts.setdefault(number, _Part())
        part.heir, part.awaited = attempt, self._clock() + self._grace

    def heard(self, number: int, attempt: str) -> bool:
        """An attempt asks; say whether it owns the part, now and for the grace from its question on."""
        part, now = self._parts[number], self._clock()
        if part.heir is None or part.awaited <= now:
            part.heir = attempt
        if part.heir == attempt:
            part.awaited = now + self._grace
            if part.owner is None or part.until <= now:
                part.owner = attempt
        if part.owner == attempt:
            part.until = now + self._grace
        return self.owns(number, attempt)

    def owns(self, number: int, attempt: str) -> bool:
        """Whether a part is an attempt's own, nobody else is to have it, and something is left of it."""
        part = self._parts[number]
        return part.owner == attempt == part.heir and not part.complete

    def leave(self, number: int, attempt: str) -> None:
        """An attempt makes no more calls, for now or for good."""
        part = self._parts[number]
        if part.owner == attempt:
            part.owner = None

    def gone(self, number: int, attempt: str) -> None:
        """An attempt has ended for good: it is no heir any more."""
        self.leave(number, attempt)
        part = self._parts[number]
        if part.heir == attempt:
            part.heir = None

    def complete(self, number: int) -> None:
        """Nothing is left of a part: who waits for it need not."""
        self._parts[number].complete = True

    def is_complete(self, number: int) -> bool:
        """Whether nothing is left of a part."""
        return self._parts[number].complete

    def end(self, number: int, requestId: str) -> None:
        """A request of a part has ended."""
        self._parts.setdefault(number, _Part()).ended.add(requestId)

    def ended(self, number: int) -> Ended:
        """What has ended of a part."""
        return self._parts[number].ended
