"""The loss of one element, and its slope: device functions of a prediction and a target, which is float64.

Exponentials and logarithms are taken in the arrays' type where neither loses anything by it; the rest is float64. The
same formulas, vectorised, are in `numba_cpu/errors.py`.
"""

from __future__ import annotations

from numpy import float64

from fastnn.kernels.numba_cuda import scalar, shim
from fastnn.kernels.numba_cuda.shim import cuda

(
    SQUARED, ABSOLUTE, HUBER, LOG_COSH, HINGE, SQUARED_HINGE, POISSON, POISSON_RATE, LOGISTIC, BINARY, CATEGORICAL,
) = range(11)  # fmt: skip


@cuda.jit(device=True)
def squared_error(x, t):
    """(x - t)^2."""
    e = float64(x) - t
    return e * e, 2.0 * e


@cuda.jit(device=True)
def absolute_error(x, t):
    """|x - t|, of slope 0 at 0."""
    e = float64(x) - t
    return abs(e), (1.0 if e > 0.0 else -1.0) if e != 0.0 and e == e else e


@cuda.jit(device=True)
def huber_error(x, t, delta):
    """e^2 / 2 for |e| = |x - t| <= delta, else delta (|e| - delta / 2) (Huber 1964)."""
    e = float64(x) - t
    a = abs(e)
    return 0.5 * e * e if a <= delta else delta * (a - 0.5 * delta), scalar.clip(e, -delta, delta)


@cuda.jit(device=True)
def log_cosh_error(x, t):
    """log cosh(e), e = x - t, from m = exp(|e|) - 1: log(1 + m^2 / (2 + 2 m)), or |e| - log 2 + log(1 + 1 / (1 + m)^2).

    The first keeps all digits near 0. The derivative is tanh(e) = m (m + 2) / (m (m + 2) + 2).
    """
    T = type(x)
    e = float64(x) - t
    a = abs(e)
    m = float64(shim.expm1(T(scalar.at_most(a, 20.0))))
    square = m * (m + 2.0)
    slope = square / (square + 2.0)
    rest = float64(shim.log1p(T(m * m / (2.0 + 2.0 * m) if a < 1.0 else 1.0 / (square + 1.0))))
    return rest if a < 1.0 else a - 0.69314718055994531 + rest, -slope if e < 0.0 else slope


@cuda.jit(device=True)
def excess(x, t):
    """max(0, 1 - t x); a NaN stays."""
    margin = 1.0 - float64(x) * t
    return 0.0 if margin <= 0.0 else margin


@cuda.jit(device=True)
def times_log(t, p, log_p):
    """t log p, where 0 log p is 0 for every p but NaN."""
    return 0.0 if t == 0.0 and p == p else t * log_p


@cuda.jit(device=True)
def quotient(t, p):
    """t / p, where 0 / 0 is 0: the derivative of t log p."""
    return 0.0 if t == 0.0 and p == 0.0 else t / p


@cuda.jit(device=True)
def poisson_error(x, t):
    """exp(x) - t x. The exponential in float64: its difference to t or t x may be small."""
    rate = shim.exp(float64(x))
    return rate - times_log(t, rate, float64(x)), rate - t


@cuda.jit(device=True)
def poisson_rate_error(x, t):
    """x - t log x."""
    rate = float64(x)
    return rate - times_log(t, rate, shim.log(rate)), 1.0 - quotient(t, rate)


@cuda.jit(device=True)
def logistic_error(x, t):
    """max(x, 0) - x t + log(1 + exp(-|x|)) for a logit x, and its slope sigmoid(x) - t."""
    T = type(x)
    e = shim.exp(-abs(x))
    wide = float64(x)
    value = (0.0 if wide < 0.0 else wide) - wide * t + float64(shim.log1p(e))
    tail = float64(e / (T(1) + e))
    return value, tail - t if wide < 0.0 else (1.0 - t) - tail


@cuda.jit(device=True)
def binary_error(x, t):
    """-t log p - (1 - t) log(1 - p), whose slope is (p - t) / (p (1 - p)); a term of weight zero is 0."""
    p = float64(x)
    no, rest = 1.0 - t, 1.0 - p
    value = -times_log(t, p, float64(shim.log(x))) - times_log(no, rest, float64(shim.log1p(-x)))
    above = 1.0 if t == 0.0 else (-1.0 if t == 1.0 else p - t)
    below = rest if t == 0.0 else (p if t == 1.0 else p * rest)
    return value, above / below


@cuda.jit(device=True)
def error(kind, x, t, delta):
    """The loss of one element and its slope."""
    if kind == SQUARED:
        return squared_error(x, t)
    if kind == ABSOLUTE:
        return absolute_error(x, t)
    if kind == HUBER:
        return huber_error(x, t, delta)
    if kind == LOG_COSH:
        return log_cosh_error(x, t)
    if kind == HINGE:
        h = excess(x, t)
        return h, -t if h > 0.0 else h
    if kind == SQUARED_HINGE:
        h = excess(x, t)
        return h * h, -2.0 * t * h
    if kind == POISSON:
        return poisson_error(x, t)
    if kind == POISSON_RATE:
        return poisson_rate_error(x, t)
    if kind == LOGISTIC:
        return logistic_error(x, t)
    if kind == BINARY:
        return binary_error(x, t)
    return -times_log(t, float64(x), float64(shim.log(x))), -quotient(t, float64(x))
