"""Penalties on parameters, and what parameters and gradients are brought back to, in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy import float64

from fastnn.kernels.numba_cuda import shim
from fastnn.kernels.numba_cuda.groups import column_sum, group_sum
from fastnn.kernels.numba_cuda.reductions import chunks_of, launch_totals
from fastnn.kernels.numba_cuda.scalar import clip
from fastnn.kernels.numba_cuda.shim import cuda, inlined
from fastnn.kernels.numba_cuda.sizes import BLOCK, CHUNK, COLUMNS
from fastnn.kernels.numba_cuda.vectors import Elementwise


@cuda.jit
def penalty(p, g, partial, factors, slopes):
    """p (n), g (n)? -> partial[i] = l1 sum|p| + l2 sum p^2 over CHUNK elements, each by a block.

    g += weight sign(p) + twice p. The factors are l1 and l2; the slopes l1 and 2 l2, in the arrays' type.
    """
    l1, l2, weight, twice = factors[0], factors[1], slopes[0], slopes[1]
    start = cuda.blockIdx.x * CHUNK
    total = 0.0
    for i in range(start + cuda.threadIdx.x, min(start + CHUNK, p.size), BLOCK):
        a = abs(float64(p[i]))
        total += l1 * a + l2 * (a * a)
        if g.size > 0:
            slope = twice * p[i]
            if p[i] > 0:
                slope += weight
            if p[i] < 0:
                slope -= weight
            g[i] += slope
    total = group_sum(total, BLOCK)
    if cuda.threadIdx.x == 0:
        partial[cuda.blockIdx.x] = total


@inlined
def soft_threshold(p, threshold):
    """sign(p) max(|p| - t, 0) = p - clip(p, -t, t)"""
    return p - clip(p, -threshold, threshold)


@cuda.jit
def max_norm(w, limit):
    """w (i,o): columns whose norm is above the limit are scaled down to it; a block takes COLUMNS columns."""
    me = cuda.threadIdx.x
    column = cuda.blockIdx.x * COLUMNS + me % COLUMNS
    total = 0.0
    if column < w.shape[1]:
        for i in range(me // COLUMNS, w.shape[0], BLOCK // COLUMNS):
            total += float64(w[i, column]) * float64(w[i, column])
    norm = shim.sqrt(column_sum(total, COLUMNS))
    if column < w.shape[1] and norm > limit:
        for i in range(me // COLUMNS, w.shape[0], BLOCK // COLUMNS):
            w[i, column] = float64(w[i, column]) * (limit / norm)


@inlined
def clip_by_value(g, limit):
    """g, to [-limit, limit]."""
    return clip(g, -limit, limit)


def launch_penalty(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    p, g, value = arrays
    l1, l2, cast = float(params["l1"]), float(params["l2"]), p.dtype.type
    chunks = chunks_of(dims["n"], CHUNK)
    launch(penalty, chunks, BLOCK, p, g, workspace, (l1, l2), (cast(l1), cast(2 * l2)))
    launch_totals(launch, workspace, value, chunks)


def launch_max_norm(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    launch(max_norm, -(-dims["o"] // COLUMNS), BLOCK, *arrays, float(params["max_norm"]))


KERNELS = {
    "penalty": launch_penalty, "max_norm": launch_max_norm,
    "soft_threshold": Elementwise("soft_threshold", soft_threshold, lambda p: (p["learning_rate"] * p["l1"],)),
    "clip_by_value": Elementwise("clip_by_value", clip_by_value),
}  # fmt: skip
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {
    "penalty": lambda dims, params, itemsize: 8 * chunks_of(dims["n"], CHUNK),
}
