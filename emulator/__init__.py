"""A local Amazon Personalize PutEvents service for tests, demonstrations and benchmarks.

Run it with `python -m emulator`, or in a test:

    with emulator.running(Settings(quota=100)) as server:
        client = boto3.client("personalize-events", endpoint_url=server.endpoint_url, ...)

It uses none of the other packages: it checks calls with botocore's model of the service, not with this project's code.
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
