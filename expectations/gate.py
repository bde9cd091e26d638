"""The gate: it decides whether a whole batch may be sent to the service."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from expectations.checks import CHECKS, Check
from expectations.observations import Observation, lower_bound
from expectations.thresholds import Limit, Threshold, Thresholds

PASSED: Final = "passed"
WARNED: Final = "warned"
FAILED: Final = "failed"
NOT_EVALUATED: Final = "not evaluated"
"""A level of checks, not of batches: no limit was compared with a value."""

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
"""A TOML key that needs no quotes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        check: the check.
        value: the observed value.
        among: the size of the whole that the share is of; None for a measure.
        level: `passed`, `warned`, `failed` or `not evaluated`.
        threshold: the limits that applied.
        broken: the limits that the value exceeds, as keys of the threshold.
        note: the observation's note; for a check that was not evaluated, the reason.
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
        """Describe in one line the value and the limit that it exceeds.

        Examples:
            >>> check = next(check for check in CHECKS if check.name == "sentAt_missing")
            >>> threshold = Threshold(warn_share=0.01, fail_share=0.25)
            >>> Finding(check, 3012.0, 10000, FAILED, threshold, ("warn_share", "fail_share"), "").describe()
            'sentAt_missing: 3,012 of 10,000 candidates (30.12 %), fails above 25 %'
        """
        limit = f", {self.describe_limit(self.worst_limit)}" if self.worst_limit and not self.check.is_state else ""
        return f"{self.check.name}: {self.describe_value()}{limit}"

    @property
    def worst_limit(self) -> str | None:
        """The limit that the value exceeds: one that fails the batch before one that warns; None if it exceeds none."""
        return next((key for key in self.broken if key.startswith("fail")), next(iter(self.broken), None))

    def write_permission(self) -> str:
        """Write the line of a thresholds file that removes this limit.

        Examples:
            >>> from expectations.checks import checks_on
            >>> check = next(check for check in CHECKS if check.name == "largest_userId")
            >>> Finding(check, 300.0, 300, FAILED, Threshold(fail_share=0.95), ("fail_share",), "").write_permission()
            'largest_userId.fail_share = false'
            >>> check = next(check for check in checks_on(["properties.coupon"])
            ...              if check.name == "empty.properties.coupon")
            >>> Finding(check, 800.0, 800, FAILED, Threshold(fail_share=0.99), ("fail_share",), "").write_permission()
            'empty.properties.coupon.fail_share = false'
        """
        keys = self.check.name.split(".", 2)
        name = ".".join(key if _BARE_KEY.fullmatch(key) else json.dumps(key) for key in keys)
        return f"{name}.{self.worst_limit} = false"

    def describe_value(self) -> str:
        """Describe the value in words."""
        if self.value is None or self.check.is_state:
            return self.note
        if self.share is not None:
            subject = f"{self.check.subject} " if self.check.subject else ""
            return f"{subject}{self.value:,.0f} of {self.among:,} {self.check.among} ({percent(self.share)})"
        return f"{self.value:,.4g}" + (f" ({self.note})" if self.note else "")

    def describe_limit(self, key: str) -> str:
        """Describe one of its limits in words."""
        return in_words(key, getattr(self.threshold, key))


def in_words(key: str, limit: float) -> str:
    """Describe a limit in words.

    Examples:
        >>> in_words("fail_share", 0.25), in_words("warn_count", 0), in_words("warn_below", 0.2)
        ('fails above 25 %', 'warns above 0', 'warns below 0.2')
    """
    level, _, kind = key.partition("_")
    side = "below" if kind == "below" else "above"
    return f"{level}s {side} {percent(limit) if kind == 'share' else f'{limit:,.4g}'}"


def percent(share: float) -> str:
    """Write a share as a percentage, in four digits; a share above 0 is never written as 0.

    Examples:
        >>> percent(0.25), percent(0.3012), percent(0.0000123), percent(1e-9), percent(1), percent(0)
        ('25 %', '30.12 %', '0.00123 %', 'less than 0.0001 %', '100 %', '0 %')
    """
    return "less than 0.0001 %" if 0 < share < 1e-6 else f"{share * 100:.4g} %"


