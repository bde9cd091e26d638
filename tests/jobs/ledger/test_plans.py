"""Plans: found again, given up, and found by the time of their events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.lake.filesystem import FileSystem
from jobs.ledger.plans import DeliveryTotals, Kind, Plan, Plans, TimeSpan

DAY = 86_400_000_000
PLAN = Plan(
    batch="2024-01-02",
    kind="batch",
    source="built-1",
    epoch=1,
    runId="run-1",
    events=75,
    requests=9,
    delivered=3,
    refused=1,
    waiting=0,
    span=TimeSpan(2 * DAY, 3 * DAY - 1),
)

BALANCE = DeliveryTotals(delivered=77, refused=2)


@pytest.fixture
def plans(spark: SparkSession, tmp_path: Path) -> Plans:
    return Plans(FileSystem(spark), str(tmp_path), "tracker")


def lay_down(plans: Plans, plan: Plan) -> Path:
    """Fix a plan, with something in its folder."""
    folder = Path(plans.requests(plan.batch, plan.epoch))
    folder.mkdir(parents=True)
    (folder / "part-0.parquet").write_text("")
    plans.fix(plan)
    return folder


def test_a_plan_is_found_as_it_was_fixed(plans: Plans) -> None:
    folder = lay_down(plans, PLAN)
    assert plans.find_open("2024-01-02") == [PLAN]
    assert folder.exists()


def test_a_plan_that_is_done_is_not_found_and_takes_no_room(plans: Plans) -> None:
    folder = lay_down(plans, PLAN)
    plans.end(PLAN, BALANCE)
    assert plans.find_open("2024-01-02") == []
    assert not folder.exists()


def test_a_plan_that_was_given_up_is_not_found_and_takes_no_room(plans: Plans) -> None:
    folder = lay_down(plans, PLAN)
    plans.give_up(PLAN)
    assert plans.find_open("2024-01-02") == []
    assert not folder.exists()


def test_open_plans_come_in_the_order_in_which_they_were_made_whatever_the_clocks_said(plans: Plans) -> None:
    later = replace(PLAN, kind="resend", epoch=12, runId="a-run-of-a-slow-clock")
    lay_down(plans, later)
    lay_down(plans, replace(PLAN, epoch=9))
    assert [plan.epoch for plan in plans.find_open("2024-01-02")] == [9, 12]


def test_requests_without_a_plan_are_swept_and_those_of_others_left_alone(plans: Plans) -> None:
    begun, successors = (Path(plans.requests("2024-01-02", epoch)) for epoch in (2, 4))
    begun.mkdir(parents=True)
    successors.mkdir(parents=True)
    kept = lay_down(plans, PLAN)
    other = lay_down(plans, replace(PLAN, batch="2024-01-03", epoch=2, runId="run-2"))
    plans.sweep("2024-01-02", [PLAN], epoch=3)
    assert not begun.exists() and kept.exists() and other.exists()
    assert successors.exists()  # of a run that has taken over


def test_a_plan_that_a_crash_cut_short_is_none(plans: Plans, tmp_path: Path) -> None:
    folder = lay_down(plans, PLAN)
    (path,) = (tmp_path / "_plans" / "tracker").glob("*.json")
    path.with_name(f".{path.name}.crc").unlink()
    path.write_text('{"batch": "2024-')
    assert plans.find_open("2024-01-02") == []
    plans.sweep("2024-01-02", [], epoch=2)
    assert not folder.exists()


def test_batches_are_found_by_the_time_of_their_events_done_or_not(plans: Plans) -> None:
    lay_down(plans, PLAN)
    plans.end(PLAN, BALANCE)
    lay_down(plans, replace(PLAN, batch="2024-01-03", epoch=2, runId="run-2", span=TimeSpan(3 * DAY, 4 * DAY)))
    lay_down(plans, replace(PLAN, batch="given", epoch=3, runId="run-3", span=TimeSpan(None, None)))
    assert plans.batches_meeting(TimeSpan(2 * DAY, 2 * DAY)) == ["2024-01-02", "given"]
    assert plans.batches_meeting(TimeSpan(3 * DAY, 9 * DAY)) == ["2024-01-03", "given"]
    assert plans.batches_meeting(TimeSpan(3 * DAY - 1, 3 * DAY)) == ["2024-01-02", "2024-01-03", "given"]
    assert plans.batches_meeting(TimeSpan(None, None)) == ["2024-01-02", "2024-01-03", "given"]


def test_a_batch_whose_label_begins_like_another_is_another(plans: Plans) -> None:
    lay_down(plans, replace(PLAN, batch="2024-01-02T03"))
    assert plans.find_open("2024-01-02") == []
    assert len(plans.find_open("2024-01-02T03")) == 1


# What came of batches.


def test_what_came_of_a_batch_is_known_when_its_plan_is_done(plans: Plans) -> None:
    lay_down(plans, PLAN)
    assert plans.delivery_states({"2024-01-02": "built-1"}) == {"2024-01-02": PLAN}
    plans.end(PLAN, BALANCE)
    assert plans.delivery_states({"2024-01-02": "built-1", "2024-01-03": "built-1"}) == {"2024-01-02": BALANCE}


def test_of_a_batch_that_was_rebuilt_nothing_is_known(plans: Plans) -> None:
    lay_down(plans, PLAN)
    plans.end(PLAN, BALANCE)
    assert plans.delivery_states({"2024-01-02": "built-2"}) == {}


def test_of_a_batch_whose_plan_was_given_up_nothing_is_known(plans: Plans) -> None:
    lay_down(plans, PLAN)
    plans.give_up(PLAN)
    assert plans.delivery_states({"2024-01-02": "built-1"}) == {}


@pytest.mark.parametrize(
    ("kind", "refused", "span", "known"),
    [
        ("resend", 0, PLAN.span, False),
        ("resend", 0, TimeSpan(3 * DAY - 1, 9 * DAY), False),  # another batch's, maybe of the same events
        ("resend", 0, TimeSpan(3 * DAY, 9 * DAY), True),
        ("dead-letters", 2, PLAN.span, False),
        ("dead-letters", 2, TimeSpan(None, None), False),
        ("dead-letters", 2, TimeSpan(3 * DAY, 9 * DAY), True),
        ("dead-letters", 0, PLAN.span, True),  # of what was delivered it sends nothing
        ("batch", 2, TimeSpan(None, None), True),  # nor does another batch's delivery of what has ended
    ],
)
def test_after_events_were_sent_again_a_batch_has_to_be_looked_at_again(
    plans: Plans, kind: Kind, refused: int, span: TimeSpan, known: bool
) -> None:
    balance = DeliveryTotals(77, refused)
    plans.end(PLAN, balance)
    plans.end(replace(PLAN, batch="2024-01-03", kind=kind, epoch=2, runId="a-run-of-a-slow-clock", span=span), balance)
    assert plans.delivery_states({"2024-01-02": "built-1"}) == ({"2024-01-02": balance} if known else {})
    plans.end(replace(PLAN, epoch=3, runId="run-3"), balance)
    assert plans.delivery_states({"2024-01-02": "built-1"}) == {"2024-01-02": balance}


def test_of_a_balance_that_a_crash_tore_nothing_is_known(plans: Plans) -> None:
    plans.end(PLAN, BALANCE)
    (done,) = Path(plans.requests("2024-01-02", 1)).parents[1].glob("*.done")
    (done.parent / f".{done.name}.crc").unlink()
    done.write_text(done.read_text()[:9])
    assert plans.delivery_states({"2024-01-02": "built-1"}) == {}
