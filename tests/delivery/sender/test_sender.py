"""The way of a request, with a service that answers by script, in virtual time: order, bounds, retries, how it ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import chain, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.call_statistics import CallStatistics
from delivery.ended_requests import EndedRequestSet
from delivery.model import Outcome, Request, Response
from delivery.rate.rate_lease import LEASE_SECONDS
from delivery.responses import ResponseMeaning, SourceSilentError, interpret_response
from delivery.sender.request_executor import RetryPolicy
from delivery.sender.request_queue import RequestBuffer
from tests.delivery import virtual
from tests.delivery.sendings import (
    DELIVERED,
    DENIED,
    EXPIRED,
    FOR_EVER,
    HANG,
    NOBODY,
    PATIENT,
    REFUSED,
    RESET,
    START,
    THROTTLED,
    UNAVAILABLE,
    Script,
    Sending,
    by_request,
    in_turn,
    request,
    requests,
    run,
    send,
    start,
)

# Order and bounds.


def test_requests_start_in_their_order() -> None:
    script = Script(in_turn(DELIVERED, THROTTLED, UNAVAILABLE))
    sent = run(send(script, requests("abcd")))
    assert script.calls == ["a", "b", "b", "b", "c", "d"]
    assert sent.brief == [("a", "delivered", 1), ("b", "delivered", 3), ("c", "delivered", 1), ("d", "delivered", 1)]


def test_no_call_is_made_before_the_service_is_ready_and_then_they_keep_their_distance() -> None:
    script = Script(opening=30.0)
    run(send(script, requests("abcd"), in_flight=4, rate=1.0))
    assert script.calls == list("abcd")
    assert min(script.times) == pytest.approx(30.0)
    assert max(script.times) >= 32.0


@pytest.mark.parametrize("opening", [60.0, HANG])
def test_a_service_that_does_not_become_ready_holds_up_no_end(opening: float) -> None:
    async def scenario() -> tuple[Script, Sending]:
        script = Script(opening=opening)
        sent = start(script, requests("ab"))
        await asyncio.sleep(10.0)
        sent.rate_lease.stopped = True
        sent.sender.pump()
        await sent.task
        return script, sent

    script, sent = run(scenario())
    assert (script.calls, sent.ended_after) == ([], pytest.approx(10.0))


def test_nothing_to_send_makes_no_call() -> None:
    script = Script()
    assert run(send(script, [])).outcomes == []
    assert script.calls == []


@pytest.mark.parametrize(("in_flight", "seconds"), [(1, 20.0), (2, 10.0), (5, 4.0), (19, 2.0), (20, 1.0), (256, 1.0)])
def test_as_many_requests_as_allowed_are_in_flight_and_no_more(in_flight: int, seconds: float) -> None:
    script = Script(latency=1.0)
    sent = run(send(script, [request(f"{number:x}") for number in range(20)], in_flight=in_flight))
    assert script.most_at_once == min(in_flight, 20)
    assert len(sent.outcomes) == 20
    assert sent.ended_after == pytest.approx(seconds)


def test_calls_under_way_are_told() -> None:
    async def scenario() -> list[int]:
        sending = start(Script(latency=lambda each: 1.0 + int(each.requestId)), requests("0123"), in_flight=3)
        told = []
        for _ in range(6):
            await asyncio.sleep(0.99)
            told.append(sending.sender.in_flight)
        await sending.task
        return [*told, sending.sender.in_flight]

    # They take 1, 2, 3 and, from second 1 on, 4 s.
    assert run(scenario()) == [3, 3, 2, 1, 1, 0, 0]


@pytest.mark.parametrize("in_flight", [1, 3])
def test_requests_are_taken_as_there_is_room_for_them(in_flight: int) -> None:
    class CountingFeed(RequestBuffer):
        taken = 0

        def take(self) -> Request | None:
            self.taken += 1
            return super().take()

    async def scenario() -> list[int]:
        buffer = CountingFeed(lambda: None)
        buffer.put(request(f"{number:x}") for number in range(40))
        buffer.close()
        sending = start(Script(latency=1.0), [], in_flight=in_flight, buffer=buffer)
        taken = []
        for _ in range(5):
            await asyncio.sleep(0.9)
            taken.append(buffer.taken)
            await asyncio.sleep(0.1)
        sending.rate_lease.stopped = True
        await sending.task
        return taken

    assert run(scenario()) == [in_flight * second for second in (1, 2, 3, 4, 5)]


def test_a_slow_request_holds_up_nobody_elses_outcome() -> None:
    script = Script(latency=lambda each: 300.0 if each.requestId == "a" else 1.0)
    sent = run(send(script, requests("abcd"), in_flight=2))
    assert [name for name, *_ in sent.brief] == ["b", "c", "d", "a"]
    assert script.called == [(0.0, "a"), (0.0, "b"), (1.0, "c"), (2.0, "d")]


def test_parts_come_before_retries_and_retries_before_new_requests() -> None:
    script = Script(in_turn(UNAVAILABLE, REFUSED), latency=1.0)
    retry = RetryPolicy(base=1.0)
    run(send(script, [request("a"), request("b", events=2), request("c"), request("d")], retry=retry))
    # a is due again at second 2, when b has just been refused.
    assert script.calls == ["a", "b", "b.1", "b.2", "a", "c", "d"]


def test_requests_are_sent_as_they_are_fed() -> None:
    async def scenario() -> Script:
        script, buffer = Script(), RequestBuffer(lambda: None)
        sending = start(script, [], buffer=buffer)
        for name in "abc":
            await asyncio.sleep(10.0)
            buffer.put([request(name)])
            sending.sender.pump()
        await asyncio.sleep(10.0)
        assert not sending.task.done()
        buffer.close()
        sending.sender.pump()
        await sending.task
        return script

    assert run(scenario()).called == [(10.0, "a"), (20.0, "b"), (30.0, "c")]


# Pacing.


def most_in_a_second(times: list[float]) -> int:
    return max(sum(begin <= at < begin + 1.0 for at in times) for begin in times)


def test_every_call_waits_for_the_permit_retries_and_parts_of_a_split_too() -> None:
    script = Script(in_turn(*[THROTTLED, DELIVERED, REFUSED, UNAVAILABLE] * 15))
    run(send(script, [request(f"{number:x}", events=2) for number in range(40)], in_flight=20, rate=4.0))
    assert len(script.calls) > 80
    assert most_in_a_second(script.times) == 4
    assert script.times[-1] < 1.25 * len(script.calls) / 4


def test_a_change_of_the_rate_shows_at_once() -> None:
    async def scenario() -> Script:
        script = Script()
        sending = start(script, requests("0123456789abcdef"), rate=1.0)
        await asyncio.sleep(2.1)
        sending.own(100.0)
        await sending.task
        return script

    times = run(scenario()).times
    assert len([at for at in times if at < 2.1]) <= 4
    assert times[-1] < 3.0  # 13 s at the first rate


def test_after_a_stall_of_the_machine_calls_do_not_come_in_a_burst() -> None:
    async def scenario() -> Script:
        script = Script()
        sending = start(script, [request(f"{number:x}") for number in range(60)], rate=10.0)
        await asyncio.sleep(2.05)
        asyncio.get_running_loop().stall(30.0)  # type: ignore[attr-defined]
        await sending.task
        return script

    late = [at for at in run(scenario()).times if at > 30.0]
    assert len(late) > 30
    assert most_in_a_second(late) <= 10


def test_a_sender_that_only_the_rate_holds_back_says_that_it_starves() -> None:
    async def starved(in_flight: int = 256, rate: float = 10.0, names: str = "0123456789") -> bool:
        sending = start(Script(latency=5.0), requests(names), in_flight=in_flight, rate=rate)
        await asyncio.sleep(0.5)
        sending.sender.starved = False
        await asyncio.sleep(0.3)
        sending.sender.pump()
        told = sending.sender.starved
        await sending.task
        return told

    assert run(starved())
    assert not run(starved(in_flight=2))
    assert not run(starved(names="01"))
    assert not run(starved(rate=1e6))


def test_a_sender_whose_reader_is_slow_does_not_starve() -> None:
    async def scenario() -> bool:
        buffer = RequestBuffer(lambda: None)
        sending = start(Script(), [], rate=10.0, buffer=buffer)
        for name in "0123":
            sending.sender.starved = False
            buffer.put([request(name)])
            sending.sender.pump()
            await asyncio.sleep(1.0)
        buffer.close()
        sending.sender.pump()
        await sending.task
        return sending.sender.starved

    assert not run(scenario())


def test_a_sender_that_waits_for_a_retry_does_not_starve() -> None:
    async def scenario() -> bool:
        sending = start(Script(in_turn(UNAVAILABLE)), requests("a"), rate=1.0, retry=RetryPolicy(base=10.0))
        await asyncio.sleep(0.1)
        sending.sender.starved = False
        await sending.task
        return sending.sender.starved

    assert not run(scenario())


# Retries.


def test_a_delivered_request_tells_of_its_calls() -> None:
    script = Script(in_turn(THROTTLED, UNAVAILABLE, THROTTLED), latency=0.25)
    sent = run(send(script, requests("a"), retry=RetryPolicy(base=1.0), chance=lambda: 0.5))
    assert sent.outcomes == [
        Outcome(
            request=request("a"),
            status="delivered",
            answer=DELIVERED,
            attempts=4,
            # Three calls of 0.25 s, and pauses of half of 1, 2 and 4 s.
            startedAt=START + timedelta(seconds=0.75 + 0.5 + 1.0 + 2.0),
            latencyMs=250,
        )
    ]


def test_calls_are_counted() -> None:
    script = Script(in_turn(THROTTLED, RESET, THROTTLED, UNAVAILABLE, REFUSED), latency=2.0)
    calls = run(send(script, [request("a", events=2), request("b")])).sender.calls
    # Of a five calls, then one of each of its halves and one of b; the reset one was not answered.
    made = {"requests": 4, "attempts": 8, "retried": 4, "ended": 8, "throttled": 2, "answered": 7, "latency": 2.0}
    assert calls == CallStatistics(**made, acknowledged=3, refused=1)


@pytest.mark.parametrize(
    "fault", [THROTTLED, UNAVAILABLE, RESET, NOBODY, Response(429, "Anything"), Response(500, "InternalFailure")]
)
def test_passing_faults_are_called_again(fault: Response) -> None:
    sent = run(send(Script(in_turn(fault)), requests("a")))
    assert sent.brief == [("a", "delivered", 2)]
    assert sent.outcomes[0].answer == DELIVERED


def test_pauses_double_up_to_the_cap_and_are_jittered_over_their_whole_length() -> None:
    script = Script(in_turn(*[UNAVAILABLE] * 7))
    chances = iter([1.0, 0.0, 0.5, 0.25, 1.0, 0.1, 1.0])
    run(send(script, requests("a"), retry=RetryPolicy(base=1.0, cap=10.0), chance=lambda: next(chances)))
    pauses = [1.0, 0.0 * 2, 0.5 * 4, 0.25 * 8, 10.0, 0.1 * 10, 10.0]
    assert script.times == pytest.approx([sum(pauses[:made]) for made in range(8)])


def test_a_pause_holds_up_no_other_request() -> None:
    script = Script(by_request(a=UNAVAILABLE))
    retry = RetryPolicy(base=10.0, budget=15.0)
    sent = run(send(script, requests("abc"), retry=retry))
    assert script.called == [(0.0, "a"), (0.0, "b"), (0.0, "c"), (10.0, "a")]
    assert sent.event_ids("delivered") == ["b-0", "c-0"]


def test_a_refused_request_of_one_event_is_not_called_again() -> None:
    script = Script(in_turn(then=REFUSED))
    sent = run(send(script, requests("a")))
    assert sent.brief == [("a", "refused", 1)]
    assert sent.outcomes[0].answer == REFUSED
    assert script.calls == ["a"]


# What ends the sending before its end.


@pytest.mark.parametrize(("fault", "throttled"), [(UNAVAILABLE, 0), (THROTTLED, 6), (RESET, 0), (NOBODY, 0)])
def test_a_request_out_of_its_time_ends_the_sending_and_has_no_outcome(fault: Response, throttled: int) -> None:
    script = Script(by_request(c=fault))
    sent = run(send(script, requests("abcdef"), retry=RetryPolicy(budget=20.0, base=1.0, cap=5.0)))
    assert [at for at, name in script.called if name == "c"] == [0.0, 1.0, 3.0, 7.0, 12.0, 17.0]  # the next at 22
    assert sent.event_ids("delivered") == ["a-0", "b-0", "d-0", "e-0", "f-0"]
    assert (sent.sender.ending, sent.ended_after, len(sent.outcomes)) == (fault, 17.0, 5)
    assert sent.sender.calls.throttled == throttled


def test_the_time_of_a_request_begins_with_its_first_call() -> None:
    def late(each: Request) -> Response:
        return UNAVAILABLE if each.requestId == "b" else DELIVERED

    script = Script(late, latency=lambda each: 100.0 if each.requestId == "a" else 0.0)
    run(send(script, requests("ab"), retry=RetryPolicy(budget=20.0, base=8.0, cap=8.0)))
    assert script.called == [(0.0, "a"), (100.0, "b"), (108.0, "b"), (116.0, "b")]


def test_by_default_a_request_is_tried_for_two_minutes() -> None:
    script = Script(in_turn(then=UNAVAILABLE))
    sent = run(send(script, requests("a"), retry=RetryPolicy()))
    # 0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 6.4 = 12.7 s, then every 10 s.
    assert sent.ended_after == pytest.approx(112.7)
    assert len(script.calls) == 1 + 7 + 10


def test_while_a_request_waits_in_vain_no_new_one_starts_after_the_end() -> None:
    script = Script(by_request(a=UNAVAILABLE), latency=1.0)
    sent = run(send(script, requests("abcdef"), in_flight=2, retry=RetryPolicy(budget=2.5, base=1.0)))
    # a is called in seconds 0 and 2; then its time is over.
    assert [each for each in script.called if each[1] != "a"] == [(0.0, "b"), (1.0, "c"), (1.0, "d"), (2.0, "e")]
    assert sent.event_ids("delivered") == ["b-0", "c-0", "d-0", "e-0"]
    assert sent.sender.ending == UNAVAILABLE


@pytest.mark.parametrize(
    "answer", [DENIED, Response(404, "ResourceNotFoundException"), Response(None, "NoCredentialsError")]
)
def test_a_hopeless_answer_stops_the_sending_at_once(answer: Response) -> None:
    script = Script(by_request(c=answer))
    sent = run(send(script, requests("abcdef")))
    assert script.calls == ["a", "b", "c"]
    assert sent.brief == [("a", "delivered", 1), ("b", "delivered", 1)]
    assert (sent.sender.ending, sent.rate_lease.stopped) == (answer, True)


def test_calls_under_way_finish_after_a_stop_and_are_told() -> None:
    seconds = {"a": 1.0, "b": 3.0, "c": 2.0, "d": 5.5}
    script = Script(by_request(a=DENIED, c=REFUSED), latency=lambda each: seconds[each.requestId])
    sent = run(send(script, requests("abcdef"), in_flight=4))
    assert script.calls == ["a", "b", "c", "d"]
    assert sent.brief == [("c", "refused", 1), ("b", "delivered", 1), ("d", "delivered", 1)]
    assert (sent.ended_after, sent.sender.ending) == (5.5, DENIED)


def test_the_first_of_several_endings_is_told() -> None:
    script = Script(by_request(a=DENIED, b=UNAVAILABLE, c=Response(404, "ResourceNotFoundException")), latency=1.0)
    sent = run(send(script, requests("abc"), in_flight=3, retry=RetryPolicy(budget=0.0)))
    assert sent.sender.ending == DENIED


@pytest.mark.parametrize("answer", [UNAVAILABLE, THROTTLED, REFUSED, EXPIRED])
def test_after_a_stop_nothing_is_called_again_or_split(answer: Response) -> None:
    script = Script(by_request(a=DENIED, b=answer), latency=lambda each: 1.0 if each.requestId == "a" else 2.0)
    sent = run(send(script, [request("a"), request("b", events=2)], in_flight=2))
    assert script.calls == ["a", "b"]
    assert (sent.outcomes, sent.ended_after, sent.sender.ending) == ([], 2.0, DENIED)


def test_a_stop_leaves_the_parts_of_a_split_that_were_not_called() -> None:
    script = Script(by_request(a=REFUSED, **{"a.1": DENIED}))
    sent = run(send(script, [request("a", events=4)]))
    assert (script.calls, sent.outcomes) == (["a", "a.1"], [])


def test_calls_that_hang_at_a_stop_are_given_up_and_told_by_nobody() -> None:
    seconds = {"a": 2.0, "b": HANG, "c": 6.9, "d": 7.1}
    script = Script(by_request(a=DENIED), latency=lambda each: seconds[each.requestId])
    sent = run(send(script, requests("abcd"), in_flight=4))
    assert sent.brief == [("c", "delivered", 1)]
    assert sorted(script.given_up) == ["b", "d"]
    assert sent.ended_after == pytest.approx(7.0)  # 5 s after the stop
    assert sent.sender.calls.ended == 2


def test_calls_that_take_long_are_waited_for_where_nothing_has_stopped_the_sending() -> None:
    sent = run(send(Script(latency=60.0), requests("ab"), in_flight=2))
    assert (len(sent.outcomes), sent.ended_after) == (2, 60.0)


def test_the_driver_stops_the_sending_while_its_requests_wait_to_be_called_again() -> None:
    async def scenario() -> Sending:
        sending = start(Script(by_request(a=UNAVAILABLE)), requests("ab"), retry=RetryPolicy(base=100.0))
        await asyncio.sleep(7.0)
        sending.rate_lease.stopped = True
        sending.sender.pump()
        await sending.task
        return sending

    sent = run(scenario())
    assert sent.brief == [("b", "delivered", 1)]
    assert (sent.ended_after, sent.sender.ending) == (7.0, None)


def test_a_sending_that_was_stopped_before_it_began_makes_no_call() -> None:
    async def scenario() -> tuple[Script, Sending]:
        script = Script()
        sending = start(script, requests("ab"))
        sending.rate_lease.stopped = True
        await sending.task
        return script, sending

    script, sent = run(scenario())
    assert (script.calls, sent.outcomes) == ([], [])


def test_a_reader_that_fails_ends_the_sending_when_the_calls_under_way_have_ended() -> None:
    async def scenario() -> tuple[Script, Sending]:
        script = Script(latency=3.0)
        sending = start(script, requests("abcdef"), in_flight=2)
        await asyncio.sleep(1.0)
        sending.buffer.fail()
        sending.sender.pump()
        await sending.task
        return script, sending

    script, sent = run(scenario())
    assert script.calls == ["a", "b"]
    assert sent.brief == [("a", "delivered", 1), ("b", "delivered", 1)]
    assert (sent.ended_after, sent.rate_lease.stopped, sent.sender.ending) == (3.0, True, None)


@pytest.mark.parametrize("stopped", [False, True])
def test_when_the_sending_has_ended_its_reader_is_told(stopped: bool) -> None:
    script = Script(in_turn(DENIED) if stopped else in_turn())
    sent = run(send(script, requests("ab")))
    assert not sent.buffer.put(requests("c"))


def test_nothing_starts_after_the_end() -> None:
    async def scenario() -> list[str]:
        script = Script(in_turn(DENIED))
        sending = await send(script, requests("ab"))
        sending.rate_lease.stopped = False
        sending.own()
        await asyncio.sleep(10.0)
        return script.calls

    assert run(scenario()) == ["a"]


def test_nobody_there_is_noted_until_somebody_answers() -> None:
    async def scenario() -> list[Response | None]:
        script = Script(in_turn(NOBODY, NOBODY, UNAVAILABLE, NOBODY, RESET), latency=1.0)
        sending = start(script, requests("a"))
        noted = [sending.sender.unreachable]
        for _ in range(6):
            await asyncio.sleep(1.001)
            noted.append(sending.sender.unreachable)
        await sending.task
        return noted

    assert run(scenario()) == [None, NOBODY, NOBODY, None, NOBODY, None, None]


# Credentials that have expired.


def test_expired_credentials_are_renewed_once_and_the_calls_made_again() -> None:
    script = Script(in_turn(*[EXPIRED] * 4), latency=1.0, look=3.0)
    sent = run(send(script, requests("abcdef"), in_flight=4, retry=RetryPolicy()))
    assert script.looked == [1.0]
    # No call is made in vain while credentials are looked for.
    assert script.called[4:8] == [(4.0, "a"), (4.0, "b"), (4.0, "c"), (4.0, "d")]
    assert sorted(sent.brief) == [(name, "delivered", 2 if name in "abcd" else 1) for name in "abcdef"]


def test_credentials_that_are_not_there_yet_are_looked_for_again() -> None:
    script = Script(in_turn(EXPIRED), renewals=[False] * 6)
    sent = run(send(script, requests("ab"), retry=RetryPolicy(renewal=15.0)))
    assert script.looked == pytest.approx([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert script.called == [(0.0, "a"), (6.0, "a"), (6.0, "b")]
    assert sent.brief == [("a", "delivered", 2), ("b", "delivered", 1)]


@pytest.mark.parametrize("look", [0.0, 4.0, 7.0])
def test_without_other_credentials_the_sending_ends_for_those_that_expired(look: float) -> None:
    script = Script(in_turn(DELIVERED, EXPIRED, then=EXPIRED), renewals=repeat(False), look=look)
    sent = run(send(script, requests("abc"), retry=RetryPolicy(renewal=15.0)))
    assert script.calls == ["a", "b"]
    assert sent.brief == [("a", "delivered", 1)]
    assert (sent.sender.ending, sent.ended_after) == (EXPIRED, 15.0)


class SilentUntil:
    """A source of credentials that gives none before a time, and others from then on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __iter__(self) -> SilentUntil:
        return self

    def __next__(self) -> bool:
        if asyncio.get_running_loop().time() < self._seconds:
            raise SourceSilentError("ReadTimeoutError")
        return True


