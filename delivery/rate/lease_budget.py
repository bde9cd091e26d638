"""One budget of calls a second, leased to the tasks that ask: never more at once than the limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from math import ceil, floor, inf
from typing import Final

_NOTABLE: Final = 0.02
"""Share of the target."""
_ROUNDING: Final = 1e-6
"""Calls a second that count as 0: rounding errors of fractions."""


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """Calls a second that a task may make.

    Attributes:
        rate: calls a second.
        number: of the answer that brings it to the task.
        until: when it has certainly ended; the task counts from its question, so it ends earlier there.
    """

    rate: float
    number: int
    until: float


@dataclass(slots=True)
class _Holder:
    """An active task.

    Attributes:
        wants: calls a second that it could make; 0 while it is silent.
        leases: those that it may be using: the newest, and earlier ones that it may not have given up yet.
    """

    wants: float
    leases: list[LeaseGrant] = field(default_factory=list)

    @property
    def largest_rate(self) -> float:
        """Calls a second that it may be making, whatever answers have reached it."""
        return max((lease.rate for lease in self.leases), default=0.0)

    @property
    def newest_rate(self) -> float:
        """Calls a second that it should make."""
        return self.leases[-1].rate if self.leases else 0.0


class LeaseBudget:
    """Leases of calls a second, to tasks in the order in which they came.

    There is one rule: a task counts with the largest lease that it may be using. It may use a lease until the lease
    has ended, or until the task confirms a later answer. The sum over all tasks never exceeds the limit, however late
    a message comes. Before one task gets more, another must confirm that it makes fewer calls.

    Leases are whole calls, except for one task. So the calls of any second together do not exceed the limit either.

    Args:
        clock: seconds, monotonic.
        max_rate: calls a second that are never exceeded.
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
            task: the task of this answer; it asks again long before its lease ends.
            wants: calls a second that it could make; infinity if only its lease limits it.
            target: calls a second for all tasks together now, at most the limit.
            number: of the answer; each is greater than the last.

        Returns:
            Calls a second, for one term from now, in place of its lease before.
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
        """A task confirms an answer: it no longer uses leases of earlier answers.

        Args:
            task: which.
            number: of the answer.
            ahead: calls that it made before its leases allowed them; a rate that it gives up becomes free only later.
        """
        if (holder := self._holders.get(task)) is not None:
            newest = max((lease.rate for lease in holder.leases if lease.number >= number), default=0.0)
            given_up = [lease for lease in holder.leases if lease.number < number and lease.rate > newest]
            holder.leases = [
                *(self._ending(lease, ahead) for lease in given_up),
                *(lease for lease in holder.leases if lease.number >= number),
            ]

    def short(self, target: float) -> list[str]:
        """Name the tasks that would get a notably higher lease now, because another task gave up a rate."""
        self._tidy()
        if self._free(target, list(self._holders.values())) < _NOTABLE * target:
            return []
        shares = self._shares(target)
        return [name for name, holder in self._holders.items() if shares[name] - holder.newest_rate > _NOTABLE * target]

    def seconds_to_free(self) -> float | None:
        """Say when a former rate becomes free, so that others hear of it at once; None if there is none."""
        ends = [
            lease.until
            for holder in self._holders.values()
            for lease in holder.leases
            if lease.rate > (holder.newest_rate if holder.wants else 0.0)
        ]
        return max(min(ends) - self._clock(), 0.0) if ends else None

    def release(self, task: str, ahead: float) -> None:
        """Take back the leases of a task that makes no more calls. For `ahead` see `confirm`."""
        if (holder := self._holders.get(task)) is not None:
            holder.wants = 0.0
            holder.leases = [self._ending(lease, ahead) for lease in holder.leases if lease.rate]

    def lose(self, task: str) -> None:
        """Give no share to a silent task; it keeps its leases until they end."""
        if task in self._holders:
            self._holders[task].wants = 0.0

    def _ending(self, lease: LeaseGrant, ahead: float) -> LeaseGrant:
        return replace(lease, until=min(lease.until, self._clock() + ahead / lease.rate))

    def _shares(self, target: float) -> dict[str, float]:
        wants = [holder.wants for holder in self._holders.values()]
        return dict(zip(self._holders, shares(target, wants), strict=True))

    def _free(self, target: float, others: Sequence[_Holder]) -> float:
        """Calls a second of the limit that nobody may be using, and those of the target that nobody should make."""
        in_use, to_be_made = sum(holder.largest_rate for holder in others), sum(holder.newest_rate for holder in others)
        return min(self._max_rate - in_use, target - to_be_made)

    def _tidy(self) -> None:
        """Forget ended leases, and tasks without leases."""
        now = self._clock()
        for holder in self._holders.values():
            holder.leases = [lease for lease in holder.leases if lease.until > now]
        self._holders = {name: holder for name, holder in self._holders.items() if holder.leases}


def shares(limit: float, wants: Sequence[float]) -> list[float]:
    """Divide a limit: no task gets more than it wants, and nothing is left while a task wants more.

    The n-th task counts 1/n: an older task has a larger share. So tasks of the same size do not all end at the same
    time and leave the budget idle while others start. Shares are rounded to whole calls, some up and some down. The
    first task gets the remaining fraction.

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
