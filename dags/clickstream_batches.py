"""The interval and the label of a run's batch: all batches of a schedule have one form of label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow.sdk import CronDataIntervalTimetable
from airflow.sdk.exceptions import AirflowFailException, AirflowTimetableInvalid
from croniter import CroniterError, croniter

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol

_DAY = "%Y-%m-%d"
_HOUR = f"{_DAY}T%H"
_MINUTE = f"{_HOUR}-%M"

_RANDOM = re.compile(r"r(\(.*\))?(/.*)?", re.IGNORECASE)
"""What croniter replaces by another number each time."""


class ScheduleError(ValueError):
    """The schedule cannot define batches."""


@dataclass(frozen=True, slots=True)
class Interval:
    """The time of a batch: from `start`, inclusive, to `end`, exclusive, both in UTC."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        """Write it in ISO 8601, the form of the jobs.

        Examples:
            >>> str(Interval(datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC)))
            '2024-01-02T00:00:00Z/2024-01-03T00:00:00Z'
        """
        return "/".join(f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (self.start, self.end))


def interval_of(run: DagRunProtocol) -> Interval:
    """Find the interval of a run's batch.

    Without an interval, Airflow leaves it out of the template variables, and would retry a task that uses it.

    Raises:
        AirflowFailException: the run has no interval, because it was triggered without a date.
    """
    if run.data_interval_start is None or run.data_interval_end is None:
        raise AirflowFailException(
            "this run has no interval: trigger it with --logical-date, "
            "a moment within the day (or other interval of the schedule) after the batch"
        )
    # Labels and paths are in UTC, whatever the zone of the times is: a local clock shows one hour a year twice.
    return Interval(run.data_interval_start.astimezone(UTC), run.data_interval_end.astimezone(UTC))


class BatchSchedule:
    """The batches of a cron schedule in UTC, each with its own label.

    All labels of a schedule have one form, so that they sort in time order. It is a date if no day starts two batches,
    the date and the hour if no hour does, and otherwise the minute too.

    Args:
        schedule: a cron expression, or one of Airflow's presets.

    Raises:
        ScheduleError: it is neither, or has random moments, or starts two batches in one minute.

    Examples:
        >>> BatchSchedule("0 3 * * 1-5").label_format
        '%Y-%m-%d'
    """

    def __init__(self, schedule: str) -> None:
        try:
            timetable = CronDataIntervalTimetable(schedule, timezone="UTC")
            self._cron: str = timetable.expression  # the expression of a preset
            timetable.validate()
            croniter(self._cron).get_next()
        except (AirflowTimetableInvalid, CroniterError) as error:
            raise ScheduleError(
                "schedule must be a cron expression or one of @hourly, @daily, @weekly, @monthly, @quarterly, @yearly "
                f"(a batch is an interval, and @once and @continuous have none): {error}"
            ) from None
        if any(_RANDOM.fullmatch(item) for item in re.split(r"[\s,]+", self._cron)):
            raise ScheduleError(
                f"schedule must have fixed moments, but those of {schedule!r} are random: write a number instead of R"
            )
        minutes, hours, seconds = _time_fields(self._cron)
        if not _is_one(seconds):
            raise ScheduleError(
                f"schedule must not start two batches in one minute, but {schedule!r} does: "
                "the label of a batch is the minute of its start; remove the sixth field"
            )
        self.label_format = _MINUTE if not _is_one(minutes) else _DAY if _is_one(hours) else _HOUR

    def label(self, interval: Interval) -> str:
        """Name the batch of an interval after its start."""
        return interval.start.strftime(self.label_format)

    def has(self, interval: Interval) -> bool:
        """Whether an interval belongs to the schedule: two of its moments, and none between them."""
        after = croniter(self._cron, interval.start).get_next(datetime)
        before = croniter(self._cron, interval.end).get_prev(datetime)
        return (before, after) == (interval.start, interval.end)


def _time_fields(cron: str) -> tuple[Sequence[int | str], Sequence[int | str], Sequence[int | str]]:
    """Find the minutes, hours and seconds that an expression names; `*` stands for all."""
    minutes, hours, _, _, _, *more = croniter.expand(cron)[0]
    return minutes, hours, more[0] if more else [0]


def _is_one(values: Sequence[int | str]) -> bool:
    return len(values) == 1 and values[0] != "*"
