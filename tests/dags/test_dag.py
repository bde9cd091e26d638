"""The DAG and its settings, in Airflow's own Python and without Spark.

`make test-airflow` runs them in `.venv-airflow`.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

pytest.importorskip("airflow", reason="Airflow is not in this environment: run `make test-airflow`")

from airflow.cli.cli_parser import get_parser
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError
from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from pendulum import instance, parse

from clickstream_batches import BatchSchedule, ScheduleError
from clickstream_settings import DagSettings, SettingsError, read_settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "airflow.md").read_text()
FIVE_LINES = re.search(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1]
DAG_FILE = "clickstream_to_personalize.py"


def load(folder: Path) -> ModuleType:
    """Parse the DAG as Airflow does, from a link."""
    (folder / DAG_FILE).symlink_to(ROOT / "dags" / DAG_FILE)
    spec = importlib.util.spec_from_file_location("clickstream_to_personalize", folder / DAG_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(start: datetime | None, length: timedelta = timedelta(days=1), **conf: object) -> SimpleNamespace:
    """Stands for a DAG run, which has no interval where it has no date."""
    end = None if start is None else start + length
    return SimpleNamespace(data_interval_start=start, data_interval_end=end, conf=conf)


def rendered(dag: ModuleType, operator: Any, dag_run: SimpleNamespace, **params: object) -> dict[str, str]:
    """Render an operator's options as a worker does."""
    return dict(as_rendered(dag, operator, operator.options, dag_run, **params))


def as_rendered(dag: ModuleType, operator: Any, template: Any, dag_run: SimpleNamespace, **params: object) -> Any:
    defaults = {name: param.value for name, param in operator.dag.params.items()}
    context = {"dag_run": dag_run, "params": defaults | params}
    return operator.render_template(template, context, dag.build_events.dag.get_template_env())


@pytest.fixture
def load_with(tmp_path: Path) -> Callable[..., ModuleType]:
    """Parse the DAG with the page's five lines, and more."""

    def parse_with(*more: str) -> ModuleType:
        (tmp_path / "clickstream.toml").write_text(FIVE_LINES + "\n".join(more))
        return load(tmp_path)

    return parse_with


@pytest.fixture
def dag(load_with: Callable[..., ModuleType]) -> ModuleType:
    return load_with()


def test_five_lines_are_all_that_must_be_written(dag: ModuleType) -> None:
    assert len(FIVE_LINES.splitlines()) == 5
    assert dag.settings.home == str(ROOT)
    build = dag.build_events
    assert build.application == f"{ROOT}/jobs/build_events.py"
    assert build.py_files == f"{ROOT}/dist/clickstream_events.zip"
    assert build.dag.start_date == datetime(2024, 1, 2, tzinfo=UTC) and build.dag.catchup


