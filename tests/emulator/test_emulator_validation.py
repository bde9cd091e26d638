"""The judgement of a body, without a network. The limits are literal: those of the API's documentation."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.messages import Refusal
from emulator.validation import _LINEAR, load_judge

EVENT = {"eventType": "view", "sentAt": 1704067200}
CALL = {"trackingId": "t", "userId": "u", "sessionId": "s", "eventList": [EVENT]}
JUDGE = load_judge()


def judge(request: Any) -> None:
    JUDGE(json.dumps(request).encode())


def judge_event(**members: Any) -> None:
    judge(CALL | {"eventList": [EVENT | members]})


def refusal_of(request: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        judge(request)
    return caught.value


def refusal_of_event(**members: Any) -> Refusal:
    return refusal_of(CALL | {"eventList": [EVENT | members]})


def properties_of_length(length: int) -> str:
    return '{"k":"' + "x" * (length - 8) + '"}'


@pytest.mark.parametrize("character", ["x", "\u00e9", "\U0001f600"])
@pytest.mark.parametrize("member", ["trackingId", "userId", "sessionId"])
def test_call_strings_hold_1_to_256_characters(member: str, character: str) -> None:
    judge(CALL | {member: character})
    judge(CALL | {member: character * 255})
    judge(CALL | {member: character * 256})
    assert f"'{member}'" in refusal_of(CALL | {member: character * 257}).message
    assert "greater than or equal to 1" in refusal_of(CALL | {member: ""}).message


@pytest.mark.parametrize("character", ["x", "\U0001f600"])
@pytest.mark.parametrize(
    ("member", "most"), [("eventType", 256), ("eventId", 256), ("itemId", 256), ("recommendationId", 40)]
)
def test_event_strings_hold_1_to_their_most_characters(member: str, most: int, character: str) -> None:
    judge_event(**{member: character})
    judge_event(**{member: character * (most - 1)})
    judge_event(**{member: character * most})
    refusal = refusal_of_event(**{member: character * (most + 1)})
    assert refusal.code == "InvalidInputException"
    assert refusal.message == (
        f"1 validation error detected: Value at 'eventList.1.member.{member}' failed to satisfy constraint: "
        f"Member must have length less than or equal to {most}"
    )
    refusal_of_event(**{member: ""})


def test_a_call_holds_1_to_10_events() -> None:
    for count in (1, 9, 10):
        judge(CALL | {"eventList": [EVENT] * count})
    assert "less than or equal to 10" in refusal_of(CALL | {"eventList": [EVENT] * 11}).message
    assert "greater than or equal to 1" in refusal_of(CALL | {"eventList": []}).message


def test_an_impression_holds_1_to_25_items_of_1_to_256_characters() -> None:
    for count in (1, 24, 25):
        judge_event(impression=["i"] * count)
    judge_event(impression=["\U0001f600" * 256])
    assert "'eventList.1.member.impression'" in refusal_of_event(impression=["i"] * 26).message
    assert "'eventList.1.member.impression'" in refusal_of_event(impression=[]).message
    assert "'eventList.1.member.impression.2.member'" in refusal_of_event(impression=["i", "x" * 257]).message
    assert "impression.1.member" in refusal_of_event(impression=[""]).message
    assert "must not be null" in refusal_of_event(impression=["i", None]).message


def test_properties_are_the_text_of_an_object_of_up_to_1024_characters() -> None:
    for text in ("{}", '{"a": "1"}', '{"a": 1.5}', properties_of_length(1023), properties_of_length(1024)):
        judge_event(properties=text)
    assert "less than or equal to 1024" in refusal_of_event(properties=properties_of_length(1025)).message


@pytest.mark.parametrize(
    "text", ["", "x", "[]", '"a"', "1", "null", "{", "{'a': 1}", '{"a": NaN}', '{"a": -Infinity}', "[" * 1024]
)
def test_properties_that_are_no_object_are_refused(text: str) -> None:
    assert "JSON text of an object" in refusal_of_event(properties=text).message


def test_the_attribution_source_holds_printable_ascii_and_not_only_spaces() -> None:
    for good in ("x", " x ", "~" * 1023, "~" * 1024):
        judge_event(metricAttribution={"eventAttributionSource": good})
    for bad in ("", " ", "x" * 1025, "x\n", "\u00e9", "x" * 1023 + "\u00e9"):
        message = refusal_of_event(metricAttribution={"eventAttributionSource": bad}).message
        assert "'eventList.1.member.metricAttribution.eventAttributionSource'" in message
    assert "must not be null" in refusal_of_event(metricAttribution={}).message


@given(st.text(alphabet=" !~ab\n\u00e9\x7f", max_size=12))
def test_the_linear_pattern_takes_the_same_strings(text: str) -> None:
    for models, ours in _LINEAR.items():
        assert bool(re.fullmatch(models, text)) == bool(re.fullmatch(ours, text))


@pytest.mark.parametrize("member", ["trackingId", "sessionId", "eventList"])
def test_required_members_of_a_call(member: str) -> None:
    absent = {name: value for name, value in CALL.items() if name != member}
    for request in (absent, CALL | {member: None}):
        message = refusal_of(request).message
        assert message.endswith(f"'{member}' failed to satisfy constraint: Member must not be null")


def test_required_members_of_an_event_and_nulls() -> None:
    assert "'eventList.1.member.eventType'" in refusal_of(CALL | {"eventList": [{"sentAt": 1}]}).message
    assert "'eventList.1.member.sentAt'" in refusal_of(CALL | {"eventList": [{"eventType": "v"}]}).message
    assert "'eventList.2.member'" in refusal_of(CALL | {"eventList": [EVENT, None]}).message
    judge_event(itemId=None, eventValue=None, impression=None)
    judge(CALL | {"userId": None})


def test_unknown_members_are_ignored() -> None:
    judge(CALL | {"colour": 1})
    judge_event(colour=["red"])


@pytest.mark.parametrize("value", [0, -1, 1.5, 1e300])
def test_numbers(value: float) -> None:
    judge_event(eventValue=value)
    judge_event(sentAt=value)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_an_event_value_that_is_not_finite_is_refused(value: str) -> None:
    assert refusal_of_event(eventValue=value).code == "InvalidInputException"


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 309, "-" + "9" * 400, "9" * 4_300])
@pytest.mark.parametrize("member", ["sentAt", "eventValue"])
def test_a_number_too_large_for_a_double_is_not_finite(member: str, number: str) -> None:
    body = json.dumps(CALL | {"eventList": [EVENT | {member: "number"}]}).replace('"number"', number).encode()
    with pytest.raises(Refusal, match="finite") as caught:
        JUDGE(body)
    assert caught.value.code == "InvalidInputException"
    assert number not in caught.value.message


@pytest.mark.parametrize("number", ["-0", "-0.0", "1E-999", "1" + "0" * 308, "1.7976931348623157e308"])
def test_odd_numbers_that_a_double_holds(number: str) -> None:
    JUDGE(json.dumps(CALL).replace("1704067200", number).encode())


def test_a_number_of_more_digits_than_python_reads_is_no_json_to_it() -> None:
    with pytest.raises(Refusal) as caught:
        JUDGE(json.dumps(CALL).replace("1704067200", "9" * 5_000).encode())
    assert caught.value.code == "SerializationException"


def event_of_bytes(size: int, filler: str = "x") -> dict[str, Any]:
    """Return an event whose compact JSON has so many bytes of UTF-8, in members that the model allows."""
    event = EVENT | {"impression": [filler * 256] * 25, "itemId": ""}
    least = len(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode())
    shown = event["impression"]
    while least < size - 256:
        event["colour"] = event.get("colour", "") + "x" * 200
        least = len(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode())
    event["itemId"] = "x" * (size - least)
    assert shown == [filler * 256] * 25
    assert len(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()) == size
    return event


def test_an_event_has_10_kb_of_json_at_most() -> None:
    small, largest, larger = event_of_bytes(9_000), event_of_bytes(10_240), event_of_bytes(10_241)
    judge(CALL | {"eventList": [largest] * 10})
    message = refusal_of(CALL | {"eventList": [small, larger, small]}).message
    assert message == (
        "1 validation error detected: Value at 'eventList.2.member' failed to satisfy constraint: "
        "Member must have at most 10240 bytes of JSON"
    )


def test_an_events_size_is_of_its_utf_8_not_of_escapes_or_spaces() -> None:
    shown = ["\u00e9" * 198] * 25  # 9,900 bytes as UTF-8, 29,700 escaped.
    event = EVENT | {"impression": shown}
    for body in (json.dumps(event), json.dumps(event, ensure_ascii=False), json.dumps(event, indent=200)):
        JUDGE(('{"trackingId": "t", "sessionId": "s", "eventList": [' + body + "]}").encode())
    refusal_of_event(impression=["\u00e9" * 256] * 25)


@pytest.mark.parametrize("deep", ["[" * 50 + "]" * 50, '{"a":' * 40 + "1" + "}" * 40, '"' + "[{" * 500 + '"'])
def test_what_is_nested_a_little_is_read(deep: str) -> None:
    JUDGE((json.dumps(CALL)[:-1] + ', "more": ' + deep + "}").encode())


@pytest.mark.parametrize("deep", ["[" * 101 + "]" * 101, '{"a":' * 300 + "1" + "}" * 300, '[{"b": "\\"]"},' * 101])
def test_what_is_nested_deep_is_no_json_to_it_wherever_it_stands(deep: str) -> None:
    for more in (deep, f'"\\"", "even": {deep}'):
        with pytest.raises(Refusal) as caught:
            JUDGE((json.dumps(CALL)[:-1] + f', "more": {more}}}').encode())
        assert caught.value.code == "SerializationException"


def test_many_brackets_are_not_deep() -> None:
    JUDGE((json.dumps(CALL)[:-1] + ', "more": [' + ",".join(["[]", "{}"] * 1_000) + "]}").encode())


def test_of_a_list_too_long_no_more_is_told_than_of_the_longest() -> None:
    refusal = refusal_of(CALL | {"eventList": [{}] * 100_000})
    assert refusal.message.startswith("21 validation errors detected: ")
    assert len(refusal.message) < 3_000


def test_of_a_member_given_twice_the_last_counts() -> None:
    body = json.dumps(CALL).replace('"eventType"', '"eventType": 5, "eventType"')
    JUDGE(body.encode())
    with pytest.raises(Refusal):
        JUDGE(json.dumps(CALL).replace('"sentAt"', '"eventType": 5, "sentAt"').encode())


@pytest.mark.parametrize(
    "members",
    [
        {"eventType": 5},
        {"sentAt": "2024"},
        {"sentAt": True},
        {"eventValue": "1"},
        {"eventValue": False},
        {"impression": "i"},
        {"impression": [1]},
        {"properties": {}},
        {"metricAttribution": "x"},
    ],
)
def test_values_of_another_type_cannot_be_read(members: dict[str, Any]) -> None:
    refusal = refusal_of_event(**members)
    assert refusal.code == "SerializationException"
    assert f"'eventList.1.member.{next(iter(members))}" in refusal.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"\xff",
        b'{"a": NaN}',
        b"[" * 100_000,
        b"9" * 5_000,
        json.dumps(CALL).encode("utf-16"),
        b"\xef\xbb\xbf" + json.dumps(CALL).encode(),
    ],
)
def test_bodies_that_are_no_json_object(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        JUDGE(body)
    assert caught.value.code == "SerializationException"


def test_all_violations_are_told_and_no_value() -> None:
    secret = "secret" * 50
    events = [EVENT | {"itemId": secret}, EVENT | {"recommendationId": secret, "properties": secret}]
    refusal = refusal_of(CALL | {"userId": secret, "eventList": events})
    assert refusal.message.startswith("4 validation errors detected: Value at 'userId'")
    assert refusal.message.count("failed to satisfy constraint") == 4
    assert "secret" not in refusal.message
