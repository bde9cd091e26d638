"""Poison: which events are, and what becomes of a call that holds one."""

from typing import Any

import pytest

import emulator
from emulator import EmulatorSettings, Faults, is_poison
from emulator.faults import is_poisoned

# By `printf NAME | sha256sum`: the first 16 digits of what it prints, as a share of all that could be.
SHARES = {
    "e-0": 0x0E5501077799614C / 2**64,
    "e-1": 0xB94F523196AAACD8 / 2**64,
    "\u00e9": 0x4A99557E4033C353 / 2**64,
}


@pytest.mark.parametrize(("event_id", "share"), SHARES.items())
def test_the_hash_of_the_event_id_decides(event_id: str, share: float) -> None:
    assert not is_poison(event_id, share - 1e-6)
    assert is_poison(event_id, share + 1e-6)


def test_a_rate_is_a_share_of_the_events() -> None:
    poison = sum(is_poison(f"event-{number}", 0.1) for number in range(100_000))
    # 10,000 and four standard deviations of a binomial to either side.
    assert abs(poison - 10_000) < 4 * (100_000 * 0.1 * 0.9) ** 0.5


def test_none_at_0_and_all_at_1() -> None:
    assert not any(is_poison(str(number), 0.0) for number in range(1000))
    assert all(is_poison(str(number), 1.0) for number in range(1000))


def test_an_event_id_of_half_a_character() -> None:
    assert is_poison("\ud800", 1.0)


def test_no_poison_by_default() -> None:
    assert not is_poisoned(Faults(), [{"itemId": "a", "eventId": "b"}])


def test_an_event_without_an_id_is_none_of_the_share() -> None:
    assert not is_poisoned(Faults(poison_rate=1.0), [{"itemId": "a"}])


def test_poison_refuses_the_whole_call_and_names_nothing(connect: Any, call: Any) -> None:
    with emulator.running(EmulatorSettings(faults=Faults(poison_items=frozenset({"bad"})))) as server:
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


def test_an_event_is_poison_in_whatever_call_and_retry(connect: Any, call: Any, outcome: Any) -> None:
    calls = {f"e-{number}": call(eventId=f"e-{number}") for number in range(20)}
    with emulator.running(EmulatorSettings(faults=Faults(poison_rate=0.05, seed=5))) as server:
        client = connect(server)
        for _ in range(2):
            # As sha256sum has it, only these two hashes start with less than a twentieth of 0xffff.
            assert {name for name, one in calls.items() if outcome(client, one) != "ok"} == {"e-15", "e-17"}
        events = [event for one in calls.values() for event in one["eventList"]]
        assert outcome(client, call() | {"eventList": events[:10]}) == "ok"
        assert outcome(client, call() | {"eventList": events[10:]}) == "400 InvalidInputException"
        assert server.summary()["faults"] == {"poison": 5}
