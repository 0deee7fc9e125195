"""How many threads the CPU backends may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fastnn_ext import executor


def _cpus() -> int:
    """CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


_everywhere = _cpus()
_here: ContextVar[int | None] = ContextVar("fastnn_threads", default=None)


def _checked(n: int) -> int:
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"threads: n: expected an integer of at least 1, got {n!r}")
    return n


def set_num_threads(n: int) -> None:
    """Let the CPU backends use up to `n` threads from now on.

    Results do not depend on it. Small operations run in one thread in any case.

    Raises
    ------
    ValueError
        If `n` is not a positive integer.
    """
    global _everywhere
    _everywhere = _checked(n)


def get_num_threads() -> int:
    """Threads in use: the smallest of the number set, OpenMP's own limit (`OMP_NUM_THREADS`, threadpoolctl) and,
    in a forked child, one."""
    return min(_here.get() or _everywhere, executor.max_threads())


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let the CPU backends use up to `n` threads within a ``with`` block of this thread or task."""
    token = _here.set(_checked(n))
    try:
        yield
    finally:
        _here.reset(token)
