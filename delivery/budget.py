"""One budget: calls a second, leased to the tasks that ask, never more at once than there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_NOTABLE: Final = 0.02
"""Of the limit."""


@dataclass(slots=True)
class _Holder:
    """A task that takes part.

    Attributes:
        wants: calls a second that it could make.
        rate: calls a second that it was last leased.
        until: when that lease ends.
    """

    wants: float
    rate: float = 0.0
    until: float = 0.0


class Budget:
    """Leases of calls a second, to tasks in the order in which they came.

    A lease ends by itself, so what a task that died held comes back. Together the leases that have not ended never
    pass the limit: what one is to have more, another has first to give back, or to let end.

    Args:
        clock: seconds, monotonic.
        term: seconds that a lease lasts.
    """

    def __init__(self, clock: Callable[[], float], term: float) -> None:
        self._clock = clock
        self._term = term
        self._holders: dict[str, _Holder] = {}

    def ask(self, task: str, wants: float, limit: float) -> float:
        """Lease a task its share.

        Args:
            task: who asks, again well before its lease ends.
            wants: calls a second that it could make; infinity if only its lease holds it back.
            limit: calls a second of all tasks together, now.

        Returns:
            Calls a second, for one term from now on; in place of what it was leased before.
        """
        now = self._clock()
        mine = self._holders.setdefault(task, _Holder(wants))
        mine.wants = wants
        tasks = list(self._holders)
        share = shares(limit, [holder.wants for holder in self._holders.values()])[tasks.index(task)]
        others = sum(held.rate for name, held in self._holders.items() if name != task and held.until > now)
        mine.rate, mine.until = max(0.0, min(share, limit - others)), now + self._term
        return mine.rate

    def short(self, limit: float) -> list[str]:
        """Name the tasks that would now be leased notably more than they are: somebody else has given it back."""
        now = self._clock()
        free = limit - sum(held.rate for held in self._holders.values() if held.until > now)
        if free < _NOTABLE * limit:
            return []
        fair = shares(limit, [holder.wants for holder in self._holders.values()])
        pairs = zip(self._holders.items(), fair, strict=True)
        return [name for (name, held), share in pairs if held.until > now and share - held.rate > _NOTABLE * limit]

    def release(self, task: str) -> None:
        """Take back what a task holds: it has said that it makes no more calls."""
        self._holders.pop(task, None)

    def keep_for(self, task: str, most: float, seconds: float) -> None:
        """Set aside what a task that cannot be heard may go on using: at most its lease and `most`, for so long."""
        held = self._holders.get(task)
        if held is not None:
            held.wants, held.until = 0.0, self._clock() + seconds
            held.rate = min(held.rate, max(most, 0.0))


def shares(limit: float, wants: Sequence[float]) -> list[float]:
    """Share a limit out: nobody gets more than it wants, and nothing is left while somebody wants more.

    The n-th to come counts as 1/n: the older a task, the larger its share, so that tasks of one size do not all end at
    one moment and leave the budget idle while others start.

    Examples:
        >>> inf = float("inf")
        >>> shares(90.0, [inf, inf]), shares(90.0, [20.0, inf]), shares(90.0, [10.0, 10.0])
        ([60.0, 30.0], [20.0, 70.0], [10.0, 10.0])
    """
    given = [0.0] * len(wants)
    open_ = [place for place, want in enumerate(wants) if want > 0.0]
    while open_:
        weights = sum(1.0 / (place + 1) for place in open_)
        fair = {place: limit / (place + 1) / weights for place in open_}
        content = [place for place in open_ if wants[place] <= fair[place]]
        for place in content or open_:
            given[place] = wants[place] if content else fair[place]
        limit -= sum(given[place] for place in content)
        open_ = [place for place in open_ if place not in content] if content else []
    return given
