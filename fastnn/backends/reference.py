"""The reference backend: every op in plain NumPy, written to be read. Slow, complete, obviously right.

Kernels take the arrays of the op's signature (inputs, then outputs) and its parameters by keyword, and write
into the outputs or the updated inputs. They compute in the dtype of the arrays, except that sums are float64. On arrays
of two bytes an element they compute in float64, and the results are rounded once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from math import erfc as _scalar_erfc
from math import pi, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.backends.host import HostBackend, floating, lay_out
from fastnn.backends.split_products import PRODUCTS, fits, split_product
from fastnn.table import HALVES, TABLE, Op
from fastnn_ext import executor

if TYPE_CHECKING:
    from fastnn.program import Program

_erfc = np.vectorize(_scalar_erfc, otypes=[np.float64])

# --- elementwise -----------------------------------------------------------------------------------------


def add(a, b, y):
    np.add(a, b, out=y)


def subtract(a, b, y):
    np.subtract(a, b, out=y)


def multiply(a, b, y):
    np.multiply(a, b, out=y)


def divide(a, b, y):
    np.divide(a, b, out=y)


def maximum(a, b, y):
    np.maximum(a, b, out=y)


def maximum_backward(dy, a, b, da, db):
    """The gradient goes to the larger input; equal inputs share it."""
    share = np.where(a > b, 1.0, np.where(a == b, 0.5, 0.0)).astype(dy.dtype)
    da[...] = dy * share
    db[...] = dy * (1 - share)


def prelu(x, slope, y):
    y[...] = np.where(x > 0, x, slope * x)


def prelu_backward(dy, x, slope, dx, dslope):
    dx[...] = np.where(x > 0, dy, slope * dy)
    dslope[...] = np.where(x > 0, 0, dy * x)


def power(a, b, y):
    np.power(a, b, out=y)


def affine(x, y, *, scale, shift):
    y[...] = x * y.dtype.type(scale) + y.dtype.type(shift)


def exp(x, y):
    np.exp(x, out=y)


def log(x, y):
    np.log(x, out=y)


def sin(x, y):
    np.sin(x, out=y)


def cos(x, y):
    np.cos(x, out=y)


def sqrt_(x, y):
    np.sqrt(x, out=y)


def copy(x, y, *, shape, strides):
    """y[i0, ..., i7] = x[i0*s0 + ... + i7*s7], strides counted in elements."""
    bytes_ = tuple(s * x.itemsize for s in strides)
    y[...] = np.lib.stride_tricks.as_strided(x, shape, bytes_).ravel()


# --- reductions ------------------------------------------------------------------------------------------


def sum_(x, y):
    y[...] = x.sum(axis=1, dtype=np.float64)


def column_sum(x, y):
    y[...] = x.sum(axis=0, dtype=np.float64)


def sum_of_squares(x, y):
    y[0] = np.square(x, dtype=np.float64).sum()


def clip_by_norm(g, squared_norm, *, max_norm):
    """g *= min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_."""
    g *= g.dtype.type(min(1.0, max_norm / (float(squared_norm[0]) ** 0.5 + 1e-6)))


def argmax(x, y):
    """The first largest element of each row; a NaN counts as the largest."""
    y[...] = x.argmax(axis=1)


def count_equal(a, b, y):
    y[0] = np.count_nonzero(a == b)


# --- activations -----------------------------------------------------------------------------------------


def linear(x, y):
    y[...] = x


def linear_backward(dy, y, dx):
    dx[...] = dy


def relu(x, y):
    y[...] = np.where(x < 0, 0, x)


def relu_backward(dy, y, dx):
    dx[...] = np.where(y <= 0, 0, dy)


def leaky_relu(x, y, *, alpha):
    y[...] = np.where(x < 0, x * y.dtype.type(alpha), x)


def leaky_relu_backward(dy, y, dx, *, alpha):
    dx[...] = np.where(y <= 0, dy * dy.dtype.type(alpha), dy)


def elu(x, y, *, alpha):
    y[...] = np.where(x < 0, y.dtype.type(alpha) * np.expm1(np.minimum(x, 0)), x)


def elu_backward(dy, y, dx, *, alpha):
    dx[...] = np.where(y <= 0, dy * (y + dy.dtype.type(alpha)), dy)


def _normal_cdf(x):
    """Standard normal distribution function: erfc(-x / sqrt(2)) / 2 keeps its digits in the lower tail."""
    return 0.5 * _erfc(-x.astype(np.float64) / sqrt(2))


def _normal_pdf(x):
    x = x.astype(np.float64)
    return np.exp(-0.5 * x * x) / sqrt(2 * pi)


def gelu(x, y):
    y[...] = np.where(np.isneginf(x), -0.0, x * _normal_cdf(x))


def gelu_backward(dy, x, dx):
    slope = _normal_cdf(x) + np.where(np.isinf(x), 0, x * _normal_pdf(x))
    dx[...] = dy * slope


_GELU_C, _GELU_A = sqrt(2 / pi), 0.044715


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def gelu_tanh(x, y):
    """0.5 x (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3)."""
    wide = x.astype(np.float64)
    gate = _sigmoid(2 * _GELU_C * (wide + _GELU_A * wide**3))
    y[...] = np.where(np.isneginf(x), -0.0, wide * gate)


def gelu_tanh_backward(dy, x, dx):
    wide = np.clip(x.astype(np.float64), -1000, 1000)  # beyond, the gate is 0 or 1, and x^3 may overflow
    gate = _sigmoid(2 * _GELU_C * (wide + _GELU_A * wide**3))
    slope = 2 * _GELU_C * (1 + 3 * _GELU_A * wide**2)
    dx[...] = dy * (gate + wide * gate * (1 - gate) * slope)


def silu(x, y):
    y[...] = np.where(np.isneginf(x), -0.0, x * _sigmoid(x.astype(np.float64)))


def silu_backward(dy, x, dx):
    gate = _sigmoid(x.astype(np.float64))
    dx[...] = dy * (gate + np.where(np.isinf(x), 0, x * gate * (1 - gate)))


def sigmoid(x, y):
    y[...] = _sigmoid(x)


def sigmoid_backward(dy, y, dx):
    dx[...] = dy * y * (1 - y)


def tanh(x, y):
    np.tanh(x, out=y)


def tanh_backward(dy, y, dx):
    dx[...] = dy * ((1 - y) * (1 + y))


def softplus(x, y):
    y[...] = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def softplus_backward(dy, y, dx):
    """sigmoid(x) = 1 - exp(-y)."""
    dx[...] = dy * -np.expm1(-y)


_SELU_SCALE, _SELU_FLOOR = 1.0507009873554805, 1.7580993408473769  # lambda, lambda alpha


def selu(x, y):
    y[...] = np.where(x < 0, _SELU_FLOOR * np.expm1(np.minimum(x, 0)), _SELU_SCALE * x)


def selu_backward(dy, y, dx):
    dx[...] = np.where(y <= 0, dy * (y + y.dtype.type(_SELU_FLOOR)), dy * _SELU_SCALE)


def softsign(x, y):
    y[...] = np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x)))


def softsign_backward(dy, x, dx):
    dx[...] = dy / np.square(1 + np.abs(x))


def hard_sigmoid(x, y):
    y[...] = np.clip(x + 3, 0, 6) / 6


def hard_sigmoid_backward(dy, y, dx):
    dx[...] = np.where((y <= 0) | (y >= 1), 0, dy / 6)


def hard_swish(x, y):
    """From -3 down it is -3 times 0, so that minus infinity has its limit too."""
    y[...] = np.maximum(x, -3) * (np.clip(x + 3, 0, 6) / 6)


def hard_swish_backward(dy, x, dx):
    dx[...] = dy * np.where(x <= -3, 0, np.where(x >= 3, 1, (2 * x + 3) / 6))


def mish(x, y):
    wide = x.astype(np.float64)
    y[...] = np.where(np.isneginf(x), -0.0, wide * np.tanh(np.logaddexp(0, wide)))


def mish_backward(dy, x, dx):
    """y' = w + x (1 - w^2) sigmoid(x), w = tanh(softplus(x))."""
    wide = x.astype(np.float64)
    w = np.tanh(np.logaddexp(0, wide))
    dx[...] = dy * (w + np.where(np.isinf(x), 0, wide * (1 - w * w) * _sigmoid(wide)))


