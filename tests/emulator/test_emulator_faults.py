"""Faults on purpose: the decision by itself, and what boto3 sees of each."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

import emulator
from emulator import Faults, Settings
from emulator.faults import Fault, draw_fault, is_poisoned


@pytest.mark.parametrize(
    ("draw", "fault"),
    [
        (0.0, Fault.INTERNAL_ERROR),
        (0.049, Fault.INTERNAL_ERROR),
        (0.05, Fault.UNAVAILABLE),
        (0.1, Fault.RESET_BEFORE),
        (0.299, Fault.RESET_BEFORE),
        (0.31, Fault.RESET_AFTER),
        (0.61, None),
        (0.999, None),
    ],
)
def test_each_fault_has_its_share_of_the_draws(draw: float, fault: Fault | None) -> None:
    faults = Faults(error_rate=0.1, reset_before_rate=0.2, reset_after_rate=0.3)
    assert draw_fault(faults, draw) is fault


def test_no_faults_by_default() -> None:
    assert draw_fault(Faults(), 0.0) is None
    assert not is_poisoned(Faults(), [{"itemId": "a"}])


@pytest.mark.parametrize("rates", [{"error_rate": 1.1}, {"reset_after_rate": -0.1}, {"error_rate": float("nan")}])
def test_rates_are_shares(rates: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Faults(**rates)


def test_rates_together_are_a_share() -> None:
    with pytest.raises(ValueError, match="add up"):
        Faults(error_rate=0.6, reset_before_rate=0.6)


def outcome(client: Any, call: dict[str, Any]) -> str:
    try:
        client.put_events(**call)
    except ClientError as error:
        return f"{error.response['ResponseMetadata']['HTTPStatusCode']} {error.response['Error']['Code']}"
    except ConnectionClosedError:
        return "closed"
    return "ok"


def run(connect: Callable[..., Any], call: dict[str, Any], faults: Faults, calls: int) -> tuple[list[str], Any]:
    with emulator.running(Settings(faults=faults)) as server:
        client = connect(server)
        return [outcome(client, call) for _ in range(calls)], server.summary()


def test_errors_come_as_500_and_503_and_accept_nothing(connect: Any, call: Any) -> None:
    outcomes, summary = run(connect, call(), Faults(error_rate=1.0), 30)
    assert set(outcomes) == {"500 InternalServerException", "503 ServiceUnavailable"}
    assert summary["accepted"] == 0
    assert sum(summary["faults"].values()) == 30


def test_a_reset_before_accepts_nothing(connect: Any, call: Any) -> None:
    outcomes, summary = run(connect, call(), Faults(reset_before_rate=1.0), 3)
    assert outcomes == ["closed"] * 3
    assert (summary["accepted"], summary["faults"]) == (0, {"reset-before": 3})


def test_a_reset_after_accepts_all(connect: Any, call: Any) -> None:
    outcomes, summary = run(connect, call(), Faults(reset_after_rate=1.0), 3)
    assert outcomes == ["closed"] * 3
    assert (summary["accepted"], summary["faults"]) == (3, {"reset-after": 3})


def test_a_call_that_is_refused_is_answered_all_the_same(connect: Any, call: Any) -> None:
    outcomes, summary = run(connect, call(itemId="x" * 257), Faults(reset_after_rate=1.0), 1)
    assert outcomes == ["400 InvalidInputException"]
    assert summary["faults"] == {}


def test_poison_refuses_the_whole_call_and_names_nothing(connect: Any, call: Any) -> None:
    with emulator.running(Settings(faults=Faults(poison_items=frozenset({"bad"})))) as server:
        client = connect(server)
        good, bad = call(itemId="good"), call(itemId="bad")
        client.put_events(**good)
        with pytest.raises(client.exceptions.InvalidInputException) as caught:
            client.put_events(**(good | {"eventList": good["eventList"] + bad["eventList"]}))
        message = caught.value.response["Error"]["Message"]
        assert "bad" not in message
        assert not any(letter.isdigit() for letter in message)
        summary = server.summary()
    assert (summary["events"], summary["refused"], summary["faults"]) == (
        1,
        {"InvalidInputException": 1},
        {"poison": 1},
    )


def test_a_seed_repeats_the_run_and_calls_are_conserved(connect: Any, call: Any) -> None:
    faults = Faults(error_rate=0.3, reset_before_rate=0.2, reset_after_rate=0.2, seed=7)
    first, summary = run(connect, call(), faults, 60)
    assert run(connect, call(), faults, 60)[0] == first
    assert len(set(first)) == 4
    before = Counter(summary["faults"]) - Counter({"reset-after": 60})
    assert summary["calls"] == 60 == summary["accepted"] + before.total()
    assert summary["accepted"] == first.count("ok") + summary["faults"]["reset-after"]
