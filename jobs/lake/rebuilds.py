"""A batch that is rebuilt while others read it: its old rows vanish under them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from jobs.errors import JobError, UnfinishedError
from jobs.lake.manifests import Manifest, Manifests


@contextmanager
def unfinished_if_rebuilt(manifests: Manifests, read: Iterable[Manifest]) -> Iterator[None]:
    """While the block reads batches' rows, tell what goes wrong because one was published again as just that.

    Args:
        manifests: of the lake.
        read: the publications whose rows the block reads.

    Raises:
        UnfinishedError: the block failed, and a batch has another publication by now.
    """
    try:
        yield
    except JobError:
        raise
    except Exception:
        rebuilt = _rebuilt(manifests, read)
        if rebuilt is None:
            raise
        raise UnfinishedError(f"batch {rebuilt}: it was rebuilt just now: run this again") from None


def _rebuilt(manifests: Manifests, read: Iterable[Manifest]) -> str | None:
    with suppress(Exception):  # the lake cannot be read: what went wrong in the block says more
        return next((one.batch for one in read if manifests.current(one.batch) != one), None)
    return None
