"""`python -m emulator`: serve until SIGINT or SIGTERM."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from importlib.util import find_spec

from emulator.listener import raise_file_limit
from emulator.metadata import Metadata, serving_metadata
from emulator.options import parse_settings
from emulator.server import serving
from emulator.settings import EmulatorClock, EmulatorSettings


def main(arguments: Sequence[str]) -> int:
    """Serve with the options of the command line, and return the exit status.

    It is 0 after a signal to stop, and 2 if the address cannot be listened on or the parser is not installed.
    """
    settings = parse_settings(arguments)
    if find_spec("httptools") is None:
        sys.stderr.write("emulator: httptools is missing: pip install 'clickstream-events[emulator]'\n")
        return 2
    raise_file_limit()
    try:
        asyncio.run(_serve(settings))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        address = error.filename or f"{settings.host}:{settings.port}"
        sys.stderr.write(f"emulator: cannot listen on {address}: {reason}\n")
        return 2
    return 0


async def _serve(settings: EmulatorSettings) -> None:
    stop = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(settings, EmulatorClock()))
        if settings.metadata_port is not None:
            service = Metadata(settings, settings.metadata_fault)
            await stack.enter_async_context(serving_metadata(service, settings.host, settings.metadata_port))
            print(f"metadata service on {service.url}", flush=True)  # noqa: T201 - as below
        print(f"emulator ready on {server.endpoint_url}", flush=True)  # noqa: T201 - scripts wait for this line
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
