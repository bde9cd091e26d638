"""Run a small build and its delivery in one JVM, so that it loads the classes of the tests. `make` archives them.

A JVM that finds its classes in such an archive (Java's class data sharing) starts a session in half the processor time.
"""

import sys
import tempfile
from pathlib import Path

import emulator
from demo.writer import FEWEST_RECORDS, write_log
from jobs import build_events, put_events

_MAPPING = Path(__file__).parents[1] / "demo" / "webshop.toml"


def main() -> int:
    """Run both jobs; the first exit status that is not 0, or 0."""
    with tempfile.TemporaryDirectory() as folder:
        raw, lake = Path(folder) / "raw", Path(folder) / "lake"
        raw.mkdir()
        write_log(raw, FEWEST_RECORDS, seed=1)
        batch = ["--lake", str(lake), "--batch", "one"]
        built = build_events.main(["--input", str(raw), "--mapping", str(_MAPPING), *batch])
        with emulator.running(emulator.EmulatorSettings()) as server:
            service = ["--tracking-id", "classes", "--region", "us-east-1", "--endpoint-url", server.endpoint_url]
            return built or put_events.main([*batch, *service])


if __name__ == "__main__":
    sys.exit(main())