def test_parsing_imports_neither_spark_nor_our_packages(tmp_path: Path) -> None:
    (tmp_path / "clickstream.toml").write_text(FIVE_LINES)
    (tmp_path / DAG_FILE).symlink_to(ROOT / "dags" / DAG_FILE)
    names = "{'pyspark', 'boto3', 'pandas', 'pyarrow', 'jobs', 'transforms', 'delivery', 'expectations'}"
    code = f"import runpy, sys; runpy.run_path('{tmp_path / DAG_FILE}'); print({names} & set(sys.modules))"
    environment = {"PYTHONPATH": str(ROOT / "dags"), "AIRFLOW_HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "set()"


def scheduled(schedule: str, since: datetime, count: int) -> Iterator[tuple[datetime, datetime]]:
    """The intervals that Airflow's own scheduler gives a schedule's runs."""
    timetable = CronDataIntervalTimetable(schedule, timezone="UTC")
    restriction = TimeRestriction(earliest=instance(since), latest=None, catchup=True)
    last = None
    for _ in range(count):
        info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        assert info is not None
        last = info.data_interval
        yield tuple(datetime.fromisoformat(moment.isoformat()) for moment in last)  # without pendulum's own months


@pytest.mark.parametrize(
    ("schedule", "start", "hours", "batch", "read"),
    [
        ("@daily", "2024-01-02T00:00", 24, "2024-01-02", "s3a://raw/2024/01/02/h=00"),
        ("0 6 * * *", "2024-01-02T06:00", 24, "2024-01-02", "s3a://raw/2024/01/02/h=06"),
        ("@weekly", "2024-01-07T00:00", 168, "2024-01-07", "s3a://raw/2024/01/07/h=00"),
        ("@monthly", "2024-02-01T00:00", 29 * 24, "2024-02-01", "s3a://raw/2024/02/01/h=00"),
        ("0 0 * * 1-5", "2024-01-05T00:00", 72, "2024-01-05", "s3a://raw/2024/01/05/h=00"),
        ("@hourly", "2024-01-02T03:00", 1, "2024-01-02T03", "s3a://raw/2024/01/02/h=03"),
        ("0 0,12 * * 1-5", "2024-01-05T00:00", 12, "2024-01-05T00", "s3a://raw/2024/01/05/h=00"),
        ("0 0,12 * * 1-5", "2024-01-05T12:00", 60, "2024-01-05T12", "s3a://raw/2024/01/05/h=12"),
        ("*/15 * * * *", "2024-01-02T03:45", 0.25, "2024-01-02T03-45", "s3a://raw/2024/01/02/h=03"),
        ("*/30 9-17 * * *", "2024-01-02T17:30", 15.5, "2024-01-02T17-30", "s3a://raw/2024/01/02/h=17"),
    ],
)
def test_a_batch_is_named_after_the_start_of_its_interval_and_told_the_whole_of_it(
    load_with: Callable[..., ModuleType], schedule: str, start: str, hours: float, batch: str, read: str
) -> None:
    dag = load_with(f'schedule = "{schedule}"')
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    end = begin + timedelta(hours=hours)
    own = run(begin, end - begin)
    dag.check({"dag_run": own})
    options = rendered(dag, dag.build_events, own, input="s3a://raw/%Y/%m/%d/h=%H")
    assert (options["--batch"], options["--input"]) == (batch, read)
    assert options["--interval"] == f"{start}:00Z/{end:%Y-%m-%dT%H:%M}:00Z"
    assert [datetime.fromisoformat(moment) for moment in options["--interval"].split("/")] == [begin, end]
    assert rendered(dag, dag.put_events, own)["--batch"] == batch


@pytest.mark.parametrize(
    ("schedule", "length"),
    [
        *((schedule, 10) for schedule in ("@daily", "@weekly", "@monthly", "@yearly", "0 3 * * 1-5", "0 0 L * *")),
        *((schedule, 13) for schedule in ("@hourly", "0 0,12 * * 1-5", "30 */6 * * *", "0 22-2 1 * *")),
        *((schedule, 16) for schedule in ("*/15 * * * *", "*/30 9-17 * * *", "0,59 0 * * *", "* * * * *")),
    ],
)
def test_labels_of_a_schedule_are_unique_have_one_form_and_sort_in_time_order(
    load_with: Callable[..., ModuleType], schedule: str, length: int
) -> None:
    dag = load_with(f'schedule = "{schedule}"')
    runs = [run(start, end - start) for start, end in scheduled(schedule, datetime(2024, 1, 2, tzinfo=UTC), 400)]
    labels = [dag.batch(one) for one in runs]
    assert all(before < after for before, after in pairwise(labels))
    assert {len(label) for label in labels} == {length}
    for one in runs:
        dag.check({"dag_run": one})


def test_labels_and_paths_are_in_utc_whatever_zone_the_times_come_in(load_with: Callable[..., ModuleType]) -> None:
    dag = load_with('schedule = "@hourly"')
    zone = ZoneInfo("Europe/Berlin")
    twice = [datetime(2024, 10, 27, 2, tzinfo=zone, fold=fold) for fold in (0, 1)]  # the clock shows 02:00 two times
    runs = [
        SimpleNamespace(
            data_interval_start=start,
            data_interval_end=(start.astimezone(UTC) + timedelta(hours=1)).astimezone(zone),
            conf={},
        )
        for start in twice
    ]
    options = [rendered(dag, dag.build_events, one, input="raw/%dT%H") for one in runs]
    assert [each["--batch"] for each in options] == ["2024-10-27T00", "2024-10-27T01"]
    assert [each["--input"] for each in options] == ["raw/27T00", "raw/27T01"]
    assert [each["--interval"] for each in options] == [
        "2024-10-27T00:00:00Z/2024-10-27T01:00:00Z",
        "2024-10-27T01:00:00Z/2024-10-27T02:00:00Z",
    ]


@pytest.mark.parametrize(
    ("schedule", "start", "hours"),
    [
        ("@daily", "2024-01-03T00:00", 12),  # half a day, which would replace the whole under its label
        ("@daily", "2024-01-03T12:00", 12),
        ("@daily", "2024-01-03T06:00", 24),
        ("@daily", "2024-01-03T00:00", 48),
        ("@hourly", "2024-01-03T00:00", 24),  # of a run from before the schedule was changed
        ("@weekly", "2024-01-03T00:00", 24),
    ],
)
def test_an_interval_that_is_none_of_the_schedules_is_refused_in_words(
    load_with: Callable[..., ModuleType], schedule: str, start: str, hours: float
) -> None:
    dag = load_with(f'schedule = "{schedule}"')
    own = run(datetime.fromisoformat(start).replace(tzinfo=UTC), timedelta(hours=hours))
    with pytest.raises(
        AirflowFailException, match=rf"^this run's interval, {start}:00Z/.*, does not belong to .*'{schedule}'"
    ):
        dag.check({"dag_run": own})


def test_what_is_not_set_is_no_option(dag: ModuleType) -> None:
    options = rendered(dag, dag.put_events, run(datetime(2024, 1, 2, tzinfo=UTC)))
    assert [name for name, value in options.items() if not value] == ["--region", "--endpoint-url"]


@pytest.mark.parametrize("value", [True, False])
def test_what_is_said_by_a_flag_is_said_only_when_it_is_set(load_with: Callable[..., ModuleType], value: bool) -> None:
    dag = load_with(f"allow_empty = {str(value).lower()}")
    day = run(datetime(2024, 1, 2, tzinfo=UTC))
    flags = as_rendered(dag, dag.build_events, dag.build_events.flags, day)
    assert {flag for flag, text in flags.items() if text} == ({"--allow-empty"} if value else set())
    flags = as_rendered(dag, dag.build_events, dag.build_events.flags, day, rekey=value, allow_empty=False)
    assert {flag for flag, text in flags.items() if text} == ({"--rekey"} if value else set())
    assert not dag.put_events.flags


def test_the_share_of_dead_letters_that_is_let_pass_is_one_percent_unless_set(
    load_with: Callable[..., ModuleType],
) -> None:
    dag = load_with()
    day, share = run(datetime(2024, 1, 2, tzinfo=UTC)), dag.put_events.max_dead_letter_share
    assert float(as_rendered(dag, dag.put_events, share, day)) == 0.01
    assert float(as_rendered(dag, dag.put_events, share, day, max_dead_letter_share=0.25)) == 0.25


def test_the_share_of_dead_letters_may_be_set_for_all_runs(load_with: Callable[..., ModuleType]) -> None:
    dag = load_with("max_dead_letter_share = 0")
    share = as_rendered(
        dag, dag.put_events, dag.put_events.max_dead_letter_share, run(datetime(2024, 1, 2, tzinfo=UTC))
    )
    assert float(share) == 0


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("allow_empty", (True, False), ("false", 0, None)),
        ("rekey", (True, False), ("false", 1, None)),
        ("max_dead_letter_share", (0, 0.5, 1), (-0.01, 1.01, 5, "1 %", None)),
        ("max_rate", (0.5, 1_000_000), (0, 1_000_001, "500", None)),
    ],
)
def test_what_a_run_sets_must_fit(
    dag: ModuleType, name: str, right: tuple[object, ...], wrong: tuple[object, ...]
) -> None:
    param = dag.build_events.dag.params.get_param(name)
    assert [param.resolve(value) for value in right] == list(right)
    for value in wrong:
        with pytest.raises(ParamValidationError):
            param.resolve(value)


