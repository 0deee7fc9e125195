"""Activations and their gradients; those over rows are in softmax.py."""

from __future__ import annotations

from fastnn.kernels.numba_cpu import scalar
from fastnn.kernels.numba_cpu.common import kernel, share
from fastnn.kernels.numba_cpu.softmax import log_softmax, log_softmax_backward, softmax, softmax_backward
from fastnn.table import ACTIVATIONS

(
    LINEAR, RELU, LEAKY_RELU, ELU, GELU, GELU_TANH, SILU, SIGMOID, TANH, SOFTPLUS,
    SELU, SOFTSIGN, HARD_SIGMOID, HARD_SWISH, MISH,
) = range(len(ACTIVATIONS))  # fmt: skip


@kernel
def linear(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = x[i]


@kernel
def linear_backward(dy, y, dx, part, parts):
    linear(dy, dx, part, parts)


@kernel
def relu(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = scalar.relu(x[i])


@kernel
def relu_backward(dy, y, dx, part, parts):
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        dx[i] = scalar.relu_backward(dy[i], y[i])


@kernel
def leaky_relu(x, y, alpha, part, parts):
    a = x.dtype.type(alpha)
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = scalar.leaky_relu(x[i], a)


@kernel
def leaky_relu_backward(dy, y, dx, alpha, part, parts):
    a = y.dtype.type(alpha)
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        dx[i] = scalar.leaky_relu_backward(dy[i], y[i], a)


@kernel
def elu(x, y, alpha, part, parts):
    a = x.dtype.type(alpha)
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = scalar.elu(x[i], a)


@kernel
def elu_backward(dy, y, dx, alpha, part, parts):
    a = y.dtype.type(alpha)
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        dx[i] = scalar.elu_backward(dy[i], y[i], a)


@kernel
def gelu(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = scalar.gelu(x[i])


@kernel
def gelu_backward(dy, x, dx, part, parts):
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        dx[i] = scalar.gelu_backward(dy[i], x[i])


@kernel
def gelu_tanh(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = scalar.gelu_tanh(x[i])


@kernel
def gelu_tanh_backward(dy, x, dx, part, parts):
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        dx[i] = scalar.gelu_tanh_backward(dy[i], x[i])


@kernel
def silu(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = scalar.silu(x[i])


@kernel
def silu_backward(dy, x, dx, part, parts):
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        dx[i] = scalar.silu_backward(dy[i], x[i])


@kernel
def sigmoid(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = scalar.sigmoid(x[i])


@kernel
def sigmoid_backward(dy, y, dx, part, parts):
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        dx[i] = scalar.sigmoid_backward(dy[i], y[i])


@kernel
def tanh(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = scalar.tanh(x[i])


@kernel
def tanh_backward(dy, y, dx, part, parts):
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        dx[i] = scalar.tanh_backward(dy[i], y[i])


@kernel
def softplus(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = scalar.softplus(x[i])


@kernel
def softplus_backward(dy, y, dx, part, parts):
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        dx[i] = scalar.softplus_backward(dy[i], y[i])


@kernel
def selu(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = scalar.selu(x[i])


@kernel
def selu_backward(dy, y, dx, part, parts):
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        dx[i] = scalar.selu_backward(dy[i], y[i])


@kernel
def softsign(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = scalar.softsign(x[i])


@kernel
def softsign_backward(dy, x, dx, part, parts):
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        dx[i] = scalar.softsign_backward(dy[i], x[i])


@kernel
def hard_sigmoid(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = scalar.hard_sigmoid(x[i])


@kernel
def hard_sigmoid_backward(dy, y, dx, part, parts):
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        dx[i] = scalar.hard_sigmoid_backward(dy[i], y[i])


@kernel
def hard_swish(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = scalar.hard_swish(x[i])


@kernel
def hard_swish_backward(dy, x, dx, part, parts):
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        dx[i] = scalar.hard_swish_backward(dy[i], x[i])


@kernel
def mish(x, y, part, parts):
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = scalar.mish(x[i])


@kernel
def mish_backward(dy, x, dx, part, parts):
    start, stop = share(dy.size, part, parts)
    for i in range(start, stop):
        dx[i] = scalar.mish_backward(dy[i], x[i])


@kernel
def activate(code, alpha, y):
    """y (n) = f(y) in place, for the activation with this position in table.ACTIVATIONS.

    The loops are written again for one array: those above, which are compiled for two, would find that the arrays
    overlap and take the elements one by one.
    """
    a = y.dtype.type(alpha)
    start, stop = share(y.size, 0, 1)
    if code == RELU:
        for i in range(start, stop):
            y[i] = scalar.relu(y[i])
    elif code == LEAKY_RELU:
        for i in range(start, stop):
            y[i] = scalar.leaky_relu(y[i], a)
    elif code == ELU:
        for i in range(start, stop):
            y[i] = scalar.elu(y[i], a)
    elif code == GELU:
        for i in range(start, stop):
            y[i] = scalar.gelu(y[i])
    elif code == GELU_TANH:
        for i in range(start, stop):
            y[i] = scalar.gelu_tanh(y[i])
    elif code == SILU:
        for i in range(start, stop):
            y[i] = scalar.silu(y[i])
    elif code == SIGMOID:
        for i in range(start, stop):
            y[i] = scalar.sigmoid(y[i])
    elif code == TANH:
        for i in range(start, stop):
            y[i] = scalar.tanh(y[i])
    elif code == SOFTPLUS:
        for i in range(start, stop):
            y[i] = scalar.softplus(y[i])
    elif code == SELU:
        for i in range(start, stop):
            y[i] = scalar.selu(y[i])
    elif code == SOFTSIGN:
        for i in range(start, stop):
            y[i] = scalar.softsign(y[i])
    elif code == HARD_SIGMOID:
        for i in range(start, stop):
            y[i] = scalar.hard_sigmoid(y[i])
    elif code == HARD_SWISH:
        for i in range(start, stop):
            y[i] = scalar.hard_swish(y[i])
    elif code == MISH:
        for i in range(start, stop):
            y[i] = scalar.mish(y[i])


@kernel
def activate_backward(code, alpha, dy, saved, dx, part, parts):
    """dx (n) = dy f'(saved), for the activation with this position in table.ACTIVATIONS."""
    if code == LINEAR:
        linear(dy, dx, part, parts)
    elif code == RELU:
        relu_backward(dy, saved, dx, part, parts)
    elif code == LEAKY_RELU:
        leaky_relu_backward(dy, saved, dx, alpha, part, parts)
    elif code == ELU:
        elu_backward(dy, saved, dx, alpha, part, parts)
    elif code == GELU:
        gelu_backward(dy, saved, dx, part, parts)
    elif code == GELU_TANH:
        gelu_tanh_backward(dy, saved, dx, part, parts)
    elif code == SILU:
        silu_backward(dy, saved, dx, part, parts)
    elif code == SIGMOID:
        sigmoid_backward(dy, saved, dx, part, parts)
    elif code == TANH:
        tanh_backward(dy, saved, dx, part, parts)
    elif code == SOFTPLUS:
        softplus_backward(dy, saved, dx, part, parts)
    elif code == SELU:
        selu_backward(dy, saved, dx, part, parts)
    elif code == SOFTSIGN:
        softsign_backward(dy, saved, dx, part, parts)
    elif code == HARD_SIGMOID:
        hard_sigmoid_backward(dy, saved, dx, part, parts)
    elif code == HARD_SWISH:
        hard_swish_backward(dy, saved, dx, part, parts)
    elif code == MISH:
        mish_backward(dy, saved, dx, part, parts)


KERNELS = {
    "linear": linear, "linear_backward": linear_backward, "relu": relu, "relu_backward": relu_backward,
    "leaky_relu": leaky_relu, "leaky_relu_backward": leaky_relu_backward, "elu": elu, "elu_backward": elu_backward,
    "gelu": gelu, "gelu_backward": gelu_backward, "gelu_tanh": gelu_tanh, "gelu_tanh_backward": gelu_tanh_backward,
    "silu": silu, "silu_backward": silu_backward, "sigmoid": sigmoid, "sigmoid_backward": sigmoid_backward,
    "tanh": tanh, "tanh_backward": tanh_backward, "softplus": softplus, "softplus_backward": softplus_backward,
    "selu": selu, "selu_backward": selu_backward, "softsign": softsign, "softsign_backward": softsign_backward,
    "hard_sigmoid": hard_sigmoid, "hard_sigmoid_backward": hard_sigmoid_backward, "hard_swish": hard_swish,
    "hard_swish_backward": hard_swish_backward, "mish": mish, "mish_backward": mish_backward, "softmax": softmax,
    "softmax_backward": softmax_backward, "log_softmax": log_softmax, "log_softmax_backward": log_softmax_backward,
}  # fmt: skip
WORKSPACE = {}
