"""The gate: whether a batch as a whole may go on to the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from expectations.checks import CHECKS, Check
from expectations.thresholds import Threshold, Thresholds

PASSED: Final = "passed"
WARNED: Final = "warned"
FAILED: Final = "failed"


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of a batch by one check.

    Attributes:
        value: violations, or what was measured; None where there was nothing to hold it against.
        note: what one must know to read the value.
    """

    value: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has come to.

    Attributes:
        check: which.
        value: as observed.
        among: what the share is of, in number; None for a measure.
        level: `passed`, `warned` or `failed`.
        threshold: what held, keys that say nothing of so small a batch left out.
        broken: the limits that are passed, as keys of the threshold.
        note: as observed.
    """

    check: Check
    value: float | None
    among: int | None
    level: str
    threshold: Threshold
    broken: tuple[str, ...]
    note: str

    @property
    def share(self) -> float | None:
        """The value's share, 0 to 1."""
        return self.value / self.among if self.among and self.value is not None else None

    def describe(self) -> str:
        """Say in one line what was found, and the limit that it passes.

        Examples:
            >>> check = next(check for check in CHECKS if check.name == "sentAt_missing")
            >>> threshold = Threshold(warn_share=0.01, fail_share=0.25)
            >>> Finding(check, 3012.0, 10000, FAILED, threshold, ("warn_share", "fail_share"), "").describe()
            'sentAt_missing: 3,012 of 10,000 candidates (30.12 %), fails above 25 %'
        """
        worst = next((key for key in self.broken if key.startswith("fail")), next(iter(self.broken), None))
        limit = f", {in_words(worst, getattr(self.threshold, worst))}" if worst else ""
        return f"{self.check.name}: {self.seen()}{limit}"

    def seen(self) -> str:
        """Say what was seen, in words."""
        if self.value is None:
            return self.note
        if self.share is not None:
            return f"{self.value:,.0f} of {self.among:,} {self.check.among} ({percent(self.share)})"
        return f"{self.value:,.4g}" + (f" ({self.note})" if self.note else "")


def in_words(key: str, limit: float) -> str:
    """Say a limit in words.

    Examples:
        >>> in_words("fail_share", 0.25), in_words("warn_count", 0), in_words("warn_below", 0.2)
        ('fails above 25 %', 'warns above 0', 'warns below 0.2')
    """
    level, _, kind = key.partition("_")
    side = "below" if kind == "below" else "above"
    return f"{level}s {side} {percent(limit) if kind == 'share' else f'{limit:,.4g}'}"


def percent(share: float) -> str:
    """Write a share as a percentage; what is little keeps its digits, and is never 0 unless it is none.

    Examples:
        >>> percent(0.25), percent(0.3012), percent(0.0000123), percent(1e-9), percent(1), percent(0)
        ('25 %', '30.12 %', '0.00123 %', 'less than 0.0001 %', '100 %', '0 %')
    """
    return "less than 0.0001 %" if 0 < share < 1e-6 else f"{share * 100:.4g} %"


def judge_batch(
    batch: str, observed: Mapping[str, Observation], sizes: Mapping[str, int], thresholds: Thresholds
) -> list[Finding]:
    """Hold what was observed of a batch against its thresholds, by a Great Expectations checkpoint.

    Args:
        batch: the label.
        observed: by the check's name; what is missing was not violated, or not measured.
        sizes: how many `candidates`, `events` and `sessions` the batch has.
        thresholds: the gate's configuration.

    Returns:
        A finding for every check there is, in the order of CHECKS.
    """
    from expectations.suite import Limit, run_checkpoint  # noqa: PLC0415 - it takes seconds to import

    held = {check.name: _held(check, sizes["candidates"], thresholds) for check in CHECKS}
    seen = {check.name: observed.get(check.name, Observation(0 if check.among else None)) for check in CHECKS}
    facts: dict[str, float] = {}
    limits: list[Limit] = []
    for check in CHECKS:
        numbers = _numbers(check, seen[check.name].value, sizes)
        facts.update(numbers)
        own = [Limit(check.name, key, getattr(held[check.name], key)) for key in held[check.name].limits()]
        limits += [limit for limit in own if limit.column in numbers]
    broken = run_checkpoint(batch, facts, limits)
    passed = {check.name: tuple(limit.key for limit in broken if limit.check == check.name) for check in CHECKS}
    return [
        Finding(
            check,
            seen[check.name].value,
            sizes[check.among] if check.among else None,
            _level(passed[check.name]),
            held[check.name],
            passed[check.name],
            seen[check.name].note,
        )
        for check in CHECKS
    ]


def outcome(findings: Sequence[Finding]) -> str:
    """Sum findings up: `passed`, `warned` or `failed`."""
    levels = {finding.level for finding in findings}
    return next(level for level in (FAILED, WARNED, PASSED) if level in levels)


def _held(check: Check, candidates: int, thresholds: Thresholds) -> Threshold:
    """Take the limits that hold for a batch of this size: shares of a few say little."""
    threshold = thresholds.changed.get(check.name, check.threshold)
    if candidates < thresholds.settings.warn_from:
        threshold = replace(threshold, warn_share=None)
    return replace(threshold, fail_share=None) if candidates < thresholds.settings.fail_from else threshold


def _numbers(check: Check, value: float | None, sizes: Mapping[str, int]) -> dict[str, float]:
    """Name the numbers that a check's limits look at."""
    if value is None:
        return {}
    if check.among is None:
        return {f"{check.name} measure": float(value), f"{check.name} count": float(value)}
    share = value / sizes[check.among] if sizes[check.among] else 0.0
    return {f"{check.name} share": share, f"{check.name} count": float(value)}


def _level(broken: Sequence[str]) -> str:
    if any(key.startswith("fail") for key in broken):
        return FAILED
    return WARNED if broken else PASSED
