"""Faults on purpose: the decision by itself, and what boto3 sees of each."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.config import Config

import emulator
from emulator import EmulatorSettings, Faults
from emulator.faults import InjectedFault, draw_fault, lay_out

Run = Callable[..., tuple[list[str], dict[str, Any]]]


@pytest.mark.parametrize(
    ("draw", "fault"),
    [
        (0.0, InjectedFault.INTERNAL_ERROR),
        (0.049, InjectedFault.INTERNAL_ERROR),
        (0.05, InjectedFault.UNAVAILABLE),
        (0.1, InjectedFault.RESET_BEFORE),
        (0.299, InjectedFault.RESET_BEFORE),
        (0.31, InjectedFault.RESET_AFTER),
        (0.61, InjectedFault.HANG_BEFORE),
        (0.66, InjectedFault.HANG_AFTER),
        (0.76, InjectedFault.SLOW_BODY),
        (0.899, InjectedFault.SLOW_BODY),
        (0.91, None),
        (0.999, None),
    ],
)
def test_each_fault_has_its_share_of_the_draws(draw: float, fault: InjectedFault | None) -> None:
    faults = Faults(
        error_rate=0.1,
        reset_before_rate=0.2,
        reset_after_rate=0.3,
        hang_before_rate=0.05,
        hang_after_rate=0.1,
        slow_body_rate=0.15,
    )
    assert draw_fault(lay_out(faults), draw) is fault


def test_no_faults_by_default() -> None:
    assert draw_fault(lay_out(Faults()), 0.0) is None


RATES = ["error", "reset_before", "reset_after", "hang_before", "hang_after", "slow_body", "poison"]


@pytest.mark.parametrize("rate", [1.1, -0.1, float("nan")])
@pytest.mark.parametrize("fault", RATES)
def test_rates_are_shares(fault: str, rate: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Faults(**{f"{fault}_rate": rate})


def test_rates_of_calls_together_are_a_share() -> None:
    names = [f"{fault}_rate" for fault in RATES if fault != "poison"]
    # Added up one by one in binary, these come to a little more than 1.
    whole = dict(zip(names, (0.28, 0.21, 0.06, 0.33, 0.05, 0.07), strict=True))
    Faults(**whole, poison_rate=1.0)
    with pytest.raises(ValueError, match="add up"):
        Faults(**(whole | {"error_rate": 0.281}))


@pytest.mark.parametrize("ms", [-1.0, float("inf"), float("nan")])
def test_a_slow_body_takes_some_time(ms: float) -> None:
    with pytest.raises(ValueError, match="0 ms or more"):
        Faults(slow_body_ms=ms)


@pytest.fixture
def run(connect: Any, call: Any, outcome: Any) -> Run:
    """Return a function from faults and a number of calls to what boto3 sees of each, and the summary."""

    def make_calls(faults: Faults, calls: int, **event: Any) -> tuple[list[str], dict[str, Any]]:
        # Who will never be answered need not wait long; nobody else is to give up on a machine that is slow.
        patience = 0.5 if faults.hang_before_rate or faults.hang_after_rate else 60
        with emulator.running(EmulatorSettings(faults=faults)) as server:
            client = connect(server, config=Config(read_timeout=patience, retries={"total_max_attempts": 1}))
            return [outcome(client, call(**event)) for _ in range(calls)], server.summary()

    return make_calls


def test_errors_come_as_500_and_503_and_accept_nothing(run: Run) -> None:
    outcomes, summary = run(Faults(error_rate=1.0), 30)
    assert set(outcomes) == {"500 InternalServerException", "503 ServiceUnavailable"}
    assert summary["accepted"] == 0
    assert sum(summary["faults"].values()) == 30


@pytest.mark.parametrize(
    ("fault", "seen", "accepted"),
    [
        ("reset-before", "closed", 0),
        ("reset-after", "closed", 1),
        ("hang-before", "no answer", 0),
        ("hang-after", "no answer", 1),
        ("slow-body", "ok", 1),
    ],
)
def test_what_is_seen_of_a_fault_and_what_is_accepted(run: Run, fault: str, seen: str, accepted: int) -> None:
    faults = Faults(**{f"{fault.replace('-', '_')}_rate": 1.0}, slow_body_ms=20)
    outcomes, summary = run(faults, 1)
    assert outcomes == [seen]
    assert (summary["accepted"], summary["faults"]) == (accepted, {fault: 1})


@pytest.mark.parametrize("fault", ["reset_after", "hang_after", "slow_body"])
def test_a_call_that_is_refused_is_answered_all_the_same(run: Run, fault: str) -> None:
    outcomes, summary = run(Faults(**{f"{fault}_rate": 1.0}), 1, itemId="x" * 257)
    assert outcomes == ["400 InvalidInputException"]
    assert summary["faults"] == {}


def test_a_seed_repeats_the_run_and_calls_are_conserved(run: Run) -> None:
    shares = {"error_rate": 0.3, "reset_before_rate": 0.2, "reset_after_rate": 0.2, "slow_body_rate": 0.1}
    faults = Faults(**shares, slow_body_ms=1, seed=7)
    first, summary = run(faults, 60)
    assert run(faults, 60)[0] == first
    assert set(first) == {"ok", "closed", "500 InternalServerException", "503 ServiceUnavailable"}
    met = Counter(summary["faults"])
    assert set(met) == {"internal-error", "service-unavailable", "reset-before", "reset-after", "slow-body"}
    assert summary["accepted"] == first.count("ok") + met["reset-after"]
    assert summary["calls"] == 60 == summary["accepted"] + met.total() - met["reset-after"] - met["slow-body"]
