"""How many calls a second the emulator bears: `python tests/emulator/measure_emulator.py [--calls 20000]`.

Starts `python -m emulator` in a process of its own and sends it signed calls of 10 events of about 200 bytes
over kept-alive connections, from a client light enough not to be what is measured. Calls per second of the
server's own CPU time is the figure to compare: it depends least on what else the machine does. Linux only.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import cast
from urllib.parse import urlsplit
from urllib.request import urlopen

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def build_calls(endpoint_url: str, count: int) -> Iterator[bytes]:
    """Yield whole signed HTTP requests."""
    signer = SigV4Auth(Credentials("AKIDEMULATOR", "emulator-secret"), "personalize", "eu-west-1")
    for number in range(count):
        body = json.dumps(build_payload(number)).encode()
        headers = {"Content-Type": "application/json", "Host": urlsplit(endpoint_url).netloc}
        request = AWSRequest("POST", f"{endpoint_url}/events", headers, body)
        signer.add_auth(request)
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        yield f"POST /events HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def build_payload(number: int) -> dict[str, object]:
    """Return one call of 10 events of about 200 bytes."""
    events = [
        {
            "eventId": f"{number:032x}{place:032x}",
            "eventType": "view",
            "sentAt": 1704067200.5 + number,
            "itemId": f"item-{number % 997}",
            "properties": '{"numberOfRatings": "12"}',
        }
        for place in range(10)
    ]
    return {
        "trackingId": "measure",
        "userId": f"user-{number}",
        "sessionId": f"s-{number}",
        "eventList": events,
    }


class Caller(asyncio.Protocol):
    """Sends the next call as soon as the last one is answered."""

    def __init__(self, calls: Iterator[bytes], done: "asyncio.Future[None]") -> None:
        self._calls = calls
        self._done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 200"):
            self._done.set_exception(RuntimeError(data.decode()))
        self._send()

    def _send(self) -> None:
        call = next(self._calls, None)
        if call is not None:
            self._transport.write(call)
        elif not self._done.done():
            self._done.set_result(None)


async def send(endpoint_url: str, calls: list[bytes], connections: int) -> float:
    """Send all calls over so many connections; return the seconds it took."""
    loop = asyncio.get_running_loop()
    address = urlsplit(endpoint_url)
    rest = iter(calls)
    done = [loop.create_future() for _ in range(connections)]
    start = time.perf_counter()
    for future in done:
        await loop.create_connection(partial(Caller, rest, future), str(address.hostname), address.port or 0)
    await asyncio.gather(*done)
    return time.perf_counter() - start


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, from Linux's /proc."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(calls: int, connections: int) -> dict[str, float]:
    """Return the calls, their bytes, and calls a second of the clock and of the server's CPU time."""
    command = [sys.executable, "-m", "emulator", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            endpoint_url = process.stdout.readline().split()[-1]
            requests = list(build_calls(endpoint_url, calls))
            before = cpu_seconds(process.pid)
            seconds = asyncio.run(send(endpoint_url, requests, connections))
            used = cpu_seconds(process.pid) - before
            with urlopen(f"{endpoint_url}/_emulator/summary") as answer:
                assert json.load(answer)["events"] == 10 * calls
        finally:
            process.terminate()
    return {
        "calls": calls,
        "callBytes": len(requests[-1]),
        "callsPerSecond": round(calls / seconds),
        "callsPerCpuSecond": round(calls / used),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure how many calls a second the emulator bears.")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=8)
    chosen = parser.parse_args()
    print(json.dumps(measure(chosen.calls, chosen.connections)))  # noqa: T201 - its output is the terminal
