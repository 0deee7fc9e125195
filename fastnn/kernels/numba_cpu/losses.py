"""Losses with their gradients. The loss is the mean of the elements' losses (of the rows', for cross-entropy), each
row's multiplied by its weight. Internally float64.

Phase 0 writes sums of losses into the workspace, phase 1 adds them up: one of each row where rows have weights and for
cross-entropy, else one of each chunk of about CHUNK elements.
"""

from __future__ import annotations

from numpy import float64, nan, uint64

from fastnn.kernels.numba_cpu import elementary
from fastnn.kernels.numba_cpu.common import CHUNK, doubles, inlined, kernel, share_rows, summing
from fastnn.kernels.numba_cpu.reductions import row_maximum, sum_of_chunks


@inlined
def squared_error(p, t):
    """(p - t)^2 and its slope."""
    e = p - t
    return e * e, 2 * e


@inlined
def absolute_error(p, t):
    """|p - t| and its slope, 0 at 0."""
    e = p - t
    return abs(e), e if e == 0 or e != e else (1.0 if e > 0 else -1.0)


@inlined
def huber_error(p, t, delta):
    """e^2 / 2 for |e| = |p - t| <= delta, else delta (|e| - delta / 2), and its slope (Huber 1964)."""
    e = p - t
    a = abs(e)
    slope = elementary.clip(e, -delta, delta)
    return 0.5 * e * e if a <= delta else delta * (a - 0.5 * delta), slope


@inlined
def logistic_error(x, t):
    """max(x, 0) - x t + log(1 + exp(-|x|)) for a logit x, and its slope sigmoid(x) - t = 1 - t - sigmoid(-x).

    Exponential and logarithm are taken in the dtype of x, neither of which loses anything by it; the rest in float64.
    """
    e = elementary.exp(-abs(x))
    wide, target = float64(x), float64(t)
    value = (wide if wide > 0 else 0.0) - wide * target + elementary.log1p(e)
    tail = e / (1.0 + e)
    return value, tail - target if wide < 0 else (1.0 - target) - tail


@summing
def _squared_errors(p, t, grad, start, stop, scale, delta):
    total = 0.0
    for i in range(start, stop):
        value, slope = squared_error(float64(p[i]), float64(t[i]))
        total += value
        if grad.size > 0:
            grad[i] = slope * scale
    return total


@summing
def _absolute_errors(p, t, grad, start, stop, scale, delta):
    total = 0.0
    for i in range(start, stop):
        value, slope = absolute_error(float64(p[i]), float64(t[i]))
        total += value
        if grad.size > 0:
            grad[i] = slope * scale
    return total


@summing
def _huber_errors(p, t, grad, start, stop, scale, delta):
    total = 0.0
    for i in range(start, stop):
        value, slope = huber_error(float64(p[i]), float64(t[i]), delta)
        total += value
        if grad.size > 0:
            grad[i] = slope * scale
    return total


@summing
def _logistic_errors(p, t, grad, start, stop, scale, delta):
    total = 0.0
    for i in range(start, stop):
        value, slope = logistic_error(p[i], t[i])
        total += value
        if grad.size > 0:
            grad[i] = slope * scale
    return total


@inlined
def _elementwise(errors, p, t, weight, loss, grad, workspace, phase, part, parts, delta):
    """Both phases of a loss: `errors` sums a stretch of elements of the same weight and writes their gradients."""
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
        sums[i] = w * errors(flat_p, flat_t, flat_grad, first, last, w / float64(b * c), delta)


@kernel
def mean_squared_error(y_pred, y_true, weight, loss, grad, workspace, phase, part, parts):
    """y_pred (b,c), y_true (b,c), weight (b)? -> loss (one), grad (b,c)?"""
    _elementwise(_squared_errors, y_pred, y_true, weight, loss, grad, workspace, phase, part, parts, 0.0)


