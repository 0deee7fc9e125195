"""Elementwise primitives, and the strided copy behind transposes and broadcasts."""

from __future__ import annotations

import math

from fastnn.kernels.numba_cpu import elementary
from fastnn.kernels.numba_cpu.common import kernel, share, share_rows


@kernel
def add(a, b, y, part, parts):
    start, stop = share(y.size, part, parts)
    for i in range(start, stop):
        y[i] = a[i] + b[i]


@kernel
def subtract(a, b, y, part, parts):
    start, stop = share(y.size, part, parts)
    for i in range(start, stop):
        y[i] = a[i] - b[i]


@kernel
def multiply(a, b, y, part, parts):
    start, stop = share(y.size, part, parts)
    for i in range(start, stop):
        y[i] = a[i] * b[i]


@kernel
def divide(a, b, y, part, parts):
    start, stop = share(y.size, part, parts)
    for i in range(start, stop):
        y[i] = a[i] / b[i]


@kernel
def maximum(a, b, y, part, parts):
    """The larger of two; NaN where either is NaN."""
    start, stop = share(y.size, part, parts)
    for i in range(start, stop):
        y[i] = a[i] if a[i] >= b[i] or a[i] != a[i] else b[i]


@kernel
def maximum_backward(dy, a, b, da, db, part, parts):
    """The gradient goes to the larger input; equal inputs share it."""
    T = dy.dtype.type
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        fraction = T(1) if a[i] > b[i] else (T(0.5) if a[i] == b[i] else T(0))
        da[i] = dy[i] * fraction
        db[i] = dy[i] * (T(1) - fraction)


@kernel
def prelu(x, slope, y, part, parts):
    """x, or slope x where x is not positive."""
    start, stop = share(y.size, part, parts)
    for i in range(start, stop):
        y[i] = x[i] if x[i] > 0 else x[i] * slope[i]


@kernel
def prelu_backward(dy, x, slope, dx, dslope, part, parts):
    T = dy.dtype.type
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        dx[i] = dy[i] if x[i] > 0 else dy[i] * slope[i]
        dslope[i] = T(0) if x[i] > 0 else dy[i] * x[i]


@kernel
def power(a, b, y, part, parts):
    start, stop = share(y.size, part, parts)
    for i in range(start, stop):
        y[i] = math.pow(a[i], b[i])


@kernel
def affine(x, y, scale, shift, part, parts):
    """y = scale x + shift"""
    T = x.dtype.type
    factor, offset = T(scale), T(shift)
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = x[i] * factor + offset


@kernel
def exp(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = elementary.exp(x[i])


@kernel
def log(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = elementary.log(x[i])


@kernel
def sin(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = math.sin(x[i])


@kernel
def cos(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = math.cos(x[i])


@kernel
def sqrt(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = math.sqrt(x[i])


@kernel
def copy(x, y, shape, strides, part, parts):
    """y[i0, ..., i7] = x[i0*s0 + ... + i7*s7], row by row along the last dimension."""
    cols, rows = int(shape[7]), int(shape[6])
    col_step, row_step = int(strides[7]), int(strides[6])
    if y.size == 0:
        return
    start, stop = share_rows(y.size // cols, part, parts)
    row = start
    while row < stop:
        # The planes' number gives the index along each dimension before the last two.
        plane = row // rows
        offset = 0
        for d in range(5, -1, -1):
            size = int(shape[d])
            offset += plane % size * int(strides[d])
            plane //= size
        first = row % rows
        last = min(rows, first + stop - row)
        for i in range(first, last):
            source = offset + i * row_step
            target = (row + i - first) * cols
            for j in range(cols):
                y[target + j] = x[source + j * col_step]
        row += last - first


KERNELS = {
    "add": add, "subtract": subtract, "multiply": multiply, "divide": divide, "maximum": maximum,
    "maximum_backward": maximum_backward, "prelu": prelu, "prelu_backward": prelu_backward, "power": power,
    "affine": affine, "exp": exp, "log": log, "sin": sin, "cos": cos, "sqrt": sqrt, "copy": copy,
}  # fmt: skip
WORKSPACE = {}
