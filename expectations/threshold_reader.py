"""Reads a thresholds file, and finds every fault in it."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from expectations.checks import CHECKS, FIELD_FAMILIES, FILLABLE, PROPERTY, Check, field_checks
from expectations.thresholds import FLOAT_MAX, LEAST_HISTORY, PLACES, CheckSettings, Threshold, Thresholds
from transforms.durations import read_duration
from transforms.mapping.model import CAMEL_CASE, ConfigFault
from transforms.mapping.toml_places import TomlPlaces, syntax_line

MOST_TOLERANCE: Final = timedelta(days=3_660)

_SHARES: Final = ("warn_share", "fail_share", "warn_count", "fail_count")
_MEASURES: Final = ("warn_below", "fail_below", "warn_above", "fail_above")
_COUNTS: Final = ("warn_count", "fail_count")
_ANY_FIELD: Final = {check.family: check for check in field_checks("a field")}
"""The check that stands for all fields of a family, by the family's name."""
_REMOVED_TABLES: Final = {
    "shares": "is gone: shares are held by evidence, so that a few of a few prove little in a batch of any size; "
    "take it out"
}
"""Tables of older versions, by name, with what to do."""


def read_thresholds(text: str) -> tuple[Thresholds, list[ConfigFault]]:
    """Read the text of a thresholds file: one table for each check. Checks without a table keep their default.

    Returns:
        The thresholds that could be read, and all faults.

    Examples:
        >>> thresholds, faults = read_thresholds("[sentAt_missing]\\nfail_share = 0.05\\n")
        >>> thresholds.changed["sentAt_missing"] == Threshold(warn_share=0.01, fail_share=0.05), faults
        (True, [])
        >>> read_thresholds("[sentAt_missin]\\nfail_share = 2\\n")[1][0].describe("t.toml")
        't.toml:1: [sentAt_missin]: there is no such check; did you mean sentAt_missing?'
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Thresholds(), [ConfigFault(syntax_line(error), "", f"is not TOML: {error}")]
    reader = _Reader(TomlPlaces(text))
    return reader.thresholds(document), reader.faults


def keys_of(check: Check) -> tuple[str, ...]:
    """List the limits that a check's table may set."""
    if check.among is not None:
        return _SHARES
    return _COUNTS if check.is_state else _MEASURES


