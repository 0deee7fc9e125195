"""Activations and their gradients, one thread for each element; softmax and log_softmax, a group for each row."""

from __future__ import annotations

from collections.abc import Callable

from numpy import float64, inf

from fastnn.kernels.numba_cuda import scalar, shim
from fastnn.kernels.numba_cuda.groups import elements, group_max, group_sum, larger, rows
from fastnn.kernels.numba_cuda.shim import cuda


@cuda.jit
def linear(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[i]


@cuda.jit
def linear_backward(dy, y, dx):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = dy[i]


@cuda.jit
def relu(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = scalar.relu(x[i])


@cuda.jit
def relu_backward(dy, y, dx):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = scalar.relu_backward(dy[i], y[i])


@cuda.jit
def leaky_relu(x, y, alpha):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = scalar.leaky_relu(x[i], alpha)


@cuda.jit
def leaky_relu_backward(dy, y, dx, alpha):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = scalar.leaky_relu_backward(dy[i], y[i], alpha)


@cuda.jit
def elu(x, y, alpha):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = scalar.elu(x[i], alpha)


@cuda.jit
def elu_backward(dy, y, dx, alpha):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = scalar.elu_backward(dy[i], y[i], alpha)


@cuda.jit
def gelu(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = scalar.gelu(x[i])


@cuda.jit
def gelu_backward(dy, x, dx):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = scalar.gelu_backward(dy[i], x[i])


@cuda.jit
def gelu_tanh(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = scalar.gelu_tanh(x[i])


@cuda.jit
def gelu_tanh_backward(dy, x, dx):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = scalar.gelu_tanh_backward(dy[i], x[i])


@cuda.jit
def silu(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = scalar.silu(x[i])


@cuda.jit
def silu_backward(dy, x, dx):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = scalar.silu_backward(dy[i], x[i])


@cuda.jit
def sigmoid(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = scalar.sigmoid(x[i])


@cuda.jit
def sigmoid_backward(dy, y, dx):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = scalar.sigmoid_backward(dy[i], y[i])


@cuda.jit
def tanh(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = shim.tanh(x[i])


@cuda.jit
def tanh_backward(dy, y, dx):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = scalar.tanh_backward(dy[i], y[i])


@cuda.jit
def softplus(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = scalar.softplus(x[i])


@cuda.jit
def softplus_backward(dy, y, dx):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = scalar.softplus_backward(dy[i], y[i])


@cuda.jit
def selu(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = scalar.selu(x[i])


@cuda.jit
def selu_backward(dy, y, dx):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = scalar.selu_backward(dy[i], y[i])


@cuda.jit
def softsign(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = scalar.softsign(x[i])


@cuda.jit
def softsign_backward(dy, x, dx):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = scalar.softsign_backward(dy[i], x[i])


@cuda.jit
def hard_sigmoid(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = scalar.hard_sigmoid(x[i])


@cuda.jit
def hard_sigmoid_backward(dy, y, dx):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = scalar.hard_sigmoid_backward(dy[i], y[i])


@cuda.jit
def hard_swish(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = scalar.hard_swish(x[i])


@cuda.jit
def hard_swish_backward(dy, x, dx):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = scalar.hard_swish_backward(dy[i], x[i])


@cuda.jit
def mish(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = scalar.mish(x[i])


@cuda.jit
def mish_backward(dy, x, dx):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = scalar.mish_backward(dy[i], x[i])


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


KERNELS = {
    "linear": elements(linear), "linear_backward": elements(linear_backward), "relu": elements(relu),
    "relu_backward": elements(relu_backward), "leaky_relu": elements(leaky_relu),
    "leaky_relu_backward": elements(leaky_relu_backward), "elu": elements(elu), "elu_backward": elements(elu_backward),
    "gelu": elements(gelu), "gelu_backward": elements(gelu_backward), "gelu_tanh": elements(gelu_tanh),
    "gelu_tanh_backward": elements(gelu_tanh_backward), "silu": elements(silu),
    "silu_backward": elements(silu_backward), "sigmoid": elements(sigmoid),
    "sigmoid_backward": elements(sigmoid_backward), "tanh": elements(tanh), "tanh_backward": elements(tanh_backward),
    "softplus": elements(softplus), "softplus_backward": elements(softplus_backward), "selu": elements(selu),
    "selu_backward": elements(selu_backward), "softsign": elements(softsign),
    "softsign_backward": elements(softsign_backward), "hard_sigmoid": elements(hard_sigmoid),
    "hard_sigmoid_backward": elements(hard_sigmoid_backward), "hard_swish": elements(hard_swish),
    "hard_swish_backward": elements(hard_swish_backward), "mish": elements(mish),
    "mish_backward": elements(mish_backward), "softmax": rows(softmax), "softmax_backward": rows(softmax_backward),
    "log_softmax": rows(log_softmax), "log_softmax_backward": rows(log_softmax_backward),
}  # fmt: skip
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {}
