"""A first mapping for a log, to standard output: `spark-submit jobs/draft_mapping.py --help`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

if __name__ == "__main__":
    try:
        from jobs.cli.preflight import run_preflight
    except ImportError:  # nothing of ours is there: the script itself says so
        error = "the driver's Python lacks jobs: --py-files clickstream_events.zip brings jobs, pip the rest"
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - no module of ours can be imported
        summary = {"job": "draft_mapping", "batch": None, "exitCode": 2, "error": error}
        print(f"# {json.dumps(summary)}")  # noqa: T201 - as above
        sys.exit(2)
    run_preflight("draft_mapping", [], "nothing was written")

from pyspark.sql import SparkSession

from jobs.building.preview import SAMPLE, count_rows, take_rows
from jobs.cli.arguments import JobParser, check_not_blank
from jobs.cli.run import Run, run_without_lake
from jobs.cli.terminal import write_lines
from jobs.drafting.draft import write_draft
from jobs.drafting.log_files import look_at
from jobs.drafting.presets import find_presets, find_text_presets, write_extension
from jobs.errors import ConfigurationError, Exit
from jobs.lake.filesystem import FileSystem
from jobs.reading.inputs import find_inputs
from jobs.reading.mappings import MappingText, checked_mapping
from jobs.reading.sources import read_records

_MOST_REFUSED: Final = 0.75
"""Share of the candidates that a shipped mapping may refuse of a log that has its columns."""
_KINDS: Final = ("json", "csv", "parquet", "orc", "w3c")


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line, checked.

    Attributes:
        input: paths or globs of raw logs.
        format: of the logs, where it is not to be guessed.
        batch: none.
    """

    input: tuple[str, ...]
    format: str | None
    batch: None = None


def parse(argv: Sequence[str]) -> Arguments:
    """Read the command line.

    Raises:
        ConfigurationError: it is not right.
    """
    parser = JobParser("draft_mapping", description="A first mapping for a log, to standard output.")
    parser.add_argument(
        "--input", nargs="+", required=True, type=check_not_blank, metavar="PATH_OR_GLOB", help="raw logs"
    )
    parser.add_argument("--format", choices=_KINDS, help="their format, if it is guessed wrongly")
    options = parser.parse_args(argv)
    return Arguments(tuple(options.input), options.format)


def draft(spark: SparkSession, arguments: Arguments, run: Run) -> Exit:
    """Look at the starts of some files, write a mapping, and try it on the first records."""
    with run.interruption.cancelling(lambda: run.if_interrupted):
        files = find_inputs(FileSystem(spark), arguments.input).files
        sample = look_at(spark, files, arguments.format)
        for name in find_text_presets() if sample is None else find_presets(spark, sample):
            text = write_extension(name, sample)
            counts = try_mapping(spark, arguments.input, text)
            if isinstance(counts, dict) and counts["quarantined"] <= _MOST_REFUSED * counts["candidates"] > 0:
                heading = [f"A log that the shipped mapping {name} takes: docs/sources.md.", describe_try(counts)]
                return write(run, counts, heading, text)
        if sample is None:
            raise ConfigurationError(
                f"--input: no record of a known form was found at the start of {len(files):,} files: for lines of "
                "text, write a pattern (docs/mapping.md)"
            )
        counts = try_mapping(spark, arguments.input, write_draft(sample))
        heading = [
            f"Drafted from {len(sample.records):,} records of a log of {len(files):,} files.",
            describe_try(counts),
            "Lines with LOOK are guesses. See what becomes of records: build_events --preview 20",
        ]
        return write(run, counts, heading, write_draft(sample))


def try_mapping(spark: SparkSession, inputs: Sequence[str], text: str) -> dict[str, Any] | str:
    """Map the first records; give their counts, or why that does not work."""
    try:
        mapping = checked_mapping(MappingText("the draft", text), spark)
        rows = take_rows(read_records(spark, inputs, mapping), mapping, datetime.now(UTC), SAMPLE)
    except ConfigurationError as error:
        return error.lines[0]
    return count_rows(rows)


def describe_try(counts: dict[str, Any] | str) -> str:
    """Say how many of the first records become events."""
    if isinstance(counts, str):
        return f"LOOK: it does not work yet: {counts}"
    events = counts["events"] + counts["duplicates"]
    return f"Of its first {counts['candidates']:,} candidates {events:,} are events, {counts['quarantined']:,} refused."


def write(run: Run, counts: dict[str, Any] | str, heading: Sequence[str], text: str) -> Exit:
    """Write a mapping, with comments above it, to standard output."""
    if isinstance(counts, dict):
        run.counters.update(counts)
    write_lines(sys.stdout, *[f"# {line}" for line in heading], "", text)
    return Exit.DONE


def main(argv: Sequence[str]) -> int:
    """Run the job; see `--help`."""
    counts = dict.fromkeys(["read", "filtered", "candidates", "events", "quarantined", "duplicates"], 0)
    # A comment, since standard output is a file of TOML.
    run = Run("draft_mapping", {**counts, "reasons": {}}, summary_prefix="# ", if_interrupted="nothing was written")
    return run_without_lake(run, parse, lambda spark, arguments: draft(spark, arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
