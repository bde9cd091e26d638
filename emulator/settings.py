"""The settings of an emulator, and those that can change while it runs."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from emulator.faults import Faults
from emulator.messages import decode_json


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorSettings:
    """All settings of an emulator.

    Attributes:
        host: the address to listen on.
        port: the port to listen on; 0 takes any free one.
        quota: calls admitted in any one second (the real service: 1,000 a dataset group); 0 for no limit.
        other_rate: evenly spaced calls a second of another client, which use up the quota and are never refused;
            quota - other_rate is left.
        latency_ms: milliseconds before a call is answered; calls wait in parallel.
        latency_p99_ms: the 99th percentile of log-normal latencies, whose median is latency_ms; None for latencies
            that are all the same.
        access_key: the access key id that must sign the calls.
        secret_key: its secret.
        session_token: the session token of the calls; None if they must not have one.
        token_lifetime: seconds after its first use for which any session token is accepted; calls must have one then.
            None if tokens do not expire. It excludes session_token.
        deny: refuse every signed call because of missing rights.
        tracking_ids: the tracking ids that exist; empty for any.
        faults: the faults to inject.
        metadata_port: the port of a metadata service that hands out the keys; None for none.
        metadata_fault: the behaviour of that service: one of `emulator.metadata.FAULTS`.
    """

    host: str = "127.0.0.1"
    port: int = 0
    quota: int = 0
    other_rate: float = 0.0
    latency_ms: float = 0.0
    latency_p99_ms: float | None = None
    access_key: str = field(default="AKIDEMULATOR", repr=False)
    secret_key: str = field(default="emulator-secret", repr=False)
    session_token: str | None = field(default=None, repr=False)
    token_lifetime: float | None = None
    deny: bool = False
    tracking_ids: frozenset[str] = field(default=frozenset(), repr=False)
    faults: Faults = field(default=Faults(), repr=False)
    metadata_port: int | None = None
    metadata_fault: str = "none"

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: if a number is out of its range, or both kinds of session tokens are set.
        """
        if not 0 <= self.port <= 65535:
            raise ValueError("port must be from 0 to 65535")
        if self.metadata_port is not None and not 0 <= self.metadata_port <= 65535:
            raise ValueError("metadata port must be from 0 to 65535")
        if self.quota < 0:
            raise ValueError("quota must be 0 (no limit) or more")
        if not 0.0 <= self.other_rate < math.inf:
            raise ValueError("other rate must be 0 calls a second or more")
        self._check_latency()
        self._check_token()

    def _check_latency(self) -> None:
        if not 0.0 <= self.latency_ms < math.inf:
            raise ValueError("latency must be 0 ms or more")
        if self.latency_p99_ms is not None and not 0.0 < self.latency_ms <= self.latency_p99_ms < math.inf:
            raise ValueError("latency must be more than 0 ms, and its 99th percentile no less, if there is one")

    def _check_token(self) -> None:
        if self.token_lifetime is None:
            return
        if self.session_token is not None:
            raise ValueError(
                "session token and token lifetime exclude each other: any token has a lifetime, or one none"
            )
        if not 0.0 < self.token_lifetime < math.inf:
            raise ValueError("token lifetime must be more than 0 s")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorClock:
    """The source of the time; tests replace it.

    Attributes:
        wall: Unix time in seconds; for signatures and for the times of calls.
        steady: seconds since any moment, never going back; for the quota.
    """

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic


def read_changes(body: bytes) -> dict[str, Any]:
    """Read the changes in the body of a request: return the changed fields of Settings, by their names there.

    Raises:
        ValueError: if the body is not a JSON object of `quota` and `otherRate`, or one of them has a wrong type.

    Examples:
        >>> read_changes(b'{"quota": 300, "otherRate": 100.5}')
        {'quota': 300, 'other_rate': 100.5}
    """
    given = _decode(body)
    if not isinstance(given, dict) or not given.keys() <= {"quota", "otherRate"}:
        raise ValueError("the body must be a JSON object with quota, otherRate or both")
    # By type, because True and False are ints for isinstance.
    if type(given.get("quota", 0)) is not int:
        raise ValueError("quota must be a whole number")
    if type(given.get("otherRate", 0)) not in (int, float):
        raise ValueError("otherRate must be a number")
    names = {"quota": "quota", "otherRate": "other_rate"}
    return {names[name]: value for name, value in given.items()}


def tell_changeable(settings: EmulatorSettings) -> dict[str, Any]:
    """Return the present values that can be changed, by their names in HTTP."""
    return {"quota": settings.quota, "otherRate": settings.other_rate}


def _decode(body: bytes) -> Any:
    try:
        return decode_json(body)
    except ValueError:
        return None