def test_a_source_of_credentials_that_is_silent_for_a_minute_is_waited_for() -> None:
    script = Script(in_turn(EXPIRED), renewals=SilentUntil(61.0))
    sent = run(send(script, requests("ab"), retry=RetryPolicy(renewal=15.0)))
    assert sent.brief == [("a", "delivered", 2), ("b", "delivered", 1)]
    assert (script.calls, script.times) == (["a", "a", "b"], pytest.approx([0.0, 60.0, 60.0]))


@pytest.mark.parametrize(("renewals", "look"), [(SilentUntil(FOR_EVER), 0.0), ((), HANG)])
def test_a_source_of_credentials_that_stays_silent_ends_the_sending_for_another_run(
    renewals: Iterable[bool], look: float
) -> None:
    script = Script(in_turn(DELIVERED, then=EXPIRED), renewals=renewals, look=look)
    sent = run(send(script, requests("abc"), retry=RetryPolicy(renewal=15.0, budget=120.0)))
    assert sent.sender.ending is not None
    assert (sent.sender.ending.errorCode, sent.ended_after) == ("CredentialRetrievalError", 120.0)
    assert interpret_response(sent.sender.ending) is ResponseMeaning.FAULT


def test_other_credentials_that_are_as_old_end_the_sending_too() -> None:
    script = Script(in_turn(then=EXPIRED), latency=1.0)
    sent = run(send(script, requests("abcdef"), in_flight=2, retry=RetryPolicy(renewal=15.0)))
    assert (sent.outcomes, sent.sender.ending) == ([], EXPIRED)
    assert set(script.calls) == {"a", "b"}
    assert sent.ended_after == pytest.approx(16.0)  # the first call told it in second 1


