"""docs/mapping.md tells the truth: every example on it runs, and its tables name what the code knows."""

import gzip
import hashlib
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyspark import __version__ as spark_version
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from expectations.rules import RULES
from jobs import build_events, draft_mapping
from jobs.reading.mappings import MappingText, checked_mapping, find_mapping
from tests.judged_records import judged_rows, told_of
from transforms.columns import FATE, RAW, Fate
from transforms.limits import RESERVED_PROPERTY_KEYS
from transforms.mapping.expressions import FUNCTIONS
from transforms.mapping.model import EVENT_FIELDS, FORMATS, MISSING_WORDS, OWN_OPTIONS

PAGE = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text("utf-8")
FENCE = re.compile(r"^```(\w+) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"(?:^\|[^\n]*\|\n)+", re.MULTILINE)
DERIVED = re.compile(r"[0-9a-f]{64}")

Cells = dict[str, str]


@dataclass
class Example:
    title: str
    mapping: str
    language: str = ""
    input: str = ""
    expected: list[Cells] = field(default_factory=list)


def _cells(line: str) -> Iterator[str]:
    return (cell.replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1])


def table(text: str) -> list[Cells]:
    header, _, *rows = [[cell.strip() for cell in _cells(line)] for line in text.splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


def table_under(heading: str) -> list[Cells]:
    found = TABLE.search(PAGE, PAGE.index(f"{heading}\n"))
    assert found
    return table(found.group())


def block(language: str, purpose: str) -> str:
    (text,) = [text for *kind, text in FENCE.findall(PAGE) if kind == [language, purpose]]
    return str(text)


def examples() -> list[Example]:
    found: list[Example] = []
    title = ""
    for part in re.finditer(rf"^##+ ([^\n]*)$|{FENCE.pattern}|{TABLE.pattern}", PAGE, re.MULTILINE | re.DOTALL):
        heading, language, purpose, text = part.groups()
        title = heading or title
        if (language, purpose) == ("toml", "mapping"):
            found.append(Example(title, text))
        elif purpose == "input":
            found[-1].language, found[-1].input = language, text
        elif part.group().startswith("| fate |") and found and not found[-1].expected:
            found[-1].expected = table(part.group())
    return found


def write(example: Example, spark: SparkSession, log: Path) -> Path:
    if example.language == "sql":
        spark.sql(example.input).coalesce(1).write.parquet(str(log))
    else:
        log.write_text(example.input, "utf-8")
    return log


def rows_given(example: Example, spark: SparkSession, log: Path) -> list[Row]:
    return judged_rows(spark, checked_mapping(MappingText("page.toml", example.mapping), spark), log)


def shown(row: Row) -> Cells:
    """A row as the page's tables show it, empty cells left out."""
    told = told_of(row)
    reasons = {"reasons": ", ".join(told.pop("reasons"))} if "reasons" in told else {}
    return reasons | {name: _text(value) for name, value in told.items()}


def _text(value: Any) -> str:
    if isinstance(value, list | dict):
        return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return f"{value[:8]}…" if DERIVED.fullmatch(str(value)) else str(value)


def in_order(rows: list[Cells]) -> list[Cells]:
    return sorted(rows, key=lambda row: sorted(row.items()))


EXAMPLES = examples()


@pytest.fixture(scope="module")
def rows_of(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Example], list[Row]]:
    """Runs an example once, however many tests look at what it gave."""
    seen: dict[str, list[Row]] = {}

    def rows(example: Example) -> list[Row]:
        if example.mapping not in seen:
            seen[example.mapping] = rows_given(
                example, spark, write(example, spark, tmp_path_factory.mktemp("example") / "log")
            )
        return seen[example.mapping]

    return rows


def test_page_has_an_example_of_every_kind() -> None:
    mappings = [tomllib.loads(example.mapping) for example in EXAMPLES]
    assert [mapping["extends"] for mapping in mappings if "source" not in mapping] == ["otto"]
    sources = [mapping["source"] for mapping in mappings if "source" in mapping]
    kinds = {(source["format"], source.get("options", {}).get("header")) for source in sources}
    assert kinds == {("json", None), ("csv", None), ("csv", "true"), ("text", None), ("parquet", None), ("w3c", None)}
    assert all(example.input and example.expected for example in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title.replace(" ", "-"))
def test_example_gives_its_table(example: Example, rows_of: Callable[[Example], list[Row]]) -> None:
    rows = rows_of(example)
    columns = example.expected[0].keys()
    derived = {"eventId", "sessionId"} - columns  # the only fields that a table may pass over
    actual = [{name: text for name, text in shown(row).items() if name not in derived} for row in rows]
    expected = [{name: text for name, text in row.items() if text} for row in example.expected]
    assert in_order(actual) == in_order(expected)


