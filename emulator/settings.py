"""How an emulator is set up."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from emulator.faults import Faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be chosen about an emulator.

    Attributes:
        host: the address to listen on.
        port: the port to listen on; 0 takes any free one.
        quota: calls admitted in any one second (the real service: 1,000 a dataset group); 0 for no limit.
        latency_ms: milliseconds before a call is answered; calls wait side by side.
        access_key: the access key id that calls must be signed for.
        secret_key: the secret that goes with it.
        session_token: the session token that calls must bear; None if they must bear none.
        tracking_ids: the tracking ids that exist; empty for any.
        faults: the faults to inject.
    """

    host: str = "127.0.0.1"
    port: int = 0
    quota: int = 0
    latency_ms: float = 0.0
    access_key: str = field(default="AKIDEMULATOR", repr=False)
    secret_key: str = field(default="emulator-secret", repr=False)
    session_token: str | None = field(default=None, repr=False)
    tracking_ids: frozenset[str] = field(default=frozenset(), repr=False)
    faults: Faults = field(default=Faults(), repr=False)

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: if the port, the quota or the latency is out of its range.
        """
        if not 0 <= self.port <= 65535:
            raise ValueError("port must be from 0 to 65535")
        if self.quota < 0:
            raise ValueError("quota must be 0 (no limit) or more")
        if not 0.0 <= self.latency_ms < float("inf"):
            raise ValueError("latency must be 0 ms or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Where the emulator gets the time from; tests give their own.

    Attributes:
        wall: Unix time in seconds; for signatures and for what is told of a call.
        steady: seconds since any moment, never going back; for the quota.
    """

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
