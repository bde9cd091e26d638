"""Contestants in turn: each round runs all of them, in the reverse order of the round before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from benchmarks.measuring.process import Cost, say

T = TypeVar("T")


def in_turn(contestants: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Run contestants; return the results of each, one for each round.

    Examples:
        >>> went = []
        >>> found = in_turn({"a": lambda: went.append("a"), "b": lambda: went.append("b")}, 2)
        >>> "".join(went), found
        ('abba', {'a': [None, None], 'b': [None, None]})
    """
    results: dict[str, list[T]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in list(contestants)[:: -1 if number % 2 else 1]:
            result = contestants[name]()
            results[name].append(result)
            took = f": {result.clock:.3g} s, {result.processors:.3g} CPU s" if isinstance(result, Cost) else ""
            say(f"round {number + 1} of {rounds}, {name}{took}")
    return results