def test_byte_order_mark_crlf_and_gzip_do_no_harm(
    spark: SparkSession, tmp_path: Path, rows_of: Callable[[Example], list[Row]]
) -> None:
    (example,) = [example for example in EXAMPLES if example.title == "CSV" and "multiLine" not in example.mapping]
    text = example.input.replace("\n", "\r\n").encode("utf-8-sig")
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(text))
    rows = rows_given(example, spark, tmp_path / "*.gz")
    assert in_order([shown(row) for row in rows]) == in_order([shown(row) for row in rows_of(example)])


def test_derived_event_ids_are_the_hash_that_the_page_describes(rows_of: Callable[[Example], list[Row]]) -> None:
    order = [row["field"].strip("`") for row in table_under("## eventId and duplicates")]
    rows = [row for example in EXAMPLES for row in rows_of(example) if row[FATE] in (Fate.VALID, Fate.DUPLICATE)]
    derived = [row for row in rows if DERIVED.fullmatch(row["eventId"])]
    assert len(derived) > 20
    for row in derived:
        values = {name: row["micros"] if name == "sentAt" else row[name] for name in order}
        if DERIVED.fullmatch(values["sessionId"] or ""):
            del values["sessionId"]
        texts = {name: _text(values[name]) for name in order if values.get(name) is not None}
        content = ";".join(f"{name}={len(text)}:{text}" for name, text in texts.items())
        assert hashlib.sha256(content.encode()).hexdigest() == row["eventId"], content


def test_content_that_the_page_quotes_is_the_events(rows_of: Callable[[Example], list[Row]]) -> None:
    quoted = hashlib.sha256(block("text", "content").removesuffix("\n").encode()).hexdigest()
    (example,) = [example for example in EXAMPLES if example.title == "eventId and duplicates"]
    assert [row["eventId"] for row in rows_of(example)].count(quoted) == 2  # the event and its duplicate
    assert f"| {quoted[:8]}… |" in PAGE


def build(folder: Path, mapping: str, words: list[str]) -> int:
    """Run the job on a command line of the page, its files in `folder`; relative paths would be the JVM's affair."""
    (folder / "shop.jsonl").write_text(EXAMPLES[0].input)
    (folder / mapping).write_text(block("toml", "broken") if mapping == "broken.toml" else EXAMPLES[0].mapping)
    places = {"shop.jsonl": str(folder / "shop.jsonl"), "/tmp/try": str(folder / "try")}
    return build_events.main([places.get(word, word) for word in words])


def words_of(command: str) -> list[str]:
    """The job's arguments in a command of the page."""
    words = shlex.split(command.replace("\\\n", ""))
    job = words.index("jobs/build_events.py")
    assert words[:job] == ["spark-submit", "--master", "local[*]"]
    assert words[-2:] == ["2>", "try.log"]
    return words[job + 1 : -2]