def test_the_time_for_a_renewal_begins_when_the_credentials_expire() -> None:
    script = Script(in_turn(*[UNAVAILABLE] * 4, EXPIRED), renewals=[False])
    sent = run(send(script, requests("a"), retry=RetryPolicy(base=10.0, renewal=15.0)))
    assert script.called[4:] == [(40.0, "a"), (41.0, "a")]
    assert sent.brief == [("a", "delivered", 6)]


def test_a_stop_does_not_wait_for_credentials() -> None:
    async def scenario() -> Sending:
        sending = start(Script(in_turn(EXPIRED), look=HANG), requests("ab"), retry=RetryPolicy(renewal=1000.0))
        await asyncio.sleep(10.0)
        sending.rate_lease.stopped = True
        sending.sender.pump()
        await sending.task
        return sending

    assert run(scenario()).ended_after <= 15.0


# Handing over.


def test_who_does_not_own_its_part_any_more_starts_nothing_and_goes_on_when_it_does_again() -> None:
    async def scenario() -> tuple[Script, list[int], Sending]:
        script = Script(latency=1.0)
        sending = start(script, requests("abcdef"), in_flight=2)
        await asyncio.sleep(0.5)
        sending.disown()
        in_flight = [sending.sender.in_flight]
        await asyncio.sleep(100.0)
        in_flight.append(sending.sender.in_flight)
        sending.rate_lease.done = EndedRequestSet("abd")
        sending.own()
        await sending.task
        return script, in_flight, sending

    script, in_flight, sent = run(scenario())
    assert in_flight == [2, 0]
    assert script.called[:2] == [(0.0, "a"), (0.0, "b")]
    assert script.calls[2:] == ["c", "e", "f"] and script.times[2] == pytest.approx(100.5)
    assert sorted(sent.event_ids("delivered")) == ["a-0", "b-0", "c-0", "e-0", "f-0"]


