"""Matrix products: matmul, dense and its gradients, bias_add. The scheme and its sizes are explained in gemm.py."""

from __future__ import annotations

from numpy import uint64

from fastnn.kernels.numba_cpu.activations import activate, activate_backward
from fastnn.kernels.numba_cpu.common import kernel, share_rows
from fastnn.kernels.numba_cpu.gemm import (
    Product,
    block_height,
    flat,
    multiply,
    multiply_block,
    own_share,
    panels_of,
    scratch_bytes,
)
from fastnn.kernels.numba_cpu.reductions import column_sum


@kernel
def matmul(a, b, y, workspace, transpose_a, transpose_b, accumulate, precision, phase, part, parts):
    """a (m,k), b (k,n) -> y (m,n); a and b stored transposed on request, y added to on request."""
    m, n = y.shape
    k = a.shape[0] if transpose_a else a.shape[1]
    if phase == 0:
        p = Product(
            m, n, k, flat(a), transpose_a != 0, flat(b), transpose_b != 0, flat(y), accumulate != 0, workspace, 0
        )  # fmt: skip
        multiply(p, part, parts)


@kernel
def bias_add(x, bias, y, part, parts):
    """x (b,o), bias (o) -> y (b,o)"""
    start, stop = share_rows(x.shape[0], part, parts)
    for i in range(start, stop):
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] + bias[j]


@kernel
def dense(x, w, bias, y, pre, workspace, activation, alpha, precision, phase, part, parts):
    """x (b,i), w (i,o), bias (o)? -> y (b,o), pre (b,o)?; bias and activation while a block of y is in the cache."""
    if phase > 0:
        return
    m, n = y.shape
    elements = flat(y)
    p = Product(m, n, x.shape[1], flat(x), False, flat(w), False, elements, False, workspace, 0)
    row0, row1, panel0, panel1 = own_share(p, part, parts)
    _, width, _ = panels_of(p)
    col0, col1 = panel0 * width, min(panel1 * width, n)
    height = block_height(row1 - row0)
    for first in range(row0, row1, height):
        last = min(first + height, row1)
        multiply_block(p, first, last - first, panel0, panel1, part)
        for i in range(first, last):
            if bias.size > 0:
                for j in range(uint64(col0), uint64(col1)):
                    y[i, j] += bias[j]
            if pre.size > 0:
                for j in range(uint64(col0), uint64(col1)):
                    pre[i, j] = y[i, j]
            if col1 - col0 < n:
                activate(activation, alpha, elements[i * n + col0 : i * n + col1])
        if col1 - col0 == n:
            activate(activation, alpha, elements[first * n : last * n])


@kernel
def dense_backward(dy, x, w, saved, dx, dw, dbias, workspace, activation, alpha, precision, phase, part, parts):
    """dy (b,o), x (b,i), w (i,o), saved (b,o)? -> dx (b,i)?, dw (i,o), dbias (o)?

    dz = dy * activation'(saved); dw = x' dz; dbias = column sums of dz; dx = dz w'.
    """
    b, o = dy.shape
    i = w.shape[0]
    dz = flat(dy)
    if saved.size > 0:
        dz = workspace[: b * o]
    if phase == 0:
        if saved.size > 0:
            activate_backward(activation, alpha, flat(dy), flat(saved), dz, part, parts)
    elif phase == 1:
        sums = (b * o + 15) // 16 * 16
        scratch = sums + (2 * o + 15) // 16 * 16  # float64, whatever the dtype
        multiply(Product(i, o, b, flat(x), True, dz, False, flat(dw), False, workspace, scratch), part, parts)
        if dx.size > 0:
            multiply(Product(b, i, o, dz, False, flat(w), True, flat(dx), False, workspace, scratch), part, parts)
        if dbias.size > 0:
            column_sum(dz.reshape(b, o), dbias, workspace[sums:], part, parts)


def _product_workspace(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    return scratch_bytes(itemsize, parts)


def _dense_backward_workspace(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    b, o = dims["b"], dims["o"]
    return ((b * o + 15) // 16 * 16 + (2 * o + 15) // 16 * 16) * itemsize + scratch_bytes(itemsize, parts)


KERNELS = {"matmul": matmul, "bias_add": bias_add, "dense": dense, "dense_backward": dense_backward}
WORKSPACE = {"matmul": _product_workspace, "dense": _product_workspace, "dense_backward": _dense_backward_workspace}
