"""A soak's judge, on tapes made by hand, and its emulator, whose tape it reads."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from benchmarks.soak.faults import FAULTS, Service, Storm, Strike, Struck
from benchmarks.soak.faulty_delivery import DeliveryRecord
from benchmarks.soak.processes import end, start, wait_for
from benchmarks.soak.report import describe
from benchmarks.soak.runs import Run
from benchmarks.soak.verdict import Fullest, Tape, Terms, attribute, bound, fullest, judge, read_tape

TERMS = Terms(rate=10, tasks=2, in_flight=3, events=2)
DONE: dict[str, int] = {"exitCode": 0, "events": 40, "pending": 0, "deadLettered": 0}
CRASH_BOUND = 2 * (2 * 3 + 2 * 10)


def name(number: int) -> str:
    return f"{number:064x}"


def lines(calls: int = 20, every: float = 0.1) -> list[str]:
    """Calls of two events each, evenly, each signed in the second in which it arrives."""
    moments = [100 + number * every for number in range(calls)]
    return [f"call {at:.6f} {int(at)} accepted {name(2 * n)} {name(2 * n + 1)}" for n, at in enumerate(moments)]


def events(count: int = 40) -> set[bytes]:
    return {bytes.fromhex(name(number)) for number in range(count)}


class Driver(Run):
    """One that ran for all of a tape, and says what it is given."""

    def __init__(self, says: dict[str, int], code: int | None = 0, began: float = 90.0, ended: float = 200.0) -> None:
        super().__init__(Path("driver.log"), began, ended, code)
        self._says = says

    def summary(self) -> dict[str, Any]:
        return self._says


def broken(tape: list[str], history: list[Struck] | None = None, *runs: Run) -> tuple[str, ...]:
    return judge(read_tape(tape), events(), history or [], TERMS, runs or [Driver(DONE)]).broken


def test_a_delivery_that_kept_its_promises_is_told_so() -> None:
    verdict = judge(read_tape(lines()), events(), [], TERMS, [Driver(DONE)])
    assert (verdict.broken, verdict.lost, verdict.foreign, verdict.twice, verdict.bound) == ((), 0, 0, 0, 0)
    assert verdict.fullest == Fullest(10, 10, 1.0, 10)


def test_lost_and_foreign_events_are_found() -> None:
    assert broken(lines()[:-1]) == ("2 events were lost",)
    strange = f"call 103.0 103 accepted {name(99)}"
    assert broken([*lines(), strange]) == ("1 events were sent that the lake does not have",)


def test_a_call_that_was_not_accepted_delivers_nothing() -> None:
    refused = [*lines()[:-1], "call 101.900000 101 other"]
    assert broken(refused) == ("2 events were lost",)


def test_events_sent_twice_without_a_fault_are_found() -> None:
    again = f"call 104.0 104 accepted {name(0)} {name(1)}"
    assert broken([*lines(), again]) == ("2 events were sent twice, and no fault was near",)
    far = Struck("task killed", 120.0, 120.0)
    assert broken([*lines(), again], [far]) == ("2 events were sent twice, and no fault was near",)


def test_a_crash_may_send_some_twice_and_no_more() -> None:
    def tape(extra: int) -> list[str]:
        once = f"call 104.0 104 accepted {name(0)}"
        return [*lines(), *[once] * extra]

    crash = [Struck("driver killed", 101.0, 101.0)]
    spread = [(104 + n) for n in range(CRASH_BOUND + 1)]
    calm = [line.replace("104.0 104", f"{at}.0 {at}") for line, at in zip(tape(len(spread))[20:], spread, strict=True)]
    assert bound(crash[0], TERMS) == CRASH_BOUND
    assert broken([*lines(), *calm[:-1]], crash) == ()
    assert broken([*lines(), *calm], crash) == (
        f"driver killed after 101.0 s: {CRASH_BOUND + 1} events were sent twice, {CRASH_BOUND} are allowed",
    )
    assert broken([*lines(), calm[0]], [Struck("task stopped", 101.0, 103.0)]) == (
        "task stopped after 101.0 s: 1 events were sent twice, 0 are allowed",
    )


def test_a_lost_answer_may_send_its_own_events_twice() -> None:
    resets = Struck("connections reset", 100.0, 101.0, doubtful=1)
    again = f"call 104.0 104 accepted {name(0)} {name(1)}"
    assert broken([*lines(), again], [resets]) == ()
    assert len(broken([*lines(), again, again.replace("104", "105")], [resets])) == 1


def test_what_came_again_counts_for_the_fault_that_was_near_when_it_came_first() -> None:
    history = [Struck("driver killed", 50.0, 50.0), Struck("throttling", 70.0, 74.0), Struck("task killed", 90.0, 90.0)]
    assert attribute([47.1, 54.9, 60.0, 78.0, 87.1], history, TERMS) == ([2, 1, 1], 1)


def test_a_crash_while_the_store_is_slow_reaches_further_back() -> None:
    slow, crash = Struck("slow store", 40.0, 48.0), Struck("driver killed", 50.0, 50.0)
    assert attribute([42.0], [slow, crash], TERMS) == ([0, 1], 0)
    assert attribute([42.0], [crash], TERMS) == ([0], 1)


def test_a_second_above_the_limit_is_found_by_signatures_and_on_arrival() -> None:
    fast = lines(every=0.09)
    assert broken(fast) == (
        "12 calls in a second by their signatures, the limit is 10",
        "12 calls in a second on their arrival, the limit is 10",
    )
    ahead = [line.replace(" 101 ", " 100 ") for line in lines()]
    assert broken(ahead) == ("20 calls in a second by their signatures, the limit is 10",)


def test_calls_that_a_late_emulator_reads_at_once_are_told_from_calls_sent_at_once() -> None:
    """Six calls wait for half a second; a second that begins with them holds what was sent in one and a half."""
    even = [100 + number / 10 for number in range(40)]
    bunched = [101.5 if 101.0 <= at <= 101.5 else at for at in even]
    late = read_tape([*(f"call {at:.6f} 0 other" for at in bunched), "late 100.950000 101.500000"])
    assert fullest(late) == Fullest(15, 10, 34 / 40, 40)
    assert fullest(Tape(moments=bunched)) == Fullest(15, 15, 1.0, 0)
    burst = sorted([*even, *[100.5] * 5])
    assert fullest(Tape(moments=burst, late=[(102.0, 102.5)])).onTime == 15


@pytest.mark.parametrize(("member", "value"), [("exitCode", 5), ("pending", 1), ("deadLettered", 2), ("events", 41)])
def test_the_last_runs_own_account_is_held_against_the_lake(member: str, value: int) -> None:
    (words,) = broken(lines(), [], Driver(DONE | {member: value}))
    assert words.startswith("the last run reports")
    assert broken(lines(), [], Driver({})) != ()


@pytest.mark.parametrize("code", [1, 2, 4, 137, -15])
def test_a_driver_that_ends_badly_though_nobody_killed_it_is_found(code: int) -> None:
    last = Driver(DONE, began=150.0)
    first = Driver({}, code, ended=140.0)
    assert broken(lines(), [Struck("task killed", 120.0, 120.0)], first, last) == (
        f"run 1 ended with {code}: see driver.log",
    )
    assert broken(lines(), [Struck("driver killed", 139.8, 139.8)], first, last) == ()
    assert broken(lines(), [], Driver({}, 5, ended=140.0), last) == ()


def test_a_driver_that_is_told_to_end_and_does_not_is_found() -> None:
    told = [Struck("driver told to end", 100.0, 100.0)]
    last = Driver(DONE, began=195.0)
    assert broken(lines(), told, Driver({}, 5, ended=131.0), last) == ()
    assert broken(lines(), told, Driver({}, 5, ended=190.0), last) == (
        "run 1 got SIGTERM and took 90 s: see driver.log",
    )
    assert broken(lines(), [], Driver(DONE, None, ended=float("inf"))) == ("run 1 did not end: see driver.log",)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    log = tmp_path / "log"
    process = start([sys.executable, "-m", "benchmarks.soak.service", str(tmp_path / "tape")], log, os.environ)
    try:
        wait_for(lambda: log.exists() and log.read_text().endswith("\n"), "the emulator")
        yield Service(log.read_text().split()[0], tmp_path / "credentials")
    finally:
        end(process)


def put(service: Service, number: int, token: str = "token-1") -> str:
    """Call once; give the error's code, or nothing."""
    client = boto3.client(
        "personalize-events",
        region_name="eu-west-1",
        endpoint_url=service.url,
        aws_access_key_id="AKIDEMULATOR",
        aws_secret_access_key="emulator-secret",
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}),
    )
    event = {"eventId": name(number), "eventType": "view", "sentAt": 1704067200, "itemId": "i"}
    try:
        client.put_events(trackingId="t", userId="u", sessionId="s", eventList=[event])
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def test_the_emulator_changes_while_it_runs_and_its_tape_is_read(service: Service, tmp_path: Path) -> None:
    service.hand_out_keys()
    assert not service.is_called()
    assert put(service, 0) == ""
    assert service.is_called()
    service.expire_keys()
    assert put(service, 1) == "ExpiredTokenException"
    service.hand_out_keys()
    assert "token-2" in (tmp_path / "credentials").read_text()
    service.change(faults={"error_rate": 1.0})
    assert put(service, 1, "token-2") in {"InternalServerException", "ServiceUnavailable"}
    service.change(faults={})
    assert put(service, 1, "token-2") == ""
    assert put(service, 1, "token-2") == ""
    counts = service.told()
    assert (counts["calls"], counts["accepted"], counts["refused"]) == (5, 3, {"ExpiredTokenException": 1})
    tape = read_tape((tmp_path / "tape").read_text().splitlines())
    assert set(tape.first) == events(2)
    assert tape.again == [tape.first[bytes.fromhex(name(1))]]
    assert len(tape.moments) == tape.signed.total() == 5
    assert tape.moments == sorted(tape.moments)


