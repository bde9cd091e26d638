from __future__ import annotations

import os
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.contestants import Judge
from benchmarks.measuring.in_turn import in_turn
from benchmarks.measuring.process import run
from benchmarks.shop_log import write_shop
from jobs import build_events

BUSY = "import os, time; end = time.process_time() + {seconds}\nwhile time.process_time() < end: pass"


def test_order_is_reversed_every_round() -> None:
    went: list[str] = []
    found = in_turn({name: lambda name=name: went.append(name) or len(went) for name in "abc"}, 3)  # type: ignore[misc]
    assert "".join(went) == "abccbaabc"
    assert found == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


def test_processors_count_a_program_and_all_that_it_leaves_behind(tmp_path: Path) -> None:
    orphan = tmp_path / "orphan.py"
    orphan.write_text(BUSY.format(seconds=0.5))
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, {str(orphan)!r}]); print('done')"
    ended = run([sys.executable, "-c", parent])
    assert ended.output == ["done"]
    assert 0.5 < ended.cost.processors < 5
    assert ended.cost.clock < ended.cost.processors + 5


def test_processors_count_those_whom_nobody_waits_for(tmp_path: Path) -> None:
    """As Spark's Python workers: their parent ignores that they end, so the kernel adds their time to nobody's."""
    worker = tmp_path / "worker.py"
    worker.write_text(BUSY.format(seconds=1) + "\ntime.sleep(0.5)")
    parent = "import os, signal, sys, time; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    parent += f"os.spawnl(os.P_NOWAIT, sys.executable, sys.executable, {str(worker)!r}); time.sleep(3)"
    assert 1 < run([sys.executable, "-c", parent]).cost.processors < 2


def test_what_ran_before_is_not_counted(tmp_path: Path) -> None:
    busy = tmp_path / "busy.py"
    busy.write_text(BUSY.format(seconds=1))
    deaf = f"{BUSY.format(seconds=0)}\nimport signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    deaf += f"os.spawnl(os.P_NOWAIT, sys.executable, sys.executable, {str(busy)!r}); time.sleep(3)"
    others = [os.spawnl(os.P_NOWAIT, sys.executable, sys.executable, *given) for given in ([str(busy)], ["-c", deaf])]
    time.sleep(0.5)
    ended = run([sys.executable, "-c", "import time; time.sleep(0.5)"])
    assert ended.cost.processors < 0.5
    for other in others:
        os.waitpid(other, 0)


def test_failure_ends_the_bench_with_what_was_said() -> None:
    with pytest.raises(SystemExit, match="no such luck"):
        run([sys.executable, "-c", "raise SystemExit('no such luck')"])


def test_contestant_that_counts_otherwise_is_no_peer(tmp_path: Path) -> None:
    judge = Judge()
    judge.hold("ours", tmp_path, "events", 7)
    judge.hold("theirs", tmp_path, "events", 7)
    judge.hold("theirs", tmp_path / "other", "events", 8)
    with pytest.raises(SystemExit, match="the sloppy one has 6, but ours has 7"):
        judge.hold("the sloppy one", tmp_path, "events", 6)


def test_log_is_the_same_every_time_and_has_its_repeats(tmp_path: Path) -> None:
    logs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        folder = write_shop(tmp_path / name, 16_000) / "raw"
        logs.append([line for file in sorted(folder.iterdir()) for line in file.read_text().splitlines()])
    lines = logs[0]
    assert lines == logs[1]
    assert len(lines) == 16_000
    assert sum(one == other for one, other in pairwise(lines)) >= 80


def test_what_is_replaced_to_build_without_gate_is_there() -> None:
    assert all(hasattr(build_events, name) for name in ("load_great_expectations", "judge_rows"))
