"""Elementwise arithmetic, exp, log, sin, cos, power, and the strided copy: one thread for each element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.kernels.numba_cuda import scalar, shim
from fastnn.kernels.numba_cuda.groups import blocks_for, elements, larger
from fastnn.kernels.numba_cuda.shim import cuda
from fastnn.kernels.numba_cuda.sizes import BLOCK


@cuda.jit
def add(a, b, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = a[i] + b[i]


@cuda.jit
def subtract(a, b, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = a[i] - b[i]


@cuda.jit
def multiply(a, b, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = a[i] * b[i]


@cuda.jit
def divide(a, b, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = a[i] / b[i]


@cuda.jit
def maximum(a, b, y):
    """The larger of two; NaN where either is NaN."""
    i = cuda.grid(1)
    if i < y.size:
        y[i] = larger(a[i], b[i])


@cuda.jit
def maximum_backward(dy, a, b, da, db):
    """The gradient goes to the larger input; equal inputs share it."""
    T = dy.dtype.type
    i = cuda.grid(1)
    if i < dy.size:
        fraction = T(1) if a[i] > b[i] else (T(0.5) if a[i] == b[i] else T(0))
        da[i] = dy[i] * fraction
        db[i] = dy[i] * (T(1) - fraction)


@cuda.jit
def prelu(x, slope, y):
    """x, or slope x where x is not positive."""
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[i] if x[i] > x.dtype.type(0) else x[i] * slope[i]


@cuda.jit
def prelu_backward(dy, x, slope, dx, dslope):
    T = dy.dtype.type
    i = cuda.grid(1)
    if i < dy.size:
        dx[i] = dy[i] if x[i] > T(0) else dy[i] * slope[i]
        dslope[i] = T(0) if x[i] > T(0) else dy[i] * x[i]


@cuda.jit
def power(a, b, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = scalar.power(a[i], b[i])


@cuda.jit
def affine(x, y, scale, shift):
    """y = scale x + shift"""
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[i] * scale + shift


@cuda.jit
def exp(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = shim.exp(x[i])


@cuda.jit
def log(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = shim.log(x[i])


@cuda.jit
def sin(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = shim.sin(x[i])


@cuda.jit
def cos(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = shim.cos(x[i])


@cuda.jit
def sqrt(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = shim.sqrt(x[i])


@cuda.jit
def copy(x, y, shape, strides):
    """y[i0, i1, ...] = x[i0*s0 + i1*s1 + ...] for arrays given flat."""
    i = cuda.grid(1)
    if i < y.size:
        rest, source = i, 0
        for d in range(len(shape) - 1, -1, -1):
            source += rest % shape[d] * strides[d]
            rest //= shape[d]
        y[i] = x[source]


def collapsed(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The same elements in the same order with the fewest dimensions: each costs a 64-bit division an element.

    Dimensions of size 1 go, and two that can be walked through in one stride become one.
    """
    found: list[tuple[int, int]] = []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if found and found[-1][1] == stride * size:
            found[-1] = (found[-1][0] * size, stride)
        else:
            found.append((size, stride))
    found = found or [(1, 1)]
    return tuple(n for n, _ in found), tuple(s for _, s in found)


def launch_copy(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    x, y = arrays
    launch(copy, blocks_for(dims["m"]), BLOCK, x, y, *collapsed(params["shape"], params["strides"]))


KERNELS = {
    "add": elements(add), "subtract": elements(subtract), "multiply": elements(multiply), "divide": elements(divide),
    "maximum": elements(maximum), "maximum_backward": elements(maximum_backward),
    "prelu": elements(prelu), "prelu_backward": elements(prelu_backward), "power": elements(power),
    "affine": elements(affine), "exp": elements(exp), "log": elements(log), "sin": elements(sin),
    "cos": elements(cos), "sqrt": elements(sqrt), "copy": launch_copy,
}  # fmt: skip
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {}
