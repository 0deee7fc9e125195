"""The activations' formulas and their gradients, in terms of what `table.SAVED` names: the output y or the input x.

Errors are at most 3 ulp, 4 for `gelu`, `gelu_tanh` and `silu`, tails and subnormal results included. The Cython twin of
this file is `fastnn_ext/scalar.pxd`.
"""

from __future__ import annotations

from fastnn.kernels.numba_cpu.bits import head, is_single, with_sign
from fastnn.kernels.numba_cpu.common import inlined
from fastnn.kernels.numba_cpu.elementary import at_most, clip, exp_minus, exp_scaled, expm1, log1p, normal_tail


@inlined
def relu(x):
    """max(x, 0)."""
    return type(x)(0) if x < 0 else x


@inlined
def relu_backward(dy, y):
    return type(dy)(0) if y <= 0 else dy


@inlined
def leaky_relu(x, alpha):
    """x, or alpha x where x is negative."""
    return x * alpha if x < 0 else x


@inlined
def leaky_relu_backward(dy, y, alpha):
    return dy * alpha if y <= 0 else dy


@inlined
def elu(x, alpha):
    """x, or alpha (exp(x) - 1) where x is negative (Clevert, Unterthiner and Hochreiter 2016)."""
    negative = alpha * expm1(x)
    return negative if x < 0 else x


@inlined
def elu_backward(dy, y, alpha):
    return dy * (y + alpha) if y <= 0 else dy


@inlined
def within_tail(a, y):
    """y, but 0 for a beyond which even a times the normal distribution's tail at a rounds to 0."""
    T = type(y)
    return T(0) if a > T(14.6 if is_single(y) else 39.0) else y


@inlined
def gelu(x):
    """x Phi(x) = max(x, 0) - |x| Q(|x|), Q the upper tail of the normal distribution (Hendrycks and Gimpel 2016)."""
    a = abs(x)
    quotient, bell, scale = normal_tail(a)
    return relu(x) - within_tail(a, a * quotient * bell) * scale


@inlined
def gelu_backward(dy, x):
    """dy (Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi))."""
    T = type(x)
    a = abs(x)
    quotient, bell, scale = normal_tail(a)
    tail = within_tail(a, (quotient - a * T(0.39894228040143268)) * bell) * scale
    return dy * (tail if x < 0 else T(1) - tail)


@inlined
def sigmoid(x):
    """1 / (1 + exp(-x)), with the exponential of a negative number only."""
    T = type(x)
    e = exp_minus(abs(x))
    return (e if x < 0 else T(1)) / (T(1) + e)


@inlined
def sigmoid_backward(dy, y):
    return dy * y * (type(y)(1) - y)


@inlined
def gated(x, a, high, low):
    """x sigmoid(z) for z of x's sign, |z| = high + low, and a = |x| or, where the result is 0 or x, less."""
    y, scale = exp_scaled(-(high + low), -high, -low)
    return (-(a * y) * scale if x < 0 else x) / (type(x)(1) + y * scale)


@inlined
def gated_backward(x, a, high, low, slope):
    """s + |x| s (1 - s) slope for s = sigmoid(z): the derivative of x s, if `slope` is that of z times x's sign."""
    T = type(x)
    y, scale = exp_scaled(-(high + low), -high, -low)
    e = y * scale
    s = T(1) / (T(1) + e)
    return (e * s if x < 0 else s) + a * y * slope * s * s * scale


@inlined
def silu(x):
    """x sigmoid(x) (Elfwing, Uchibe and Doya 2018)."""
    a = at_most(abs(x), 110 if is_single(x) else 760)  # beyond, |x| exp(-|x|) is 0
    return gated(x, a, a, type(x)(0))


@inlined
def silu_backward(dy, x):
    """dy (s + x s (1 - s)), s = sigmoid(x)."""
    T = type(x)
    a = at_most(abs(x), 110 if is_single(x) else 760)
    return dy * gated_backward(x, a, a, T(0), with_sign(T(1), x))


@inlined
def gelu_tanh_argument(a):
    """2 u = sqrt(8 / pi) (a + 0.044715 a^3) for 0 <= a <= 22, in two parts.

    Its rounding error in one part would be multiplied by up to 100 (700 in float64) in the exponential.
    """
    T = type(a)
    h = head(a)
    square = head(h * h)
    rest = (h * h - square) + (a - h) * (a + h)  # a^2 = square + rest
    if is_single(a):
        product = square * T(0.07135009765625)  # 12 digits, so that the product is exact
        rest = rest * T(0.07135009765625) + a * a * T(4.7186163502487763388e-6)
        rest = rest - T(4.534068042105271576e-8)
        base = T(1.5957691669464111)
    else:
        product = square * T(0.071354815736413002014)  # 26 digits
        rest = rest * T(0.071354815736413002014) + a * a * T(5.3618724676217859603e-10)
        rest = rest - T(9.9693088091109203146e-17)
        base = T(1.5957691216057308)
    w = base + product
    part = w - base
    rest = rest + ((base - (w - part)) + (product - part))  # 2 u / a = w + rest (Knuth's two-sum)
    square = head(w)
    return h * square, a * (rest + (w - square)) + (a - h) * square


