"""What a user writes in `clickstream.toml`, beside the DAG: five lines, and what else may be set."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from croniter import croniter  # type: ignore[import-untyped]  # Airflow's own reader of cron expressions

_RELEASE = Path(__file__).resolve().parents[1]
"""Where this file belongs, also when Airflow finds it through a link."""

_KINDS: Mapping[str, tuple[type, ...]] = {"start_date": (date,), "max_rate": (int, float), "spark": (dict,)}
"""TOML's types of the keys that are no strings."""

_PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
"""Airflow's, less those that give no intervals."""


class SettingsError(ValueError):
    """The file is not right; Airflow shows the message as the DAG's import error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One feed of logs into one event tracker.

    Attributes:
        start_date: of the first batch, aware; all since then are caught up with, in order.
        input: path or glob of a batch's raw logs, with strftime's codes for the start of its interval, in UTC.
        mapping: name or path of the mapping.
        lake: root folder or URI of the tables.
        tracking_id: of the event tracker.
        schedule: cron expression or preset, in UTC; a batch is what lies between two of its moments.
        home: folder or URI that holds `jobs/` and `dist/`.
        spark_conn_id: Airflow's connection to Spark.
        max_rate: PutEvents calls a second.
        region: None for the AWS default chain's.
        endpoint_url: None for the region's own.
        thresholds: path of the gate's thresholds; None for the defaults.
        on_gate_failure: `fail` or `warn`.
        spark: Spark's configuration properties.
    """

    start_date: datetime
    input: str
    mapping: str
    lake: str
    tracking_id: str
    schedule: str = "@daily"
    home: str = str(_RELEASE)
    spark_conn_id: str = "spark_default"
    max_rate: float = 1000
    region: str | None = None
    endpoint_url: str | None = None
    thresholds: str | None = None
    on_gate_failure: str = "fail"
    spark: Mapping[str, Any] = field(default_factory=dict)


def read_settings(file: Path) -> Settings:
    """Read the file.

    Raises:
        SettingsError: it is missing or not right; every fault is named.
    """
    try:
        given = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{file} is missing: write into it {', '.join(_required())}") from None
    except ValueError as error:  # TOML's own, and UTF-8's
        raise SettingsError(f"{file}: {error}") from None
    if faults := _faults(given):
        raise SettingsError("\n".join(f"{file}: {fault}" for fault in faults))
    spark = dict(_properties(given.get("spark", {})))
    return Settings(**{**given, "start_date": _moment(given["start_date"]), "spark": spark})


def _required() -> list[str]:
    return [key.name for key in fields(Settings) if key.default is MISSING and key.default_factory is MISSING]


def _faults(given: Mapping[str, Any]) -> list[str]:
    known = [key.name for key in fields(Settings)]
    missing = [f"{name} is missing" for name in _required() if name not in given]
    unknown = [f"{name} is no key; there are {', '.join(known)}" for name in given if name not in known]
    wrong = [fault for name in known if name in given and (fault := _fault(name, given[name]))]
    if "home" not in given and not (_RELEASE / "jobs").is_dir():
        missing.append("home is missing: this DAG is not in its release's folder, so say where jobs/ and dist/ are")
    return [*missing, *unknown, *wrong]


def _fault(name: str, value: object) -> str | None:
    kinds = _KINDS.get(name, (str,))
    if not isinstance(value, kinds) or isinstance(value, bool):
        return f"{name} must be {_named(kinds)}"
    if isinstance(value, str) and not value.strip():
        return f"{name} must not be empty"
    check = _CHECKS.get(name)
    return check(value) if check else None


def _rate_fault(rate: Any) -> str | None:
    return None if math.isfinite(rate) and rate > 0 else "max_rate must be more than 0"


def _schedule_fault(schedule: Any) -> str | None:
    if schedule in _PRESETS or (not schedule.startswith("@") and croniter.is_valid(schedule)):
        return None
    return (
        f"schedule must be a cron expression, or one of {', '.join(_PRESETS)}: a batch is what lies between two moments"
    )


def _url_fault(url: Any) -> str | None:
    return None if url.startswith(("http://", "https://")) else "endpoint_url must begin with http:// or https://"


def _ruling_fault(ruling: Any) -> str | None:
    return None if ruling in ("fail", "warn") else 'on_gate_failure must be "fail" or "warn"'


def _spark_fault(table: Any) -> str | None:
    """Find keys that stand below `[spark]` by mistake: in TOML a table goes on to the next one."""
    strayed = [key.name for key in fields(Settings) if key.name in table and key.name != "spark"]
    return f"{', '.join(strayed)} must stand above [spark], not below it" if strayed else None


_CHECKS: Mapping[str, Callable[[Any], str | None]] = {
    "max_rate": _rate_fault,
    "schedule": _schedule_fault,
    "endpoint_url": _url_fault,
    "on_gate_failure": _ruling_fault,
    "spark": _spark_fault,
}
"""What holds beside the type; each says what is wrong, or None."""


def _properties(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Give properties their whole names: without quotes, TOML makes tables of what stands before each dot.

    Examples:
        >>> dict(_properties({"spark": {"ui": {"enabled": False}}, "spark.executor.memory": "4g"}))
        {'spark.ui.enabled': False, 'spark.executor.memory': '4g'}
    """
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _properties(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _named(kinds: tuple[type, ...]) -> str:
    names = {date: "a date, without quotes: 2024-01-02", int: "a number", dict: "a table of Spark's properties"}
    return names.get(kinds[0], "a string in quotes")


def _moment(day: date) -> datetime:
    """Take a date for its midnight, and a time without an offset for UTC.

    Examples:
        >>> _moment(date(2024, 1, 2)).isoformat()
        '2024-01-02T00:00:00+00:00'
    """
    moment = day if isinstance(day, datetime) else datetime(day.year, day.month, day.day, tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
