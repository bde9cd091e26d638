"""A local Amazon Personalize PutEvents service for tests, demonstrations and benchmarks.

Run it by `python -m emulator`, or within a test:

    with emulator.running(Settings(quota=100)) as server:
        client = boto3.client("personalize-events", endpoint_url=server.endpoint_url, ...)

It needs nothing of the other packages: it judges by botocore's model of the service, not by our idea of it.
"""

from emulator.faults import Faults, is_poison
from emulator.metadata import Metadata, running_metadata
from emulator.server import Server, running
from emulator.settings import EmulatorClock, EmulatorSettings

__all__ = [
    "EmulatorClock",
    "EmulatorSettings",
    "Faults",
    "Metadata",
    "Server",
    "is_poison",
    "running",
    "running_metadata",
]