def test_retries_and_parts_wait_for_the_ownership_and_those_that_others_ended_are_left_out() -> None:
    async def scenario() -> tuple[Script, Sending]:
        script = Script(in_turn(UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, REFUSED, REFUSED), latency=1.0)
        source = [request("a"), request("b", events=4), request("c"), request("d", events=2), request("e", events=4)]
        sending = start(script, source, in_flight=5, retry=RetryPolicy(base=5.0))
        await asyncio.sleep(0.5)
        sending.disown()
        await asyncio.sleep(50.0)
        sending.rate_lease.done = EndedRequestSet(["a", "b.1", "b.2.2", "d.2", "e.1.1", "e.1.2"])
        sending.own()
        await sending.task
        return script, sending

    script, sent = run(scenario())
    assert sorted(script.calls[5:]) == ["b.2.1", "c", "d.1", "e.2"]
    assert min(script.times[5:]) == pytest.approx(50.5)
    assert sent.event_ids("delivered") == ["b-2", "c-0", "d-0", "e-2", "e-3"]


def test_a_driver_that_falls_silent_leaves_the_sender_its_lease() -> None:
    async def scenario() -> tuple[Script, Sending]:
        script = Script()
        sending = start(script, [request(f"{number:x}") for number in range(200)], rate=10.0)
        sending.own(10.0, asked=asyncio.get_running_loop().time())
        await asyncio.sleep(100.0)
        sending.disown()
        sending.rate_lease.stopped = True
        sending.sender.pump()
        await sending.task
        return script, sending

    script, _ = run(scenario())
    assert len(script.times) == pytest.approx(10.0 * LEASE_SECONDS, abs=1)
    assert max(script.times) < LEASE_SECONDS


