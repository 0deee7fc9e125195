"""Layer and batch normalisation with their gradients. Rules as in backends/reference.py.

Threads share rows where rows are normalised and blocks of columns where columns are, so that no sum is cut. Statistics
and differences from the mean are float64: in float32 a mean far from 0 would swallow the spread around it.
"""

from __future__ import annotations

from math import sqrt

from numpy import float64, uint64

from fastnn.kernels.numba_cpu.common import BLOCK, doubles, inlined, kernel, share, share_rows, summing
from fastnn.kernels.numba_cpu.reductions import row_sum


@summing
def _squared_deviations(x, i, mean):
    """Sum of (x - mean)^2 over row i of x (b,c)."""
    total = 0.0
    for j in range(x.shape[1]):
        d = float64(x[i, j]) - mean
        total += d * d
    return total


@kernel
def layer_norm(x, gamma, beta, y, mean, rstd, epsilon, part, parts):
    """x (b,c), gamma (c)?, beta (c)? -> y (b,c), mean (b)?, rstd (b)?"""
    T = x.dtype.type
    c = x.shape[1]
    scaled, shifted = gamma.size > 0, beta.size > 0
    start, stop = share_rows(x.shape[0], part, parts)
    for i in range(start, stop):
        m = row_sum(x, i) / c
        r = 1.0 / sqrt(_squared_deviations(x, i, m) / c + epsilon)
        for j in range(c):
            v = T((float64(x[i, j]) - m) * r)
            v = v * gamma[j] if scaled else v
            y[i, j] = v + beta[j] if shifted else v
        if mean.size > 0:
            mean[i] = m
        if rstd.size > 0:
            rstd[i] = r


@summing
def _row_averages(dy, x, gamma, i, mean, rstd):
    """Averages of g = dy gamma and of g (x - mean) rstd over row i."""
    total, product = 0.0, 0.0
    scaled = gamma.size > 0
    for j in range(x.shape[1]):
        g = float64(dy[i, j])
        g = g * gamma[j] if scaled else g
        total += g
        product += g * ((float64(x[i, j]) - mean) * rstd)
    return total / x.shape[1], product / x.shape[1]


@inlined
def _gradient_sums(dy, x, mean, rstd, by_row, products, sums, first, last):
    """Sums over the rows of dy (x - mean) rstd and of dy, for the columns from first to last."""
    for j in range(first, last):
        products[j] = 0.0
        sums[j] = 0.0
    for i in range(x.shape[0]):
        for j in range(first, last):
            k = uint64(i) if by_row else j
            g = float64(dy[i, j])
            products[j] += g * ((float64(x[i, j]) - mean[k]) * rstd[k])
            sums[j] += g


@inlined
def _store(total, y, first, last):
    """y = total for the columns from first to last, unless y is absent."""
    if y.size > 0:
        for j in range(first, last):
            y[j] = total[j]


@kernel
def layer_norm_backward(dy, x, gamma, mean, rstd, dx, dgamma, dbeta, workspace, part, parts):
    """dy (b,c), x (b,c), gamma (c)?, mean (b), rstd (b) -> dx (b,c)?, dgamma (c)?, dbeta (c)?"""
    b, c = x.shape
    scaled = gamma.size > 0
    if dx.size > 0:
        start, stop = share_rows(b, part, parts)
        for i in range(start, stop):
            m, r = float64(mean[i]), float64(rstd[i])
            average, slope = _row_averages(dy, x, gamma, i, m, r)
            for j in range(c):
                g = float64(dy[i, j])
                g = g * gamma[j] if scaled else g
                dx[i, j] = r * (g - average - (float64(x[i, j]) - m) * r * slope)
    if dgamma.size > 0 or dbeta.size > 0:
        numbers = doubles(workspace)
        products, sums = numbers[:c], numbers[c : 2 * c]
        first, last = share(c, part, parts)
        _gradient_sums(dy, x, mean, rstd, True, products, sums, first, last)
        _store(products, dgamma, first, last)
        _store(sums, dbeta, first, last)


@inlined
def _scale_columns(x, mean, scale, shift, y, start, stop, first, last):
    """y = (x - mean) scale + shift in the rows from start to stop and the columns from first to last."""
    for i in range(start, stop):
        for j in range(first, last):
            y[i, j] = (float64(x[i, j]) - mean[j]) * scale[j] + shift[j]


