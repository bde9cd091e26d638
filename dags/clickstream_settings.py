"""The settings that a user writes in `clickstream.toml`, beside the DAG: five required keys and the optional ones."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from clickstream_batches import BatchSchedule, ScheduleError

_RELEASE = Path(__file__).resolve().parents[1]
"""The folder of this file, even if Airflow finds it through a link."""

_KINDS: Mapping[str, tuple[type, ...]] = {
    "start_date": (date,),
    "max_rate": (int, float),
    "max_dead_letter_share": (int, float),
    "allow_empty": (bool,),
    "rekey": (bool,),
    "spark": (dict,),
}
"""The TOML types of the keys that are not strings."""
MAX_CALLS = 1_000_000
"""Calls a second: the maximum of `put_events`."""


class SettingsError(ValueError):
    """The file has mistakes; Airflow shows the message as the DAG's import error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DagSettings:
    """One feed of logs into one event tracker.

    Attributes:
        start_date: of the first batch, with its time zone; all later batches are processed, in order.
        input: path or glob of a batch's raw logs, with strftime's codes for the start of its interval, in UTC.
        mapping: name or path of the mapping.
        lake: root folder or URI of the tables.
        tracking_id: of the event tracker.
        schedule: cron expression or preset, in UTC; a batch lies between two of its moments.
        home: folder or URI that holds `jobs/` and `dist/`.
        spark_conn_id: Airflow's connection to Spark.
        max_rate: PutEvents calls a second; the default is that of `put_events`.
        max_dead_letter_share: the share of a batch that the service may refuse for good before its delivery fails.
        region: None for the AWS default chain's.
        endpoint_url: None for the region's own.
        thresholds: path of the gate's thresholds; None for the defaults.
        on_gate_failure: `fail` or `warn`.
        allow_empty: whether a batch may have no events.
        rekey: whether a delivered batch may be built again with other eventIds, so that its events are sent again.
        spark: Spark's configuration properties, as spark-submit takes them.
    """

    start_date: datetime
    input: str
    mapping: str
    lake: str
    tracking_id: str
    schedule: str = "@daily"
    home: str = str(_RELEASE)
    spark_conn_id: str = "spark_default"
    max_rate: float = 500
    max_dead_letter_share: float = 0.01
    region: str | None = None
    endpoint_url: str | None = None
    thresholds: str | None = None
    on_gate_failure: str = "fail"
    allow_empty: bool = False
    rekey: bool = False
    spark: Mapping[str, str] = field(default_factory=dict)


def read_settings(file: Path) -> DagSettings:
    """Read the file.

    Raises:
        SettingsError: it is missing or has mistakes; the message names every mistake.
    """
    try:
        given = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{file} is missing: create it with {', '.join(_required())}") from None
    except OSError as error:  # a folder, or a file of another user
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:  # of TOML, or of UTF-8
        raise SettingsError(f"{file}: {error}") from None
    if faults := _faults(given):
        raise SettingsError("\n".join(f"{file}: {fault}" for fault in faults))
    spark = {name: _written(value) for name, value in _flattened(given.get("spark", {})).items()}
    return DagSettings(**{**given, "start_date": _moment(given["start_date"]), "spark": spark})


def _required() -> list[str]:
    return [key.name for key in fields(DagSettings) if key.default is MISSING and key.default_factory is MISSING]


def _faults(given: Mapping[str, Any]) -> list[str]:
    known = [key.name for key in fields(DagSettings)]
    spark = _flattened(given["spark"]) if isinstance(given.get("spark"), dict) else {}
    below = [name for name in known if name in spark]
    missing = [f"{name} is missing" for name in _required() if name not in given and name not in below]
    unknown = [f"{name} is not a key; the keys are {', '.join(known)}" for name in given if name not in known]
    wrong = [fault for name in known if name in given and (fault := _fault(name, given[name]))]
    if "home" not in given and "home" not in below and not (_RELEASE / "jobs").is_dir():
        missing.append("home is missing, and this DAG is not in its release: set home to the folder of jobs/ and dist/")
    if below:
        # TOML adds all following keys to a table.
        missing.append(f"below [spark] are the keys {', '.join(below)}: move them above it")
    properties = [fault for name in spark if name not in below and (fault := _property_fault(name, spark[name]))]
    return [*missing, *unknown, *wrong, *properties]


def _fault(name: str, value: object) -> str | None:
    kinds = _KINDS.get(name, (str,))
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):  # a bool is an int in Python
        return f"{name} must be {_named(kinds)}"
    if isinstance(value, str) and not value.strip():
        return f"{name} must not be empty"
    return _CHECKS[name](value) if name in _CHECKS else None


def _named(kinds: tuple[type, ...]) -> str:
    names = {
        date: "a date, without quotes: 2024-01-02",
        int: "a number",
        bool: "true or false, without quotes",
        dict: "a table of Spark's properties",
    }
    return names.get(kinds[0], "a string in quotes")


def _rate_fault(value: float) -> str | None:
    """Refuse what the job would refuse: also TOML's nan, which no comparison finds, and inf."""
    return None if 0 < value <= MAX_CALLS else f"max_rate must be more than 0 and at most {MAX_CALLS:,}"


def _share_fault(value: float) -> str | None:
    """Refuse what is not a share, also TOML's nan."""
    return None if 0 <= value <= 1 else "max_dead_letter_share must be from 0 to 1: 0.01 is 1 %"


def _schedule_fault(value: str) -> str | None:
    try:
        BatchSchedule(value)
    except ScheduleError as error:
        return str(error)
    return None


def _endpoint_fault(value: str) -> str | None:
    fits = re.match(r"https?://[^/]", value)
    return None if fits else "endpoint_url must begin with http:// or https:// and a host"


def _gate_fault(value: str) -> str | None:
    return None if value in {"fail", "warn"} else 'on_gate_failure must be "fail" or "warn"'


_CHECKS: Mapping[str, Callable[[Any], str | None]] = {
    "max_rate": _rate_fault,
    "max_dead_letter_share": _share_fault,
    "schedule": _schedule_fault,
    "endpoint_url": _endpoint_fault,
    "on_gate_failure": _gate_fault,
}
"""Further checks of values that have the right type."""


def _property_fault(name: str, value: object) -> str | None:
    if not name.startswith("spark."):  # spark-submit would ignore it
        return f"[spark] has {name}, but Spark's properties begin with spark."
    return None if isinstance(value, (str, int, float)) else f"{name} must be a string, a number, true or false"


def _flattened(table: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Turn nested tables, which TOML makes from dots outside quotes, into the properties that they name.

    Examples:
        >>> _flattened({"spark": {"ui": {"enabled": False}}, "spark.executor.memory": "4g"})
        {'spark.ui.enabled': False, 'spark.executor.memory': '4g'}
    """
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat.update(_flattened(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value})
    return flat


def _written(value: object) -> str:
    """Write a TOML value as Spark reads it.

    Examples:
        >>> _written(False), _written(4), _written("4g")
        ('false', '4', '4g')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def _moment(day: date) -> datetime:
    """Read a date as its midnight, and a time without an offset as UTC.

    Examples:
        >>> _moment(date(2024, 1, 2)).isoformat()
        '2024-01-02T00:00:00+00:00'
    """
    moment = day if isinstance(day, datetime) else datetime(day.year, day.month, day.day, tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
