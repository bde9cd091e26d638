"""Exit code 4 says why, and what to type: the commands are run as they are printed."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from delivery.http.endpoint import TrackerEndpoint
from emulator import Faults, Server
from jobs.deliver.dead_letters import look_command, retry_command
from jobs.deliver.delivery_config import DeliveryConfig
from jobs.put_events import parse
from tests.jobs.conftest import Job
from tests.jobs.lakes import day, days, lay

USUAL = DeliveryConfig(500.0)
Serve = Callable[..., Server]


def told(caplog: pytest.LogCaptureFixture) -> dict[str, str]:
    """What was logged of dead letters: the count, and the commands."""
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    found = {"count": next(line for line in lines if "are in dead_letters" in line)}
    for name, words in (("look", "to see why: "), ("retry", "to send them again, after a correction: ")):
        found[name] = next(line.removeprefix(words) for line in lines if line.startswith(words))
    return found


def test_put_events_says_the_codes_and_two_commands_that_do_what_they_say(
    spark: SparkSession, lake: Path, put: Job, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    batch = days(1, 2, 12)[day(0)]
    batch[3]["itemId"], batch[20]["itemId"] = "bad-1", "bad-2"
    lay(spark, lake, {"2024-01-02": batch})
    server = serve(faults=Faults(poison_items=frozenset({"bad-1", "bad-2"})))
    assert put(server.endpoint_url).code == 4
    said = told(caplog)
    assert said["count"] == "2 events are in dead_letters, by the service's error code: InvalidInputException 2"
    assert not any(word in caplog.text for word in ("bad-1", "bad-2", "u-0", "u-1", batch[3]["eventId"]))
    tool, *_, query = shlex.split(said["look"])
    (row,) = spark.sql(query).collect()
    assert (tool, row.errorCode, row.eventType, row.events) == ("spark-sql", "InvalidInputException", "view", 2)
    submit, script, *argv = shlex.split(said["retry"])
    assert (submit, script) == ("spark-submit", "jobs/put_events.py")
    arguments = parse(argv)
    assert (arguments.kind, arguments.batch, arguments.endpoint_url) == (
        "dead-letters",
        "2024-01-02",
        server.endpoint_url,
    )
    caplog.clear()
    again = put(server.endpoint_url)  # a run that finds the batch settled says the same
    assert again.code == 4 and told(caplog) == said


def test_replay_says_it_of_all_batches_at_once(
    spark: SparkSession, tmp_path: Path, replay: Job, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    batches = days(3, 1, 12)
    batches[day(0)][3]["itemId"] = batches[day(2)][0]["itemId"] = batches[day(2)][5]["itemId"] = "bad"
    root = tmp_path / "lake of `all` days"
    lay(spark, root, batches)
    server = serve(faults=Faults(poison_items=frozenset({"bad"})))
    assert replay(root, day(0), day(2), url=server.endpoint_url).code == 4
    said = told(caplog)
    assert said["count"].endswith("code: InvalidInputException 3") and said["count"].startswith("3 events ")
    rows = spark.sql(shlex.split(said["look"])[-1]).collect()
    assert {(row.batch if isinstance(row.batch, str) else str(row.batch), row.events) for row in rows} == {
        (day(0), 1),
        (day(2), 2),
    }
    assert said["retry"].startswith(f"for batch in {day(0)} {day(2)}; do spark-submit jobs/put_events.py --lake ")
    assert said["retry"].endswith(" --retry-dead-letters; done")
    argv = shlex.split(said["retry"].removesuffix("; done").split("; do ")[1])[2:]
    assert argv[argv.index("--lake") + 1] == str(root)


def test_a_password_in_an_endpoints_url_is_not_repeated() -> None:
    command = retry_command("/lake", TrackerEndpoint("t", "eu-west-1", "https://me:hush@own.example"), ["b"], USUAL)
    assert "hush" not in command and "--endpoint-url ..." in command


def test_the_regions_own_endpoint_is_not_named_and_any_other_is() -> None:
    own = "https://personalize-events.us-east-1.amazonaws.com"
    fips = own.replace("events", "events-fips")
    services = {url: TrackerEndpoint("t", "us-east-1", url, regional=True) for url in (own, fips)}
    named = {url: retry_command("/lake", service, ["b"], USUAL) for url, service in services.items()}
    assert "--endpoint-url" not in named[own] and f"--region us-east-1 --endpoint-url {fips} " in named[fips]


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (USUAL, []),
        (DeliveryConfig(300.0), ["--max-rate", "300"]),
        (DeliveryConfig(0.5, 8, 40_000), ["--max-rate", "0.5", "--max-in-flight", "8", "--channel-port", "40000"]),
        (DeliveryConfig(500.0, accept_failures=True), ["--accept-failures"]),
        (DeliveryConfig(1_000_000.0), ["--max-rate", "1000000"]),
    ],
)
def test_a_retry_goes_no_faster_than_what_it_repeats(config: DeliveryConfig, options: list[str]) -> None:
    words = shlex.split(
        retry_command(
            "/lake",
            TrackerEndpoint("t", "eu-west-1", "https://personalize-events.eu-west-1.amazonaws.com"),
            ["b"],
            config,
        )
    )
    assert words[words.index("eu-west-1") + 1 : -1] == options
    assert parse(words[2:]).config == config


@pytest.mark.parametrize("root", ["/a b", "/it's", "s3a://bucket/lake", "/back`tick", '/dollar$HOME"'])
def test_commands_are_quoted_for_the_shell(root: str) -> None:
    assert (
        shlex.split(retry_command(root, TrackerEndpoint("t $x", "eu-west-1", "http://own.example"), ["b"], USUAL))[3]
        == root
    )
    assert root.replace("`", "``") in shlex.split(look_command(root, ["d"]))[-1]