class _Reader:
    def __init__(self, places: TomlPlaces) -> None:
        self._places = places
        self.faults: list[ConfigFault] = []

    def thresholds(self, document: dict[str, Any]) -> Thresholds:
        checks = {check.name: check for check in CHECKS} | _ANY_FIELD
        changed: dict[str, Threshold] = {}
        settings = CheckSettings()
        for name, table in document.items():
            if name not in (*checks, *PLACES.values()):
                self._add_fault(
                    name, "", _REMOVED_TABLES.get(name) or f"there is no such check{_suggest_name(name, [*checks])}"
                )
            elif not isinstance(table, dict):
                self._add_fault(name, "", "must be a table of limits")
            elif name in FIELD_FAMILIES:
                changed |= self._read_family(name, table)
            else:
                settings = self._read_settings(name, table, settings)
                changed[name] = self._read_threshold(checks[name], table)
                self._check_keys(name, table, checks[name])
        if settings.minimum > settings.maximum:
            self._add_fault("eventValue_out_of_range", "minimum", "is above the maximum")
        return Thresholds(changed, settings)

    def _read_family(self, family: str, table: dict[str, Any]) -> dict[str, Threshold]:
        """Read the limits for all fields, and those for single fields, which override them."""
        limits = {key: value for key, value in table.items() if not isinstance(value, dict)}
        every = replace(_ANY_FIELD[family], name=family)
        self._check_keys(family, limits, every)
        held = replace(every, threshold=self._read_threshold(every, limits))
        changed = {family: held.threshold} if limits else {}
        for name, own in self._list_field_tables(family, table):
            check = replace(held, name=f"{family}.{name}")
            changed[check.name] = self._read_threshold(check, own)
            self._check_keys(check.name, own, check)
        return changed

    def _list_field_tables(self, family: str, table: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """List the valid tables of single fields."""
        properties = PROPERTY.rstrip(".")
        for name, own in table.items():
            if not isinstance(own, dict):
                continue
            if name in FILLABLE:
                yield name, own
            elif name != properties:
                self._add_fault(
                    f"{family}.{name}", "", f"there is no such field{_suggest_name(name, [*FILLABLE, properties])}"
                )
            else:
                for key, limits in own.items():
                    if not isinstance(limits, dict):
                        self._add_fault(f"{family}.{properties}", key, "must be a table of limits")
                    elif not CAMEL_CASE.fullmatch(key):
                        self._add_fault(
                            f"{family}.{PROPERTY}{key}", "", "is not a key of a property: keys are camelCase"
                        )
                    else:
                        yield f"{PROPERTY}{key}", limits

    def _read_threshold(self, check: Check, table: dict[str, Any]) -> Threshold:
        read = {key: self._read_number(check.name, key, table[key]) for key in keys_of(check) if key in table}
        threshold = replace(check.threshold, **read)
        for kind, sign in (("share", 1), ("count", 1), ("above", 1), ("below", -1)):
            warn, fail = getattr(threshold, f"warn_{kind}"), getattr(threshold, f"fail_{kind}")
            if warn is None or fail is None or warn * sign <= fail * sign:
                continue
            if f"warn_{kind}" in read:
                self._add_fault(check.name, f"warn_{kind}", f"{warn} is beyond fail_{kind}, {fail}: nothing would warn")
            threshold = replace(threshold, **{f"warn_{kind}": None})  # it fails before the default would warn
        for level in ("warn", "fail"):
            below, above = getattr(threshold, f"{level}_below"), getattr(threshold, f"{level}_above")
            if below is not None and above is not None and below > above:
                self._add_fault(
                    check.name, f"{level}_below", f"{below} is above {level}_above, {above}: none would pass"
                )
        return threshold

    def _read_settings(self, name: str, table: dict[str, Any], settings: CheckSettings) -> CheckSettings:
        for key in (key for key, place in PLACES.items() if place == name and key in table):
            read: Any = (
                self._read_tolerance(name, table[key])
                if key == "tolerance"
                else self._read_setting(name, key, table[key])
            )
            settings = settings if read is None else replace(settings, **{key: read})
        return settings

    def _read_setting(self, name: str, key: str, value: Any) -> float | None:
        if key in ("minimum", "maximum"):
            return self._read_number(name, key, value, least=-math.inf, limit=False)
        least = LEAST_HISTORY if key == "batches" else 0
        if type(value) is int and value >= least:
            return value
        self._add_fault(name, key, f"must be a whole number, {least} or more")
        return None

    def _read_tolerance(self, name: str, value: Any) -> timedelta | None:
        try:
            tolerance = read_duration(str(value))
        except ValueError as error:
            self._add_fault(name, "tolerance", str(error))
            return None
        if tolerance > MOST_TOLERANCE:
            self._add_fault(name, "tolerance", f"must be at most {MOST_TOLERANCE.days}d")
        return tolerance

    def _read_number(self, name: str, key: str, value: Any, least: float = 0.0, *, limit: bool = True) -> float | None:
        """Read a number. For a limit, `false` removes the default."""
        if value is False and limit:
            return None
        most = 1.0 if key.endswith("share") else FLOAT_MAX
        if isinstance(value, bool) or not isinstance(value, int | float) or not max(least, -FLOAT_MAX) <= value <= most:
            self._add_fault(name, key, f"must be {_describe_range(key)}{', or false for no limit' if limit else ''}")
            return None
        return float(value)

    def _check_keys(self, name: str, table: dict[str, Any], check: Check) -> None:
        known = [*keys_of(check), *[key for key, place in PLACES.items() if place == name]]
        for key in table:
            if key not in known:
                self._add_fault(name, key, f"there is no such key here; there are {', '.join(known)}")

    def _add_fault(self, name: str, key: str, problem: str) -> None:
        line = self._places.line(name, key) or self._places.line("", name)
        self.faults.append(ConfigFault(line, f"[{name}] {key}".strip(), problem))


def _describe_range(key: str) -> str:
    if key.endswith("share"):
        return "a share, 0 to 1"
    return "a number" if key in ("minimum", "maximum") else "a number, 0 or more"


def _suggest_name(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