def judge_batch(
    batch: str,
    observed: Mapping[str, Observation],
    sizes: Mapping[str, int],
    thresholds: Thresholds,
    checks: Sequence[Check] = CHECKS,
) -> list[Finding]:
    """Compare the observations of a batch with its thresholds, by a Great Expectations checkpoint.

    Args:
        batch: the label.
        observed: by the check's name; a missing count is 0, a missing measure is unknown.
        sizes: how many `records`, `candidates`, `events` and `sessions` the batch has.
        thresholds: the gate's configuration.
        checks: the batch's checks.

    Returns:
        One finding for each check, in their order.
    """
    from expectations.suite import run_checkpoint  # noqa: PLC0415 - it takes seconds to import

    facts, limits = facts_and_limits(observed, sizes, thresholds, checks)
    return findings_of(run_checkpoint(batch, facts, limits), observed, sizes, thresholds, checks)


def facts_and_limits(
    observed: Mapping[str, Observation], sizes: Mapping[str, int], thresholds: Thresholds, checks: Sequence[Check]
) -> tuple[dict[str, float], list[Limit]]:
    """Make one row of numbers from the observations, and list the limits on them. Arguments as in `judge_batch`."""
    facts: dict[str, float] = {}
    limits: list[Limit] = []
    for check in checks:
        numbers = _name_numbers(check, _find_observation(check, observed), sizes)
        facts.update(numbers)
        threshold = held_threshold(check, thresholds)
        own = [Limit(check.name, key, getattr(threshold, key)) for key in threshold.limits()]
        limits += [limit for limit in own if limit.column in numbers]
    return facts, limits


def findings_of(
    broken: Sequence[Limit],
    observed: Mapping[str, Observation],
    sizes: Mapping[str, int],
    thresholds: Thresholds,
    checks: Sequence[Check],
) -> list[Finding]:
    """Find the result of each check from the broken limits. Further arguments as in `judge_batch`."""
    passed = {check.name: tuple(limit.key for limit in broken if limit.check == check.name) for check in checks}
    return [
        _make_finding(check, _find_observation(check, observed), sizes, thresholds, passed[check.name])
        for check in checks
    ]


def _make_finding(
    check: Check, seen: Observation, sizes: Mapping[str, int], thresholds: Thresholds, broken: tuple[str, ...]
) -> Finding:
    threshold, among = held_threshold(check, thresholds), sizes.get(check.among) if check.among else None
    reason = _why_not_evaluated(check, seen, among, threshold)
    if reason is None:
        return Finding(check, seen.value, among, _find_level(broken), threshold, broken, seen.note)
    note = reason if seen.note in ("", reason) else f"{reason}; {seen.note}"
    return Finding(check, seen.value, among, NOT_EVALUATED, threshold, (), note)


def _why_not_evaluated(check: Check, seen: Observation, among: int | None, threshold: Threshold) -> str | None:
    """Explain why no limit of a check was compared with a value; None if one was."""
    if seen.value is None:
        return seen.note or "it was not measured"
    if not threshold.limits():
        return "it has no limit"
    # Nothing has no share, but a count of nothing is still compared with its limit.
    if check.among is not None and not among and not any(key.endswith("_count") for key in threshold.limits()):
        return f"there are no {check.among}"
    return None


def outcome(findings: Sequence[Finding]) -> str:
    """Decide from all findings: `passed`, `warned` or `failed`. Checks that were not evaluated are ignored."""
    levels = {finding.level for finding in findings}
    return next((level for level in (FAILED, WARNED) if level in levels), PASSED)


def held_threshold(check: Check, thresholds: Thresholds) -> Threshold:
    """Find the threshold that applies: the check's in the file, otherwise its family's, otherwise the default."""
    return thresholds.changed.get(check.name) or thresholds.changed.get(check.family) or check.threshold


def _find_observation(check: Check, observed: Mapping[str, Observation]) -> Observation:
    return observed.get(check.name, Observation(0 if check.among else None))


def _name_numbers(check: Check, seen: Observation, sizes: Mapping[str, int]) -> dict[str, float]:
    """Give the numbers that a check's limits apply to, by column."""
    if seen.value is None:
        return {}
    count = {f"{check.name} count": float(seen.value)}
    if check.among is None:
        return count | {f"{check.name} measure": float(seen.value if seen.held is None else seen.held)}
    return count | {f"{check.name} share": lower_bound(int(seen.value), sizes.get(check.among, 0))}


def _find_level(broken: Sequence[str]) -> str:
    if any(key.startswith("fail") for key in broken):
        return FAILED
    return WARNED if broken else PASSED
