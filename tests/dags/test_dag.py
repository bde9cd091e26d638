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
from types import ModuleType

import pytest

pytest.importorskip("airflow", reason="Airflow is not in this environment: run `make test-airflow`")

from airflow.sdk import macros
from airflow.sdk.exceptions import AirflowFailException

from clickstream_settings import Settings, SettingsError, read_settings

ROOT = Path(__file__).parents[2]
FIVE_LINES = re.search(r"^```toml\n(.*?)^```$", (ROOT / "docs" / "airflow.md").read_text(), re.DOTALL | re.MULTILINE)[1]
DAG_FILE = "clickstream_to_personalize.py"


def load(folder: Path) -> ModuleType:
    """Parse the DAG as Airflow does, from a link."""
    (folder / DAG_FILE).symlink_to(ROOT / "dags" / DAG_FILE)
    spec = importlib.util.spec_from_file_location("clickstream_to_personalize", folder / DAG_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    params = {name: param.value for name, param in dag.build_events.dag.params.items()}
    params["input"] = "s3a://raw/%Y/%m/%d/h=%H"
    context = {"data_interval_start": begin, "data_interval_end": begin + length, "params": params, "macros": macros}
    options = dag.build_events.render_template(dag.build_events.options, context)
    assert (options["--batch"], options["--input"]) == (batch, read)
    assert dag.build_events.options["--batch"] == dag.put_events.options["--batch"]


def test_what_is_not_set_is_no_option(dag: ModuleType) -> None:
    params = {name: param.value for name, param in dag.put_events.dag.params.items()}
    now = datetime(2024, 1, 2, tzinfo=UTC)
    context = {"data_interval_start": now, "data_interval_end": now, "params": params, "macros": macros}
    options = dag.put_events.render_template(dag.put_events.options, context)
    assert [name for name, value in options.items() if not value] == ["--region", "--endpoint-url"]


class DagRun:
    """Stands for a run: what was asked of it."""

    def __init__(self, **conf: object) -> None:
        self.conf = conf or None


def asked(dag: ModuleType, start: datetime, **conf: object) -> dict[str, object]:
    """What a task knows of a run for the batch that begins then."""
    return {"data_interval_start": start, "dag_run": DagRun(**conf), "params": dag.build_events.dag.params}


def test_batches_before_the_first_are_refused(dag: ModuleType) -> None:
    dag.check_run(asked(dag, datetime(2024, 1, 2, tzinfo=UTC), max_rate=300))
    with pytest.raises(AirflowFailException, match="start_date"):
        dag.check_run(asked(dag, datetime(2024, 1, 1, tzinfo=UTC)))


def test_a_run_without_an_interval_fails_with_words_and_not_in_a_template(dag: ModuleType) -> None:
    params = {name: param.value for name, param in dag.build_events.dag.params.items()}
    options = dag.build_events.render_template(dag.build_events.options, {"params": params, "macros": macros})
    assert (options["--batch"], options["--input"]) == ("", "")
    with pytest.raises(AirflowFailException, match="--logical-date"):
        dag.check_run({"dag_run": DagRun(), "params": params})


def test_a_key_of_conf_that_is_none_is_refused_before_anything_is_sent(dag: ModuleType) -> None:
    with pytest.raises(AirflowFailException, match=r"--conf: rate, trackingid: no such key; there are .*tracking_id"):
        dag.check_run(asked(dag, datetime(2024, 1, 2, tzinfo=UTC), trackingid="x", rate=1))


def test_the_day_that_is_tried_first_takes_no_run_of_the_schedule() -> None:
    """Its moment lies within an interval: the end of one is the date of the next run, which would never be made."""
    page = (ROOT / "docs" / "airflow.md").read_text()
    assert re.findall(r"airflow dags test clickstream_to_personalize (\S+)`", page) == ["2024-01-03T12:00"]


def test_every_fault_of_the_settings_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "clickstream.toml"
    file.write_text(
        'start_date = "2024-01-02"\ninput = ""\nlakee = "x"\nlake = "x"\nmax_rate = true\ntracking_id = 7\n'
    )
    with pytest.raises(SettingsError) as raised:
        read_settings(file)
    told = [line.removeprefix(f"{file}: ").split(";")[0] for line in str(raised.value).splitlines()]
    assert told == [
        "mapping is missing",
        "lakee is no key",
        "start_date must be a date, without quotes: 2024-01-02",
        "input must not be empty",
        "tracking_id must be a string in quotes",
        "max_rate must be a number",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        *[(f"max_rate = {rate}", "max_rate must be more than 0") for rate in ("0", "-5", "nan", "inf")],
        ('on_gate_failure = "maybe"', 'on_gate_failure must be "fail" or "warn"'),
        *[(f'schedule = "{bad}"', "schedule must be a cron") for bad in ("@dayly", "0 3 * *", "@once", "@continuous")],
        ('endpoint_url = "127.0.0.1:8080"', "endpoint_url must begin with http:// or https://"),
        ('region = " "', "region must not be empty"),
        ('[spark]\nhome = "/x"\nregion = "y"', "home, region must stand above [spark], not below it"),
    ],
)
def test_a_value_that_cannot_hold_is_told_with_the_file(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "clickstream.toml"
    file.write_text(f"{FIVE_LINES}{line}\n")
    with pytest.raises(SettingsError, match=re.escape(f"{file}: {told}")):
        read_settings(file)


@pytest.mark.parametrize("schedule", ["0 3 * * *", "*/15 * * * *", "@weekly"])
def test_cron_expressions_and_presets_are_schedules(tmp_path: Path, schedule: str) -> None:
    (tmp_path / "clickstream.toml").write_text(f'{FIVE_LINES}schedule = "{schedule}"\n')
    assert load(tmp_path).settings.schedule == schedule


def test_properties_of_spark_need_no_quotes(tmp_path: Path) -> None:
    (tmp_path / "clickstream.toml").write_text(f'{FIVE_LINES}[spark]\nspark.executor.memory = "4g"\n')
    assert read_settings(tmp_path / "clickstream.toml").spark == {"spark.executor.memory": "4g"}


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
