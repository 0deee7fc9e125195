"""Losses with their gradients. The loss is the mean of the elements' losses (of the rows', for cross-entropy), each
row's multiplied by its weight.

Two launches: each block writes the sum of its losses into the workspace, then these are added up. Exponentials and
logarithms are taken in the arrays' type, of which neither loses anything by it; the rest is float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy import float64

from fastnn.kernels.numba_cuda import scalar, shim
from fastnn.kernels.numba_cuda.activations import row_maximum
from fastnn.kernels.numba_cuda.groups import blocks_for, group_sum, lanes_for
from fastnn.kernels.numba_cuda.reductions import chunks_of, launch_totals
from fastnn.kernels.numba_cuda.shim import cuda
from fastnn.kernels.numba_cuda.sizes import BLOCK, CHUNK

SQUARED, ABSOLUTE, HUBER, LOGISTIC = range(4)


@cuda.jit(device=True)
def squared_error(p, t):
    """(p - t)^2 and its slope."""
    e = float64(p) - float64(t)
    return e * e, 2.0 * e


@cuda.jit(device=True)
def absolute_error(p, t):
    """|p - t| and its slope, 0 at 0."""
    e = float64(p) - float64(t)
    return abs(e), (1.0 if e > 0.0 else -1.0) if e != 0.0 and e == e else e


@cuda.jit(device=True)
def huber_error(p, t, delta):
    """e^2 / 2 for |e| = |p - t| <= delta, else delta (|e| - delta / 2), and its slope (Huber 1964)."""
    e = float64(p) - float64(t)
    a = abs(e)
    return 0.5 * e * e if a <= delta else delta * (a - 0.5 * delta), scalar.clip(e, -delta, delta)


@cuda.jit(device=True)
def logistic_error(x, t):
    """max(x, 0) - x t + log(1 + exp(-|x|)) for a logit x, and its slope sigmoid(x) - t."""
    T = type(x)
    e = shim.exp(-abs(x))
    wide, target = float64(x), float64(t)
    value = (0.0 if wide < 0.0 else wide) - wide * target + float64(shim.log1p(e))
    tail = float64(e / (T(1) + e))
    return value, tail - target if wide < 0.0 else (1.0 - target) - tail


@cuda.jit(device=True)
def error(kind, p, t, delta):
    """The loss of one element and its slope."""
    if kind == SQUARED:
        return squared_error(p, t)
    if kind == ABSOLUTE:
        return absolute_error(p, t)
    if kind == HUBER:
        return huber_error(p, t, delta)
    return logistic_error(p, t)


@cuda.jit
def elementwise_loss(y_pred, y_true, weight, grad, partial, kind, delta):
    """y_pred (b,c), y_true (b,c), weight (b)? -> grad (b,c)?, partial[i] = sum over elements from CHUNK * i on."""
    b, c = y_pred.shape
    scale = 1.0 / (b * c)
    start = cuda.blockIdx.x * CHUNK
    total = 0.0
    for e in range(start + cuda.threadIdx.x, min(start + CHUNK, b * c), BLOCK):
        i, j = e // c, e % c
        value, slope = error(kind, y_pred[i, j], y_true[i, j], delta)
        w = float64(weight[i]) if weight.size > 0 else 1.0
        total += w * value
        if grad.size > 0:
            grad[i, j] = slope * w * scale
    total = group_sum(total, BLOCK)
    if cuda.threadIdx.x == 0:
        partial[cuda.blockIdx.x] = total


@cuda.jit(device=True)
def target(targets, labels, i, j, smoothing, c):
    """Smoothed target j of row i: of distributions (b,c), or of labels (b) where there are none."""
    t = float64(targets[i, j]) if targets.size > 0 else (1.0 if labels[i] == j else 0.0)
    return t * (1.0 - smoothing) + smoothing / c


@cuda.jit
def cross_entropy(y_pred, targets, labels, weight, grad, partial, smoothing, lanes):
    """-sum(t log softmax(x)) for logits x (b,c); the gradient is softmax(x) sum(t) - t. A group for each row.

    Targets t are distributions (b,c) or labels (b), the other one is empty. partial[i] is the sum over a block's rows.
    """
    T = y_pred.dtype.type
    b, c = y_pred.shape
    row, lane = cuda.grid(1) // lanes, cuda.threadIdx.x & (lanes - 1)
    largest = row_maximum(y_pred, row, lane, lanes)
    total, product, mass = 0.0, 0.0, 0.0
    if row < b:
        for j in range(lane, c, lanes):
            x = y_pred[row, j]
            t = target(targets, labels, row, j, smoothing, c)
            total += float64(scalar.exp_difference(x, largest))
            product += t * (float64(x) - float64(largest))
            mass += t
    total = group_sum(total, lanes)
    product = group_sum(product, lanes)
    mass = group_sum(mass, lanes)
    loss = 0.0
    if row < b:
        w = float64(weight[row]) if weight.size > 0 else 1.0
        if lane == 0:
            # One of the terms is 1: what the others add to it keeps all its digits.
            loss = w * (float64(shim.log1p(T(total - 1.0))) * mass - product)
        if grad.size > 0:
            factor, scale = mass / total, w / b
            for j in range(lane, c, lanes):
                e = float64(scalar.exp_difference(y_pred[row, j], largest))
                grad[row, j] = (e * factor - target(targets, labels, row, j, smoothing, c)) * scale
    loss = group_sum(loss, BLOCK)
    if cuda.threadIdx.x == 0:
        partial[cuda.blockIdx.x] = loss


def elementwise(kind: int) -> Callable[..., None]:
    """Launcher of a loss whose gradient looks at one element."""

    def launcher(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
        y_pred, y_true, weight, loss, grad = arrays
        count = dims["b"] * dims["c"]
        chunks, delta = chunks_of(count, CHUNK), float(params.get("delta", 0.0))
        launch(elementwise_loss, chunks, BLOCK, y_pred, y_true, weight, grad, workspace, kind, delta)
        launch_totals(launch, workspace, loss, chunks, 1 / count)

    return launcher


def launch_cross_entropy(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    y_pred, targets, weight, loss, grad = arrays
    labels = shim.absent("int64", 1)
    if targets.ndim == 1:
        targets, labels = shim.absent(y_pred.dtype.name, 2), targets
    lanes = lanes_for(dims["c"])
    blocks, smoothing = blocks_for(dims["b"] * lanes), float(params["label_smoothing"])
    launch(cross_entropy, blocks, BLOCK, y_pred, targets, labels, weight, grad, workspace, smoothing, lanes)
    launch_totals(launch, workspace, loss, blocks, 1 / dims["b"])


def _elementwise_partials(dims: dict, params: dict, itemsize: int) -> int:
    return 8 * chunks_of(dims["b"] * dims["c"], CHUNK)


def _row_partials(dims: dict, params: dict, itemsize: int) -> int:
    return 8 * blocks_for(dims["b"] * lanes_for(dims["c"]))


KERNELS = {
    "mean_squared_error": elementwise(SQUARED), "mean_absolute_error": elementwise(ABSOLUTE),
    "huber": elementwise(HUBER), "binary_cross_entropy": elementwise(LOGISTIC),
    "softmax_cross_entropy": launch_cross_entropy, "sparse_softmax_cross_entropy": launch_cross_entropy,
}  # fmt: skip
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {
    name: _row_partials if name.endswith("softmax_cross_entropy") else _elementwise_partials for name in KERNELS
}
