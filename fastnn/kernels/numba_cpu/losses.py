"""Losses with their gradients. The loss is the mean of the elements' losses (of the rows', for classes), each row's
multiplied by its weight. Internally float64.

Phase 0 writes sums of losses into the workspace, phase 1 adds them up: one of each row where rows have weights and for
classes, else one of each chunk of about CHUNK elements.
"""

from __future__ import annotations

from numpy import float64, nan, uint64

from fastnn.kernels.numba_cpu import elementary
from fastnn.kernels.numba_cpu.common import CHUNK, doubles, inlined, kernel, share_rows, summing
from fastnn.kernels.numba_cpu.errors import (
    absolute_error,
    binary_error,
    hinge_error,
    huber_error,
    log_cosh_error,
    logistic_error,
    poisson_error,
    poisson_rate_error,
    quotient,
    squared_error,
    squared_hinge_error,
    times_log,
)  # fmt: skip
from fastnn.kernels.numba_cpu.reductions import row_maximum, row_sum, sum_of_chunks
from fastnn.kernels.numba_cpu.softmax import exponentials

# --- means over all elements -----------------------------------------------------------------------------


@summing
def _errors(error, p, t, weight, grad, start, stop, scale, parameter):
    """Sum of the weighted losses of elements start to stop, whose gradients are written."""
    total = 0.0
    for i in range(start, stop):
        value, slope = error(p[i], t[i], parameter)
        total += weight * value
        if grad.size > 0:
            grad[i] = slope * scale
    return total