# What others have ended.


def test_what_others_ended_is_skipped_and_of_a_split_one_what_is_left_is_called() -> None:
    async def scenario() -> tuple[Script, Sending]:
        script = Script()
        sending = start(script, [request("a"), request("b", events=8), request("c"), request("d", events=2)])
        sending.rate_lease.done = EndedRequestSet(["a", "b.1.2", "b.2.1.1", "b.2.1.2", "d.1", "d.2"])
        await sending.task
        return script, sending

    script, sent = run(scenario())
    assert script.calls == ["b.1.1", "b.2.2", "c"]
    assert sent.event_ids("delivered") == ["b-0", "b-1", "b-6", "b-7", "c-0"]
    assert [attempts for *_, attempts in sent.brief] == [1, 1, 1]


def test_what_is_skipped_takes_nothing_of_the_rate() -> None:
    async def scenario() -> tuple[Script, float]:
        script = Script()
        sending = start(script, [request(f"{number:x}") for number in range(400)], rate=1.0)
        sending.rate_lease.done = EndedRequestSet(f"{number:x}" for number in range(399))
        await sending.task
        return script, sending.ended_after

    script, seconds = run(scenario())
    assert script.calls == [f"{399:x}"]
    assert seconds < 3.0


# Splitting.


def refuse(*poison: str) -> Callable[[Request], Response]:
    return lambda each: REFUSED if set(poison) & set(each.eventIds) else DELIVERED


