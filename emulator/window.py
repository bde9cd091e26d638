"""The quota: calls in a sliding second."""

from collections import deque


class Window:
    """Admits at most `quota` calls in any span of one second, exactly; a quota of 0 admits all.

    A span is half-open: of calls at 0.0 and at 1.0 seconds, no span holds both.
    """

    def __init__(self, quota: int = 0) -> None:
        """Start with an empty window of `quota` calls a second."""
        self._quota = quota
        self._admitted: deque[float] = deque()
        self.peak = 0
        """The most calls that one second has held so far."""

    def admit(self, now: float) -> bool:
        """Count a call at `now` (seconds, of a clock that never goes back), or return False if full."""
        admitted = self._admitted
        while admitted and admitted[0] <= now - 1.0:
            admitted.popleft()
        if self._quota and len(admitted) >= self._quota:
            return False
        admitted.append(now)
        self.peak = max(self.peak, len(admitted))
        return True
