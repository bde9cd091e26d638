"""The page for whoever is woken at night: it leaves out no exit code and no check, and its commands are right."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import StructField, StructType

from expectations import checks
from expectations.threshold_reader import read_thresholds
from jobs import build_events, put_events, replay_events
from jobs.errors import Exit
from transforms.schemas import DEAD_LETTERS, QUARANTINE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
PARSERS: dict[str, Callable[[list[str]], Any]] = {
    "build_events": build_events.parse,
    "put_events": put_events.parse,
    "replay_events": replay_events.parse,
}
FIELD = re.compile(r"\.FIELD$")


def commands() -> list[str]:
    """The page's shell commands, a line each; comments and continued lines are the shell's affair."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.replace("\\\n", "").splitlines()]


def names() -> dict[str, str]:
    """The names that the page sets for its commands."""
    assigned = (re.match(r"([A-Z_]+)=(\S+)", command) for command in commands())
    return {found[1]: shlex.split(found[2])[0] for found in assigned if found}


def section(title: str) -> str:
    """The text below a heading, up to the next of its level."""
    level = title.partition(" ")[0]
    start = PAGE.index(f"\n{title}\n") + len(title)
    end = re.search(rf"^{level} ", PAGE[start:], re.MULTILINE)
    return PAGE[start : start + end.start()] if end else PAGE[start:]