def test_each_param_has_its_key_in_the_settings_and_its_row_on_the_page(dag: ModuleType) -> None:
    table = PAGE[PAGE.index("## Settings") : PAGE.index("## Order")]
    documented = {
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert set(dag.PARAMS) <= documented & set(DagSettings.__slots__)
    assert documented - {"spark"} == set(DagSettings.__slots__) - {"spark"}
    defaults = dict(re.findall(r"^\| `(\w+)` \|.*\| `([^`]*)` \|$", table, re.MULTILINE))
    assert float(defaults["max_rate"]) == dag.settings.max_rate == 500
    assert float(defaults["max_dead_letter_share"]) == dag.settings.max_dead_letter_share == 0.01


def test_batches_before_the_first_are_refused(dag: ModuleType) -> None:
    dag.check({"dag_run": run(datetime(2024, 1, 2, tzinfo=UTC))})
    with pytest.raises(AirflowFailException, match="start_date"):
        dag.check({"dag_run": run(datetime(2024, 1, 1, tzinfo=UTC))})


@pytest.mark.parametrize("task", ["build_events", "put_events"])
def test_a_run_without_an_interval_is_refused_in_words_and_not_tried_again(dag: ModuleType, task: str) -> None:
    with pytest.raises(AirflowFailException, match=r"^this run has no interval: trigger it with --logical-date"):
        rendered(dag, getattr(dag, task), run(None))


def test_what_no_run_can_be_told_is_refused(dag: ModuleType) -> None:
    dag.check({"dag_run": run(datetime(2024, 1, 2, tzinfo=UTC), tracking_id="x", on_gate_failure="warn")})
    with pytest.raises(AirflowFailException, match=r"^--conf: there is no trackingid, spark; there are input, .*_id"):
        dag.check({"dag_run": run(datetime(2024, 1, 2, tzinfo=UTC), trackingid="x", spark={}, region=None)})


def test_the_day_that_is_tried_first_is_the_first_and_takes_no_other_runs_date() -> None:
    (tried,) = re.findall(r"^airflow dags test clickstream_to_personalize (\S+)", PAGE, re.MULTILINE)
    moment, schedule = parse(tried), CronDataIntervalTimetable("@daily", timezone="UTC")
    assert schedule.infer_manual_data_interval(run_after=moment).start == datetime(2024, 1, 2, tzinfo=UTC)
    assert "T" in tried and schedule.infer_manual_data_interval(run_after=moment).end != moment


@pytest.mark.parametrize("page", ["airflow.md", "operations.md"])
def test_the_commands_of_the_pages_are_airflows_own(page: str) -> None:
    text = (ROOT / "docs" / page).read_text().replace("\\\n", "")
    commands = re.findall(r"^ *airflow (.*?)(?:  #.*)?$", text, re.MULTILINE)
    for command in commands:
        words = shlex.split(command.replace("$BATCH", "2024-01-02"))
        assert get_parser().parse_args(words).func
        if "--dag-run-conf" in words:
            conf = json.loads(words[words.index("--dag-run-conf") + 1])
            assert set(conf) <= {field.name for field in fields(DagSettings)}
    assert len(commands) >= 2


def faults(error: SettingsError, file: Path) -> list[str]:
    return [line.removeprefix(f"{file}: ").split(";")[0] for line in str(error).splitlines()]


def test_every_fault_of_the_settings_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "clickstream.toml"
    file.write_text(
        'start_date = "2024-01-02"\ninput = ""\nlakee = "x"\nlake = "x"\nmax_rate = true\ntracking_id = 7\n'
    )
    with pytest.raises(SettingsError) as raised:
        read_settings(file)
    assert faults(raised.value, file) == [
        "mapping is missing",
        "lakee is not a key",
        "start_date must be a date, without quotes: 2024-01-02",
        "input must not be empty",
        "tracking_id must be a string in quotes",
        "max_rate must be a number",
    ]


def test_values_that_do_not_fit_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "clickstream.toml"
    file.write_text(
        FIVE_LINES.replace('"00000000-0000-0000-0000-000000000000"', '"  "')
        + 'schedule = "@dayly"\nmax_rate = nan\nendpoint_url = "127.0.0.1:8080"\non_gate_failure = "maybe"\n'
        + '[spark]\nspark.a = 2024-01-02\n"spark.b" = [1]\nui.enabled = true\n'
    )
    with pytest.raises(SettingsError) as raised:
        read_settings(file)
    told = faults(raised.value, file)
    assert told[1].startswith("schedule must be a cron expression or one of @hourly, @daily, ")
    assert [told[0], *told[2:]] == [
        "tracking_id must not be empty",
        "max_rate must be more than 0 and at most 1,000,000",
        "endpoint_url must begin with http:// or https:// and a host",
        'on_gate_failure must be "fail" or "warn"',
        "spark.a must be a string, a number, true or false",
        "spark.b must be a string, a number, true or false",
        "[spark] has ui.enabled, but Spark's properties begin with spark.",
    ]


@pytest.mark.parametrize(
    "line",
    [
        *(f"max_rate = {rate}" for rate in ("0", "-5", "inf", "-inf", "1_000_001")),
        *(f"max_dead_letter_share = {share}" for share in ("-0.01", "1.01", "nan", "true", '"1 %"')),
        *(f"{name} = {value}" for name in ("allow_empty", "rekey") for value in ('"true"', "1", '""')),
        *(f'schedule = "{schedule}"' for schedule in ("0 3 * *", "0 25 * * *", "@once", "@continuous")),
        *(f'schedule = "{schedule}"' for schedule in ("0 0 30 2 *", "* * * * * */2", "0 0 * * * *")),
        *(f'endpoint_url = "{url}"' for url in ("ftp://x", "https://", "//x")),
    ],
)
def test_more_values_that_do_not_fit(tmp_path: Path, line: str) -> None:
    file = tmp_path / "clickstream.toml"
    file.write_text(FIVE_LINES + line)
    with pytest.raises(SettingsError, match=rf"^{file}: {line.split(maxsplit=1)[0]} must .*$"):
        read_settings(file)


@pytest.mark.parametrize(
    "line",
    [
        *(f'schedule = "{schedule}"' for schedule in ("0 3 * * *", "*/15 * * * *", "@hourly", "@monthly")),
        *(f'endpoint_url = "{url}"' for url in ("http://127.0.0.1:8080", "https://vpce-1.amazonaws.com/")),
        'schedule = "0 0 * * * 30"',
        *('on_gate_failure = "warn"', "max_rate = 0.5", "max_rate = 1_000_000"),
        *("max_dead_letter_share = 0", "max_dead_letter_share = 1", "allow_empty = true", "rekey = false"),
    ],
)
def test_values_that_fit(tmp_path: Path, line: str) -> None:
    (tmp_path / "clickstream.toml").write_text(FIVE_LINES + line)
    read_settings(tmp_path / "clickstream.toml")


def test_keys_that_a_table_above_them_has_taken_are_found(tmp_path: Path) -> None:
    file = tmp_path / "clickstream.toml"
    file.write_text(f'[spark]\n"spark.executor.memory" = "4g"\n{FIVE_LINES}')
    with pytest.raises(SettingsError) as raised:
        read_settings(file)
    taken = "start_date, input, mapping, lake, tracking_id"
    assert faults(raised.value, file) == [f"below [spark] are the keys {taken}: move them above it"]


def test_properties_of_spark_need_no_quotes(tmp_path: Path) -> None:
    bare = '[spark]\nspark.ui.enabled = false\nspark.executor.cores = 4\n"spark.executor.memory" = "4g"\n'
    (tmp_path / "clickstream.toml").write_text(FIVE_LINES + bare)
    wanted = {"spark.ui.enabled": "false", "spark.executor.cores": "4", "spark.executor.memory": "4g"}
    assert read_settings(tmp_path / "clickstream.toml").spark == wanted
    assert load(tmp_path).build_events.conf == wanted


def test_a_missing_file_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"create it with start_date, input, mapping, lake, tracking_id$"):
        read_settings(tmp_path / "clickstream.toml")


