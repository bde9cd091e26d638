"""A service that takes nothing, from the start or after some calls; events whose calls never get an answer."""

from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

import emulator
from emulator import EmulatorSettings, Faults, is_poison
from emulator.faults import is_failing


@pytest.mark.parametrize("after", [0, 3])
def test_after_so_many_calls_each_is_refused(connect: Any, call: Any, after: int) -> None:
    with emulator.running(EmulatorSettings(faults=Faults(refuse_after=after))) as server:
        client = connect(server)
        for _ in range(after):
            client.put_events(**call())
        for _ in range(2):
            with pytest.raises(client.exceptions.InvalidInputException):
                client.put_events(**call())
        summary = server.summary()
        assert (summary["accepted"], summary["refused"]) == (after, {"InvalidInputException": 2})
        assert summary["faults"] == {"refuse-all": 2}
        server.reset()
        for _ in range(after):
            client.put_events(**call())


@pytest.mark.parametrize(
    ("by", "error", "counted"),
    [("error", ClientError, "internal-error"), ("reset", ConnectionClosedError, "reset-before")],
)
def test_a_call_with_a_failing_item_never_gets_an_answer_and_others_do(
    connect: Any, call: Any, by: str, error: type[Exception], counted: str
) -> None:
    with emulator.running(EmulatorSettings(faults=Faults(fail_items=frozenset({"bad"}), fail_by=by))) as server:
        client = connect(server)
        good, bad = call(itemId="good"), call(itemId="bad")
        both = good | {"eventList": good["eventList"] + bad["eventList"]}
        for failing in (bad, both, bad):
            with pytest.raises(error):
                client.put_events(**failing)
        client.put_events(**good)
        summary = server.summary()
    assert (summary["calls"], summary["accepted"], summary["faults"]) == (4, 1, {counted: 3})


def test_or_is_left_without_a_word(connect: Any, call: Any) -> None:
    with emulator.running(EmulatorSettings(faults=Faults(fail_items=frozenset({"bad"}), fail_by="hang"))) as server:
        client = connect(server, config=Config(read_timeout=0.3, retries={"total_max_attempts": 1}))
        with pytest.raises(ReadTimeoutError):
            client.put_events(**call(itemId="bad"))
        assert server.summary()["faults"] == {"hang-before": 1}


def test_the_failing_share_is_not_the_poison_one() -> None:
    failing = {number for number in range(2_000) if is_failing(Faults(fail_rate=0.1), [{"eventId": str(number)}])}
    poison = {number for number in range(2_000) if is_poison(str(number), 0.1)}
    assert 140 < len(failing) < 260
    assert len(failing & poison) < 60
