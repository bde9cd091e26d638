"""Session tokens: which calls may bear, and for how long."""

from emulator.refusal import Refusal


class Tokens:
    """The session tokens that are taken: a certain one, none at all, or any for its lifetime."""

    def __init__(self, token: str | None, lifetime: float | None) -> None:
        """Take `token` (None: calls must bear none), or with a `lifetime` any token, for so many seconds."""
        self._token = token.encode() if token else None
        self._lifetime = lifetime
        self._first_used: dict[bytes, float] = {}

    def knows(self, token: bytes | None) -> bool:
        """Tell whether a call may bear `token`, None standing for no token; it may have expired all the same."""
        return token == self._token if self._lifetime is None else bool(token)

    def use(self, token: bytes | None, now: float) -> None:
        """Take a known token at `now` (Unix time in seconds); its lifetime starts with its first use.

        Raises:
            Refusal: ExpiredTokenException if its lifetime is over.
        """
        if self._lifetime is None or token is None:
            return
        if now - self._first_used.setdefault(token, now) >= self._lifetime:
            raise Refusal("ExpiredTokenException", "The security token included in the request is expired")