def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "clickstream.toml").mkdir()
    with pytest.raises(SettingsError, match=r"clickstream.toml cannot be read: Is a directory$"):
        read_settings(tmp_path / "clickstream.toml")


@pytest.mark.parametrize(
    "schedule", ["R R * * *", "0 R * * *", "r(0-5) 3 * * *", "0,R 3 * * *", "R/15 * * * *", "H H * * *"]
)
def test_a_schedule_of_chance_is_none(schedule: str) -> None:
    with pytest.raises(ScheduleError, match=r"^schedule must "):
        BatchSchedule(schedule)


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    (tmp_path / "clickstream.toml").write_text("lake = s3a://x\n")
    with pytest.raises(SettingsError, match="line 1"):
        read_settings(tmp_path / "clickstream.toml")


def test_all_else_may_be_set(tmp_path: Path) -> None:
    more = 'schedule = "@hourly"\nhome = "s3://code"\nmax_rate = 2.5\n[spark]\n"spark.executor.memory" = "4g"\n'
    (tmp_path / "clickstream.toml").write_text(FIVE_LINES + more)
    settings: DagSettings = read_settings(tmp_path / "clickstream.toml")
    assert (settings.schedule, settings.home, settings.max_rate) == ("@hourly", "s3://code", 2.5)
    assert settings.spark == {"spark.executor.memory": "4g"}