@kernel
def batch_norm(
    x, gamma, beta, moving_mean, moving_variance, y, mean, rstd, workspace, momentum, epsilon, part, parts
):  # fmt: skip
    """x (b,c), gamma (c)?, beta (c)?, moving_mean (c), moving_variance (c) -> y (b,c), mean (c)?, rstd (c)?"""
    b, c = x.shape
    numbers = doubles(workspace)
    center, scale, shift = numbers[:c], numbers[c : 2 * c], numbers[2 * c : 3 * c]
    start, stop = share(c, part, parts)
    for first in range(start, stop, BLOCK):
        last = min(first + uint64(BLOCK), stop)
        for j in range(first, last):
            center[j] = 0.0
            scale[j] = 0.0
        for i in range(b):
            for j in range(first, last):
                center[j] += float64(x[i, j])
        for j in range(first, last):
            center[j] /= b
        for i in range(b):
            for j in range(first, last):
                d = float64(x[i, j]) - center[j]
                scale[j] += d * d
        for j in range(first, last):
            variance = scale[j] / b
            moving_mean[j] = momentum * moving_mean[j] + (1.0 - momentum) * center[j]
            moving_variance[j] = momentum * moving_variance[j] + (1.0 - momentum) * variance
            scale[j] = 1.0 / sqrt(variance + epsilon)
            shift[j] = beta[j] if beta.size > 0 else 0.0
        _store(center, mean, first, last)
        _store(scale, rstd, first, last)
        if gamma.size > 0:
            for j in range(first, last):
                scale[j] *= gamma[j]
        _scale_columns(x, center, scale, shift, y, 0, b, first, last)


@kernel
def batch_norm_backward(dy, x, gamma, mean, rstd, dx, dgamma, dbeta, workspace, part, parts):
    """dy (b,c), x (b,c), gamma (c)?, mean (c), rstd (c) -> dx (b,c)?, dgamma (c)?, dbeta (c)?"""
    b, c = x.shape
    numbers = doubles(workspace)
    products, sums, scale = numbers[:c], numbers[c : 2 * c], numbers[2 * c : 3 * c]
    start, stop = share(c, part, parts)
    for first in range(start, stop, BLOCK):
        last = min(first + uint64(BLOCK), stop)
        _gradient_sums(dy, x, mean, rstd, False, products, sums, first, last)
        _store(products, dgamma, first, last)
        _store(sums, dbeta, first, last)
        if dx.size == 0:
            continue
        for j in range(first, last):
            sums[j] /= b
            products[j] = products[j] / b * rstd[j]
            scale[j] = float64(rstd[j]) * gamma[j] if gamma.size > 0 else float64(rstd[j])
        for i in range(b):
            for j in range(first, last):
                dx[i, j] = scale[j] * (float64(dy[i, j]) - sums[j] - (float64(x[i, j]) - mean[j]) * products[j])


@kernel
def batch_norm_inference(x, gamma, beta, moving_mean, moving_variance, y, workspace, epsilon, part, parts):
    """x (b,c), gamma (c)?, beta (c)?, moving_mean (c), moving_variance (c) -> y (b,c)"""
    b, c = x.shape
    numbers = doubles(workspace)[3 * c * part :]  # each thread has its own
    center, scale, shift = numbers[:c], numbers[c : 2 * c], numbers[2 * c : 3 * c]
    for j in range(c):
        center[j] = moving_mean[j]
        scale[j] = 1.0 / sqrt(float64(moving_variance[j]) + epsilon)
        shift[j] = beta[j] if beta.size > 0 else 0.0
        if gamma.size > 0:
            scale[j] *= gamma[j]
    start, stop = share_rows(b, part, parts)
    _scale_columns(x, center, scale, shift, y, start, stop, uint64(0), uint64(c))


KERNELS = {
    "layer_norm": layer_norm, "layer_norm_backward": layer_norm_backward, "batch_norm": batch_norm,
    "batch_norm_backward": batch_norm_backward, "batch_norm_inference": batch_norm_inference,
}  # fmt: skip
WORKSPACE = {
    "layer_norm_backward": lambda dims, params, itemsize, parts: 16 * dims["c"],
    "batch_norm": lambda dims, params, itemsize, parts: 24 * dims["c"],
    "batch_norm_backward": lambda dims, params, itemsize, parts: 24 * dims["c"],
    "batch_norm_inference": lambda dims, params, itemsize, parts: 24 * dims["c"] * parts,
}
