"""The batches of a range of labels, oldest first."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from expectations.interval import batch_interval
from jobs.errors import ConfigurationError, GateFailedError
from jobs.lake.manifests import Manifest, Manifests

log = logging.getLogger(__name__)

_MOST_NAMED: Final = 10
"""Labels in a message."""


def find_batches(manifests: Manifests, first: str, last: str) -> list[Manifest]:
    """Find the batches from one label to another, both included, and all that `within` takes the last for.

    So `--from 2024-01 --to 2024-02` are two months, whether their batches are days or hours.

    Raises:
        ConfigurationError: a label names no batch, or there are none between them, or the lake cannot be read.
        GateFailedError: some did not pass their gate.
    """
    labels = manifests.labels()
    _check_labels(labels, first, last)
    found = [one for label in within(labels, first, last) if (one := manifests.newest(label)) is not None]
    if not found:
        raise ConfigurationError(f"--from {first} --to {last}: an empty range; is --to before --from?")
    _check_gates(found)
    _tell_gaps([manifest.batch for manifest in found])
    return found


def within(labels: Sequence[str], first: str, last: str) -> list[str]:
    """Choose labels: from the first to the last, and those that the last stands for.

    A last that no batch bears stands for all that begin with it; one that a batch bears for itself and what is finer.

    Examples:
        >>> within(["2023-12-31", "2024-01-01", "2024-01-02", "2024-01-02T03", "2024-01-03"], "2024-01", "2024-01-02")
        ['2024-01-01', '2024-01-02', '2024-01-02T03']
        >>> within(["day-1", "day-10", "day-2"], "day-1", "day-1")
        ['day-1']
    """
    belongs = is_finer if last in labels else str.startswith
    return [label for label in labels if first <= label and (label <= last or belongs(label, last))]


def is_finer(label: str, of: str) -> bool:
    """Whether a label is another one drawn out: by a sign and more, or from one time to a shorter one in it.

    Examples:
        >>> is_finer("2024-01-02", "2024-01"), is_finer("20240102", "202401"), is_finer("2024-01-02T03", "2024-01-02")
        (True, True, True)
        >>> is_finer("day-10", "day-1"), is_finer("day-1-b", "day-1")
        (False, True)
    """
    if not label.startswith(of):
        return False
    times = batch_interval(label) is not None and batch_interval(of) is not None
    return times or not label[len(of) : len(of) + 1].isalnum()


def _check_labels(labels: Sequence[str], first: str, last: str) -> None:
    if not labels:
        raise ConfigurationError("the lake has no batches: run build_events first")
    unknown = {"--from": first, "--to": last}
    faults = [
        f"{option} {label}: the lake has no such batch; it has {len(labels):,}, from {labels[0]} to {labels[-1]}"
        for option, label in unknown.items()
        if not any(known.startswith(label) for known in labels)
    ]
    if faults:
        raise ConfigurationError(*faults)


def _check_gates(manifests: Sequence[Manifest]) -> None:
    failed = [manifest.batch for manifest in manifests if manifest.gate == "failed"]
    if failed:
        raise GateFailedError(
            f"{_named(failed)} failed the gate: nothing is sent of the range; mend what broke and build again, "
            "or choose ranges around"
        )


def _tell_gaps(labels: Sequence[str]) -> None:
    """Warn where labels that name times leave some out: a day that was never built is history that is missing."""
    times = {label: interval for label in labels if (interval := batch_interval(label)) is not None}
    gaps = [later for (_, one), (later, other) in pairwise(times.items()) if other.start > one.end]
    if gaps:
        log.warning("the range is not without gaps: there is nothing just before %s", _named(gaps))


def _named(labels: Sequence[str]) -> str:
    """Name some batches.

    Examples:
        >>> _named(["a", "b"]), _named([str(number) for number in range(12)])
        ('batches a, b', 'batches 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more')
    """
    more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
    return f"{'batch' if len(labels) == 1 else 'batches'} {', '.join(labels[:_MOST_NAMED])}{more}"
