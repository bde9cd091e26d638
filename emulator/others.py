"""Somebody else's calls, which take of the same quota as ours do: the live site's, say."""

import math

_NANOSECONDS = 1_000_000_000


class OtherClient:
    """Calls that come evenly, for as long as the clock has run and will run: each 1/rate seconds by the clock.

    Nothing makes these calls: how many there were between two moments is reckoned when somebody asks.

    Examples:
        >>> site = OtherClient(2)
        >>> [site.count(now - 1.0, now) for now in (0.0, 0.25, 0.5, 1e6)]
        [2, 2, 2, 2]
        >>> site.change(0.5, now=10.0)
        >>> [site.count(now - 1.0, now) for now in (10.0, 10.25, 10.5, 11.0, 12.0, 13.0)]
        [2, 2, 1, 0, 1, 0]
    """

    def __init__(self, rate: float) -> None:
        """Make `rate` calls a second, 0 or more; fractions are calls further than a second apart."""
        self._phases: list[tuple[float, float]] = [(-math.inf, rate)]

    def change(self, rate: float, now: float) -> None:
        """Make `rate` calls a second from `now` (seconds) on; those made before stay made."""
        self._phases.append((now, rate))

    def count(self, after: float, until: float) -> int:
        """Return how many calls were made after the one moment (in seconds) and until the other, included."""
        total = 0
        for since, rate in reversed(self._phases):
            if rate and since < until:
                total += _calls_by(until, rate) - _calls_by(max(since, after), rate)
            if since <= after:
                break
            until = min(since, until)
        return total


def _calls_by(moment: float, rate: float) -> int:
    # In whole numbers, so that no second holds a call too many because a product was rounded.
    calls, seconds = rate.as_integer_ratio()
    return round(moment * _NANOSECONDS) * calls // (seconds * _NANOSECONDS)