# The calls for a poison at each place: 10 is split in 5 and 5, 5 in 2 and 3, 3 in 1 and 2.
@pytest.mark.parametrize(("place", "calls"), [*enumerate([7, 7, 7, 9, 9, 7, 7, 7, 9, 9])])
def test_a_poison_stands_alone_and_its_neighbours_are_delivered(place: int, calls: int) -> None:
    script = Script(refuse(f"a-{place}"))
    sent = run(send(script, [request("a", events=10)]))
    assert sent.event_ids("refused") == [f"a-{place}"]
    assert sent.event_ids("delivered") == [f"a-{each}" for each in range(10) if each != place]
    assert sum(outcome.attempts for outcome in sent.outcomes) == len(script.calls) == calls
    (refused,) = [outcome for outcome in sent.outcomes if outcome.status == "refused"]
    assert refused.answer == REFUSED


def test_a_request_of_poison_alone_is_refused_event_by_event() -> None:
    script = Script(in_turn(then=REFUSED))
    sent = run(send(script, [request("a", events=10)]))
    assert [outcome.request.eventIds for outcome in sent.outcomes] == [(f"a-{each}",) for each in range(10)]
    assert {outcome.status for outcome in sent.outcomes} == {"refused"}
    assert sum(outcome.attempts for outcome in sent.outcomes) == len(script.calls) == 19


