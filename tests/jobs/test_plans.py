"""Plans: found again, given up, and found by the time of their events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.lake.filesystem import FileSystem
from jobs.ledger.plans import Balance, Kind, Plan, Plans, Span

DAY = 86_400_000_000
PLAN = Plan(
    batch="2024-01-02",
    kind="batch",
    source="built-1",
    runId="run-1",
    events=75,
    requests=9,
    delivered=3,
    refused=1,
    span=Span(2 * DAY, 3 * DAY - 1),
)

BALANCE = Balance(delivered=77, refused=2)


@pytest.fixture
def plans(spark: SparkSession, tmp_path: Path) -> Plans:
    return Plans(FileSystem(spark), str(tmp_path), "tracker")


def lay_down(plans: Plans, plan: Plan) -> Path:
    """Fix a plan, with something in its folder."""
    folder = Path(plans.requests(plan.batch, plan.runId))
    folder.mkdir(parents=True)
    (folder / "part-0.parquet").write_text("")
    plans.fix(plan)
    return folder


def test_a_plan_is_taken_up_as_it_was_fixed(plans: Plans) -> None:
    folder = lay_down(plans, PLAN)
    assert plans.find("2024-01-02", "batch", "built-1") == PLAN
    assert folder.exists()


def test_a_plan_that_is_done_is_not_found_and_takes_no_room(plans: Plans) -> None:
    folder = lay_down(plans, PLAN)
    plans.end(PLAN, BALANCE)
    assert plans.find("2024-01-02", "batch", "built-1") is None
    assert not folder.exists()


@pytest.mark.parametrize(("kind", "source"), [("batch", "built-2"), ("resend", "built-1")])
def test_a_plan_for_something_else_is_given_up(plans: Plans, kind: str, source: str) -> None:
    folder = lay_down(plans, PLAN)
    assert plans.find("2024-01-02", kind, source) is None  # type: ignore[arg-type] - kinds, as text
    assert not folder.exists()
    assert plans.find("2024-01-02", "batch", "built-1") is None


def test_requests_without_a_plan_are_swept_and_other_batches_left_alone(plans: Plans) -> None:
    begun = Path(plans.requests("2024-01-02", "killed"))
    begun.mkdir(parents=True)
    other = lay_down(plans, replace(PLAN, batch="2024-01-03", runId="run-2"))
    assert plans.find("2024-01-02", "batch", "built-1") is None
    assert not begun.exists() and other.exists()


def test_a_plan_that_a_crash_cut_short_is_none(plans: Plans, tmp_path: Path) -> None:
    folder = lay_down(plans, PLAN)
    (path,) = (tmp_path / "_plans" / "tracker").glob("*.json")
    path.with_name(f".{path.name}.crc").unlink()
    path.write_text('{"batch": "2024-')
    assert plans.find("2024-01-02", "batch", "built-1") is None
    assert not folder.exists()


def test_batches_are_found_by_the_time_of_their_events_done_or_not(plans: Plans) -> None:
    lay_down(plans, PLAN)
    plans.end(PLAN, BALANCE)
    lay_down(plans, replace(PLAN, batch="2024-01-03", runId="run-2", span=Span(3 * DAY, 4 * DAY)))
    lay_down(plans, replace(PLAN, batch="given", runId="run-3", span=Span(None, None)))
    assert plans.meeting(Span(2 * DAY, 2 * DAY)) == ["2024-01-02", "given"]
    assert plans.meeting(Span(3 * DAY, 9 * DAY)) == ["2024-01-03", "given"]
    assert plans.meeting(Span(3 * DAY - 1, 3 * DAY)) == ["2024-01-02", "2024-01-03", "given"]
    assert plans.meeting(Span(None, None)) == ["2024-01-02", "2024-01-03", "given"]


def test_a_batch_whose_label_begins_like_another_is_another(plans: Plans) -> None:
    lay_down(plans, replace(PLAN, batch="2024-01-02T03"))
    assert plans.find("2024-01-02", "batch", "built-1") is None
    assert plans.find("2024-01-02T03", "batch", "built-1") is not None


# What came of batches.


def test_what_came_of_a_batch_is_known_when_its_plan_is_done(plans: Plans) -> None:
    lay_down(plans, PLAN)
    assert plans.standings({"2024-01-02": "built-1"}) == {"2024-01-02": PLAN}
    plans.end(PLAN, BALANCE)
    assert plans.standings({"2024-01-02": "built-1", "2024-01-03": "built-1"}) == {"2024-01-02": BALANCE}


def test_of_a_batch_that_was_rebuilt_nothing_is_known(plans: Plans) -> None:
    lay_down(plans, PLAN)
    plans.end(PLAN, BALANCE)
    assert plans.standings({"2024-01-02": "built-2"}) == {}


def test_of_a_batch_whose_plan_was_given_up_nothing_is_known(plans: Plans) -> None:
    lay_down(plans, PLAN)
    plans.find("2024-01-02", "batch", "built-2")
    assert plans.standings({"2024-01-02": "built-1"}) == {}


@pytest.mark.parametrize("kind", ["dead-letters", "resend"])
def test_after_a_plan_of_another_kind_a_batch_has_to_be_looked_at_again(plans: Plans, kind: Kind) -> None:
    plans.end(PLAN, BALANCE)
    plans.end(replace(PLAN, kind=kind, runId="run-2"), BALANCE)
    assert plans.standings({"2024-01-02": "built-1"}) == {}
    plans.end(replace(PLAN, runId="run-3"), BALANCE)
    assert plans.standings({"2024-01-02": "built-1"}) == {"2024-01-02": BALANCE}


def test_of_a_balance_that_a_crash_tore_nothing_is_known(plans: Plans) -> None:
    plans.end(PLAN, BALANCE)
    (done,) = Path(plans.requests("2024-01-02", "run-1")).parents[1].glob("*.done")
    (done.parent / f".{done.name}.crc").unlink()
    done.write_text(done.read_text()[:9])
    assert plans.standings({"2024-01-02": "built-1"}) == {}
