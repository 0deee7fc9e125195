"""Losses with their gradients. The loss is the mean of the elements' losses (of the rows', for classes), each row's
multiplied by its weight.

Two launches: each block writes the sum of its losses into the workspace, then these are added up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy import float64, nan

from fastnn.kernels.numba_cuda import errors, scalar, shim
from fastnn.kernels.numba_cuda.activations import row_maximum
from fastnn.kernels.numba_cuda.groups import blocks_for, group_sum, lanes_for
from fastnn.kernels.numba_cuda.reductions import chunks_of, launch_totals
from fastnn.kernels.numba_cuda.shim import cuda
from fastnn.kernels.numba_cuda.sizes import BLOCK, CHUNK


@cuda.jit(device=True)
def target(targets, labels, i, j, smoothing, c):
    """Smoothed target j of row i: of distributions (b,c), or of labels (b) where there are none."""
    t = float64(targets[i, j]) if targets.size > 0 else (1.0 if labels[i] == j else 0.0)
    return t * (1.0 - smoothing) + smoothing / c


@cuda.jit(device=True)
def row_weight(weight, labels, i, c):
    """Weight of row i, 1 where there are none; NaN if its label is no class.

    So are then the loss and the row's gradient: to look at labels on the device before the launch would wait for them.
    """
    if labels.size > 0 and not 0 <= labels[i] < c:
        return nan
    return float64(weight[i]) if weight.size > 0 else 1.0


@cuda.jit
def elementwise_loss(y_pred, targets, labels, weight, grad, partial, kind, delta, smoothing, scale):
    """y_pred (b,c), weight (b)? -> grad (b,c)?, partial[i] = sum over elements from CHUNK * i on.

    Targets are (b,c), or labels (b), the other one is empty. Gradients are multiplied by `scale`.
    """
    b, c = y_pred.shape
    start = cuda.blockIdx.x * CHUNK
    total = 0.0
    for e in range(start + cuda.threadIdx.x, min(start + CHUNK, b * c), BLOCK):
        i, j = e // c, e % c
        t = target(targets, labels, i, j, smoothing, c)
        value, slope = errors.error(kind, y_pred[i, j], t, delta)
        w = row_weight(weight, labels, i, c)
        total += w * value
        if grad.size > 0:
            grad[i, j] = slope * w * scale
    total = group_sum(total, BLOCK)
    if cuda.threadIdx.x == 0:
        partial[cuda.blockIdx.x] = total


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
            e = float64(scalar.exp_difference(x, largest))
            total += e
            product += errors.times_log(t, e, float64(x) - float64(largest))
            mass += t
    total = group_sum(total, lanes)
    product = group_sum(product, lanes)
    mass = group_sum(mass, lanes)
    loss = 0.0
    if row < b:
        w = row_weight(weight, labels, row, c)
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


def _targets(y_pred: Any, targets: Any) -> tuple[Any, Any]:
    """Distributions (b,c) and labels (b), of which one is absent."""
    if targets.ndim == 1:
        return shim.absent(y_pred.dtype.name, 2), targets
    return targets, shim.absent("int64", 1)


def elementwise(kind: int | Callable[[dict], int], rows: bool = False) -> Callable[..., None]:
    """Launcher of a loss whose gradient looks at one element; the mean is over all elements, or over `rows`.

    The kind of loss may depend on the parameters.
    """

    def launcher(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
        y_pred, targets, weight, loss, grad = arrays
        count = dims["b"] * dims["c"]
        chunks, scale = chunks_of(count, CHUNK), 1 / (dims["b"] if rows else count)
        code = kind(params) if callable(kind) else kind
        numbers = float(params.get("delta", 0.0)), float(params.get("label_smoothing", 0.0)), scale
        given = y_pred, *_targets(y_pred, targets), weight, grad, workspace
        launch(elementwise_loss, chunks, BLOCK, *given, code, *numbers)
        launch_totals(launch, workspace, loss, chunks, scale)

    return launcher


def launch_cross_entropy(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    y_pred, targets, weight, loss, grad = arrays
    lanes = lanes_for(dims["c"])
    blocks, smoothing = blocks_for(dims["b"] * lanes), float(params["label_smoothing"])
    given = y_pred, *_targets(y_pred, targets), weight, grad, workspace
    launch(cross_entropy, blocks, BLOCK, *given, smoothing, lanes)
    launch_totals(launch, workspace, loss, blocks, 1 / dims["b"])


def _elementwise_partials(dims: dict, params: dict, itemsize: int) -> int:
    return 8 * chunks_of(dims["b"] * dims["c"], CHUNK)


def _row_partials(dims: dict, params: dict, itemsize: int) -> int:
    return 8 * blocks_for(dims["b"] * lanes_for(dims["c"]))


KERNELS = {
    "mean_squared_error": elementwise(errors.SQUARED), "mean_absolute_error": elementwise(errors.ABSOLUTE),
    "huber": elementwise(errors.HUBER), "log_cosh": elementwise(errors.LOG_COSH),
    "hinge": elementwise(errors.HINGE), "squared_hinge": elementwise(errors.SQUARED_HINGE),
    "poisson": elementwise(lambda params: errors.POISSON if params["log_input"] else errors.POISSON_RATE),
    "binary_cross_entropy": elementwise(lambda params: errors.LOGISTIC if params["from_logits"] else errors.BINARY),
    "categorical_cross_entropy": elementwise(errors.CATEGORICAL, rows=True),
    "sparse_categorical_cross_entropy": elementwise(errors.CATEGORICAL, rows=True),
    "softmax_cross_entropy": launch_cross_entropy, "sparse_softmax_cross_entropy": launch_cross_entropy,
}  # fmt: skip
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {
    name: _row_partials if name.endswith("softmax_cross_entropy") else _elementwise_partials for name in KERNELS
}
