"""The loss of one element, and its slope, for a prediction, a target and the op's parameter (0 for ops without one).

Float64, but for exponentials and logarithms of which the arrays' type loses nothing. The Cython twin of this file is
`fastnn_ext/errors.pxd`.
"""

from __future__ import annotations

from numpy import float64

from fastnn.kernels.numba_cpu import elementary
from fastnn.kernels.numba_cpu.common import inlined


@inlined
def squared_error(x, t, _):
    """(x - t)^2."""
    e = float64(x) - float64(t)
    return e * e, 2 * e


@inlined
def absolute_error(x, t, _):
    """|x - t|, of slope 0 at 0."""
    e = float64(x) - float64(t)
    return abs(e), e if e == 0 or e != e else (1.0 if e > 0 else -1.0)


@inlined
def huber_error(x, t, delta):
    """e^2 / 2 for |e| = |x - t| <= delta, else delta (|e| - delta / 2) (Huber 1964)."""
    e = float64(x) - float64(t)
    a = abs(e)
    slope = elementary.clip(e, -delta, delta)
    return 0.5 * e * e if a <= delta else delta * (a - 0.5 * delta), slope


@inlined
def log_cosh_error(x, t, _):
    """log cosh(e), e = x - t, from m = exp(|e|) - 1: log(1 + m^2 / (2 + 2 m)), or |e| - log 2 + log(1 + 1 / (1 + m)^2).

    The first keeps all digits near 0, and 1 is where both logarithms are of numbers from 1 to 1.55. Its derivative is
    tanh(e) = m (m + 2) / (m (m + 2) + 2). From |e| = 20 on all that m adds is lost in float64.
    """
    T = type(x)
    e = float64(x) - float64(t)
    a = abs(e)
    m = float64(elementary.expm1(elementary.at_most(T(a), 20)))
    square = m * (m + 2.0)
    slope = square / (square + 2.0)
    rest = elementary.log1p(T(m * m / (2.0 + 2.0 * m) if a < 1 else 1.0 / (square + 1.0)))
    return (0.0 if a < 1 else a - 0.69314718055994531) + float64(rest), -slope if e < 0 else slope


@inlined
def hinge_error(x, t, _):
    """max(0, 1 - t x)."""
    margin = 1.0 - float64(x) * float64(t)
    excess = 0.0 if margin <= 0 else margin  # a NaN stays
    return excess, -float64(t) if excess > 0 else excess


@inlined
def squared_hinge_error(x, t, _):
    """max(0, 1 - t x)^2."""
    margin = 1.0 - float64(x) * float64(t)
    excess = 0.0 if margin <= 0 else margin
    return excess * excess, -2.0 * float64(t) * excess


@inlined
def times_log(t, p, log_p):
    """t log p, where 0 log p is 0 for every p but NaN."""
    return 0.0 if t == 0 and p == p else t * log_p


@inlined
def quotient(t, p):
    """t / p, where 0 / 0 is 0: the derivative of t log p."""
    return 0.0 if t == 0 and p == 0 else t / p


@inlined
def poisson_error(x, t, _):
    """exp(x) - t x. The exponential in float64: its difference to t or t x may be small."""
    wide, target = float64(x), float64(t)
    rate = elementary.exp(wide)
    return rate - times_log(target, rate, wide), rate - target


@inlined
def poisson_rate_error(x, t, _):
    """x - t log x."""
    rate, target = float64(x), float64(t)
    return rate - times_log(target, rate, elementary.log(rate)), 1.0 - quotient(target, rate)


@inlined
def logistic_error(x, t, _):
    """max(x, 0) - x t + log(1 + exp(-|x|)) for a logit x, and its slope sigmoid(x) - t = 1 - t - sigmoid(-x)."""
    e = elementary.exp(-abs(x))
    wide, target = float64(x), float64(t)
    value = (wide if wide > 0 else 0.0) - wide * target + elementary.log1p(e)
    tail = e / (1.0 + e)
    return value, tail - target if wide < 0 else (1.0 - target) - tail


@inlined
def log_rest(p):
    """log(1 - p), for a small p without what 1 - p would lose of it."""
    small, large = elementary.log1p(-p), elementary.log(type(p)(1) - p)
    return float64(small if abs(p) < 0.25 else large)


@inlined
def binary_error(x, t, _):
    """-t log p - (1 - t) log(1 - p), whose slope is (p - t) / (p (1 - p)); a term of weight zero is 0."""
    p, target = float64(x), float64(t)
    no, rest = 1.0 - target, 1.0 - p
    above = 1.0 if target == 0 else (-1.0 if target == 1 else p - target)
    below = rest if target == 0 else (p if target == 1 else p * rest)
    value = -times_log(target, p, float64(elementary.log(x))) - times_log(no, rest, log_rest(x))
    return value, above / below
