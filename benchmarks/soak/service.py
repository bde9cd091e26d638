"""The emulator of a soak: its faults and keys change while it runs, and each call goes to a tape.

`python -m benchmarks.soak.service TAPE` prints its URL. Its memory does not grow with the calls. A line of
the tape is one of

    call MOMENT SIGNED OUTCOME [EVENT-ID...]
    late MOMENT UNTIL

MOMENT is when the call was read, in seconds of a clock that never goes back. SIGNED is the Unix second of its
signature, by the clock of the sender. OUTCOME is `accepted` or `other`. `late` says that this process should have read
its sockets at MOMENT, and had caught up at UNTIL: calls that arrived meanwhile were read at once, although they were
not sent at once.
"""

from __future__ import annotations

import asyncio
import calendar
import json
import signal
import sys
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import IO, Any, Final

from emulator.connection import serving_connections
from emulator.faults import Faults
from emulator.listener import raise_file_limit
from emulator.messages import HttpReply, HttpRequest, Refusal, refuse
from emulator.service import PutEventsService
from emulator.settings import EmulatorClock, EmulatorSettings

LATENCY_MS: Final = 30.0
LATENCY_P99_MS: Final = 150.0
_FOR_EVER: Final = 1e9
_BEAT: Final = 0.005
"""Seconds between two readings of the clock."""
LATE: Final = 0.005
"""Seconds: a shorter delay is not noted. Together with a beat it moves 1 % of the calls of a second."""
_EXPIRED: Final = Refusal("ExpiredTokenException", "The security token included in the request is expired")


class Site:
    """PutEvents at `/events`; at `/soak`, GET shows the counts and POST changes quota, faults and expired tokens."""

    def __init__(self, tape: IO[str]) -> None:
        """Write each call to `tape`."""
        settings = EmulatorSettings(latency_ms=LATENCY_MS, latency_p99_ms=LATENCY_P99_MS, token_lifetime=_FOR_EVER)
        self._clock = EmulatorClock()
        self._service = PutEventsService(settings, self._clock)
        self._tape = tape
        self._expired: frozenset[str] = frozenset()
        self._accepted = 0

    def respond(self, request: HttpRequest) -> HttpReply:
        """Return the reply to a request."""
        if request.path == b"/events":
            return self._put_events(request)
        if request.path != b"/soak":
            return self.refuse(Refusal("UnknownOperationException", "There is no such operation."))
        if request.method == b"POST":
            self._change(json.loads(request.body))
        self._tape.flush()
        return HttpReply(body=json.dumps(self._counts()).encode())

    def refuse(self, refusal: Refusal) -> HttpReply:
        """Return the reply to a request that is not a call."""
        self._service.book.bad_requests[refusal.code] += 1
        return refuse(refusal)

    async def watch_lateness(self) -> None:
        """Note each time this process is late."""
        due = self._clock.steady() + _BEAT
        while True:
            await asyncio.sleep(_BEAT)
            now = self._clock.steady()
            if now - due >= LATE:
                # The waiting calls are read now; the next beat is the first that can be on time.
                self._tape.write(f"late {due:.6f} {now + _BEAT:.6f}\n")
            due = now + _BEAT

    def _put_events(self, request: HttpRequest) -> HttpReply:
        steady = self._clock.steady()
        if request.headers.get(b"x-amz-security-token", b"").decode("latin-1") in self._expired:
            self._service.book.arrive(self._clock.wall(), steady)
            self._service.book.refused[_EXPIRED.code] += 1
            reply = refuse(_EXPIRED, LATENCY_MS / 1000)
        else:
            reply = self._service.put_events(request)
        self._note(request, steady)
        return reply

    def _note(self, request: HttpRequest, steady: float) -> None:
        accepted, ids = self._service.book.accepted, []
        outcome = "accepted" if accepted else "other"
        while accepted:
            ids += [event["eventId"] for event in json.loads(accepted.pop()[2])["eventList"]]
            self._accepted += 1
        signed = _unix_second(request.headers.get(b"x-amz-date", b""))
        self._tape.write(f"call {steady:.6f} {signed} {' '.join([outcome, *ids])}\n")

    def _change(self, changes: dict[str, Any]) -> None:
        self._expired = frozenset(changes.pop("expired", self._expired))
        if "faults" in changes:
            changes["faults"] = Faults(**changes["faults"])
        self._service.change(**changes)

    def _counts(self) -> dict[str, Any]:
        book = self._service.book
        return {
            "calls": book.calls,
            "accepted": self._accepted,
            "throttled": book.throttled,
            "refused": dict(book.refused),
            "badRequests": dict(book.bad_requests),
            "faults": dict(book.faults),
            "firstCallAt": book.first_call_at,
            "lastCallAt": book.last_call_at,
        }


@lru_cache(maxsize=64)
def _unix_second(stamp: bytes) -> int:
    """Read the time of a signature; 0 if there is none.

    Examples:
        >>> _unix_second(b"20240101T000000Z"), _unix_second(b"")
        (1704067200, 0)
    """
    try:
        return calendar.timegm(time.strptime(stamp.decode(), "%Y%m%dT%H%M%SZ"))
    except ValueError:
        return 0


async def _serve(tape: IO[str]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    site = Site(tape)
    watch = asyncio.create_task(site.watch_lateness())
    async with serving_connections("127.0.0.1", 0, site) as url:
        print(url, flush=True)
        await stop.wait()
    watch.cancel()


def main(argv: Sequence[str]) -> int:
    """Serve until a signal."""
    raise_file_limit()
    with open(argv[0], "w", buffering=1 << 16) as tape:
        asyncio.run(_serve(tape))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
