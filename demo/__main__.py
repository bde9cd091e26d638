"""`python -m demo`: write a log, run both jobs, compare; exit 0 if every event is accounted for, 1 if not."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from demo import funnel, run
from demo.day import BATCH
from demo.expected import ExpectedCounts
from demo.received import Received, compare
from demo.workspace import NotOursError, Workspace, prepare
from demo.writer import FEWEST_RECORDS, FILES, write_log

_MAPPING = Path(__file__).with_name("webshop.toml")
_TOLD = 10


def main(arguments: Sequence[str]) -> int:
    """Run the demonstration as the command line says, and return the exit status."""
    options = _parse(arguments)
    started = time.perf_counter()
    try:
        workspace = prepare(options.dir)
        expected = _write(workspace, options.records, options.seed)
        rows, received = _run(workspace, expected)
    except NotOursError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except run.StepFailedError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    print("", *funnel.table(rows), "", sep="\n")
    return _verdict(rows, expected, received, time.perf_counter() - started)


def _write(workspace: Workspace, records: int, seed: int) -> ExpectedCounts:
    with _step(f"{records:,} raw records of a web shop in {FILES} files"):
        return write_log(workspace.raw, records, seed)


def _run(workspace: Workspace, expected: ExpectedCounts) -> tuple[list[funnel.FunnelRow], Received]:
    """Send the log through both jobs to an emulator, and count."""
    batch = ["--lake", str(workspace.lake), "--batch", BATCH]
    source = ["--input", str(workspace.raw), "--mapping", str(_MAPPING)]
    with run.emulator(workspace.root) as url:
        with _step("spark-submit jobs/build_events.py"):
            built = run.run_job("build_events", [*source, *batch], workspace.root)
        target = ["--tracking-id", "demo-tracking-id", "--region", "us-east-1", "--endpoint-url", url]
        with _step("spark-submit jobs/put_events.py"):
            put = run.run_job("put_events", [*batch, *target, "--max-rate", "1000"], workspace.root)
        with _step("comparing event by event with what the service received"):
            received = compare(expected, run.received_events(url))
    rows = funnel.build_rows(expected, built) + funnel.put_rows(expected, put)
    return rows + funnel.received_rows(expected, received), received


def _verdict(rows: Sequence[funnel.FunnelRow], expected: ExpectedCounts, received: Received, seconds: float) -> int:
    """Say what is wrong, or that nothing is."""
    counts = [f"{row.place}: {row.label.strip()} is not as expected" for row in rows if not row.agrees]
    if differences := [*counts, *received.differences]:
        print(*differences[:_TOLD], sep="\n")
        more = f", the first {_TOLD} of them above" if len(differences) > _TOLD else ""
        print(f"demo: FAILED: {len(differences):,} differences{more}")
        return 1
    told = f"{received.event_ids:,} of {len(expected.events):,} event ids received, none twice"
    print(f"demo: every event accounted for ({told}) in {seconds:.0f} s")
    return 0


@contextmanager
def _step(what: str) -> Iterator[None]:
    """Print what is being done, and how long it took."""
    print(f"{what:<62}", end="", flush=True)
    started = time.perf_counter()
    try:
        yield
    except BaseException:
        print(flush=True)  # the error gets its own line
        raise
    print(f"{time.perf_counter() - started:6.1f} s", flush=True)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__, allow_abbrev=False)
    parser.add_argument("--records", type=_at_least(FEWEST_RECORDS), default=100_000, help="lines of raw log")
    parser.add_argument("--seed", type=int, default=1, help="the same seed writes the same log")
    parser.add_argument("--dir", type=Path, default=Path("build/demo"), help="where to work; emptied first")
    return parser.parse_args(arguments)


def _at_least(fewest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if (number := int(text)) < fewest:
            raise argparse.ArgumentTypeError(f"must be {fewest:,} or more")
        return number

    parse.__name__ = "number"  # the name in argparse's message
    return parse


def _leave(*_: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    # Leave by an exception, so that the emulator is stopped.
    signal.signal(signal.SIGTERM, _leave)
    # A terminal that has no check mark gets a question mark, not a stack trace.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    sys.exit(main(sys.argv[1:]))
