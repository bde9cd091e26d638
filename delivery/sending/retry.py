"""When to call again, and when to set a request aside: the one owner of retries (boto3's own are not used)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with full jitter, under a time budget.

    Attributes:
        budget: seconds after its first call in which a request may be called again.
        base: seconds; the first pause is at most this long.
        cap: seconds; no pause is longer.
        aside: seconds after its first call in which a request that gets no answer, while others do, is called again;
            then it is set aside. A single event that was set aside is tried for as long again before it is given up.
        rest: seconds that a request that was set aside is not called, at the least.
        renewal: seconds, from when its call first met with expired credentials, in which others must have been found.
    """

    budget: float = 120.0
    base: float = 0.1
    cap: float = 10.0
    aside: float = 10.0
    rest: float = 5.0
    renewal: float = 15.0

    def pause(self, made: int, chance: float) -> float:
        """Seconds to wait after `made` calls: chance * min(cap, base * 2 ** (made - 1)).

        Args:
            made: calls made so far, 1 or more.
            chance: uniform in 0 to 1; the whole range is used, so that callers who failed together part.

        Examples:
            >>> [RetryPolicy(base=0.1, cap=1.0).pause(made, 1.0) for made in (1, 2, 3, 4, 5, 99)]
            [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
        """
        return chance * min(self.cap, self.base * 2.0 ** min(made - 1, 64))
