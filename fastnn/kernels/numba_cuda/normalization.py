"""Layer and batch normalisation with their gradients. Rules as in backends/reference.py.

A group of threads normalises a row, a block some columns. Statistics and differences from the mean are float64: in
float32 a mean far from 0 would swallow the spread around it. Fixed statistics are in the arrays' type already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy import float64

from fastnn.kernels.numba_cuda import shim
from fastnn.kernels.numba_cuda.groups import blocks_for, column_sum, columns_for, group_sum, lanes_for
from fastnn.kernels.numba_cuda.shim import cuda
from fastnn.kernels.numba_cuda.sizes import BLOCK


@cuda.jit(device=True)
def factor(gamma, j):
    """Element j of gamma (c), 1 where there is none."""
    return float64(gamma[j]) if gamma.size > 0 else 1.0


@cuda.jit(device=True)
def summand(beta, j):
    """Element j of beta (c), 0 where there is none."""
    return float64(beta[j]) if beta.size > 0 else 0.0


@cuda.jit
def layer_norm(x, gamma, beta, y, mean, rstd, epsilon, lanes):
    """x (b,c), gamma (c)?, beta (c)? -> y (b,c), mean (b)?, rstd (b)?"""
    b, c = x.shape
    row, lane = cuda.grid(1) // lanes, cuda.threadIdx.x & (lanes - 1)
    total = 0.0
    if row < b:
        for j in range(lane, c, lanes):
            total += float64(x[row, j])
    center = group_sum(total, lanes) / c
    total = 0.0
    if row < b:
        for j in range(lane, c, lanes):
            d = float64(x[row, j]) - center
            total += d * d
    scale = 1.0 / shim.sqrt(group_sum(total, lanes) / c + epsilon)
    if row < b:
        for j in range(lane, c, lanes):
            y[row, j] = (float64(x[row, j]) - center) * scale * factor(gamma, j) + summand(beta, j)
        if lane == 0:
            if mean.size > 0:
                mean[row] = center
            if rstd.size > 0:
                rstd[row] = scale


@cuda.jit
def row_gradients(dy, x, gamma, mean, rstd, dx, lanes):
    """dx = rstd (g - average(g) - h average(g h)), g = dy gamma, h = (x - mean) rstd, of arrays (b,c)."""
    b, c = x.shape
    row, lane = cuda.grid(1) // lanes, cuda.threadIdx.x & (lanes - 1)
    total, product, m, r = 0.0, 0.0, 0.0, 0.0
    if row < b:
        m, r = float64(mean[row]), float64(rstd[row])
        for j in range(lane, c, lanes):
            g = float64(dy[row, j]) * factor(gamma, j)
            total += g
            product += g * ((float64(x[row, j]) - m) * r)
    average = group_sum(total, lanes) / c
    slope = group_sum(product, lanes) / c
    if row < b:
        for j in range(lane, c, lanes):
            g = float64(dy[row, j]) * factor(gamma, j)
            dx[row, j] = r * (g - average - (float64(x[row, j]) - m) * r * slope)


@cuda.jit
def column_gradients(dy, x, gamma, mean, rstd, dx, dgamma, dbeta, by_row, columns):
    """dgamma (c)? and dbeta (c)?, sums of dy h and dy, h = (x - mean) rstd, statistics of rows or of columns.

    With statistics of columns also dx (b,c)? = gamma rstd (dy - average(dy) - h average(dy h)).
    """
    b, c = x.shape
    me = cuda.threadIdx.x
    column = cuda.blockIdx.x * columns + me % columns
    total, product = 0.0, 0.0
    if column < c:
        for i in range(me // columns, b, BLOCK // columns):
            k = i if by_row else column
            g = float64(dy[i, column])
            total += g
            product += g * ((float64(x[i, column]) - float64(mean[k])) * float64(rstd[k]))
    total = column_sum(total, columns)
    product = column_sum(product, columns)
    if column < c:
        if me < columns and dgamma.size > 0:
            dgamma[column] = product
        if me < columns and dbeta.size > 0:
            dbeta[column] = total
        if dx.size > 0:
            m, r = float64(mean[column]), float64(rstd[column])
            scale = r * factor(gamma, column)
            for i in range(me // columns, b, BLOCK // columns):
                h = (float64(x[i, column]) - m) * r
                dx[i, column] = scale * (float64(dy[i, column]) - total / b - h * (product / b))


@cuda.jit
def batch_norm(x, gamma, beta, moving_mean, moving_variance, y, mean, rstd, momentum, epsilon, columns):
    """x (b,c), gamma (c)?, beta (c)?, moving_mean (c), moving_variance (c) -> y (b,c), mean (c)?, rstd (c)?"""
    b, c = x.shape
    me = cuda.threadIdx.x
    column = cuda.blockIdx.x * columns + me % columns
    total = 0.0
    if column < c:
        for i in range(me // columns, b, BLOCK // columns):
            total += float64(x[i, column])
    center = column_sum(total, columns) / b
    total = 0.0
    if column < c:
        for i in range(me // columns, b, BLOCK // columns):
            d = float64(x[i, column]) - center
            total += d * d
    variance = column_sum(total, columns) / b
    scale = 1.0 / shim.sqrt(variance + epsilon)
    if column < c:
        if me < columns:
            moving_mean[column] = momentum * float64(moving_mean[column]) + (1.0 - momentum) * center
            moving_variance[column] = momentum * float64(moving_variance[column]) + (1.0 - momentum) * variance
            if mean.size > 0:
                mean[column] = center
            if rstd.size > 0:
                rstd[column] = scale
        scale *= factor(gamma, column)
        for i in range(me // columns, b, BLOCK // columns):
            y[i, column] = (float64(x[i, column]) - center) * scale + summand(beta, column)


@cuda.jit
def batch_norm_inference(x, gamma, beta, moving_mean, moving_variance, y, epsilon):
    """x (b,c), gamma (c)?, beta (c)?, moving_mean (c), moving_variance (c) -> y (b,c), a thread for each element."""
    e, c = cuda.grid(1), x.shape[1]
    if e < x.size:
        i, j = e // c, e % c
        value = (x[i, j] - moving_mean[j]) / shim.sqrt(moving_variance[j] + epsilon)
        if gamma.size > 0:
            value *= gamma[j]
        if beta.size > 0:
            value += beta[j]
        y[i, j] = value


def launch_layer_norm(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    lanes = lanes_for(dims["c"])
    launch(layer_norm, blocks_for(dims["b"] * lanes), BLOCK, *arrays, float(params["epsilon"]), lanes)


def launch_layer_norm_backward(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    dy, x, gamma, mean, rstd, dx, dgamma, dbeta = arrays
    lanes = lanes_for(dims["c"])
    if dx.size > 0:
        launch(row_gradients, blocks_for(dims["b"] * lanes), BLOCK, dy, x, gamma, mean, rstd, dx, lanes)
    if dgamma.size > 0 or dbeta.size > 0:
        none = shim.absent(x.dtype.name, 2)
        columns = columns_for(dims["c"])
        blocks = -(-dims["c"] // columns)
        launch(column_gradients, blocks, BLOCK, dy, x, gamma, mean, rstd, none, dgamma, dbeta, True, columns)


def launch_batch_norm(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    columns = columns_for(dims["c"])
    numbers = float(params["momentum"]), float(params["epsilon"])
    launch(batch_norm, -(-dims["c"] // columns), BLOCK, *arrays, *numbers, columns)


def launch_batch_norm_backward(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    columns = columns_for(dims["c"])
    launch(column_gradients, -(-dims["c"] // columns), BLOCK, *arrays, False, columns)


def launch_inference(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    cast = arrays[0].dtype.type
    launch(batch_norm_inference, blocks_for(dims["b"] * dims["c"]), BLOCK, *arrays, cast(params["epsilon"]))


KERNELS = {
    "layer_norm": launch_layer_norm, "layer_norm_backward": launch_layer_norm_backward,
    "batch_norm": launch_batch_norm, "batch_norm_backward": launch_batch_norm_backward,
    "batch_norm_inference": launch_inference,
}  # fmt: skip
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {}