@kernel
def mean_absolute_error(y_pred, y_true, weight, loss, grad, workspace, phase, part, parts):
    """y_pred (b,c), y_true (b,c), weight (b)? -> loss (one), grad (b,c)?"""
    _elementwise(_absolute_errors, y_pred, y_true, weight, loss, grad, workspace, phase, part, parts, 0.0)


@kernel
def huber(y_pred, y_true, weight, loss, grad, workspace, delta, phase, part, parts):
    """y_pred (b,c), y_true (b,c), weight (b)? -> loss (one), grad (b,c)?"""
    _elementwise(_huber_errors, y_pred, y_true, weight, loss, grad, workspace, phase, part, parts, delta)


@kernel
def binary_cross_entropy(y_pred, y_true, weight, loss, grad, workspace, phase, part, parts):
    """y_pred (b,c) logits, y_true (b,c), weight (b)? -> loss (one), grad (b,c)?"""
    _elementwise(_logistic_errors, y_pred, y_true, weight, loss, grad, workspace, phase, part, parts, 0.0)


@inlined
def _target(targets, label, i, j):
    """Target j of row i: of distributions (b,c), or of a label where there are none."""
    return float64(targets[i, j]) if targets.size > 0 else (1.0 if j == label else 0.0)


@summing
def _row_cross_entropy(x, targets, label, grad, i, scale, smoothing):
    """-sum(t log softmax(x)) of row i, NaN for a wrong label; the gradient is (softmax(x) sum(t) - t) scale.

    Smoothing makes t (1 - smoothing) + smoothing / c of a target t.
    """
    c = x.shape[1]
    if c == 0:
        return nan
    keep, fraction = 1.0 - smoothing, smoothing / c
    largest = row_maximum(x, i)
    total, mass, product = 0.0, 0.0, 0.0
    for j in range(c):
        e = elementary.exp_difference(x[i, j], largest)
        if grad.size > 0:
            grad[i, j] = e
        t = _target(targets, label, i, j)
        total += e
        mass += t
        product += (t * keep + fraction) * (float64(x[i, j]) - largest)
    mass = mass * keep + smoothing
    if grad.size > 0:
        factor = mass / total
        for j in range(c):
            t = _target(targets, label, i, j) * keep + fraction
            grad[i, j] = (grad[i, j] * factor - t) * scale
    if targets.size == 0 and not 0 <= label < c:
        return nan
    return elementary.log(total) * mass - product


@inlined
def _cross_entropy(x, targets, labels, weight, loss, grad, workspace, smoothing, phase, part, parts):
    """Both phases; targets (b,c) or labels (b), the other one is empty."""
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
        sums[i] = w * _row_cross_entropy(x, targets, label, grad, i, w / float64(b), smoothing)


@kernel
def softmax_cross_entropy(
    y_pred, y_true, weight, loss, grad, workspace, label_smoothing, phase, part, parts
):  # fmt: skip
    """y_pred (b,c) logits, y_true (b,c) distributions, weight (b)? -> loss (one), grad (b,c)?"""
    _cross_entropy(y_pred, y_true, y_true[:0, 0], weight, loss, grad, workspace, label_smoothing, phase, part, parts)


@kernel
def sparse_softmax_cross_entropy(
    y_pred, labels, weight, loss, grad, workspace, label_smoothing, phase, part, parts
):  # fmt: skip
    """y_pred (b,c) logits, labels (b), weight (b)? -> loss (one), grad (b,c)?"""
    _cross_entropy(y_pred, y_pred[:0], labels, weight, loss, grad, workspace, label_smoothing, phase, part, parts)


KERNELS = {
    "mean_squared_error": mean_squared_error, "mean_absolute_error": mean_absolute_error, "huber": huber,
    "binary_cross_entropy": binary_cross_entropy, "softmax_cross_entropy": softmax_cross_entropy,
    "sparse_softmax_cross_entropy": sparse_softmax_cross_entropy,
}  # fmt: skip
WORKSPACE = dict.fromkeys(KERNELS, lambda dims, params, itemsize, parts: 8 * dims["b"])
