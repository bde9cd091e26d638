"""A service on a raw socket, in a thread of its own: it answers any bytes."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Events = list[dict[str, Any]]


def response(status: int, headers: bytes, body: bytes) -> bytes:
    """An HTTP answer of any bytes."""
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, headers, len(body), body)


@contextmanager
def raw_service(answer: Callable[[Events], bytes]) -> Iterator[str]:
    """Answer each call by its events; gives the URL."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while (line := self.rfile.readline()) not in (b"", b"\r\n"):
                length = 0
                while line not in (b"", b"\r\n"):
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                    line = self.rfile.readline()
                self.wfile.write(answer(json.loads(self.rfile.read(length))["eventList"]))
                self.wfile.flush()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, *_: object) -> None:
            """A client that has gone is none."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