@inlined
def _elementwise(error, p, t, weight, loss, grad, workspace, phase, part, parts, parameter=0.0):
    """Both phases of a loss: stretches of elements of the same weight are summed."""
    b, c = p.shape
    rows = 1 if weight.size > 0 else max(1, CHUNK // max(c, 1))
    count = (b + rows - 1) // rows
    if phase == 1:
        if part == 0:
            loss[0] = sum_of_chunks(workspace, count) / float64(b * c)
        return
    sums = doubles(workspace)
    start, stop = share_rows(count, part, parts)
    flat_p, flat_t, flat_grad = p.ravel(), t.ravel(), grad.ravel()
    for i in range(start, stop):
        w = float64(weight[i]) if weight.size > 0 else 1.0
        first, last = uint64(i * rows * c), uint64(min((i + 1) * rows, b) * c)  # unsigned: see `share`
        sums[i] = _errors(error, flat_p, flat_t, w, flat_grad, first, last, w / float64(b * c), parameter)


@kernel
def mean_squared_error(y_pred, y_true, weight, loss, grad, workspace, phase, part, parts):
    """y_pred (b,c), y_true (b,c), weight (b)? -> loss (one), grad (b,c)?"""
    _elementwise(squared_error, y_pred, y_true, weight, loss, grad, workspace, phase, part, parts)


@kernel
def mean_absolute_error(y_pred, y_true, weight, loss, grad, workspace, phase, part, parts):
    """y_pred (b,c), y_true (b,c), weight (b)? -> loss (one), grad (b,c)?"""
    _elementwise(absolute_error, y_pred, y_true, weight, loss, grad, workspace, phase, part, parts)


@kernel
def huber(y_pred, y_true, weight, loss, grad, workspace, delta, phase, part, parts):
    """y_pred (b,c), y_true (b,c), weight (b)? -> loss (one), grad (b,c)?"""
    _elementwise(huber_error, y_pred, y_true, weight, loss, grad, workspace, phase, part, parts, delta)


@kernel
def log_cosh(y_pred, y_true, weight, loss, grad, workspace, phase, part, parts):
    """y_pred (b,c), y_true (b,c), weight (b)? -> loss (one), grad (b,c)?"""
    _elementwise(log_cosh_error, y_pred, y_true, weight, loss, grad, workspace, phase, part, parts)


@kernel
def hinge(y_pred, y_true, weight, loss, grad, workspace, phase, part, parts):
    """y_pred (b,c), y_true (b,c), weight (b)? -> loss (one), grad (b,c)?"""
    _elementwise(hinge_error, y_pred, y_true, weight, loss, grad, workspace, phase, part, parts)


@kernel
def squared_hinge(y_pred, y_true, weight, loss, grad, workspace, phase, part, parts):
    """y_pred (b,c), y_true (b,c), weight (b)? -> loss (one), grad (b,c)?"""
    _elementwise(squared_hinge_error, y_pred, y_true, weight, loss, grad, workspace, phase, part, parts)


@kernel
def poisson(y_pred, y_true, weight, loss, grad, workspace, log_input, phase, part, parts):
    """y_pred (b,c), y_true (b,c), weight (b)? -> loss (one), grad (b,c)?"""
    if log_input != 0:
        _elementwise(poisson_error, y_pred, y_true, weight, loss, grad, workspace, phase, part, parts)
    else:
        _elementwise(poisson_rate_error, y_pred, y_true, weight, loss, grad, workspace, phase, part, parts)


@kernel
def binary_cross_entropy(y_pred, y_true, weight, loss, grad, workspace, from_logits, phase, part, parts):
    """y_pred (b,c), y_true (b,c), weight (b)? -> loss (one), grad (b,c)?"""
    if from_logits != 0:
        _elementwise(logistic_error, y_pred, y_true, weight, loss, grad, workspace, phase, part, parts)
    else:
        _elementwise(binary_error, y_pred, y_true, weight, loss, grad, workspace, phase, part, parts)


# --- means over rows: classes ----------------------------------------------------------------------------


@inlined
def _target(targets, label, i, j):
    """Target j of row i: of distributions (b,c), or of a label where there are none."""
    return float64(targets[i, j]) if targets.size > 0 else (1.0 if j == label else 0.0)


@summing
def _distribution(x, targets, i, largest, keep, fraction):
    """Sum of row i of `targets` and of t (x - largest), t = targets keep + fraction; it is 0 where t is."""
    mass, product = 0.0, 0.0
    for j in range(x.shape[1]):
        mass += targets[i, j]
        t = targets[i, j] * keep + fraction
        product += 0.0 if t == 0 else t * (float64(x[i, j]) - largest)  # of a NaN, the sum of exponentials tells
    return mass, product


@inlined
def _softmax_row(x, targets, label, weight, grad, i, scale, smoothing):
    """-weight sum(t log softmax(x)) of row i, NaN for a wrong label; the gradient is (softmax(x) sum(t) - t) scale.

    Smoothing makes t (1 - smoothing) + smoothing / c of a target t.
    """
    T = x.dtype.type
    c = x.shape[1]
    if c == 0:
        return nan
    keep, fraction = 1.0 - smoothing, smoothing / c
    wrong = targets.size == 0 and not 0 <= label < c
    label = 0 if wrong else int(label)  # without labels it is a float64 0
    largest = row_maximum(x, i)
    total, unit = exponentials(x, i, largest, grad)
    if targets.size > 0:
        mass, product = _distribution(x, targets, i, largest, keep, fraction)
    else:
        mass = 1.0
        product = fraction * (row_sum(x, i) - float64(c) * largest) if fraction != 0 else 0.0
        if keep != 0:
            product += keep * (float64(x[i, label]) - largest)
    mass = mass * keep + smoothing
    if grad.size > 0:
        factor = mass / total * unit
        if targets.size > 0:
            for j in range(c):
                grad[i, j] = (grad[i, j] * factor - (targets[i, j] * keep + fraction)) * scale
        else:
            here = (grad[i, label] * factor - (keep + fraction)) * scale
            slope, base, s = T(factor), T(fraction), T(scale)
            for j in range(c):
                grad[i, j] = (grad[i, j] * slope - base) * s
            grad[i, label] = here
    return nan if wrong else weight * (elementary.log(total) * mass - product)


@summing
def _categorical_row(p, targets, label, weight, grad, i, scale, smoothing):
    """-weight sum(t log p) of row i, NaN for a wrong label; the gradient is -t / p scale."""
    c = p.shape[1]
    keep, fraction = 1.0 - smoothing, smoothing / c
    total = 0.0
    for j in range(c):
        t = _target(targets, label, i, j) * keep + fraction
        total -= weight * times_log(t, float64(p[i, j]), float64(elementary.log(p[i, j])))
        if grad.size > 0:
            grad[i, j] = -quotient(t, float64(p[i, j])) * scale
    return nan if targets.size == 0 and not 0 <= label < c else total


@inlined
def _cross_entropy(row, x, targets, labels, weight, loss, grad, workspace, smoothing, phase, part, parts):
    """Both phases of a loss of rows; targets (b,c) or labels (b), the other one is empty."""
    b = x.shape[0]
    if phase == 1:
        if part == 0:
            loss[0] = sum_of_chunks(workspace, b) / float64(b)
        return
    sums = doubles(workspace)
    start, stop = share_rows(b, part, parts)
    for i in range(start, stop):
        w = float64(weight[i]) if weight.size > 0 else 1.0
        label = labels[i] if labels.size > 0 else 0
        sums[i] = row(x, targets, label, w, grad, i, w / float64(b), smoothing)


@kernel
def softmax_cross_entropy(
    y_pred, y_true, weight, loss, grad, workspace, label_smoothing, phase, part, parts
):  # fmt: skip
    """y_pred (b,c) logits, y_true (b,c) distributions, weight (b)? -> loss (one), grad (b,c)?"""
    labels = y_true[:0, 0]
    _cross_entropy(
        _softmax_row, y_pred, y_true, labels, weight, loss, grad, workspace, label_smoothing, phase, part, parts
    )


@kernel
def sparse_softmax_cross_entropy(
    y_pred, labels, weight, loss, grad, workspace, label_smoothing, phase, part, parts
):  # fmt: skip
    """y_pred (b,c) logits, labels (b), weight (b)? -> loss (one), grad (b,c)?"""
    y_true = y_pred[:0]
    _cross_entropy(
        _softmax_row, y_pred, y_true, labels, weight, loss, grad, workspace, label_smoothing, phase, part, parts
    )


@kernel
def categorical_cross_entropy(
    y_pred, y_true, weight, loss, grad, workspace, label_smoothing, phase, part, parts
):  # fmt: skip
    """y_pred (b,c) probabilities, y_true (b,c) distributions, weight (b)? -> loss (one), grad (b,c)?"""
    labels = y_true[:0, 0]
    _cross_entropy(
        _categorical_row, y_pred, y_true, labels, weight, loss, grad, workspace, label_smoothing, phase, part, parts
    )


@kernel
def sparse_categorical_cross_entropy(
    y_pred, labels, weight, loss, grad, workspace, label_smoothing, phase, part, parts
):  # fmt: skip
    """y_pred (b,c) probabilities, labels (b), weight (b)? -> loss (one), grad (b,c)?"""
    y_true = y_pred[:0]
    _cross_entropy(
        _categorical_row, y_pred, y_true, labels, weight, loss, grad, workspace, label_smoothing, phase, part, parts
    )


KERNELS = {
    "mean_squared_error": mean_squared_error, "mean_absolute_error": mean_absolute_error, "huber": huber,
    "log_cosh": log_cosh, "hinge": hinge, "squared_hinge": squared_hinge, "poisson": poisson,
    "binary_cross_entropy": binary_cross_entropy, "softmax_cross_entropy": softmax_cross_entropy,
    "sparse_softmax_cross_entropy": sparse_softmax_cross_entropy,
    "categorical_cross_entropy": categorical_cross_entropy,
    "sparse_categorical_cross_entropy": sparse_categorical_cross_entropy,
}  # fmt: skip
WORKSPACE = dict.fromkeys(KERNELS, lambda dims, params, itemsize, parts: 8 * dims["b"])
