"""Faults of records in the log, and the reasons for which they must be refused."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

Raw = dict[str, Any]
Change = Callable[[Raw, Random], None]


@dataclass(frozen=True, slots=True)
class LogFault:
    """One way to spoil a record.

    Attributes:
        share: the share of all records with this fault.
        reasons: the reason codes of its row in quarantine.
        write: makes the line of the log from a valid record.
    """

    share: float
    reasons: frozenset[str]
    write: Callable[[Raw, Random], str]


def to_line(raw: Raw) -> str:
    """Write a record as the collector does: compact JSON on one line, characters as they are."""
    return json.dumps(raw, ensure_ascii=False, separators=(",", ":"))


def _fault(share: float, *changes_by_reason: tuple[str, Change]) -> LogFault:
    """Spoil a record with all changes, so that it is refused with all reasons."""

    def write(raw: Raw, rng: Random) -> str:
        for _, change in changes_by_reason:
            change(raw, rng)
        return to_line(raw)

    return LogFault(share, frozenset(reason for reason, _ in changes_by_reason), write)


def _torn(raw: Raw, rng: Random) -> str:
    """The collector died while it wrote: the end of the line is lost, sometimes only the last brace."""
    line = to_line(raw)
    return line[: rng.choice((len(line) - 1, rng.randrange(1, len(line))))]


def _proxy_page(_: Raw, rng: Random) -> str:
    return f"<html><body>{rng.choice((502, 503, 504))} Bad Gateway</body></html>"


def _price_in_words(raw: Raw, _: Random) -> None:
    raw["value"] = "on request"


def _shown_as_text(raw: Raw, _: Random) -> None:
    raw["shown"] = "SKU-00001,SKU-00002"


def _no_type(raw: Raw, rng: Random) -> None:
    raw["type"] = None
    if rng.random() < 0.5:
        del raw["type"]


def _unreadable_time(raw: Raw, rng: Random) -> None:
    raw["at"] = rng.choice(("", "n/a", "Tue Jan  2 09:15:02 2024", "2024-13-45T09:15:02Z", "02.01.2024"))


def _clock_ahead(raw: Raw, _: Random) -> None:
    raw["at"] = str(raw["at"]).replace("2024-", "2124-")


def _clock_never_set(raw: Raw, _: Random) -> None:
    raw["at"] = "1969-12-31T23:59:59.000Z"


def _nobody(raw: Raw, rng: Random) -> None:
    for key in ("visitor", "user", "session"):
        raw[key] = rng.choice((None, "", "null", "undefined"))


def _long_item(raw: Raw, rng: Random) -> None:
    raw["item"] = "https://shop.example/p?" + "x" * rng.randint(234, 800)


def _long_user(raw: Raw, rng: Random) -> None:
    raw["user"] = f"{rng.getrandbits(64):016x}" * 17


def _long_recommendation(raw: Raw, rng: Random) -> None:
    raw["reco"] = f"RID-{rng.getrandbits(148):037x}"


def _whole_shelf(raw: Raw, rng: Random) -> None:
    raw["shown"] = [f"SKU-{n:05d}" for n in range(rng.randint(26, 60))]


def _pasted_text(raw: Raw, _: Random) -> None:
    raw["context"]["query"] = "ö" * 1024


_NO_TYPE = ("eventType_missing", _no_type)
_NO_TIME = ("sentAt_missing", _unreadable_time)
_NOBODY = ("identity_missing", _nobody)
_LONG_ITEM = ("itemId_too_long", _long_item)
_LONG_USER = ("userId_too_long", _long_user)

FAULTS = (
    LogFault(0.0020, frozenset({"malformed_record"}), _torn),
    LogFault(0.0003, frozenset({"malformed_record"}), _proxy_page),
    _fault(0.0007, ("schema_mismatch", _price_in_words)),
    _fault(0.0003, ("schema_mismatch", _shown_as_text)),
    _fault(0.0015, _NO_TYPE),
    _fault(0.0015, _NO_TIME),
    _fault(0.0005, ("sentAt_in_future", _clock_ahead)),
    _fault(0.0003, ("sentAt_before_1970", _clock_never_set)),
    _fault(0.0010, _NOBODY),
    _fault(0.0010, _LONG_ITEM),
    _fault(0.0007, _LONG_USER),
    _fault(0.0003, ("recommendationId_too_long", _long_recommendation)),
    _fault(0.0005, ("impression_too_many", _whole_shelf)),
    _fault(0.0002, ("properties_too_long", _pasted_text)),
    # Two faults at once give both reasons.
    _fault(0.0004, _NO_TYPE, _LONG_ITEM),
    _fault(0.0003, _NO_TIME, _NOBODY),
    _fault(0.0002, _LONG_USER, _LONG_ITEM),
)