def test_the_calls_of_a_refused_whole_are_counted_once() -> None:
    script = Script(in_turn(THROTTLED, REFUSED, THROTTLED))
    sent = run(send(script, [request("a", events=2)]))
    assert script.calls == ["a", "a", "a.1", "a.2", "a.1"]
    assert sorted(sent.brief) == [("a.1", "delivered", 4), ("a.2", "delivered", 1)]


def test_a_split_sends_the_same_events_as_the_whole() -> None:
    sent: list[Request] = []

    def answer(each: Request) -> Response:
        sent.append(each)
        return REFUSED if len(each.events) > 2 else DELIVERED

    whole = Request("a", None, "session", ("x", "y", "z"), ('{"n":1}', '{"n":2}', '{"n":3}'))
    run(send(Script(answer), [whole]))
    assert sent == [
        whole,
        Request("a.1", None, "session", ("x",), ('{"n":1}',)),
        Request("a.2", None, "session", ("y", "z"), ('{"n":2}', '{"n":3}')),
    ]


# Mistakes of ours: they surface, when the calls under way have ended, and leave nothing behind.


def broken(_: object) -> Response:
    raise ZeroDivisionError("a mistake")


async def failed(sending: Sending, error: type[Exception] = ZeroDivisionError) -> Sending:
    with pytest.raises(error):
        await sending.task
    return sending


@pytest.mark.parametrize("names", ["ab", "ba", "abcdef"])
def test_a_mistake_in_put_surfaces_while_others_are_called_again(names: str) -> None:
    async def scenario() -> tuple[Script, Sending]:
        script = Script(lambda each: broken(each) if each.requestId == "a" else UNAVAILABLE)
        return script, await failed(start(script, requests(names), in_flight=2, retry=RetryPolicy(base=1.0)))

    script, sent = run(scenario())
    assert set(script.calls) <= {"a", "b"}
    assert (sent.outcomes, sent.rate_lease.stopped) == ([], True)


def test_calls_under_way_are_told_before_a_mistake_surfaces() -> None:
    async def scenario() -> Sending:
        script = Script(lambda each: broken(each) if each.requestId == "a" else DELIVERED, latency=3.0)
        return await failed(start(script, requests("bacd"), in_flight=3))

    sent = run(scenario())
    assert sorted(sent.brief) == [("b", "delivered", 1), ("c", "delivered", 1)]
    assert sent.ended_after == 3.0


def test_a_mistake_of_who_is_told_of_outcomes_surfaces() -> None:
    def ended(outcome: Outcome) -> None:
        broken(outcome)

    async def scenario() -> tuple[Script, Sending]:
        script = Script()
        return script, await failed(start(script, requests("abc"), ended=ended))

    script, sent = run(scenario())
    assert (script.calls, sent.rate_lease.stopped) == (["a"], True)


def test_a_mistake_in_renew_surfaces() -> None:
    def broken_look() -> Iterator[bool]:
        yield bool(broken(None))

    async def scenario() -> Sending:
        return await failed(start(Script(in_turn(EXPIRED), renewals=broken_look()), requests("ab")))

    assert run(scenario()).outcomes == []


@pytest.mark.parametrize("fed_later", [False, True])
def test_a_request_whose_id_is_no_number_surfaces(fed_later: bool) -> None:
    async def scenario() -> Sending:
        buffer = RequestBuffer(lambda: None)
        sending = start(Script(), [], buffer=buffer)
        if fed_later:
            await asyncio.sleep(1.0)
        buffer.put(requests("x"))
        asyncio.get_running_loop().call_soon(sending.sender.pump)  # as a reader in another thread has it called
        return await failed(sending, ValueError)

    assert run(scenario()).outcomes == []


