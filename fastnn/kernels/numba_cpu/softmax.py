"""Softmax and log-softmax over rows, their gradients, and the sums of exponentials that cross-entropy takes too.

A long row is treated a vector of its elements at a time. Short rows are treated TILE at a time, transposed, with one
row per vector lane: softmax and log-softmax of 64 rows of 10 take 2.2 and 2.5 us instead of 3.0 and 4.5.
"""

from __future__ import annotations

import numba
from numpy import float64, inf, uint64

from fastnn.kernels.numba_cpu import elementary
from fastnn.kernels.numba_cpu.common import inlined, kernel, share_rows, stack, summing
from fastnn.kernels.numba_cpu.reductions import row_maximum, row_sum

#: Exponentials of a row that are added up in the arrays' type.
STRETCH = 512
#: Rows of a tile: LLVM unrolls shorter loops before it looks for vectors.
TILE = 32
#: Most columns of a tile, and fewest rows of x that are worth one: 64 rows of 16 take a seventh longer (softmax) or
#: shorter (log-softmax) in tiles, 16 rows of 10 as long, and 4 rows twice as long.
NARROW = 12
FEW = 16
#: Bytes of a number for each row of a tile, and of the elements of a tile, in float64.
COLUMN_BYTES = 8 * TILE
TILE_BYTES = 8 * TILE * NARROW


@summing
def _stretch_of_exponentials(x, i, start, stop, largest, shift, n, r, y):
    """Sum of exp(x - largest) / scale over elements of row i, which row i of y becomes unless y is empty, and scale."""
    total = scale = type(largest)(0)
    for j in range(start, stop):
        e, scale = elementary.exp_below(x[i, j], largest, shift, n, r)
        if y.size > 0:
            y[i, j] = e
        total += e
    return total, scale


@inlined
def exponentials(x, i, largest, y):
    """Sum of exp(x - largest) over row i of x (o,r), and exp(x - largest) / scale in y (o,r) unless it is empty; scale.

    Sums of STRETCH elements are in the arrays' type.
    """
    total = 0.0
    scale = largest
    shift, n, r = elementary.row_scale(largest)
    for first in range(0, x.shape[1], STRETCH):
        last = min(first + STRETCH, x.shape[1])
        first, last = uint64(first), uint64(last)  # unsigned: see `share`
        part, scale = _stretch_of_exponentials(x, i, first, last, largest, shift, n, r, y)
        total += part
    return total * scale, scale


@summing
def _row_product(a, b, i):
    """Sum of a b over row i of a (o,r) and b (o,r)."""
    total = 0.0
    for j in range(a.shape[1]):
        total += float64(a[i, j]) * float64(b[i, j])
    return total


@kernel
def _tile_rows(x, y, first, last, logarithm):
    """Rows `first` to `last`, at most TILE of NARROW elements: y = exp(x - m) / sum(exp(x - m)), or its logarithm.

    The last row stands in for those that are missing.
    """
    T = x.dtype.type
    rows, cols = range(uint64(TILE)), range(uint64(x.shape[1]))
    tile = numba.carray(stack(TILE_BYTES), (TILE * NARROW,), x.dtype)
    e = numba.carray(stack(TILE_BYTES), (TILE * NARROW,), x.dtype)
    top = numba.carray(stack(COLUMN_BYTES), (TILE,), x.dtype)
    factor = numba.carray(stack(COLUMN_BYTES), (TILE,), x.dtype)
    shift = numba.carray(stack(COLUMN_BYTES), (TILE,), x.dtype)
    whole = numba.carray(stack(COLUMN_BYTES), (TILE,), x.dtype)
    rest = numba.carray(stack(COLUMN_BYTES), (TILE,), x.dtype)
    total = numba.carray(stack(COLUMN_BYTES), (TILE,), float64)
    for i in rows:
        row = uint64(min(first + i, last - 1))
        for j in cols:
            tile[j * uint64(TILE) + i] = x[row, j]
    for i in rows:
        top[i] = T(-inf)
        total[i] = 0.0
    for j in cols:
        for i in rows:
            value = tile[j * uint64(TILE) + i]
            top[i] = value if value > top[i] else top[i]
    for i in rows:
        shift[i], whole[i], rest[i] = elementary.row_scale(top[i])
    scale = T(0)
    for j in cols:
        for i in rows:
            value = tile[j * uint64(TILE) + i]
            value, scale = elementary.exp_below(value, top[i], shift[i], whole[i], rest[i])
            e[j * uint64(TILE) + i] = value
            total[i] += value
    if logarithm:
        for i in rows:
            factor[i] = T(elementary.log(total[i] * scale))
        for j in cols:
            for i in rows:
                e[j * uint64(TILE) + i] = (tile[j * uint64(TILE) + i] - top[i]) - factor[i]
    else:
        for i in rows:
            factor[i] = T(1.0 / total[i])
        for j in cols:
            for i in rows:
                e[j * uint64(TILE) + i] *= factor[i]
    for i in range(uint64(last - first)):
        for j in cols:
            y[uint64(first) + i, j] = e[j * uint64(TILE) + i]


@inlined
def _in_tiles(x, y, start, stop, logarithm):
    """Softmax of these rows, or its logarithm, if tiles pay; whether they do, which depends on the shape alone."""
    if x.shape[0] < FEW or x.shape[1] > NARROW:
        return False
    for first in range(start, stop, TILE):
        _tile_rows(x, y, first, min(first + TILE, stop), logarithm)
    return True


@kernel
def softmax(x, y, part, parts):
    """x (o,r) -> y (o,r) = exp(x - m) / sum(exp(x - m)), m the row's largest element."""
    if x.shape[1] == 0:
        return
    start, stop = share_rows(x.shape[0], part, parts)
    if _in_tiles(x, y, start, stop, False):
        return
    for i in range(start, stop):
        total, scale = exponentials(x, i, row_maximum(x, i), y)
        factor = x.dtype.type(scale / total)
        for j in range(x.shape[1]):
            y[i, j] *= factor


@kernel
def softmax_backward(dy, y, dx, part, parts):
    """dx (o,r) = y (dy - sum(dy y))"""
    start, stop = share_rows(dy.shape[0], part, parts)
    for i in range(start, stop):
        mean = _row_product(dy, y, i)
        for j in range(dy.shape[1]):
            dx[i, j] = y[i, j] * (dy[i, j] - mean)


@kernel
def log_softmax(x, y, part, parts):
    """x (o,r) -> y (o,r) = x - m - log(sum(exp(x - m))), m the row's largest element."""
    if x.shape[1] == 0:
        return
    start, stop = share_rows(x.shape[0], part, parts)
    if _in_tiles(x, y, start, stop, True):
        return
    for i in range(start, stop):
        largest = row_maximum(x, i)
        shift = x.dtype.type(elementary.log(exponentials(x, i, largest, x[:0])[0]))
        for j in range(x.shape[1]):
            y[i, j] = (x[i, j] - largest) - shift


@kernel
def log_softmax_backward(dy, y, dx, part, parts):
    """dx (o,r) = dy - exp(y) sum(dy)"""
    start, stop = share_rows(dy.shape[0], part, parts)
    for i in range(start, stop):
        total = row_sum(dy, i)
        for j in range(dy.shape[1]):
            dx[i, j] = dy[i, j] - elementary.exp(y[i, j]) * total
