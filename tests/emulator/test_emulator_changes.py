"""Quota and other client's rate, changed while the emulator runs: in process and over HTTP."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

import emulator
from emulator import EmulatorClock, EmulatorSettings


class Steady:
    """A clock that stands until it is told to go on."""

    now = 100.0


@pytest.fixture
def steady() -> Steady:
    return Steady()


@pytest.fixture
def server(steady: Steady) -> Iterator[emulator.Server]:
    with emulator.running(
        EmulatorSettings(quota=10, other_rate=6), EmulatorClock(steady=lambda: steady.now)
    ) as running_server:
        yield running_server


@pytest.fixture
def room(server: emulator.Server, steady: Steady, client: Any, call: Any, outcome: Any) -> Callable[[], int]:
    """Return a function that lets a second pass, and says how many calls are let through at once, of 12."""

    def count() -> int:
        steady.now += 1.0
        return [outcome(client, call()) for _ in range(12)].count("ok")

    return count


def post(server: emulator.Server, body: bytes) -> dict[str, Any]:
    request = Request(server.endpoint_url + "/_emulator/settings", body, method="POST")
    with urlopen(request) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def change_in_process(server: emulator.Server, **changes: Any) -> None:
    server.change(**changes)


def change_over_http(server: emulator.Server, **changes: Any) -> None:
    names = {"quota": "quota", "other_rate": "otherRate"}
    post(server, json.dumps({names[name]: value for name, value in changes.items()}).encode())


@pytest.mark.parametrize("change", [change_in_process, change_over_http])
def test_a_client_sees_the_change(server: emulator.Server, room: Any, change: Callable[..., None]) -> None:
    assert room() == 4
    change(server, other_rate=2.0)
    assert room() == 8
    change(server, quota=3)
    assert room() == 1
    change(server, quota=12, other_rate=0)
    assert room() == 12
    change(server, quota=0, other_rate=100)
    assert room() == 12


def test_what_the_other_client_takes_is_in_no_figure_of_ours(server: emulator.Server, room: Any) -> None:
    assert [room(), room(), room()] == [4, 4, 4]
    summary = server.summary()
    assert (summary["calls"], summary["accepted"], summary["throttled"]) == (36, 12, 24)
    assert (summary["maxCallsInASecond"], sum(summary["perSecond"].values())) == (4, 12)
    assert (summary["maxArrivalsInASecond"], sum(summary["arrivalsPerSecond"].values())) == (12, 36)
    # Two seconds lie between the first of our calls and the last.
    assert summary["otherCalls"] == 12


def test_the_answer_tells_how_things_stand(server: emulator.Server) -> None:
    assert post(server, b"{}") == {"quota": 10, "otherRate": 6}
    assert post(server, b'{"otherRate": 2.5}') == {"quota": 10, "otherRate": 2.5}
    assert post(server, b'{"quota": 5}') == {"quota": 5, "otherRate": 2.5}


def test_a_reset_undoes_no_change(server: emulator.Server, room: Any) -> None:
    server.change(quota=7)
    server.reset()
    assert room() == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "JSON object"),
        (b"quota=3", "JSON object"),
        (b"[3]", "JSON object"),
        (b"\xff", "JSON object"),
        (b'{"quota": 3, "colour": "red"}', "with quota, otherRate or both"),
        (b'{"quota": "3"}', "quota must be a whole number"),
        (b'{"quota": 3.0}', "quota must be a whole number"),
        (b'{"quota": true}', "quota must be a whole number"),
        (b'{"quota": null}', "quota must be a whole number"),
        (b'{"quota": -1}', "quota must be 0 (no limit) or more"),
        (b'{"otherRate": "fast"}', "otherRate must be a number"),
        (b'{"otherRate": false}', "otherRate must be a number"),
        (b'{"otherRate": -0.5}', "other rate must be 0 calls a second or more"),
        (b'{"otherRate": 1e999}', "other rate must be 0 calls a second or more"),
        (b'{"otherRate": NaN}', "JSON object"),
        (b'{"quota": 3, "otherRate": -1}', "other rate must be 0 calls a second or more"),
    ],
)
def test_bad_values_are_refused_in_words_and_change_nothing(server: emulator.Server, body: bytes, says: str) -> None:
    with pytest.raises(HTTPError) as caught:
        post(server, body)
    with caught.value as answer:
        assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "BadRequestException")
        assert says in json.load(answer)["message"]
    assert post(server, b"{}") == {"quota": 10, "otherRate": 6}


@pytest.mark.parametrize("bad", [{"quota": -1}, {"other_rate": -1.0}, {"other_rate": float("nan")}])
def test_bad_values_are_errors_in_process(server: emulator.Server, room: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="or more"):
        server.change(**({"quota": 5} | bad))
    assert room() == 4
