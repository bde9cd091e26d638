"""Many seeds, in several processes."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.simulate import Result, simulate

_CHUNK = 50


def sweep(seeds: range, processes: int) -> Iterator[Result]:
    """Run seeds; give what came of each, in order. Only those that fail keep their trace."""
    chunks = [seeds[start : start + _CHUNK] for start in range(0, len(seeds), _CHUNK)]
    if processes <= 1:
        for chunk in chunks:
            yield from _chunk(chunk)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        try:
            for results in pool.map(_chunk, chunks):
                yield from results
        finally:
            pool.shutdown(cancel_futures=True)


def _chunk(seeds: range) -> list[Result]:
    gc.disable()  # worlds are full of cycles; they are collected between chunks
    try:
        results = [simulate(seed) for seed in seeds]
    finally:
        gc.enable()
        gc.collect()
    for result in results:
        if result.violation is None:
            result.trace.clear()
    return results
