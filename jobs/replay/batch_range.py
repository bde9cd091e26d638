"""Finds the batches of a range of labels, oldest first."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from expectations.interval import Interval, batch_interval
from jobs.errors import ConfigurationError, GateFailedError
from jobs.lake.batch_order import BatchOrder
from jobs.lake.manifests import Manifest, Manifests

log = logging.getLogger(__name__)

_NUMBER: Final = re.compile(r"([0-9]+)")
_MOST_LISTED: Final = 10
"""The most labels in a message."""


def find_batches(manifests: Manifests, first: str, last: str) -> list[Manifest]:
    """Find the batches from one label to another, with all batches that either of them stands for.

    So `--from 2024-01 --to 2024-02` are two months, whether their batches are days or hours.

    Raises:
        ConfigurationError: a label names no batch, the range is empty, or the lake cannot be read.
        GateFailedError: some batches did not pass their gate.
    """
    order = manifests.order()
    _check_labels(order, first, last)
    if numbered := text_before_numbers(order):
        log.warning(
            "batches without an interval are in the order of their labels' text: %s comes before %s; if that is not "
            "the order of time, build them with --interval",
            *numbered,
        )
    chosen = choose_labels(order, first, last)
    found = [one for label in chosen if (one := manifests.current(label)) is not None]
    if not found:
        raise ConfigurationError(
            f"--from {first} --to {last}: the range is empty: is --to before --from, or was no batch of it published?"
        )
    _check_gates(found)
    _warn_of_gaps(order, [manifest.batch for manifest in found])
    _warn_of_left_out(order, chosen)
    return found


@dataclass(frozen=True, slots=True)
class RangeBound:
    """An end of a range, as the user wrote it.

    Attributes:
        text: a batch's label, or a prefix of labels.
        interval: the batch's; if no batch has this label, the interval that the text names; None if there is none.
        is_batch: whether a batch has this label.
    """

    text: str
    interval: Interval | None
    is_batch: bool

    @classmethod
    def find(cls, order: BatchOrder, text: str) -> RangeBound:
        """Find what a text stands for among the existing batches."""
        is_batch = text in order.labels
        return cls(text, order.interval(text) if is_batch else batch_interval(text), is_batch)

    @property
    def compares_as_text(self) -> bool:
        """Whether labels without an interval are compared with its text: `2024-01-02-b` with `2024-01-31`."""
        return self.interval is None or batch_interval(self.text) is not None

    def takes_in(self, order: BatchOrder, label: str) -> bool:
        """Whether it stands for a batch.

        A batch's label stands for that batch and all batches within its interval; another time for the batches that
        begin in it; another text for the labels that extend it by a sign and more.
        """
        interval = order.interval(label)
        if self.interval is None or interval is None:
            return draws_out(label, self.text)
        if self.is_batch:
            return label == self.text or self.interval.holds(interval)
        return self.interval.start <= interval.start < self.interval.end


def choose_labels(order: BatchOrder, first: str, last: str) -> list[str]:
    """Choose the labels from what `first` stands for to what `last` stands for, in the order of batches.

    A batch whose interval ends after that of the last batch is left out.

    Examples:
        >>> days = BatchOrder(("2023-12-31", "2024-01-01", "2024-01-02", "2024-01-02T03", "2024-01-03"))
        >>> choose_labels(days, "2024-01", "2024-01-02")
        ['2024-01-01', '2024-01-02', '2024-01-02T03']
        >>> choose_labels(BatchOrder(("day-1", "day-10", "day-1-b", "day-2")), "day-1", "day-1")
        ['day-1', 'day-1-b']
    """
    begin, end = RangeBound.find(order, first), RangeBound.find(order, last)
    return [
        label for label in order.in_order() if _is_not_before(order, begin, label) and _is_not_after(order, end, label)
    ]


def text_before_numbers(order: BatchOrder) -> tuple[str, str] | None:
    """Find two neighbours without an interval whose numbers and text differ in order; None if there are none.

    Examples:
        >>> text_before_numbers(BatchOrder(("day-1", "day-10", "day-2")))
        ('day-10', 'day-2')
        >>> text_before_numbers(BatchOrder(("day-01", "day-02", "day-10", "2024-01-02")))
    """
    labels = [label for label in order.in_order() if order.interval(label) is None]
    numbers = [[int(piece) if piece.isdigit() else piece for piece in _NUMBER.split(label)] for label in labels]
    pairs = zip(pairwise(labels), pairwise(numbers), strict=True)
    return next((neighbours for neighbours, (one, other) in pairs if _is_after(one, other)), None)


def _is_after(one: Sequence[int | str], other: Sequence[int | str]) -> bool:
    for piece, other_piece in zip(one, other, strict=False):
        if piece != other_piece:
            return isinstance(piece, int) and isinstance(other_piece, int) and piece > other_piece
    return False


def draws_out(label: str, of: str) -> bool:
    """Whether a label equals a text, or extends it by a sign and more.

    Examples:
        >>> draws_out("day-1-b", "day-1"), draws_out("day-10", "day-1"), draws_out("2024-10", "2024-1")
        (True, False, False)
    """
    return label.startswith(of) and not label[len(of) : len(of) + 1].isalnum()


def _is_not_before(order: BatchOrder, bound: RangeBound, label: str) -> bool:
    """Whether a batch is not before the start of a range."""
    interval = order.interval(label)
    if bound.takes_in(order, label):
        return True
    if interval is not None:  # batches without an interval come after all others
        return bound.interval is not None and interval.start >= bound.interval.start
    return label >= bound.text or not bound.compares_as_text


def _is_not_after(order: BatchOrder, bound: RangeBound, label: str) -> bool:
    """Whether a batch is not after the end of a range."""
    interval = order.interval(label)
    if bound.takes_in(order, label):
        return True
    if interval is None:
        return bound.compares_as_text and label <= bound.text
    if bound.interval is None:
        return True
    return interval.end <= bound.interval.end if bound.is_batch else interval.start < bound.interval.end


def _check_labels(order: BatchOrder, first: str, last: str) -> None:
    if not order.labels:
        raise ConfigurationError("the lake has no batches: run build_events first")
    labels = order.in_order()
    faults = [
        f"{option} {text}: the lake has no such batch, and none whose label begins with that; "
        f"it has {len(labels):,}, from {labels[0]} to {labels[-1]}"
        for option, text in {"--from": first, "--to": last}.items()
        if not any(RangeBound.find(order, text).takes_in(order, label) for label in labels)
    ]
    if faults:
        raise ConfigurationError(*faults)


def _check_gates(manifests: Sequence[Manifest]) -> None:
    failed = [manifest.batch for manifest in manifests if manifest.gate == "failed"]
    if failed:
        raise GateFailedError(
            f"{_list_batches(failed)} failed the gate: nothing of the range is sent; correct the cause and build "
            "again, or choose a range without them"
        )


def _warn_of_gaps(order: BatchOrder, labels: Sequence[str]) -> None:
    """Warn of gaps between batches: a day that was never built is missing history."""
    until, gaps = None, []
    for label in labels:
        interval = order.interval(label)
        if interval is None:
            continue
        if until is not None and interval.start > until:
            gaps.append(label)
        until = interval.end if until is None else max(until, interval.end)
    if gaps:
        log.warning("the range has gaps: there is no batch just before %s", _list_batches(gaps))


def _warn_of_left_out(order: BatchOrder, chosen: Sequence[str]) -> None:
    """Warn of batches between the chosen ones that are not chosen, because they end after the range."""
    in_order = order.in_order()
    among = in_order[in_order.index(chosen[0]) : in_order.index(chosen[-1])]
    if left_out := [label for label in among if label not in set(chosen) and order.interval(label) is not None]:
        log.warning("not in the range, because they end after it: %s", _list_batches(left_out))


def _list_batches(labels: Sequence[str]) -> str:
    """List batches for a message, the first ones by name.

    Examples:
        >>> _list_batches(["a", "b"]), _list_batches([str(number) for number in range(12)])
        ('batches a, b', 'batches 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more')
    """
    more = f" and {len(labels) - _MOST_LISTED} more" if len(labels) > _MOST_LISTED else ""
    return f"{'batch' if len(labels) == 1 else 'batches'} {', '.join(labels[:_MOST_LISTED])}{more}"