def test_a_storm_brings_each_kind_before_any_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counts:
        def doubtful(self) -> int:
            return 0

    class Nowhere:
        service = Counts()

    for kind in FAULTS:
        monkeypatch.setitem(FAULTS, kind, lambda *_: Strike(1.0))  # type: ignore[misc]
    storm = Storm(Nowhere(), 20.0, random.Random(3))  # type: ignore[arg-type]
    for second in range(20 * 2 * len(FAULTS) + 20):
        storm.tick(float(second))
    names = [one.name for one in storm.history]
    assert len(names) == 2 * len(FAULTS)
    assert sorted(names[: len(FAULTS)]) == sorted(names[len(FAULTS) :]) == sorted(FAULTS)
    assert [one.began for one in storm.history] == [20.0 * (n + 1) for n in range(len(names))]
    assert all(one.ended == one.began + 1.0 for one in storm.history[:-1])


def test_the_table_says_what_was_found() -> None:
    record = DeliveryRecord([Driver({}, -9), Driver(DONE)], {"driver, JVM": 3 << 20}, seconds=12.0)
    tape = [*lines()[:-1], f"call 103.0 103 accepted {name(0)}"]
    history = [Struck("task killed", 101.0, 101.0)]
    verdict = judge(read_tape(tape), events(), history, TERMS, record.runs)
    counts = {"calls": 20, "accepted": 20, "throttled": 0, "firstCallAt": 5.0, "lastCallAt": 15.0}
    told = describe(verdict, TERMS, {**counts, "faults": {"reset-after": 1}, "refused": {}, "badRequests": {}}, record)
    assert "| took | 12 s, 2 calls a second from the first to the last |" in told
    assert "| runs | 2; exit codes: -9: 1, 0: 1 |" in told
    assert f"| sent twice | 1; at most {CRASH_BOUND} |" in told
    assert f"| task killed | 1 | 1 | 1 | {CRASH_BOUND} |" in told
    assert "| peak memory, driver, JVM | 3 MiB |" in told
    assert "- broken: 2 events were lost" in told
