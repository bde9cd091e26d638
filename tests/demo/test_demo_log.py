"""The log really holds what its writer says: counted by a second reading, from the files alone."""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from demo.day import DAY, DAY_START, SESSION_GAP
from demo.expected import ExpectedCounts, derived_id
from demo.shop import Hit, hits
from demo.visitors import CLIENTS
from demo.writer import FEWEST_RECORDS, FILES, write_log

RECORDS = 8000
MISSING = ("", "null", "undefined", "none", "nan")
Raw = Mapping[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("raw")


@pytest.fixture(scope="module")
def expected(folder: Path) -> ExpectedCounts:
    return write_log(folder, RECORDS, seed=7)


@pytest.fixture(scope="module")
def lines(folder: Path, expected: ExpectedCounts) -> list[str]:
    return [line for file in sorted(folder.iterdir()) for line in file.read_text("utf-8").split("\n")[:-1]]


def present(raw: Raw, key: str) -> str | None:
    value: str | None = raw.get(key)
    return None if value is None or value.strip().lower() in MISSING else value


def time_of(raw: Raw) -> datetime | None:
    try:
        return datetime.strptime(raw["at"], "%Y-%m-%dT%H:%M:%S.%f%z")
    except ValueError:
        return None


def compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def too_long(raw: Raw) -> list[str]:
    limits = {"item": ("itemId", 256), "user": ("userId", 256), "reco": ("recommendationId", 40)}
    found = [f"{field}_too_long" for key, (field, most) in limits.items() if len(raw.get(key) or "") > most]
    return found + ["properties_too_long"] * (len(compact(raw["context"])) > 1024)


def reasons_of(line: str) -> list[str]:
    try:
        raw = json.loads(line)
    except ValueError:
        return ["malformed_record"]
    if isinstance(raw.get("value"), str) or isinstance(raw.get("shown"), str):
        return ["schema_mismatch"]
    at = time_of(raw)
    found = {
        "eventType_missing": raw.get("type") is None,
        "sentAt_missing": at is None,
        "sentAt_in_future": at is not None and at > datetime(2024, 1, 4, tzinfo=UTC),
        "sentAt_before_1970": at is not None and at < datetime(1970, 1, 1, tzinfo=UTC),
        "identity_missing": not any(present(raw, key) for key in ("visitor", "user", "session")),
        "impression_too_many": len(raw.get("shown", ())) > 25,
    }
    return [code for code, broken in found.items() if broken] + too_long(raw)


def content_of(raw: Raw) -> str:
    """The id that an event gets by its content, written out a second time."""
    at = time_of(raw)
    assert at is not None
    micros = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    fields = [
        ("visitorId", present(raw, "visitor")),
        ("userId", present(raw, "user")),
        ("sessionId", present(raw, "session")),
        ("eventType", raw["type"]),
        ("sentAt", str(micros)),
        ("itemId", present(raw, "item")),
        ("eventValue", repr(raw["value"]) if "value" in raw else None),
        ("impression", compact(raw["shown"]) if raw.get("shown") else None),
        ("properties", compact(dict(sorted(raw["context"].items())))),
        ("recommendationId", present(raw, "reco")),
        ("eventAttributionSource", raw.get("campaign")),
    ]
    text = ";".join(f"{name}={len(value)}:{value}" for name, value in fields if value is not None)
    return sha256(text.encode("utf-8")).hexdigest()


def is_filtered(line: str) -> bool:
    return not line.strip() or (line.endswith("}") and '"type":"heartbeat"' in line and not reasons_of(line))


def sound(lines: list[str]) -> list[Raw]:
    return [json.loads(line) for line in lines if not is_filtered(line) and not reasons_of(line)]


def test_lines_are_as_many_as_asked_for_in_several_files(folder: Path, lines: list[str]) -> None:
    assert len(lines) == RECORDS
    assert len(list(folder.iterdir())) == FILES


def test_numbers_known_are_the_numbers_in_the_files(expected: ExpectedCounts, lines: list[str]) -> None:
    kept = [line for line in lines if not is_filtered(line)]
    refused = [reasons for line in kept if (reasons := reasons_of(line))]
    assert (expected.read, expected.candidates, expected.quarantined) == (RECORDS, len(kept), len(refused))
    assert expected.reasons == Counter(code for reasons in refused for code in reasons)


def test_two_faults_at_once_are_two_reasons(expected: ExpectedCounts) -> None:
    assert sum(expected.reasons.values()) > expected.quarantined


def test_events_and_duplicates_are_those_in_the_files(expected: ExpectedCounts, lines: list[str]) -> None:
    ids = [present(raw, "id") or content_of(raw) for raw in sound(lines)]
    assert set(ids) == set(expected.events)
    assert expected.duplicates == len(ids) - len(set(ids)) == 120


def test_users_are_those_in_the_files(expected: ExpectedCounts, lines: list[str]) -> None:
    assert expected.users == len({present(raw, "user") for raw in sound(lines)} - {None})


def test_missing_ids_are_spelt_in_many_ways(lines: list[str]) -> None:
    spelt = {repr(raw[key]) for raw in sound(lines) for key in ("id", "user", "session", "item") if key in raw}
    assert {"None", "''", "'null'", "'undefined'", "'NaN'", "' None '"} <= spelt


def test_same_seed_writes_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    def written(name: str, seed: int) -> list[bytes]:
        (tmp_path / name).mkdir()
        write_log(tmp_path / name, FEWEST_RECORDS, seed)
        return [file.read_bytes() for file in sorted((tmp_path / name).iterdir())]

    assert written("once", 3) == written("again", 3) != written("other", 4)


def test_the_day_has_logins_tails_and_pauses_at_the_limit() -> None:
    day = list(hits(20_000, Random(1)))
    assert [hit.at for hit in day] == sorted(hit.at for hit in day)
    assert all(DAY_START <= hit.at < DAY_START + DAY for hit in day)
    by_visitor: dict[str, list[Hit]] = {}
    for hit in day:
        by_visitor.setdefault(hit.visitor or "", []).append(hit)
    del by_visitor[""]
    pauses = {later.at - hit.at for own in by_visitor.values() for hit, later in pairwise(own)}
    assert {SESSION_GAP, SESSION_GAP + 1} <= pauses
    assert any(own[0].user is None and own[-1].user for own in by_visitor.values())
    sizes = sorted(map(len, by_visitor.values()))
    assert sizes[-1] > 20 * sizes[len(sizes) // 2]
    assert max(len(hit.item or "") for hit in day) == 256


def hit(**fields: Any) -> Hit:
    nothing = dict.fromkeys(("event_id", "visitor", "user", "session", "item", "value", "reco", "campaign"))
    base = {"client": CLIENTS[0], "kind": "view", "at": 1704067200000, "shown": (), "properties": {}}
    return Hit(**{**nothing, **base, **fields})


def test_derived_id_of_a_short_event() -> None:
    # printf 'visitorId=2:v1;eventType=4:view;sentAt=16:1704067200000000;itemId=1:7' | sha256sum
    known = "08b27df5e9355021f07da6527cdd3541626e95889581311ea8824790a6f8faef"
    assert derived_id(hit(visitor="v1", item="7")) == known


def test_derived_id_of_an_event_with_everything() -> None:
    # printf '%s' 'visitorId=2:v1;userId=2:u1;sessionId=2:s1;eventType=8:purchase;sentAt=16:1704067200125000;
    # itemId=1:7;eventValue=4:20.0;impression=9:["7","8"];properties=41:{"device":"phone","query":"27\" écran 🎧"
    # };recommendationId=2:r1;eventAttributionSource=10:newsletter' (on one line) | sha256sum
    everything = hit(
        visitor="v1",
        user="u1",
        session="s1",
        kind="purchase",
        at=1704067200125,
        item="7",
        value=20.0,
        shown=("7", "8"),
        properties={"query": '27" écran 🎧', "device": "phone"},
        reco="r1",
        campaign="newsletter",
    )
    assert derived_id(everything) == "23aed3663b03b4d421d3f9b9300ead848fb87d78d7f476d575b940dc0da0735d"