def test_trying_the_first_mapping(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert build(tmp_path, "shop.toml", words_of(block("sh", ""))) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    documented = json.loads(block("json", "summary"))
    assert {name: value for name, value in summary.items() if name not in ("runId", "seconds")} == documented
    exec(block("python", "quarantine").replace("/tmp/try", str(tmp_path / "try")), {})
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(block("text", "quarantine").splitlines())
    assert build(tmp_path, "shop.toml", words_of(block("sh", "retry"))) == 0
    retried = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (retried["read"], retried["events"], retried["quarantined"]) == (2, 0, 2)


def test_the_draft_of_the_page_runs(spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(block("sh", "draft"))
    assert words[3:] == ["jobs/draft_mapping.py", "--input", "shop.jsonl", ">", "shop.toml", "2>", "draft.log"]
    (tmp_path / "shop.jsonl").write_text(EXAMPLES[0].input)
    assert draft_mapping.main(["--input", str(tmp_path / "shop.jsonl")]) == 0
    found = tomllib.loads(capsys.readouterr().out)
    assert found["event"] | {"properties": {}} == tomllib.loads(EXAMPLES[0].mapping)["event"] | {"properties": {}}


def test_a_preview_shows_what_the_page_shows(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert build(tmp_path, "shop.toml", words_of(block("sh", "preview"))) == 0
    *table, summary = capsys.readouterr().out.splitlines()
    assert table == block("text", "preview").splitlines()
    counts = {name: json.loads(summary)[name] for name in ("read", "candidates", "events", "quarantined", "duplicates")}
    assert counts == {"read": 5, "candidates": 5, "events": 2, "quarantined": 2, "duplicates": 1}
    assert {path.name for path in tmp_path.iterdir()} == {"shop.jsonl", "shop.toml"}


def test_six_mistakes_are_six_lines(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--input", "shop.jsonl", "--mapping", "broken.toml", "--lake", "/tmp/try", "--batch", "try"]
    assert build(tmp_path, "broken.toml", words) == 2
    told, documented = capsys.readouterr().err.splitlines(), block("text", "refusal").splitlines()
    assert len(documented) == 6
    if not spark_version.startswith("4.3"):  # other versions of Spark have other words, at the same places
        told, documented = ([re.sub(r"(\] \w+:).*", r"\1", line) for line in lines] for lines in (told, documented))
    assert told == documented
    assert {path.name for path in (tmp_path / "try").iterdir()} == {"runs"}


def test_reason_codes_are_those_of_the_rules() -> None:
    told = next(table(found.group()) for found in TABLE.finditer(PAGE) if found.group().startswith("| code |"))
    assert [row["code"].strip("`") for row in told] == [rule.code for rule in RULES]


def test_remedies_and_folded_expressions_are_spark_sql(spark: SparkSession) -> None:
    cells = [row.get("what to do", "") for found in TABLE.finditer(PAGE) for row in table(found.group())]
    remedies = [code for cell in cells for code in re.findall(r"`([^`]+\([^`]+)`", cell)]
    (nested,) = re.findall(r"^    explode = .*$", PAGE, re.MULTILINE)
    remedies = [re.sub(r'^where = "(.*)"$', r"\1", remedy) for remedy in remedies] + [tomllib.loads(nested)["explode"]]
    assert len(remedies) > 8
    names = ["type", "session", "id", "source", "text"]
    columns = [f"{name} STRING" for name in names] + ["events ARRAY<INT>", "shown ARRAY<STRING>", "value DOUBLE"]
    columns.append("a ARRAY<STRUCT<id: STRING, b: ARRAY<STRUCT<sku: STRING>>>>")
    assert spark.createDataFrame([], ", ".join(columns)).selectExpr(*remedies).collect() == []


def test_times_are_read_by_their_expressions(spark: SparkSession) -> None:
    for row in table_under("## Times"):
        expression = row["expression"].strip("`")
        values = re.findall(r"`\"?([^`\"]+)\"?`", row["in the log"]) or [row["in the log"]]
        for value in values:
            at = int(value.split(",")[0]) if value[:10].isdigit() and "`" not in row["in the log"] else value
            times = spark.createDataFrame([(at, "2024-01-02", "09:15:00")], ["at", "day", "time"])
            read = times.select(F.expr(expression).cast("string")).first()
            assert read is not None and read[0] is not None and read[0].startswith("2024-01-02 "), (value, expression)
            assert "09:15:00" in read[0] or value == "2024-01-02"


def test_tables_of_keys_name_what_a_mapping_may_hold() -> None:
    def keys(heading: str) -> set[str]:
        return {row["key"].strip("`") for row in table_under(heading)}

    assert keys("### `[source]`") == {
        "format",
        "framing",
        "schema",
        "optional",
        "options",
        "pattern",
        "patterns",
        "missing",
        "partitions",
    }
    assert keys("### `[record]`") == {"where", "explode"}
    assert keys("### `[event]`") == set(EVENT_FIELDS)
    assert set(re.findall(r"`(\w+)`", table_under("### `[source]`")[0]["meaning"])) == set(FORMATS)


def test_reserved_names_are_named() -> None:
    names = {name.lower() for name in re.findall(r"`(\w+)`", PAGE)}
    assert names >= RESERVED_PROPERTY_KEYS | set(OWN_OPTIONS)


def test_shipped_mappings_are_named(spark: SparkSession) -> None:
    sentence = PAGE[PAGE.index("ships with the project") : PAGE.index("They are good ones")]
    shipped = {path.stem for path in (Path(__file__).parents[2] / "transforms" / "mappings").glob("*.toml")}
    assert set(re.findall(r"`(\w+)`", sentence)) == shipped
    assert all(find_mapping(name, spark).text for name in shipped)
    assert RAW in PAGE


def test_links_lead_to_headings() -> None:
    headings = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^##+ (.*)$", PAGE, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= headings


def test_the_page_lists_the_functions_that_may_be_used_and_no_others() -> None:
    listed = {row["kind"]: tuple(re.findall(r"`(\w+)`", row["functions"])) for row in table_under("### Functions")}
    named = {kind: tuple(name for name in names if name[0].isalpha()) for kind, names in FUNCTIONS.items()}
    assert listed == {kind: names for kind, names in named.items() if names}


def test_the_page_lists_the_words_that_count_as_missing() -> None:
    section = PAGE.split("### What counts as missing")[1].split("```")[0].split("`missing` in")[0]
    words = {word for word in MISSING_WORDS if not word.startswith("0000")}
    assert set(re.findall(r"`([^`]+)`", section)) - set(EVENT_FIELDS) == words