@inlined
def gelu_tanh(x):
    """x (1 + tanh(u)) / 2 = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    a = at_most(abs(x), 11.5 if is_single(x) else 22.0)  # beyond, |x| exp(-2 |u|) is 0
    high, low = gelu_tanh_argument(a)
    return gated(x, a, high, low)


@inlined
def gelu_tanh_backward(dy, x):
    """dy (s + x s (1 - s) 2 u'), s = sigmoid(2 u), 2 u' = sqrt(8 / pi) (1 + 3 * 0.044715 x^2)."""
    T = type(x)
    a = at_most(abs(x), 11.5 if is_single(x) else 22.0)
    high, low = gelu_tanh_argument(a)
    slope = T(1.5957691216057308) + a * a * T(0.2140644488178007463)
    return dy * gated_backward(x, a, high, low, with_sign(slope, x))


@inlined
def tanh(x):
    """e / (e + 2), e = exp(2 |x|) - 1, with x's sign."""
    T = type(x)
    e = expm1(T(2) * at_most(abs(x), 22))  # beyond, 1
    return with_sign(e / (e + T(2)), x)


@inlined
def tanh_backward(dy, y):
    T = type(y)
    return dy * ((T(1) - y) * (T(1) + y))  # 1 - y^2 would lose its digits near 1


@inlined
def softplus(x):
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))."""
    return (x if x > 0 else type(x)(0)) + log1p(exp_minus(abs(x)))


@inlined
def softplus_backward(dy, y):
    """dy sigmoid(x) = dy (1 - exp(-y))."""
    return dy * -expm1(-y)


@inlined
def selu(x):
    """1.0507 x, or 1.0507 * 1.6733 (exp(x) - 1) where x is negative (Klambauer et al. 2017)."""
    T = type(x)
    negative = T(1.7580993408473769) * expm1(x)
    return negative if x < 0 else T(1.0507009873554805) * x


@inlined
def selu_backward(dy, y):
    T = type(y)
    return dy * (y + T(1.7580993408473769) if y <= 0 else T(1.0507009873554805))


@inlined
def softsign(x):
    """x / (1 + |x|)."""
    T = type(x)
    a = at_most(abs(x), 1e18)  # from 1e16 (1e8) on 1; infinity / infinity is NaN
    return with_sign(a / (T(1) + a), x)


@inlined
def softsign_backward(dy, x):
    """dy / (1 + |x|)^2."""
    s = type(x)(1) + abs(x)
    return dy / (s * s)


@inlined
def hard_sigmoid(x):
    """min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)."""
    T = type(x)
    return clip(x + T(3), 0, 6) * T(0.16666666666666667)  # times 6 it is rounded to 1


@inlined
def hard_sigmoid_backward(dy, y):
    T = type(y)
    dx = T(0) if y <= 0 else dy * T(0.16666666666666667)
    return T(0) if y >= 1 else dx


@inlined
def hard_swish(x):
    """x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019); -3 * 0 from -3 down, for minus infinity too."""
    return (type(x)(-3) if x < -3 else x) * hard_sigmoid(x)


@inlined
def hard_swish_backward(dy, x):
    """dy (2 x + 3) / 6 between -3 and 3."""
    T = type(x)
    slope = (x + x + T(3)) * T(0.16666666666666667)
    slope = T(0) if x <= -3 else slope
    return dy * (T(1) if x >= 3 else slope)


@inlined
def mish(x):
    """x tanh(log(1 + exp(x))) (Misra 2019).

    With e = exp(-|x|) the tanh is (1 + 2 e) / (1 + 2 e + 2 e^2), and e (e + 2) / (e (e + 2) + 2) for negative x.
    """
    T = type(x)
    a = at_most(abs(x), 110 if is_single(x) else 760)  # beyond, |x| exp(-|x|) is 0
    y, scale = exp_scaled(-a, -a, T(-0.0))
    e = y * scale
    n = -(a * y) * (e + T(2)) if x < 0 else x * (T(1) + T(2) * e)
    d = e * (e + T(2)) + T(2) if x < 0 else T(1) + T(2) * e * (T(1) + e)
    return n / d * (scale if x < 0 else T(1))


@inlined
def mish_backward(dy, x):
    """dy (w + x w'), with e = exp(-|x|) and w = n / d as in `mish`: w' = 4 e^2 (1 + e) / d^2, 4 e (1 + e) / d^2."""
    T = type(x)
    a = at_most(abs(x), 110 if is_single(x) else 760)
    y, scale = exp_scaled(-a, -a, T(-0.0))
    e = y * scale
    d = e * (e + T(2)) + T(2) if x < 0 else T(1) + T(2) * e * (T(1) + e)
    n = (e + T(2)) * d if x < 0 else (T(1) + T(2) * e) * d
    a = T(4) * a * (T(1) + e)
    n = y * (n - a) * scale if x < 0 else n + a * e * e
    return dy * (n / (d * d))
