"""Elementwise arithmetic, exp, log, sin, cos, power, and the strided copy: a thread for each of its elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.kernels.numba_cuda import scalar, shim
from fastnn.kernels.numba_cuda.groups import added, blocks_for, larger
from fastnn.kernels.numba_cuda.shim import cuda, inlined
from fastnn.kernels.numba_cuda.sizes import BLOCK
from fastnn.kernels.numba_cuda.vectors import elementwise


@inlined
def subtract(a, b):
    return a - b


@inlined
def multiply(a, b):
    return a * b


@inlined
def divide(a, b):
    return a / b


@inlined
def maximum_backward(dy, a, b):
    """The gradient goes to the larger input; equal inputs share it."""
    T = type(dy)
    fraction = T(1) if a > b else (T(0.5) if a == b else T(0))
    return dy * fraction, dy * (T(1) - fraction)


@inlined
def prelu(x, slope):
    """x, or slope x where x is not positive."""
    return x if x > type(x)(0) else x * slope


@inlined
def prelu_backward(dy, x, slope):
    T = type(dy)
    return dy if x > T(0) else dy * slope, T(0) if x > T(0) else dy * x


@inlined
def affine(x, scale, shift):
    return x * scale + shift


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


KERNELS = elementwise({
    "add": added, "subtract": subtract, "multiply": multiply, "divide": divide, "maximum": larger,
    "maximum_backward": maximum_backward, "prelu": prelu, "prelu_backward": prelu_backward, "power": scalar.power,
    "affine": affine, "exp": shim.exp, "log": shim.log, "sin": shim.sin, "cos": shim.cos, "sqrt": shim.sqrt,
}) | {"copy": launch_copy}  # fmt: skip
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {}
