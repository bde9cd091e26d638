"""The DAG and its settings, in Airflow's own Python and without Spark.

`make test-airflow` runs them in `.venv-airflow`.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("airflow", reason="Airflow is not in this environment: run `make test-airflow`")

from airflow.sdk.exceptions import AirflowFailException
from airflow.timetables.interval import CronDataIntervalTimetable
from pendulum import parse

from clickstream_settings import Settings, SettingsError, read_settings

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
    defaults = {name: param.value for name, param in operator.dag.params.items()}
    context = {"dag_run": dag_run, "params": defaults | params}
    return dict(operator.render_template(operator.options, context, dag.build_events.dag.get_template_env()))


@pytest.fixture
def dag(tmp_path: Path) -> ModuleType:
    (tmp_path / "clickstream.toml").write_text(FIVE_LINES)
    return load(tmp_path)


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


@pytest.mark.parametrize(
    ("start", "length", "batch", "read"),
    [
        ("2024-01-02T00:00", timedelta(days=1), "2024-01-02", "s3a://raw/2024/01/02/h=00"),
        ("2024-01-02T06:00", timedelta(days=1), "2024-01-02", "s3a://raw/2024/01/02/h=06"),
        ("2023-12-31T00:00", timedelta(days=7), "2023-12-31", "s3a://raw/2023/12/31/h=00"),
        ("2024-01-02T03:00", timedelta(hours=1), "2024-01-02T03", "s3a://raw/2024/01/02/h=03"),
        ("2024-01-02T12:00", timedelta(hours=12), "2024-01-02T12", "s3a://raw/2024/01/02/h=12"),
        ("2024-01-02T03:45", timedelta(minutes=15), "2024-01-02T03-45", "s3a://raw/2024/01/02/h=03"),
    ],
)
def test_a_batch_is_named_after_the_start_of_its_interval(
    dag: ModuleType, start: str, length: timedelta, batch: str, read: str
) -> None:
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    options = rendered(dag, dag.build_events, run(begin, length), input="s3a://raw/%Y/%m/%d/h=%H")
    assert (options["--batch"], options["--input"]) == (batch, read)
    assert dag.build_events.options["--batch"] == dag.put_events.options["--batch"]


def test_what_is_not_set_is_no_option(dag: ModuleType) -> None:
    options = rendered(dag, dag.put_events, run(datetime(2024, 1, 2, tzinfo=UTC)))
    assert [name for name, value in options.items() if not value] == ["--region", "--endpoint-url"]


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
        "lakee is no key",
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
        "max_rate must be more than 0, and 1,000,000 at the most",
        "endpoint_url must begin with http:// or https://, and go on with a host",
        'on_gate_failure must be "fail" or "warn"',
        "spark.a must be a string, a number, true or false",
        "spark.b must be a string, a number, true or false",
        "under [spark] stands ui.enabled, but Spark's properties begin with spark.",
    ]


@pytest.mark.parametrize(
    "line",
    [
        *(f"max_rate = {rate}" for rate in ("0", "-5", "inf", "-inf", "1_000_001")),
        *(f'schedule = "{schedule}"' for schedule in ("0 3 * *", "0 25 * * *", "@once", "@continuous")),
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
        *('on_gate_failure = "warn"', "max_rate = 0.5", "max_rate = 1_000_000"),
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
    assert faults(raised.value, file) == [f"under [spark] stand the keys {taken}: put them above it"]


def test_properties_of_spark_need_no_quotes(tmp_path: Path) -> None:
    bare = '[spark]\nspark.ui.enabled = false\nspark.executor.cores = 4\n"spark.executor.memory" = "4g"\n'
    (tmp_path / "clickstream.toml").write_text(FIVE_LINES + bare)
    wanted = {"spark.ui.enabled": "false", "spark.executor.cores": "4", "spark.executor.memory": "4g"}
    assert read_settings(tmp_path / "clickstream.toml").spark == wanted
    assert load(tmp_path).build_events.conf == wanted


def test_a_missing_file_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"write into it start_date, input, mapping, lake, tracking_id$"):
        read_settings(tmp_path / "clickstream.toml")


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    (tmp_path / "clickstream.toml").write_text("lake = s3a://x\n")
    with pytest.raises(SettingsError, match="line 1"):
        read_settings(tmp_path / "clickstream.toml")


def test_all_else_may_be_set(tmp_path: Path) -> None:
    more = 'schedule = "@hourly"\nhome = "s3://code"\nmax_rate = 2.5\n[spark]\n"spark.executor.memory" = "4g"\n'
    (tmp_path / "clickstream.toml").write_text(FIVE_LINES + more)
    settings: Settings = read_settings(tmp_path / "clickstream.toml")
    assert (settings.schedule, settings.home, settings.max_rate) == ("@hourly", "s3://code", 2.5)
    assert settings.spark == {"spark.executor.memory": "4g"}
