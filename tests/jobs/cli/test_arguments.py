"""Command lines that cannot be right: each option says so, and nothing is started for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from jobs import build_events, put_events, replay_events
from jobs.errors import ConfigurationError

Parse = Callable[[Sequence[str]], object]

BUILD = {
    "--input": "in",
    "--mapping": "apache_combined",
    "--lake": "/lake",
    "--batch": "2024-01-02",
    "--thresholds": __file__,
}
PUT = {"--lake": "/lake", "--batch": "2024-01-02", "--tracking-id": "t", "--region": "eu-west-1"}
PUT |= {"--endpoint-url": "http://localhost:8080"}
REPLAY = {**PUT, "--from": "2024-01", "--to": "2024-02"}
REPLAY.pop("--batch")
CASES = [
    pytest.param(parse, given, option, id=f"{name} {option}")
    for name, parse, given in (
        ("build_events", build_events.parse, BUILD),
        ("put_events", put_events.parse, PUT),
        ("replay_events", replay_events.parse, REPLAY),
        ("replay_events", replay_events.parse, {**REPLAY, "--bulk-export": "/out"}),
    )
    for option in given
]


def argv(given: dict[str, str]) -> list[str]:
    return [word for pair in given.items() for word in pair]


@pytest.mark.parametrize("bad", ["\udcff", "\n", "\0", "\x1b[2J", "\x7f", "\u2028"])
@pytest.mark.parametrize(("parse", "given", "option"), CASES)
def test_no_option_takes_control_characters_or_bytes_that_are_no_text(
    parse: Parse, given: dict[str, str], option: str, bad: str
) -> None:
    parse(argv(given))
    with pytest.raises(ConfigurationError) as raised:
        parse(argv(given | {option: f"{given[option]}{bad}x"}))
    assert option in raised.value.lines[0]
    assert bad not in raised.value.lines[0], "it would break the log"


def test_a_tracking_id_that_is_no_text_ends_the_run_with_2(capfd: pytest.CaptureFixture[str]) -> None:
    assert put_events.main(argv(PUT | {"--tracking-id": "ü\udcff"})) == 2
    out, err = capfd.readouterr()
    assert "--tracking-id: holds bytes that are not UTF-8" in err
    assert json.loads(out.splitlines()[-1])["exitCode"] == 2


@pytest.mark.parametrize("lake", ["/tmp/café", "/tmp/a b", "/tmp/\N{NO-BREAK SPACE}", "/tmp/👩\N{ZERO WIDTH JOINER}🚀"])
def test_any_other_text_may_stand_in_a_path(lake: str) -> None:
    assert put_events.parse(argv(PUT | {"--lake": lake})).lake == lake


@pytest.mark.parametrize(
    ("wrong", "lines"),
    [
        ({"--mapping": "/no/such.toml"}, ["--mapping /no/such.toml: no such file, and no mapping of that name ships"]),
        ({"--thresholds": "/no/such.toml"}, ["--thresholds /no/such.toml: cannot be read as UTF-8 text"]),
        (
            {"--mapping": "retial", "--thresholds": "/"},
            ["--mapping retial: no such file", "--thresholds /: cannot be read as UTF-8 text"],
        ),
    ],
)
def test_a_file_that_is_not_there_is_told_before_spark_is_started(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], wrong: dict[str, str], lines: list[str]
) -> None:
    monkeypatch.setattr("jobs.cli.run.open_session", pytest.fail)
    assert build_events.main(argv(BUILD | wrong)) == 2
    out, err = capfd.readouterr()
    told = [line.removeprefix("error: ") for line in err.splitlines() if line.startswith("error: ")]
    assert len(told) == len(lines) and all(map(str.startswith, told, lines))
    assert json.loads(out.splitlines()[-1])["batch"] == BUILD["--batch"]


def test_files_that_only_spark_can_read_are_left_to_it() -> None:
    uris = {"--mapping": "s3a://conf/shop.toml", "--thresholds": "s3a://conf/gate.toml"}
    assert build_events.parse_and_check(argv(BUILD | uris)).mapping == uris["--mapping"]


@pytest.mark.parametrize(
    ("words", "batch"),
    [
        (["--interval", "yesterday"], "2024-01-02"),
        (["--batch", "2024-02-30"], "2024-01-02"),
        (["--no-such-option"], "2024-01-02"),
    ],
)
def test_a_summary_names_the_batch_though_another_option_is_wrong(
    capfd: pytest.CaptureFixture[str], words: list[str], batch: str
) -> None:
    assert build_events.main([*argv(BUILD), *words]) == 2
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["batch"] == batch
