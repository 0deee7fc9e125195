"""Sums, the norm of a gradient and clipping by it, argmax and counting. Sums are float64."""

from __future__ import annotations

from math import sqrt

from numpy import float64, uint64

from fastnn.kernels.numba_cpu.bits import from_order_key, order_key
from fastnn.kernels.numba_cpu.common import BLOCK, CHUNK, doubles, inlined, kernel, share, share_rows, summing


@inlined
def largest_key(x, i):
    """`order_key` of the largest element of row i of x (o,r), r > 0."""
    best = order_key(x[i, 0])
    for j in range(x.shape[1]):
        key = order_key(x[i, j])
        best = key if key > best else best
    return best


@inlined
def row_maximum(x, i):
    """Largest element of row i of x (o,r), r > 0; NaN if there is one."""
    return from_order_key(largest_key(x, i))


@summing
def row_sum(x, i):
    """Sum of row i of x (o,r)."""
    total = 0.0
    for j in range(x.shape[1]):
        total += x[i, j]
    return total


@kernel
def sum_(x, y, part, parts):
    """x (o,r) -> y (o): sums of rows."""
    start, stop = share_rows(x.shape[0], part, parts)
    for i in range(start, stop):
        y[i] = row_sum(x, i)


@kernel
def column_sum(x, y, workspace, part, parts):
    """x (r,o) -> y (o): BLOCK columns at a time, whose sums fit into the first-level cache."""
    total = doubles(workspace)
    start, stop = share(x.shape[1], part, parts)
    for first in range(start, stop, BLOCK):
        last = min(first + uint64(BLOCK), stop)
        for j in range(first, last):
            total[j] = 0.0
        for i in range(x.shape[0]):
            for j in range(first, last):
                total[j] += x[i, j]
        for j in range(first, last):
            y[j] = total[j]


@summing
def _chunk_of_squares(x, start, stop):
    total = 0.0
    for i in range(start, stop):
        total += float64(x[i]) * float64(x[i])
    return total


@summing
def sum_of_chunks(workspace, count):
    """Sum of the first numbers in the workspace: what the parts found in their chunks."""
    total = 0.0
    chunks = doubles(workspace)
    for i in range(count):
        total += chunks[i]
    return total


@kernel
def sum_of_squares(x, y, workspace, phase, part, parts):
    """x (n) -> y (one)"""
    count = (x.size + CHUNK - 1) // CHUNK
    if phase == 0:
        chunks = doubles(workspace)
        start, stop = share_rows(count, part, parts)
        for i in range(start, stop):
            first, last = i * CHUNK, min((i + 1) * CHUNK, x.size)
            chunks[i] = _chunk_of_squares(x, uint64(first), uint64(last))  # unsigned: see `share`
    elif part == 0:
        y[0] = sum_of_chunks(workspace, count)


@kernel
def clip_by_norm(g, squared_norm, max_norm, part, parts):
    """g (n) *= min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_."""
    ratio = max_norm / (sqrt(float64(squared_norm[0])) + 1e-6)
    if not ratio < 1.0:
        return
    factor = g.dtype.type(ratio)
    start, stop = share(g.size, part, parts)
    for i in range(start, stop):
        g[i] *= factor


@kernel
def argmax(x, y, part, parts):
    """x (o,r) -> y (o): the first largest element of each row; a NaN counts as the largest."""
    if x.shape[1] == 0:
        return
    start, stop = share_rows(x.shape[0], part, parts)
    for i in range(start, stop):
        best = largest_key(x, i)
        j = 0
        while order_key(x[i, j]) != best:
            j += 1
        y[i] = j


@kernel
def count_equal(a, b, y, part, parts):
    """a (n), b (n) -> y (one)"""
    if part == 0:
        count = 0
        for i in range(a.size):
            count += a[i] == b[i]
        y[0] = count


KERNELS = {
    "sum": sum_, "column_sum": column_sum, "sum_of_squares": sum_of_squares, "clip_by_norm": clip_by_norm,
    "argmax": argmax, "count_equal": count_equal,
}  # fmt: skip
WORKSPACE = {
    "column_sum": lambda dims, params, itemsize, parts: 8 * dims["o"],
    "sum_of_squares": lambda dims, params, itemsize, parts: 8 * -(-dims["n"] // CHUNK),
}