def rows(text: str) -> Iterator[list[str]]:
    """The rows of the tables in a text, their headers left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if not line.startswith("|---") and not after.startswith("|---"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def checks_of_the_page() -> list[str]:
    return [name for cells in rows(section("## Exit code 3")) for name in re.findall(r"`([^`]+)`", cells[0])]


def test_every_exit_code_has_its_row_and_its_section() -> None:
    table = PAGE[: PAGE.index("\n## ")]
    codes = [int(cells[0].split(",")[0]) for cells in rows(table)]
    assert codes == sorted(int(code) for code in Exit)
    linked = {int(code) for code in re.findall(r"\(#exit-code-(\d)\)", table)}
    assert linked == {int(code) for code in Exit} - {0}
    assert all(list(rows(section(f"## Exit code {code}"))) for code in linked)


def test_every_check_has_a_row_that_says_what_it_means_and_what_to_do() -> None:
    described = checks_of_the_page()
    assert len(described) == len(set(described))
    alone = {name for name in described if not FIELD.search(name)}
    assert alone == {check.name for check in checks.CHECKS}
    families = {FIELD.sub("", name) for name in described} - alone
    assert families == set(checks.FIELD_FAMILIES)
    assert all(all(cells) for cells in rows(section("## Exit code 3")))


def test_the_commands_of_our_jobs_are_ones_that_they_take() -> None:
    submitted = [command for command in commands() if command.startswith("spark-submit")]
    parsed = []
    for command in submitted:
        _, job, *argv = shlex.split(Template(command).substitute(names()))
        parsed.append(PARSERS[Path(job).stem](argv))
        assert (ROOT / job).is_file()
    assert len(parsed) >= 8
    assert {one.batch for one in parsed} == {names()["BATCH"]}
    assert {one.lake for one in parsed} == {names()["LAKE"]}


def test_the_limit_that_is_changed_is_one_that_there_is() -> None:
    (text,) = [shlex.split(command)[1] for command in commands() if command.startswith("printf")]
    thresholds, faults = read_thresholds(text.replace("\\n", "\n"))
    assert not faults and thresholds.changed.keys() == {"without_item"}


def test_no_name_is_used_that_is_not_set() -> None:
    used = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", "\n".join(commands())))
    assert used <= set(names()), used - set(names())


def lay_down(spark: SparkSession, path: Path, schema: StructType, records: list[dict[str, Any]]) -> None:
    nullable = StructType([StructField(field.name, field.dataType) for field in schema])
    spark.createDataFrame(records, nullable).write.parquet(str(path))


def refused(text: str, *codes: str) -> dict[str, Any]:
    reasons = [{"code": code, "field": None, "message": "m"} for code in codes]
    return {"stage": "validate", "reasons": reasons, "record": text, "sourceFile": "file:/log"}


def dead(code: str, kind: str) -> dict[str, Any]:
    at = datetime(2024, 1, 2, tzinfo=UTC)
    return {"eventId": "e", "sessionId": "s", "eventType": kind, "sentAt": at, "errorCode": code, "errorMessage": "w"}


def test_the_queries_give_what_they_say(spark: SparkSession, tmp_path: Path) -> None:
    batch = names()["BATCH"]
    for table, schema, records in (
        (
            "quarantine",
            QUARANTINE,
            [refused("one", "sentAt_missing"), refused("two", "sentAt_missing", "eventType_missing")],
        ),
        (
            "dead_letters",
            DEAD_LETTERS,
            [dead("InvalidInputException", "view"), dead("unanswered", "buy"), dead("unanswered", "buy")],
        ),
    ):
        lay_down(spark, tmp_path / table / f"batch={batch}" / "runId=r", schema, records)
    queries = [shlex.split(command)[1] for command in commands() if command.startswith("query '")]
    found = [spark.sql(Template(query).substitute(lake=tmp_path, batch=batch)).collect() for query in queries]
    by_reason, of_one_reason, by_code, of_one_code = ([tuple(row) for row in result] for result in found)
    assert by_reason == [("sentAt_missing", 2), ("eventType_missing", 1)]
    assert sorted(of_one_reason) == [("file:/log", "one"), ("file:/log", "two")]
    assert by_code == [("unanswered", "w", "buy", 2), ("InvalidInputException", "w", "view", 1)]
    assert len(of_one_code) == 1


def words_of_the_code() -> str:
    """All texts of the jobs and the DAG, what is filled into them left out."""
    texts = []
    for folder in ("jobs", "delivery", "dags", "expectations"):
        for file in (ROOT / folder).rglob("*.py"):
            texts += [
                "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                if isinstance(node, ast.JoinedStr)
                else str(node.value)
                for node in ast.walk(ast.parse(file.read_text("utf-8")))
                if isinstance(node, ast.JoinedStr | ast.Constant)
            ]
    return "\n".join(texts)


@pytest.mark.parametrize("title", ["## Exit code 1", "## Exit code 2", "## Exit code 5"])
def test_what_an_error_is_said_to_say_is_what_it_says(title: str) -> None:
    code = words_of_the_code()
    quoted = [words for cells in rows(section(title)) for words in re.findall(r"`([^`]+)`", cells[0])]
    pieces = [piece.strip(" ,:") for words in quoted for piece in words.split("…")]
    assert len(pieces) > 2 and not [piece for piece in pieces if piece not in code]


def headings(page: str) -> set[str]:
    titles = re.findall(r"^##+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere() -> None:
    for page, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", PAGE):
        text = (ROOT / "docs" / page).read_text("utf-8") if page else PAGE
        assert not anchor or anchor in headings(text), (page, anchor)


def test_links_of_the_airflow_page_lead_here() -> None:
    airflow = (ROOT / "docs" / "airflow.md").read_text("utf-8")
    linked = re.findall(r"\]\(operations\.md#?([^)]*)\)", airflow)
    assert linked and {anchor for anchor in linked if anchor} <= headings(PAGE)


def test_the_dag_sends_at_the_rate_that_put_events_takes_by_itself() -> None:
    """The DAG reads no code of the jobs, so its default is written down a second time."""
    settings = ast.parse((ROOT / "dags" / "clickstream_settings.py").read_text("utf-8"))
    (rate,) = [
        node.value.value
        for node in ast.walk(settings)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "max_rate" and node.value is not None
    ]
    argv = ["--lake", "lake", "--batch", "2024-01-02", "--tracking-id", "t"]
    assert rate == put_events.parse(argv).config.max_rate