def test_a_sending_that_is_cancelled_leaves_nothing_behind() -> None:
    async def scenario() -> tuple[Script, Sending]:
        script = Script(by_request(a=EXPIRED), latency=lambda each: 0.0 if each.requestId == "a" else HANG, look=HANG)
        sending = start(script, requests("cba"), in_flight=3)
        await asyncio.sleep(1.0)
        sending.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending.task
        return script, sending

    script, sent = run(scenario())
    assert sorted(script.given_up) == ["b", "c"]
    assert (sent.outcomes, sent.sender.in_flight) == ([], 0)
    assert not sent.buffer.put(requests("d"))


# Conservation, over whatever the service does.

sizes = st.lists(st.integers(1, 10), max_size=8)
whims = st.lists(st.sampled_from([None, THROTTLED, UNAVAILABLE, RESET, NOBODY, EXPIRED]), max_size=30)


class Judge:
    """Refuses poison, has its whims call by call, and keeps what it acknowledged and what it refused alone."""

    def __init__(self, poison: set[str], whims: list[Response | None]) -> None:
        self._poison = poison
        self._whims = iter(whims)
        self.throttled = 0
        self.acknowledged: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def __call__(self, each: Request) -> Response:
        whim = next(self._whims, None)
        self.throttled += whim is THROTTLED
        if whim is not None:
            return whim
        if self._poison & set(each.eventIds):
            self.refused.update(each.eventIds if len(each.eventIds) == 1 else ())
            return REFUSED
        self.acknowledged.update(each.eventIds)
        return DELIVERED


def draw_poison(data: st.DataObject, source: list[Request]) -> set[str]:
    ids = [event for each in source for event in each.eventIds]
    return data.draw(st.sets(st.sampled_from(ids), max_size=6)) if ids else set()


@settings(max_examples=100)
@given(data=st.data(), sizes=sizes, whims=whims, in_flight=st.integers(1, 4), stop=st.booleans())
def test_conservation(
    data: st.DataObject, sizes: list[int], whims: list[Response | None], in_flight: int, stop: bool
) -> None:
    source = [request(f"{number:x}", size) for number, size in enumerate(sizes)]
    poison = draw_poison(data, source)
    judge = Judge(poison, [*whims, *([DENIED] if stop else [])])
    seconds = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=1, max_size=5))
    rest = chain.from_iterable(repeat(seconds))
    script = Script(judge, latency=lambda _: next(rest))

    sent = virtual.run(send(script, source, in_flight=in_flight, retry=PATIENT))

    assert Counter(sent.event_ids("delivered")) == judge.acknowledged
    assert Counter(sent.event_ids("refused")) == judge.refused
    names = [name for name, *_ in sent.brief]
    assert len(names) == len(set(names))
    calls, called = sent.sender.calls, Counter(script.calls)
    assert (calls.attempts, calls.ended, calls.throttled) == (called.total(), called.total(), judge.throttled)
    assert (calls.requests, calls.retried) == (len(called), called.total() - len(called))
    if sent.sender.ending is None:
        ids = [event for each in source for event in each.eventIds]
        assert sent.event_ids("delivered") == sorted({*ids} - poison)
        assert sent.event_ids("refused") == sorted(poison)
        assert sum(outcome.attempts for outcome in sent.outcomes) == called.total()


def leaves(each: Request, poison: set[str]) -> list[Request]:
    """What a request ends as: whole, or in the parts that a split makes of it."""
    if len(each.events) > 1 and poison & set(each.eventIds):
        return [leaf for half in each.halves() for leaf in leaves(half, poison)]
    return [each]


@settings(max_examples=100)
@given(data=st.data(), sizes=sizes, in_flight=st.integers(1, 4))
def test_with_what_others_ended_every_event_ends_once(data: st.DataObject, sizes: list[int], in_flight: int) -> None:
    source = [request(f"{number:x}", size) for number, size in enumerate(sizes)]
    poison = draw_poison(data, source)
    ends = [leaf for each in source for leaf in leaves(each, poison)]
    others = data.draw(st.lists(st.sampled_from(ends), unique=True)) if ends else []
    names = [each.requestId for each in others]

    async def scenario() -> Sending:
        sending = start(Script(refuse(*poison)), source, in_flight=in_flight)
        sending.rate_lease.done = EndedRequestSet(names)
        await sending.task
        return sending

    sent = virtual.run(scenario())
    mine = [event for outcome in sent.outcomes for event in outcome.request.eventIds]
    theirs = [event for each in others for event in each.eventIds]
    assert Counter(mine + theirs) == Counter(event for each in source for event in each.eventIds)
