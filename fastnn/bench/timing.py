"""Times taken side by side, and what the machine itself can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import fastnn_ext

Thunk = Callable[[], Any]
Clock = Callable[[Thunk, int], float]
#: Bytes of the arrays by which memory's rates are measured: larger than the caches.
STREAMED = 1 << 28


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


def device_times(
    thunks: Mapping[str, Thunk], clocks: Mapping[str, Clock], seconds: float = 0.5, rounds: int = 15
) -> dict[str, float]:
    """Median over rounds, in which they take turns, of the mean time of a call of each, in seconds.

    Parameters
    ----------
    thunks : mapping of str to callable
        They queue work on a device; each is called three times before it is timed.
    clocks : mapping of str to callable
        ``clock(thunk, count)`` takes the time of so many calls on the device.
    """
    counts = {}
    for name, thunk in thunks.items():
        clocks[name](thunk, 2)
        counts[name] = max(1, int(seconds / rounds / max(clocks[name](thunk, 1), 1e-7)))
    taken: dict[str, list[float]] = {name: [] for name in thunks}
    for _ in range(rounds):
        for name, thunk in thunks.items():
            taken[name].append(clocks[name](thunk, counts[name]) / counts[name])
    return {name: median(times) for name, times in taken.items()}


@cache
def fma_peak(dtype: str, count: int) -> float:
    """FLOP/s of `count` threads that do nothing but multiply and add in registers."""
    peak = import_module(f"fastnn_ext._{fastnn_ext.VECTOR_ISA}.peak")

    def share(_: int) -> float:
        return peak.multiply_add(dtype == "float64", 2_000_000)

    best = 0.0
    with ThreadPoolExecutor(count) as pool:
        for _ in range(10):
            start = perf_counter()
            work = sum(pool.map(share, range(count)))
            best = max(best, work / (perf_counter() - start))
    return best


def _stream_rate(count: int, work: Callable[[np.ndarray, np.ndarray], Any]) -> float:
    """Bytes a second, read and written, of threads that each treat their part of arrays larger than the caches."""
    source, target = np.ones(STREAMED // 4, np.float32), np.ones(STREAMED // 4, np.float32)
    parts = list(zip(np.array_split(source, count), np.array_split(target, count), strict=True))
    with ThreadPoolExecutor(count) as pool:
        best = best_times({"stream": lambda: list(pool.map(lambda part: work(*part), parts))}, 2.0)
    return 2 * STREAMED / best["stream"]


@cache
def copy_rate(count: int) -> float:
    """Bytes a second, read and written, of `count` threads that copy."""
    return _stream_rate(count, lambda source, target: np.copyto(target, source))


@cache
def update_rate(count: int) -> float:
    """Bytes a second, read and written, of `count` threads that change an array in place.

    More than the copy rate: what is written has been read, where a copy has to fetch its target or go round the caches.
    """
    return _stream_rate(count, lambda source, target: np.negative(target, out=target))