def _log_softmax(x):
    shifted = x.astype(np.float64) - x.max(axis=1, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def softmax(x, y):
    y[...] = np.exp(_log_softmax(x))


def softmax_backward(dy, y, dx):
    wide = dy.astype(np.float64)
    dx[...] = y * (wide - (wide * y).sum(axis=1, keepdims=True))


def log_softmax(x, y):
    y[...] = _log_softmax(x)


def log_softmax_backward(dy, y, dx):
    wide = dy.astype(np.float64)
    dx[...] = wide - np.exp(y.astype(np.float64)) * wide.sum(axis=1, keepdims=True)


# --- matrix products -------------------------------------------------------------------------------------


def _matrix_product(a, b, precision, start=None):
    """a b, added to `start` where it is given; float32 numbers as the sum of few bfloat16 parts where that may be."""
    if precision in PRODUCTS and a.dtype == np.float32 and fits(a, b, precision):
        return split_product(a, b, precision, start)
    return a @ b if start is None else start + a @ b


def matmul(a, b, y, *, transpose_a, transpose_b, accumulate, precision):
    a, b = a.T if transpose_a else a, b.T if transpose_b else b
    y[...] = _matrix_product(a, b, precision, y if accumulate else None)


def bias_add(x, bias, y):
    np.add(x, bias, out=y)


def dense(x, w, bias, y, pre, *, activation, alpha, precision):
    z = _matrix_product(x, w, precision)
    if bias is not None:
        z = z + bias
    if pre is not None:
        pre[...] = z
    KERNELS[activation](z, y, **_alpha(activation, alpha))


def dense_backward(dy, x, w, saved, dx, dw, dbias, *, activation, alpha, precision):
    """`saved` is y or pre, whichever the activation's gradient is computed from; absent when linear."""
    dz = dy
    if saved is not None:
        dz = np.empty_like(dy)
        KERNELS[f"{activation}_backward"](dy, saved, dz, **_alpha(activation, alpha))
    dw[...] = _matrix_product(x.T, dz, precision)
    if dbias is not None:
        column_sum(dz, dbias)
    if dx is not None:
        dx[...] = _matrix_product(dz, w.T, precision)


def _alpha(activation, alpha):
    return {"alpha": alpha} if activation in ("leaky_relu", "elu") else {}


# --- normalisation ---------------------------------------------------------------------------------------


def _scaled(x, gamma, beta):
    """x gamma + beta, each where it is present."""
    x = x if gamma is None else x * gamma
    return x if beta is None else x + beta


def _statistics(x, axis, epsilon):
    """Mean, biased variance and 1 / sqrt(variance + epsilon) along an axis."""
    mean = x.mean(axis=axis, keepdims=True)
    variance = np.square(x - mean).mean(axis=axis, keepdims=True)
    return mean, variance, 1 / np.sqrt(variance + epsilon)


def _norm_backward(dy, x, gamma, mean, rstd, dx, dgamma, dbeta, axis):
    """With n = (x - mean) rstd: dgamma and dbeta, the sums over the rows of dy n and dy, and dx.

    dx = rstd (g - average(g) - n average(g n)) along the axis, g = dy gamma; gamma is a factor where it is constant.
    """
    dy = dy.astype(np.float64)
    normal = (x.astype(np.float64) - mean) * rstd
    if dx is not None:
        g, scale = (dy, _scaled(rstd, gamma, None)) if axis == 0 else (_scaled(dy, gamma, None), rstd)
        average = g.sum(axis=axis, keepdims=True) / x.shape[axis]
        slope = (g * normal).sum(axis=axis, keepdims=True) / x.shape[axis]
        dx[...] = scale * (g - average - normal * slope)
    if dgamma is not None:
        dgamma[...] = (dy * normal).sum(axis=0)
    if dbeta is not None:
        dbeta[...] = dy.sum(axis=0)


def layer_norm(x, gamma, beta, y, mean, rstd, *, epsilon):
    """Each row is brought to mean 0 and variance 1 (Ba, Kiros and Hinton 2016)."""
    x = x.astype(np.float64)
    center, _, scale = _statistics(x, 1, epsilon)
    y[...] = _scaled((x - center) * scale, gamma, beta)
    if mean is not None:
        mean[...] = center[:, 0]
    if rstd is not None:
        rstd[...] = scale[:, 0]


def layer_norm_backward(dy, x, gamma, mean, rstd, dx, dgamma, dbeta):
    _norm_backward(dy, x, gamma, mean[:, None], rstd[:, None].astype(np.float64), dx, dgamma, dbeta, 1)


def batch_norm(x, gamma, beta, moving_mean, moving_variance, y, mean, rstd, *, momentum, epsilon):
    """Each column is brought to mean 0 and variance 1 (Ioffe and Szegedy 2015)."""
    x = x.astype(np.float64)
    center, variance, scale = _statistics(x, 0, epsilon)
    y[...] = _scaled((x - center) * scale, gamma, beta)
    moving_mean[...] = momentum * moving_mean + (1 - momentum) * center[0]
    moving_variance[...] = momentum * moving_variance + (1 - momentum) * variance[0]
    if mean is not None:
        mean[...] = center[0]
    if rstd is not None:
        rstd[...] = scale[0]


def batch_norm_backward(dy, x, gamma, mean, rstd, dx, dgamma, dbeta):
    _norm_backward(dy, x, gamma, mean, rstd.astype(np.float64), dx, dgamma, dbeta, 0)


def batch_norm_inference(x, gamma, beta, moving_mean, moving_variance, y, *, epsilon):
    """Each column is shifted and scaled by statistics of earlier batches."""
    rstd = 1 / np.sqrt(moving_variance.astype(np.float64) + epsilon)
    y[...] = _scaled((x.astype(np.float64) - moving_mean) * rstd, gamma, beta)


# --- regularisation --------------------------------------------------------------------------------------


def penalty(p, g, value, *, l1, l2):
    """l1 sum|p| + l2 sum p^2; its derivative l1 sign(p) + 2 l2 p is added to g."""
    wide = p.astype(np.float64)
    value[0] = (l1 * np.abs(wide) + l2 * np.square(wide)).sum()
    if g is not None:
        g += p.dtype.type(l1) * np.sign(p) + p.dtype.type(2 * l2) * p


def soft_threshold(p, *, learning_rate, l1):
    p[...] = np.sign(p) * np.maximum(np.abs(p) - p.dtype.type(learning_rate * l1), 0)


def max_norm(w, *, max_norm):
    norm = np.sqrt(np.square(w, dtype=np.float64).sum(axis=0))
    w *= np.where(norm > max_norm, max_norm / norm, 1).astype(w.dtype)


def clip_by_value(g, *, max_value):
    np.clip(g, -g.dtype.type(max_value), g.dtype.type(max_value), out=g)


# --- random ----------------------------------------------------------------------------------------------


def philox4x32(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Philox4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011).

    `counter` is uint64 of shape (4, n) holding 32-bit words; returns uint64 words of shape (4, n).
    """
    low = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = counter
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * c0
        p1 = np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> np.uint64(32)) ^ c1 ^ k0, p1 & low, (p0 >> np.uint64(32)) ^ c3 ^ k1, p0 & low
        k0 = (k0 + np.uint64(0x9E3779B9)) & low
        k1 = (k1 + np.uint64(0xBB67AE85)) & low
    return np.stack([c0, c1, c2, c3])


def _words(n, seed, stream, step):
    """For each of n elements, rounded up to a multiple of 4, a uint64 that holds a 32-bit word.

    Element e has word e % 4 of Philox(counter=(e//4 low, e//4 high, step, stream), key=(seed low, seed high)).
    """
    blocks = np.arange((n + 3) // 4, dtype=np.uint64)
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    counter = np.stack(
        [blocks & low, blocks >> half, np.full_like(blocks, int(step)), np.full_like(blocks, int(stream))]
    )
    return philox4x32(counter, (int(seed) & 0xFFFFFFFF, int(seed) >> 32)).T.ravel()


def dropout(x, y, *, rate, seed, stream, step):
    """An element is dropped when its word is below floor(rate * 2**32), and else multiplied by 1 / (1 - rate)."""
    words = _words(x.size, seed, stream, step)[: x.size]
    keep = words >= np.uint64(int(rate * 2**32))
    scale = y.dtype.type(1 / (1 - rate)) if rate < 1 else y.dtype.type(0)
    y[...] = np.where(keep, x * scale, 0)


def _normal(n, seed, stream, step):
    """n standard normal numbers, each two from two words: r cos(a) and r sin(a) (Box and Muller 1958).

    r = sqrt(-2 log(u)), u in (0, 1] from the upper 24 bits of the first word; the angle a from those of the second.
    Of 24 bits float32 has u exactly, so that all dtypes have the same numbers.
    """
    words = _words(n, seed, stream, step).reshape(-1, 2) >> np.uint64(8)
    u, turn = (words[:, 0] + np.uint64(1)).astype(np.float64) / 2**24, words[:, 1].astype(np.float64) / 2**24
    r, a = np.sqrt(-2 * np.log(u)), 8 * np.arctan(np.float64(1)) * turn  # 2 pi, to all digits of float64
    return np.stack([r * np.cos(a), r * np.sin(a)], axis=1).ravel()[:n]


def gaussian_noise(x, y, *, stddev, seed, stream, step):
    y[...] = x + stddev * _normal(x.size, seed, stream, step)


def gaussian_dropout(x, y, *, stddev, seed, stream, step):
    """Srivastava et al. 2014, section 10."""
    y[...] = x * (1 + stddev * _normal(x.size, seed, stream, step))


# --- losses ----------------------------------------------------------------------------------------------
# The loss is the mean of the elements' losses (of the rows' losses for classes), each row's multiplied by
# its weight; the division is by the number of rows, not by the sum of the weights. Internally float64.


def _reduce(values, slopes, weight, loss, grad, count):
    """Write loss = sum(weight * values) / count and grad = weight * slopes / count."""
    w = 1.0 if weight is None else weight.astype(np.float64)[:, None]
    loss[0] = (w * values).sum() / count
    if grad is not None:
        grad[...] = w * slopes / count


def mean_squared_error(y_pred, y_true, weight, loss, grad):
    e = y_pred.astype(np.float64) - y_true
    _reduce(e * e, 2 * e, weight, loss, grad, e.size)


def mean_absolute_error(y_pred, y_true, weight, loss, grad):
    e = y_pred.astype(np.float64) - y_true
    _reduce(np.abs(e), np.sign(e), weight, loss, grad, e.size)


def huber(y_pred, y_true, weight, loss, grad, *, delta):
    """e^2 / 2 for |e| <= delta, else delta (|e| - delta / 2) (Huber 1964)."""
    e = y_pred.astype(np.float64) - y_true
    a = np.abs(e)
    values = np.where(a <= delta, 0.5 * e * e, delta * (a - 0.5 * delta))
    _reduce(values, np.clip(e, -delta, delta), weight, loss, grad, e.size)


def log_cosh(y_pred, y_true, weight, loss, grad):
    """log cosh(e) = log(1 + 2 sinh(e / 2)^2) = |e| - log 2 + log(1 + exp(-2 |e|)): exact near 0, no overflow."""
    e = y_pred.astype(np.float64) - y_true
    a = np.abs(e)
    near = np.log1p(2 * np.sinh(np.minimum(a, 1) / 2) ** 2)
    far = a - np.log(np.float64(2)) + np.log1p(np.exp(-2 * a))
    _reduce(np.where(a < 1, near, far), np.tanh(e), weight, loss, grad, e.size)


def hinge(y_pred, y_true, weight, loss, grad):
    """max(0, 1 - t y); where 1 - t y is 0, so is the gradient."""
    margin = 1 - y_pred.astype(np.float64) * y_true
    slopes = np.where(margin > 0, -y_true, np.where(margin <= 0, 0, margin))
    _reduce(np.maximum(margin, 0), slopes, weight, loss, grad, margin.size)


def squared_hinge(y_pred, y_true, weight, loss, grad):
    """max(0, 1 - t y)^2."""
    excess = np.maximum(1 - y_pred.astype(np.float64) * y_true, 0)
    _reduce(excess * excess, -2 * y_true * excess, weight, loss, grad, excess.size)


def poisson(y_pred, y_true, weight, loss, grad, *, log_input):
    """p - t log p, the rate p = exp(x) for `log_input`."""
    x, t = y_pred.astype(np.float64), y_true.astype(np.float64)
    rate, log_rate = (np.exp(x), x) if log_input else (x, np.log(x))
    slopes = rate - t if log_input else 1 - _quotient(t, rate)
    _reduce(rate - _product(t, rate, log_rate), slopes, weight, loss, grad, x.size)


def binary_cross_entropy(y_pred, y_true, weight, loss, grad, *, from_logits):
    """-t log p - (1 - t) log(1 - p); max(x, 0) - x t + log(1 + exp(-|x|)) for p = sigmoid(x) from logits x."""
    x, t = y_pred.astype(np.float64), y_true.astype(np.float64)
    if from_logits:
        values = np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x)))
        slopes = _sigmoid(x) - t
    else:
        values = -_product(t, x, np.log(x)) - _product(1 - t, x, np.log1p(-x))
        slopes = np.where(t == 0, 1 / (1 - x), np.where(t == 1, -1 / x, (x - t) / (x * (1 - x))))
    _reduce(values, slopes, weight, loss, grad, x.size)


def _product(t, p, log_p):
    """t log p, where 0 log p is 0 for every p but NaN."""
    return np.where((t == 0) & (p == p), 0, t * log_p)


def _quotient(t, p):
    """t / p, where 0 / 0 is 0: the derivative of t log p."""
    return np.where((t == 0) & (p == 0), 0, t / p)


def softmax_cross_entropy(y_pred, y_true, weight, loss, grad, *, label_smoothing):
    """From logits, with one target distribution per row: -sum(t log softmax(x)), where 0 log 0 is 0."""
    t = y_true * (1.0 - label_smoothing) + label_smoothing / y_true.shape[1]
    log_p = _log_softmax(y_pred)
    p = np.exp(log_p)
    values = -_product(t, p, log_p).sum(axis=1, keepdims=True)
    _reduce(values, p * t.sum(axis=1, keepdims=True) - t, weight, loss, grad, len(t))


def categorical_cross_entropy(y_pred, y_true, weight, loss, grad, *, label_smoothing):
    """From probabilities, with one target distribution per row: -sum(t log p)."""
    t = y_true * (1.0 - label_smoothing) + label_smoothing / y_true.shape[1]
    p = y_pred.astype(np.float64)
    _reduce(-_product(t, p, np.log(p)), -_quotient(t, p), weight, loss, grad, len(t))


def _sparse(cross_entropy):
    """A cross-entropy of labels. A label outside 0 ... c - 1 makes the loss NaN."""

    def kernel(y_pred, labels, weight, loss, grad, *, label_smoothing):
        classes = np.arange(y_pred.shape[1])
        one_hot = (labels[:, None] == classes).astype(np.float64)
        cross_entropy(y_pred, one_hot, weight, loss, grad, label_smoothing=label_smoothing)
        if not np.isin(labels, classes).all():
            loss[0] = np.nan

    return kernel


# --- optimizers ------------------------------------------------------------------------------------------


def sgd_update(p, g, velocity, *, learning_rate, momentum, nesterov, weight_decay, dampening):
    cast = p.dtype.type
    g = g + cast(weight_decay) * p
    if velocity is not None:
        velocity[...] = cast(momentum) * velocity + cast(1 - dampening) * g
        g = g + cast(momentum) * velocity if nesterov else velocity
    p -= cast(learning_rate) * g


def rmsprop_update(
    p, g, square_avg, velocity, grad_avg, *, learning_rate, rho, epsilon, momentum, nesterov, weight_decay
):
    """`velocity` is present with momentum, `grad_avg` when centred (Graves 2013); epsilon outside the root."""
    cast = p.dtype.type
    g = g + cast(weight_decay) * p
    square_avg += cast(1 - rho) * (g * g - square_avg)
    second = square_avg
    if grad_avg is not None:
        grad_avg += cast(1 - rho) * (g - grad_avg)
        second = square_avg - grad_avg * grad_avg
    step = g / (np.sqrt(second) + cast(epsilon))
    if velocity is not None:
        velocity[...] = cast(momentum) * velocity + step
        step = cast(momentum) * velocity + step if nesterov else velocity
    p -= cast(learning_rate) * step


def adagrad_update(p, g, square_sum, *, learning_rate, lr_decay, epsilon, weight_decay, step):
    """Duchi, Hazan and Singer 2011; epsilon outside the root."""
    cast = p.dtype.type
    g = g + cast(weight_decay) * p
    square_sum += g * g
    p -= cast(learning_rate / (1 + (step - 1) * lr_decay)) * g / (np.sqrt(square_sum) + cast(epsilon))


def adadelta_update(p, g, square_avg, delta_avg, *, learning_rate, rho, epsilon, weight_decay):
    """Zeiler 2012; epsilon inside the roots."""
    cast = p.dtype.type
    g = g + cast(weight_decay) * p
    square_avg += cast(1 - rho) * (g * g - square_avg)
    delta = np.sqrt(delta_avg + cast(epsilon)) / np.sqrt(square_avg + cast(epsilon)) * g
    delta_avg += cast(1 - rho) * (delta * delta - delta_avg)
    p -= cast(learning_rate) * delta


def _with_decay(p, g, learning_rate, weight_decay, decoupled):
    """The gradient with the decay's; decoupled decay shrinks the parameters instead."""
    if decoupled:
        p *= p.dtype.type(1 - learning_rate * weight_decay)
        return g
    return g + p.dtype.type(weight_decay) * p


def adam_update(
    p, g, m, v, v_max, *, learning_rate, beta_1, beta_2, epsilon, weight_decay, decoupled, bias_correction, step
):
    """Kingma and Ba 2015; `decoupled` is AdamW (Loshchilov and Hutter 2019); `v_max` present is AMSGrad."""
    cast = p.dtype.type
    g = _with_decay(p, g, learning_rate, weight_decay, decoupled)
    m += cast(1 - beta_1) * (g - m)
    v += cast(1 - beta_2) * (g * g - v)
    second = v
    if v_max is not None:
        np.maximum(v_max, v, out=v_max)
        second = v_max
    correction_1 = 1 - beta_1**step if bias_correction else 1.0
    correction_2 = 1 - beta_2**step if bias_correction else 1.0
    denominator = np.sqrt(second) * cast(correction_2**-0.5) + cast(epsilon)
    p -= cast(learning_rate / correction_1) * m / denominator


def adamax_update(p, g, m, u, *, learning_rate, beta_1, beta_2, epsilon, weight_decay, step):
    """Kingma and Ba 2015, section 7.1; epsilon is added to the gradient's size."""
    cast = p.dtype.type
    g = g + cast(weight_decay) * p
    m += cast(1 - beta_1) * (g - m)
    np.maximum(cast(beta_2) * u, np.abs(g) + cast(epsilon), out=u)
    p -= cast(learning_rate / (1 - beta_1**step)) * m / u


def nadam_update(
    p, g, m, v, *, learning_rate, beta_1, beta_2, epsilon, weight_decay, decoupled, momentum_decay, momentum_product,
    step,
):  # fmt: skip
    """Dozat 2016; `momentum_product` is that of the momenta of all steps up to this one."""
    cast = p.dtype.type
    momentum, following = (beta_1 * (1 - 0.5 * 0.96 ** (t * momentum_decay)) for t in (step, step + 1))
    g = _with_decay(p, g, learning_rate, weight_decay, decoupled)
    m += cast(1 - beta_1) * (g - m)
    v += cast(1 - beta_2) * (g * g - v)
    rate_g = cast(learning_rate * (1 - momentum) / (1 - momentum_product))
    rate_m = cast(learning_rate * following / (1 - momentum_product * following))
    p -= (rate_g * g + rate_m * m) / (np.sqrt(v) * cast((1 - beta_2**step) ** -0.5) + cast(epsilon))


def _rectification(beta_2, step):
    """How far the variance of Adam's step allows it (Liu et al. 2020), times v's bias correction; None: not at all."""
    longest = 2 / (1 - beta_2) - 1
    correction = 1 - beta_2**step
    length = longest - 2 * step * beta_2**step / correction
    if length <= 5:
        return None
    ratio = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return sqrt(ratio * correction)


def radam_update(p, g, m, v, *, learning_rate, beta_1, beta_2, epsilon, weight_decay, decoupled, step):
    """Liu et al. 2020; without rectification, in the first steps, momentum alone."""
    cast = p.dtype.type
    g = _with_decay(p, g, learning_rate, weight_decay, decoupled)
    m += cast(1 - beta_1) * (g - m)
    v += cast(1 - beta_2) * (g * g - v)
    rate, rectification = learning_rate / (1 - beta_1**step), _rectification(beta_2, step)
    if rectification is None:
        p -= cast(rate) * m
    else:
        p -= cast(rate * rectification) * m / (np.sqrt(v) + cast(epsilon))


def lion_update(p, g, m, *, learning_rate, beta_1, beta_2, weight_decay):
    """Chen et al. 2023, algorithm 2; weight decay is decoupled."""
    cast = p.dtype.type
    direction = np.sign(m + cast(1 - beta_1) * (g - m))
    p[...] = cast(1 - learning_rate * weight_decay) * p - cast(learning_rate) * direction
    m += cast(1 - beta_2) * (g - m)


KERNELS: dict[str, Callable[..., None]] = {
    "add": add, "subtract": subtract, "multiply": multiply, "divide": divide, "maximum": maximum,
    "maximum_backward": maximum_backward, "prelu": prelu, "prelu_backward": prelu_backward,
    "power": power, "affine": affine, "exp": exp, "log": log, "sin": sin,
    "cos": cos, "sqrt": sqrt_, "copy": copy, "sum": sum_, "column_sum": column_sum,
    "sum_of_squares": sum_of_squares, "clip_by_norm": clip_by_norm, "argmax": argmax, "count_equal": count_equal,
    "matmul": matmul, "bias_add": bias_add, "dense": dense, "dense_backward": dense_backward,
    "softmax": softmax, "softmax_backward": softmax_backward,
    "log_softmax": log_softmax, "log_softmax_backward": log_softmax_backward, "dropout": dropout,
    "gaussian_noise": gaussian_noise, "gaussian_dropout": gaussian_dropout,
    "layer_norm": layer_norm, "layer_norm_backward": layer_norm_backward, "batch_norm": batch_norm,
    "batch_norm_backward": batch_norm_backward, "batch_norm_inference": batch_norm_inference,
    "penalty": penalty, "soft_threshold": soft_threshold, "max_norm": max_norm, "clip_by_value": clip_by_value,
    "mean_squared_error": mean_squared_error, "mean_absolute_error": mean_absolute_error, "huber": huber,
    "log_cosh": log_cosh, "hinge": hinge, "squared_hinge": squared_hinge, "poisson": poisson,
    "binary_cross_entropy": binary_cross_entropy, "softmax_cross_entropy": softmax_cross_entropy,
    "categorical_cross_entropy": categorical_cross_entropy,
    "sparse_softmax_cross_entropy": _sparse(softmax_cross_entropy),
    "sparse_categorical_cross_entropy": _sparse(categorical_cross_entropy),
    "sgd_update": sgd_update, "rmsprop_update": rmsprop_update, "adagrad_update": adagrad_update,
    "adadelta_update": adadelta_update, "adam_update": adam_update, "adamax_update": adamax_update,
    "nadam_update": nadam_update, "radam_update": radam_update, "lion_update": lion_update,
    "linear": linear, "linear_backward": linear_backward, "relu": relu, "relu_backward": relu_backward,
    "leaky_relu": leaky_relu, "leaky_relu_backward": leaky_relu_backward, "elu": elu, "elu_backward": elu_backward,
    "gelu": gelu, "gelu_backward": gelu_backward, "gelu_tanh": gelu_tanh,
    "gelu_tanh_backward": gelu_tanh_backward, "silu": silu, "silu_backward": silu_backward, "sigmoid": sigmoid,
    "sigmoid_backward": sigmoid_backward, "tanh": tanh, "tanh_backward": tanh_backward,
    "softplus": softplus, "softplus_backward": softplus_backward, "selu": selu, "selu_backward": selu_backward,
    "softsign": softsign, "softsign_backward": softsign_backward, "hard_sigmoid": hard_sigmoid,
    "hard_sigmoid_backward": hard_sigmoid_backward, "hard_swish": hard_swish,
    "hard_swish_backward": hard_swish_backward, "mish": mish, "mish_backward": mish_backward,
}  # fmt: skip


# --- the backend -----------------------------------------------------------------------------------------


class ReferenceBackend(HostBackend):
    """Runs kernels one by one from Python."""

    name = "reference"

    def supports(self, op: str, dtype: str) -> bool:
        return op in KERNELS and dtype in TABLE[op].dtypes

    def run(self, op: Op, arrays: Sequence[Any], dims: dict[str, int], params: dict[str, Any]) -> None:
        with np.errstate(all="ignore"):
            if floating(op, arrays).name not in HALVES:
                KERNELS[op.name](*arrays, **params)
                return
            wide = [None if array is None else array.astype(np.float64) for array in arrays]
            KERNELS[op.name](*wide, **params)
            first = len(op.inputs)
            for output, result in zip(arrays[first:], wide[first:], strict=True):
                if output is not None:
                    output[...] = result

    def compile(self, program: Program) -> ReferenceReplay:
        return ReferenceReplay(self, program)


class ReferenceReplay:
    """A plain loop over a program's calls."""

    def __init__(self, backend: ReferenceBackend, program: Program) -> None:
        self.backend, self.program = backend, program
        self.arrays = lay_out(program, backend)
        self.renew_lock()
        executor.locked.add(self)

    def renew_lock(self) -> None:
        """Take a lock that nobody holds."""
        self.lock = threading.Lock()

    def run(self, arrays: tuple[Any, ...]) -> None:
        external = [t.buffer for t in self.program.inputs + self.program.outputs]
        arrays_of = self.arrays | dict(zip(external, arrays, strict=True))
        with self.lock:
            for call in self.program.calls:
                views = [None if t is None else arrays_of[t.buffer].reshape(t.shape) for t in call.arguments]
                self.backend.run(call.op, views, call.dims, call.current_params())


def available() -> str | None:
    """None: NumPy is always there."""
    return None


def make() -> ReferenceBackend:
    """The backend object."""
    return ReferenceBackend()
