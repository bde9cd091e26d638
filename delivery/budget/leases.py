"""One budget: calls a second, leased to the tasks that ask, never more at once than there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import ceil, floor, inf
from typing import Final

_NOTABLE: Final = 0.02
"""Of the limit."""
_ROUNDING: Final = 1e-6
"""Calls a second that are no call, only the end of a reckoning with fractions."""


@dataclass(slots=True)
class _Holder:
    """A task that takes part.

    Attributes:
        wants: calls a second that it could make.
        asked: when it last asked.
        leases: when each that may not have ended was given, and its calls a second.
        lost: the task cannot be heard: nobody knows whether the last lease reached it.
    """

    wants: float
    asked: float = 0.0
    leases: list[tuple[float, float]] = field(default_factory=list)
    lost: bool = False


class Budget:
    """Leases of calls a second, to tasks in the order in which they came.

    A lease ends by itself, so what a task that died held comes back. Together the leases that have not ended never
    pass the limit: what one is to have more, another has first to give back, or to let end. A task that does not ask
    goes on for a while, at its static rate or its lease if that is less; that is set aside for it.

    Leases are whole calls, but for one task's: then the calls of any second together are no more than the limit, too.

    Args:
        clock: seconds, monotonic.
        static_rate: calls a second that a task goes on at when its lease ends.
        term: seconds that a lease lasts.
        grace: seconds after it last asked that a task goes on, at the most.
    """

    def __init__(self, clock: Callable[[], float], static_rate: float, term: float, grace: float) -> None:
        self._clock = clock
        self._static_rate = static_rate
        self._term = term
        self._grace = grace
        self._holders: dict[str, _Holder] = {}

    def ask(self, task: str, wants: float, limit: float, *, unasked: bool = False) -> float:
        """Lease a task its share.

        Args:
            task: who asks, again well before its lease ends.
            wants: calls a second that it could make; infinity if only its lease holds it back.
            limit: calls a second of all tasks together, now.
            unasked: the task is told without having asked: it is leased no less than it holds, since nobody else may
                have the difference before it has heard of it.

        Returns:
            Calls a second, for one term from now on; in place of what it was leased before.
        """
        now = self._clock()
        self._tidy(now)
        mine = self._holders.setdefault(task, _Holder(wants))
        mine.wants, mine.lost = wants if wants == inf else float(ceil(wants)), False
        share = self._shares(limit)[task]
        free = limit - sum(self._held(held, now) for name, held in self._holders.items() if name != task)
        rate = share if share <= free + _ROUNDING else max(0.0, float(floor(free + _ROUNDING)))
        rate = max(rate, self._held(mine, now)) if unasked else rate
        mine.asked, mine.leases = now, [*self._running(mine, now), (now, rate)]
        return rate

    def short(self, limit: float) -> list[str]:
        """Name the tasks that would now be leased notably more than they are: somebody else has given it back."""
        now = self._clock()
        held = {name: self._held(holder, now) for name, holder in self._holders.items()}
        if limit - sum(held.values()) < _NOTABLE * limit:
            return []
        heard = (name for name, holder in self._holders.items() if self._running(holder, now) and not holder.lost)
        shares = self._shares(limit)
        return [name for name in heard if shares[name] - held[name] > _NOTABLE * limit]

    def release(self, task: str) -> None:
        """Take back what a task holds: it has said that it makes no more calls."""
        self._holders.pop(task, None)

    def lose(self, task: str) -> None:
        """Lease a task no more that cannot be heard, or that was told to make no more calls and has not yet said so."""
        if task in self._holders:
            self._holders[task].wants, self._holders[task].lost = 0.0, True

    def _shares(self, limit: float) -> dict[str, float]:
        wants = [holder.wants for holder in self._holders.values()]
        return dict(zip(self._holders, shares(limit, wants), strict=True))

    def _running(self, holder: _Holder, now: float) -> list[tuple[float, float]]:
        return [(since, rate) for since, rate in holder.leases if since + self._term > now]

    def _held(self, holder: _Holder, now: float) -> float:
        """Calls a second that a task may be making."""
        running = [rate for _, rate in self._running(holder, now)]
        if running:
            return max(running) if holder.lost else running[-1]
        ended = max((rate for _, rate in holder.leases), default=0.0)
        return min(ended, self._static_rate) if holder.asked + self._grace > now else 0.0

    def _tidy(self, now: float) -> None:
        """Share nothing out to who has not asked for long; forget who, for that, goes on no more."""
        self._holders = {name: held for name, held in self._holders.items() if held.asked + self._grace > now}
        for holder in self._holders.values():
            holder.wants = holder.wants if self._running(holder, now) else 0.0


def shares(limit: float, wants: Sequence[float]) -> list[float]:
    """Share a limit out: nobody gets more than it wants, and nothing is left while somebody wants more.

    The n-th to come counts as 1/n: the older a task, the larger its share, so that tasks of one size do not all end at
    one moment and leave the budget idle while others start. Shares are rounded to whole calls, one up, another down; a
    fraction that is left is the first one's.

    Examples:
        >>> inf = float("inf")
        >>> shares(90.0, [inf, inf]), shares(90.0, [20.0, inf]), shares(90.0, [10.0, 10.0])
        ([60.0, 30.0], [20.0, 70.0], [10.0, 10.0])
        >>> shares(5.5, [inf, inf]), shares(0.5, [0.0, inf, inf])
        ([3.5, 2.0], [0.0, 0.5, 0.0])
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
    return _rounded(given)


def _rounded(given: Sequence[float]) -> list[float]:
    ends = [0, *(floor(end + _ROUNDING) for end in accumulate(given))]
    whole = [float(end - begin) for begin, end in pairwise(ends)]
    first = next((place for place, each in enumerate(given) if each > 0.0), None)
    if first is not None and (left := sum(given) - ends[-1]) > _ROUNDING:
        whole[first] += left
    return whole
