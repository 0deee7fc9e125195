"""Penalties on parameters, and what parameters and gradients are brought back to, in place."""

from __future__ import annotations

from math import sqrt

from numpy import float64, uint64

from fastnn.kernels.numba_cpu.common import BLOCK, CHUNK, doubles, inlined, kernel, share, share_rows, summing
from fastnn.kernels.numba_cpu.elementary import clip
from fastnn.kernels.numba_cpu.reductions import sum_of_chunks


@summing
def _penalty_of(p, l1, l2, start, stop):
    """l1 sum|p| + l2 sum p^2 of the elements from start to stop."""
    total = 0.0
    for i in range(start, stop):
        a = abs(float64(p[i]))
        total += l1 * a + l2 * (a * a)
    return total


@inlined
def _add_slope(p, g, l1, twice, start, stop):
    """g += l1 sign(p) + twice p; a NaN in p stays one by the second term."""
    zero = p.dtype.type(0)
    for i in range(start, stop):
        sign = -l1 if p[i] < zero else zero
        sign = l1 if p[i] > zero else sign
        g[i] += sign + twice * p[i]


@kernel
def penalty(p, g, value, workspace, l1, l2, phase, part, parts):
    """p (n), g (n)? -> value (one)"""
    T = p.dtype.type
    count = (p.size + CHUNK - 1) // CHUNK
    if phase == 0:
        chunks = doubles(workspace)
        start, stop = share_rows(count, part, parts)
        for i in range(start, stop):
            first, last = uint64(i * CHUNK), uint64(min((i + 1) * CHUNK, p.size))  # unsigned: see `share`
            chunks[i] = _penalty_of(p, l1, l2, first, last)
            if g.size > 0:
                _add_slope(p, g, T(l1), T(2.0 * l2), first, last)
    elif part == 0:
        value[0] = sum_of_chunks(workspace, count)


@kernel
def soft_threshold(p, learning_rate, l1, part, parts):
    """p (n): sign(p) max(|p| - t, 0) = p - clip(p, -t, t), t = learning_rate l1."""
    t = p.dtype.type(learning_rate * l1)
    start, stop = share(p.size, part, parts)
    for i in range(start, stop):
        p[i] -= clip(p[i], -t, t)


@kernel
def max_norm(w, workspace, limit, part, parts):
    """w (i,o): columns whose norm is above the limit are scaled down to it."""
    factor = doubles(workspace)
    start, stop = share(w.shape[1], part, parts)
    for first in range(start, stop, BLOCK):
        last = min(first + uint64(BLOCK), stop)
        for j in range(first, last):
            factor[j] = 0.0
        for i in range(w.shape[0]):
            for j in range(first, last):
                factor[j] += float64(w[i, j]) * float64(w[i, j])
        for j in range(first, last):
            norm = sqrt(factor[j])
            factor[j] = limit / norm if norm > limit else 1.0
        for i in range(w.shape[0]):
            for j in range(first, last):
                w[i, j] = w[i, j] * factor[j]


@kernel
def clip_by_value(g, max_value, part, parts):
    """g (n): to [-max_value, max_value]."""
    limit = g.dtype.type(max_value)
    start, stop = share(g.size, part, parts)
    for i in range(start, stop):
        g[i] = clip(g[i], -limit, limit)


KERNELS = {
    "penalty": penalty, "soft_threshold": soft_threshold, "max_norm": max_norm, "clip_by_value": clip_by_value,
}  # fmt: skip
WORKSPACE = {
    "penalty": lambda dims, params, itemsize, parts: 8 * -(-dims["n"] // CHUNK),
    "max_norm": lambda dims, params, itemsize, parts: 8 * dims["o"],
}
