"""Activations and their gradients, element by element; softmax and log_softmax, a group of threads for each row."""

from __future__ import annotations

from collections.abc import Callable

from numpy import float64, inf

from fastnn.kernels.numba_cuda import scalar, shim
from fastnn.kernels.numba_cuda.groups import group_max, group_sum, larger, rows
from fastnn.kernels.numba_cuda.shim import cuda, inlined
from fastnn.kernels.numba_cuda.vectors import elementwise


@inlined
def linear(x):
    return x


@inlined
def linear_backward(dy, y):
    return dy


@cuda.jit(device=True)
def row_maximum(x, row, lane, lanes):
    """Largest element of a row of x (o,r), NaN if there is one, in all threads of a group; of no row where row >= o."""
    T = x.dtype.type
    largest = T(-inf)
    if row < x.shape[0]:
        for j in range(lane, x.shape[1], lanes):
            largest = larger(largest, x[row, j])
    return T(group_max(float64(largest), lanes))


@cuda.jit
def softmax(x, y, lanes):
    """x (o,r) -> y (o,r) = exp(x - m) / sum(exp(x - m)), m the row's largest element."""
    T = x.dtype.type
    row, lane = cuda.grid(1) // lanes, cuda.threadIdx.x & (lanes - 1)
    largest = row_maximum(x, row, lane, lanes)
    total = 0.0
    if row < x.shape[0]:
        for j in range(lane, x.shape[1], lanes):
            e = scalar.exp_difference(x[row, j], largest)
            y[row, j] = e
            total += float64(e)
    total = group_sum(total, lanes)
    if row < x.shape[0]:
        factor = T(1.0 / total)
        for j in range(lane, x.shape[1], lanes):
            y[row, j] *= factor


@cuda.jit
def softmax_backward(dy, y, dx, lanes):
    """dx (o,r) = y (dy - sum(dy y))"""
    T = dy.dtype.type
    row, lane = cuda.grid(1) // lanes, cuda.threadIdx.x & (lanes - 1)
    mean = 0.0
    if row < dy.shape[0]:
        for j in range(lane, dy.shape[1], lanes):
            mean += float64(dy[row, j]) * float64(y[row, j])
    mean = group_sum(mean, lanes)
    if row < dy.shape[0]:
        for j in range(lane, dy.shape[1], lanes):
            dx[row, j] = y[row, j] * T(float64(dy[row, j]) - mean)


@cuda.jit
def log_softmax(x, y, lanes):
    """x (o,r) -> y (o,r) = (x - m) - log(sum(exp(x - m))), m the row's largest element."""
    T = x.dtype.type
    row, lane = cuda.grid(1) // lanes, cuda.threadIdx.x & (lanes - 1)
    largest = row_maximum(x, row, lane, lanes)
    total = 0.0
    if row < x.shape[0]:
        for j in range(lane, x.shape[1], lanes):
            total += float64(scalar.exp_difference(x[row, j], largest))
    total = group_sum(total, lanes)
    if row < x.shape[0]:
        # One of the terms is 1: what the others add to it keeps all its digits.
        shift = shim.log1p(T(total - 1.0))
        for j in range(lane, x.shape[1], lanes):
            y[row, j] = (x[row, j] - largest) - shift


@cuda.jit
def log_softmax_backward(dy, y, dx, lanes):
    """dx (o,r) = dy - exp(y) sum(dy)"""
    T = dy.dtype.type
    row, lane = cuda.grid(1) // lanes, cuda.threadIdx.x & (lanes - 1)
    total = 0.0
    if row < dy.shape[0]:
        for j in range(lane, dy.shape[1], lanes):
            total += float64(dy[row, j])
    total = group_sum(total, lanes)
    if row < dy.shape[0]:
        for j in range(lane, dy.shape[1], lanes):
            dx[row, j] = T(float64(dy[row, j]) - float64(shim.exp(y[row, j])) * total)


KERNELS = elementwise({
    "linear": linear, "linear_backward": linear_backward, "relu": scalar.relu, "relu_backward": scalar.relu_backward,
    "leaky_relu": scalar.leaky_relu, "leaky_relu_backward": scalar.leaky_relu_backward, "elu": scalar.elu,
    "elu_backward": scalar.elu_backward, "gelu": scalar.gelu, "gelu_backward": scalar.gelu_backward,
    "gelu_tanh": scalar.gelu_tanh, "gelu_tanh_backward": scalar.gelu_tanh_backward, "silu": scalar.silu,
    "silu_backward": scalar.silu_backward, "sigmoid": scalar.sigmoid, "sigmoid_backward": scalar.sigmoid_backward,
    "tanh": shim.tanh, "tanh_backward": scalar.tanh_backward, "softplus": scalar.softplus,
    "softplus_backward": scalar.softplus_backward, "selu": scalar.selu, "selu_backward": scalar.selu_backward,
    "softsign": scalar.softsign, "softsign_backward": scalar.softsign_backward, "hard_sigmoid": scalar.hard_sigmoid,
    "hard_sigmoid_backward": scalar.hard_sigmoid_backward, "hard_swish": scalar.hard_swish,
    "hard_swish_backward": scalar.hard_swish_backward, "mish": scalar.mish, "mish_backward": scalar.mish_backward,
}) | {
    "softmax": rows(softmax), "softmax_backward": rows(softmax_backward),
    "log_softmax": rows(log_softmax), "log_softmax_backward": rows(log_softmax_backward),
}  # fmt: skip
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {}
