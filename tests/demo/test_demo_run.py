"""The processes are started, watched and stopped; here the jobs are stand-ins, and no Spark runs."""

import os
import stat
import sys
import urllib.error
from pathlib import Path

import pyspark
import pytest

from demo import __main__ as command
from demo import run
from demo.workspace import NotOursError, prepare


@pytest.fixture
def fake_spark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spark-submit that runs the body written to `job.py` beside it."""
    script = tmp_path / "spark-submit"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path / "job.py"}" "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(run, "_spark_submit", lambda: str(script))
    return tmp_path / "job.py"


def test_summary_is_the_last_line_and_everything_said_goes_to_the_log(fake_spark: Path, tmp_path: Path) -> None:
    fake_spark.write_text('import sys; print("chatter"); print(\'{"read": 3}\'); sys.stderr.write("noise\\n")')
    assert run.run_job("build_events", ["--batch", "b"], tmp_path) == {"read": 3}
    assert (tmp_path / "build_events.log").read_text() == 'noise\nchatter\n{"read": 3}\n'


def test_job_is_given_its_script_its_arguments_and_the_emulators_keys(fake_spark: Path, tmp_path: Path) -> None:
    fake_spark.write_text("import json, os, sys; print(json.dumps({'argv': sys.argv[1:], 'env': dict(os.environ)}))")
    told = run.run_job("put_events", ["--batch", "b"], tmp_path)
    script, *arguments = told["argv"]
    assert script.endswith("/jobs/put_events.py")
    assert arguments == ["--batch", "b"]
    assert told["env"]["AWS_ACCESS_KEY_ID"] == "AKIDEMULATOR"


def test_failing_job_is_told_with_the_end_of_its_log(fake_spark: Path, tmp_path: Path) -> None:
    fake_spark.write_text('import sys; sys.stderr.write("first\\n" * 20 + "no Java here"); sys.exit(2)')
    with pytest.raises(run.StepFailedError, match=r"exit code 2; the end of .*build_events\.log") as caught:
        run.run_job("build_events", [], tmp_path)
    assert str(caught.value).endswith("    no Java here")


def test_job_without_a_summary_is_a_failure(fake_spark: Path, tmp_path: Path) -> None:
    fake_spark.write_text('print("done")')
    with pytest.raises(run.StepFailedError, match="did not print its run summary"):
        run.run_job("build_events", [], tmp_path)


def test_environment_leads_to_no_real_account_and_no_other_spark() -> None:
    ours = {
        "PATH": "/bin",
        "AWS_PROFILE": "live",
        "AWS_SESSION_TOKEN": "t",
        "SPARK_HOME": "/opt",
        "PYSPARK_PYTHON": "p",
    }
    environment = run.job_environment(ours)
    assert environment["PATH"] == "/bin"
    assert environment["PYSPARK_PYTHON"] == sys.executable
    assert environment["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert environment["SPARK_HOME"] == str(Path(pyspark.__file__).parent)
    assert environment.keys().isdisjoint({"AWS_PROFILE", "AWS_SESSION_TOKEN"})


def test_emulator_answers_while_the_context_lasts_and_not_after(tmp_path: Path) -> None:
    with run.emulator(tmp_path) as url:
        assert list(run.received_events(url)) == []
    with pytest.raises(urllib.error.URLError):
        list(run.received_events(url))


def test_emulator_is_stopped_when_a_step_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), run.emulator(tmp_path) as url:
        raise RuntimeError
    with pytest.raises(urllib.error.URLError):
        list(run.received_events(url))


def test_folder_of_an_earlier_run_is_emptied(tmp_path: Path) -> None:
    workspace = prepare(tmp_path / "demo")
    workspace.lake.mkdir()
    (workspace.raw / "old.jsonl").touch()
    (workspace.root / "put_events.log").touch()
    assert sorted(entry.name for entry in prepare(tmp_path / "demo").root.iterdir()) == [
        ".clickstream-demo",
        "raw",
    ]
    assert list(workspace.raw.iterdir()) == []


def test_folder_of_somebody_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(NotOursError, match="choose another --dir"):
        prepare(tmp_path)
    assert command.main(["--dir", str(tmp_path)]) == 2
    assert "choose another --dir" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_failed_step_ends_with_one_and_says_so(
    fake_spark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_spark.write_text("import sys; sys.exit(3)")
    assert command.main(["--dir", str(tmp_path / "demo"), "--records", "1000"]) == 1
    assert "demo: build_events ended with exit code 3" in capsys.readouterr().err


def test_differences_end_with_one(fake_spark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake_spark.write_text("print('{\"read\": 1000}')")
    assert command.main(["--dir", str(tmp_path / "demo"), "--records", "1000"]) == 1
    out = capsys.readouterr().out
    assert "✗ differs" in out
    assert out.splitlines()[-1].startswith("demo: FAILED: ")


def test_too_few_records_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["--records", "10"])
    assert caught.value.code == 2
    assert "must be 1,000 or more" in capsys.readouterr().err
