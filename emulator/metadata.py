"""A metadata service beside the emulator: it hands out the keys that the emulator accepts, or fails to.

It works like the metadata service of instances (give botocore its URL as AWS_EC2_METADATA_SERVICE_ENDPOINT) and like
that of containers (AWS_CONTAINER_CREDENTIALS_FULL_URI, with the path /credentials).
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from emulator.messages import HttpReply, HttpRequest, Refusal, refuse
from emulator.settings import EmulatorSettings

FAULTS: Final = ("none", "slow", "missing", "throttled", "broken")
"""What it does: gives keys; answers after `SLOW_SECONDS`; says that it has none; answers 429; answers 503."""
SLOW_SECONDS: Final = 5.0
_ROLES: Final = b"/latest/meta-data/iam/security-credentials/"
_ROLE: Final = b"emulator-role"
_LIFETIME: Final = 6 * 3600
_STATUS: Final = {"missing": 404, "throttled": 429, "broken": 503}


class Metadata:
    """A metadata service.

    Attributes:
        url: of its root.
        fault: one of FAULTS; it can be changed while the service runs.
        asked: the number of requests so far.
    """

    def __init__(self, settings: EmulatorSettings, fault: str = "none") -> None:
        """Hand out the keys of `settings`.

        Raises:
            ValueError: if there is no such fault.
        """
        if fault not in FAULTS:
            raise ValueError(f"metadata fault must be one of {', '.join(FAULTS)}")
        self._settings = settings
        self.url = ""
        self.fault = fault
        self.asked = 0

    def respond(self, request: HttpRequest) -> HttpReply:
        """Return the reply to a request."""
        self.asked += 1
        if self.fault in _STATUS and not (self.fault == "missing" and request.path == b"/latest/api/token"):
            return HttpReply(_STATUS[self.fault])
        return HttpReply(body=self._body(request.path), delay=SLOW_SECONDS if self.fault == "slow" else 0.0)

    def refuse(self, refusal: Refusal) -> HttpReply:
        """Return the reply to an incomplete request."""
        return refuse(refusal)

    def _body(self, path: bytes) -> bytes:
        if path == b"/latest/api/token":
            return b"metadata-token"
        return _ROLE if path == _ROLES else self._keys()

    def _keys(self) -> bytes:
        settings, now = self._settings, time.time()
        token = settings.session_token or (f"token-{self.asked}" if settings.token_lifetime is not None else "")
        keys = {
            "Code": "Success",
            "AccessKeyId": settings.access_key,
            "SecretAccessKey": settings.secret_key,
            "Token": token,
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + _LIFETIME)),
        }
        return json.dumps(keys).encode()


@asynccontextmanager
async def serving_metadata(metadata: Metadata, host: str, port: int) -> AsyncIterator[Metadata]:
    """Run a metadata service in the current event loop while the context lasts.

    Raises:
        OSError: if the address, its `filename`, cannot be listened on.
    """
    from emulator.connection import serving_connections  # noqa: PLC0415 - its parser is an extra: see --help without

    async with serving_connections(host, port, metadata) as metadata.url:
        yield metadata


@contextmanager
def running_metadata(settings: EmulatorSettings | None = None, fault: str = "none") -> Iterator[Metadata]:
    """Run a metadata service in its own thread, on a free port of loopback, while the context lasts."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    metadata = Metadata(settings or EmulatorSettings(), fault)

    async def serve() -> None:
        stop = asyncio.Event()
        async with serving_metadata(metadata, "127.0.0.1", 0):
            started.set_result((asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="metadata", daemon=True)
    thread.start()
    loop, stop = started.result(30)
    try:
        yield metadata
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
