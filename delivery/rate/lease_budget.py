"""One budget: calls a second, leased to the tasks that ask, never more at once than there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from math import ceil, floor, inf
from typing import Final

_NOTABLE: Final = 0.02
"""Of the target."""
_ROUNDING: Final = 1e-6
"""Calls a second that are no call, only the end of a reckoning with fractions."""


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """Calls a second that a task may make.

    Attributes:
        rate: calls a second.
        number: of the answer that brings it to the task.
        until: when it has ended for certain; the task counts from its question, so there it ends earlier.
    """

    rate: float
    number: int
    until: float


@dataclass(slots=True)
class _Holder:
    """A task that takes part.

    Attributes:
        wants: calls a second that it could make; 0 while it cannot be heard.
        leases: those that it may be using: the newest, and those before it that it may not have given up yet.
    """

    wants: float
    leases: list[LeaseGrant] = field(default_factory=list)

    @property
    def largest_rate(self) -> float:
        """Calls a second that it may be making, whichever answers have reached it."""
        return max((lease.rate for lease in self.leases), default=0.0)

    @property
    def newest_rate(self) -> float:
        """Calls a second that it is to make."""
        return self.leases[-1].rate if self.leases else 0.0


class LeaseBudget:
    """Leases of calls a second, to tasks in the order in which they came.

    There is one rule: a task counts with the largest lease that it may be using. A lease may be used until it has
    ended, or until the task confirms a later answer. All that tasks may be using together never passes the limit,
    however late a message comes: what one is to have more, another has first to confirm that it makes no more.

    Leases are whole calls, but for one task's: then the calls of any second together are no more than the limit, too.

    Args:
        clock: seconds, monotonic.
        max_rate: calls a second that are never passed.
        term: seconds that a lease lasts.
    """

    def __init__(self, clock: Callable[[], float], max_rate: float, term: float) -> None:
        self._clock = clock
        self._max_rate = max_rate
        self._term = term
        self._holders: dict[str, _Holder] = {}

    def ask(self, task: str, wants: float, target: float, number: int) -> float:
        """Lease a task its share.

        Args:
            task: who is answered; again well before its lease ends.
            wants: calls a second that it could make; infinity if only its lease holds it back.
            target: calls a second that all tasks are to make together now, at the most the limit.
            number: of the answer; each is greater than the last.

        Returns:
            Calls a second, for one term from now on, in place of what the task was leased before.
        """
        self._tidy()
        holder = self._holders.setdefault(task, _Holder(wants))
        holder.wants = wants if wants == inf else float(ceil(wants))
        share = self._shares(target)[task]
        free = self._free(target, [holder for name, holder in self._holders.items() if name != task])
        rate = share if share <= free + _ROUNDING else max(0.0, float(floor(free + _ROUNDING)))
        holder.leases.append(LeaseGrant(rate, number, self._clock() + self._term))
        return rate

    def confirm(self, task: str, number: int, ahead: float) -> None:
        """A task has heard an answer: it uses no lease of an earlier one any more.

        Args:
            task: which.
            number: of the answer.
            ahead: calls that it made before its leases gave them; what it gives up is free only when they would have.
        """
        if (holder := self._holders.get(task)) is not None:
            newest = max((lease.rate for lease in holder.leases if lease.number >= number), default=0.0)
            given_up = [lease for lease in holder.leases if lease.number < number and lease.rate > newest]
            holder.leases = [
                *(self._ending(lease, ahead) for lease in given_up),
                *(lease for lease in holder.leases if lease.number >= number),
            ]

    def short(self, target: float) -> list[str]:
        """Name the tasks that would now be leased notably more than they are: somebody else has given it back."""
        self._tidy()
        if self._free(target, list(self._holders.values())) < _NOTABLE * target:
            return []
        shares = self._shares(target)
        return [name for name, holder in self._holders.items() if shares[name] - holder.newest_rate > _NOTABLE * target]

    def seconds_to_free(self) -> float | None:
        """Say when rate that was given up is free, so that others may be told at once; None where none was."""
        ends = [
            lease.until
            for holder in self._holders.values()
            for lease in holder.leases
            if lease.rate > (holder.newest_rate if holder.wants else 0.0)
        ]
        return max(min(ends) - self._clock(), 0.0) if ends else None

    def release(self, task: str, ahead: float) -> None:
        """Take back what a task holds: it has said that it makes no more calls. For `ahead` see `confirm`."""
        if (holder := self._holders.get(task)) is not None:
            holder.wants = 0.0
            holder.leases = [self._ending(lease, ahead) for lease in holder.leases if lease.rate]

    def lose(self, task: str) -> None:
        """Share nothing out to a task that cannot be heard; it keeps what it holds until that ends."""
        if task in self._holders:
            self._holders[task].wants = 0.0

    def _ending(self, lease: LeaseGrant, ahead: float) -> LeaseGrant:
        return replace(lease, until=min(lease.until, self._clock() + ahead / lease.rate))

    def _shares(self, target: float) -> dict[str, float]:
        wants = [holder.wants for holder in self._holders.values()]
        return dict(zip(self._holders, shares(target, wants), strict=True))

    def _free(self, target: float, others: Sequence[_Holder]) -> float:
        """Calls a second that nobody may be using, of the limit; that nobody is to make, of the target."""
        in_use, to_be_made = sum(holder.largest_rate for holder in others), sum(holder.newest_rate for holder in others)
        return min(self._max_rate - in_use, target - to_be_made)

    def _tidy(self) -> None:
        """Forget leases that have ended, and tasks that have no other."""
        now = self._clock()
        for holder in self._holders.values():
            holder.leases = [lease for lease in holder.leases if lease.until > now]
        self._holders = {name: holder for name, holder in self._holders.items() if holder.leases}


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
    allotted = [0.0] * len(wants)
    open_ = [place for place, want in enumerate(wants) if want > 0.0]
    while open_:
        weights = sum(1.0 / (place + 1) for place in open_)
        fair = {place: limit / (place + 1) / weights for place in open_}
        satisfied = [place for place in open_ if wants[place] <= fair[place]]
        for place in satisfied or open_:
            allotted[place] = wants[place] if satisfied else fair[place]
        limit -= sum(allotted[place] for place in satisfied)
        open_ = [place for place in open_ if place not in satisfied] if satisfied else []
    return _rounded(allotted)


def _rounded(allotted: Sequence[float]) -> list[float]:
    ends = [0, *(floor(end + _ROUNDING) for end in accumulate(allotted))]
    whole_shares = [float(end - begin) for begin, end in pairwise(ends)]
    first = next((place for place, each in enumerate(allotted) if each > 0.0), None)
    if first is not None and (remainder := sum(allotted) - ends[-1]) > _ROUNDING:
        whole_shares[first] += remainder
    return whole_shares
