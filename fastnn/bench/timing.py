"""Times taken side by side, and what the machine itself can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from time import perf_counter
from typing import Any

import numpy as np

import fastnn_ext
from fastnn import backends
from fastnn.table import TABLE
from fastnn.threadcount import threads

Thunk = Callable[[], Any]
#: Bytes of the array by which the copy rate is measured: larger than the caches.
COPIED = 1 << 28


def best_times(thunks: Mapping[str, Thunk], seconds: float = 0.5, rounds: int = 7) -> dict[str, float]:
    """Shortest mean time of a call of each, in seconds, over rounds in which they take turns.

    Parameters
    ----------
    thunks : mapping of str to callable
        Called twice before they are timed.
    seconds : float
        About how long to measure each in all.
    rounds : int
        Fewer, but three, where single calls take so long that they would need more than twice that time.
    """
    counts = {}
    for name, thunk in thunks.items():
        thunk()
        start = perf_counter()
        thunk()
        counts[name] = max(1, int(seconds / rounds / max(perf_counter() - start, 1e-7)))
    best = dict.fromkeys(thunks, float("inf"))
    end = perf_counter() + 2 * seconds * len(thunks)
    for done in range(rounds):
        if done >= 3 and perf_counter() > end:
            break
        for name, thunk in thunks.items():
            count = range(counts[name])
            start = perf_counter()
            for _ in count:
                thunk()
            best[name] = min(best[name], (perf_counter() - start) / len(count))
    return best


@cache
def fma_peak(dtype: str, count: int) -> float:
    """FLOP/s of `count` threads that do nothing but multiply and add in registers."""
    peak = import_module(f"fastnn_ext._{fastnn_ext.ISA}.peak")

    def share(_: int) -> float:
        return peak.multiply_add(dtype == "float64", 2_000_000)

    best = 0.0
    with ThreadPoolExecutor(count) as pool:
        for _ in range(10):
            start = perf_counter()
            work = sum(pool.map(share, range(count)))
            best = max(best, work / (perf_counter() - start))
    return best


@cache
def copy_rate(count: int) -> float:
    """Bytes a second, read and written, of `count` threads that copy an array much larger than the caches."""
    backend, op = backends.load("cython"), TABLE["linear"]
    source, target = np.ones(COPIED // 4, np.float32), np.empty(COPIED // 4, np.float32)
    with threads(count):
        best = best_times({"copy": lambda: backend.run(op, [source, target], {"n": source.size}, {})}, 2.0)
    return 2 * COPIED / best["copy"]
