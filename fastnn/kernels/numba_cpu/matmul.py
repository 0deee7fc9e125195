"""Matrix products: matmul, dense and its gradients, bias_add. The scheme and its sizes are explained in gemm.py."""

from __future__ import annotations

from numpy import uint64

from fastnn.kernels.numba_cpu.activations import activate, activate_backward
from fastnn.kernels.numba_cpu.common import kernel, share_rows
from fastnn.kernels.numba_cpu.gemm import (
    BLOCK_ROWS,
    Product,
    multiply,
    multiply_block,
    own_share,
    pack_b,
    panels_bytes,
    panels_of,
    panels_size,
    scratch_bytes,
)
from fastnn.kernels.numba_cpu.reductions import column_sum


@kernel
def matmul(a, b, y, workspace, transpose_a, transpose_b, accumulate, precision, phase, part, parts):
    """a (m,k), b (k,n) -> y (m,n); a and b stored transposed on request, y added to on request."""
    m, n = y.shape
    k = a.shape[0] if transpose_a else a.shape[1]
    p = Product(
        m, n, k, a.ravel(), transpose_a != 0, b.ravel(), transpose_b != 0, y.ravel(), accumulate != 0,
        workspace, 0, panels_size(k, n, b),
    )  # fmt: skip
    if phase == 0:
        pack_b(p, part, parts)
    else:
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
    m, n = y.shape
    k = x.shape[1]
    flat = y.ravel()
    p = Product(
        m, n, k, x.ravel(), False, w.ravel(), False, flat, False, workspace, 0, panels_size(k, n, w)
    )  # fmt: skip
    if phase == 0:
        pack_b(p, part, parts)
        return
    row0, row1, panel0, panel1 = own_share(p, part, parts)
    width, _ = panels_of(n, w)
    col0, col1 = panel0 * width, min(panel1 * width, n)
    for first in range(row0, row1, BLOCK_ROWS):
        last = min(first + BLOCK_ROWS, row1)
        multiply_block(p, first, last - first, panel0, panel1, part)
        for i in range(first, last):
            if bias.size > 0:
                for j in range(uint64(col0), uint64(col1)):
                    y[i, j] += bias[j]
            if pre.size > 0:
                for j in range(uint64(col0), uint64(col1)):
                    pre[i, j] = y[i, j]
            if col1 - col0 < n:
                activate(activation, alpha, flat[i * n + col0 : i * n + col1])
        if col1 - col0 == n:
            activate(activation, alpha, flat[first * n : last * n])


@kernel
def dense_backward(dy, x, w, saved, dx, dw, dbias, workspace, activation, alpha, precision, phase, part, parts):
    """dy (b,o), x (b,i), w (i,o), saved (b,o)? -> dx (b,i)?, dw (i,o), dbias (o)?

    dz = dy * activation'(saved); dw = x' dz; dbias = column sums of dz; dx = dz w'.
    """
    b, o = dy.shape
    i = w.shape[0]
    flat = dy.ravel()
    for_w = 0
    dz = flat
    if saved.size > 0:
        for_w = (b * o + 15) // 16 * 16
        dz = workspace[: b * o]
    if phase == 0:
        if saved.size > 0:
            activate_backward(activation, alpha, flat, saved.ravel(), dz, part, parts)
        return
    for_x = for_w + panels_size(b, o, dz)
    scratch = for_x + panels_size(o, i, dz)
    product_w = Product(
        i, o, b, x.ravel(), True, dz, False, dw.ravel(), False, workspace, for_w, scratch
    )  # fmt: skip
    product_x = Product(
        b, i, o, dz, False, w.ravel(), True, dx.ravel(), False, workspace, for_x, scratch
    )  # fmt: skip
    if phase == 1:
        pack_b(product_w, part, parts)
        if dx.size > 0:
            pack_b(product_x, part, parts)
        if dbias.size > 0:
            column_sum(dz.reshape(b, o), dbias, workspace[scratch:], part, parts)
    else:
        multiply(product_w, part, parts)
        if dx.size > 0:
            multiply(product_x, part, parts)


def _matmul_workspace(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    return panels_bytes(dims["k"], dims["n"], itemsize) + scratch_bytes(itemsize, parts)


def _dense_workspace(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    return panels_bytes(dims["i"], dims["o"], itemsize) + scratch_bytes(itemsize, parts)


def _dense_backward_workspace(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    b, i, o = dims["b"], dims["i"], dims["o"]
    dz = (b * o + 15) // 16 * 16 * itemsize
    scratch = max(scratch_bytes(itemsize, parts), 8 * o)
    return dz + panels_bytes(b, o, itemsize) + panels_bytes(o, i, itemsize) + scratch


KERNELS = {"matmul": matmul, "bias_add": bias_add, "dense": dense, "dense_backward": dense_backward}
WORKSPACE = {"matmul": _matmul_workspace, "dense": _dense_workspace, "dense_backward": _dense_backward_workspace}
