"""Scalar formulas, in float32 and float64: device functions that kernels call.

Exponentials and logarithms are libdevice's. Where a rounding error inside an exponential would be multiplied by its
argument, up to a hundredfold, the argument is carried in two parts; products are split exactly by fused multiply-add
(Ogita, Rump and Oishi, Accurate sum and dot product, 2005). Errors are at most 4 ulp, NaN propagates, infinities have
their limits, subnormal results are kept. The same formulas, vectorised, are in `numba_cpu/scalar.py`.

A bare literal would turn float32 arithmetic into that of float64: hence ``T(1)`` with ``T = type(x)``.
"""

from __future__ import annotations

import numpy as np

from fastnn.kernels.numba_cuda.shim import cuda, exp, expm1, log1p, pow, tanh
from fastnn.table import ACTIVATIONS

(
    LINEAR, RELU, LEAKY_RELU, ELU, GELU, GELU_TANH, SILU, SIGMOID, TANH, SOFTPLUS,
    SELU, SOFTSIGN, HARD_SIGMOID, HARD_SWISH, MISH,
) = range(len(ACTIVATIONS))  # fmt: skip

# --- building blocks -------------------------------------------------------------------------------------


@cuda.jit(device=True)
def is_single(x):
    """Whether x is a float32; known when a kernel is compiled."""
    T = type(x)
    return T(1) + T(1e-12) == T(1)


@cuda.jit(device=True)
def at_most(x, high):
    """min(x, high); a NaN stays."""
    T = type(x)
    return T(high) if x > T(high) else x


@cuda.jit(device=True)
def clip(x, low, high):
    """x between two limits; a NaN stays."""
    T = type(x)
    return at_most(T(low) if x < T(low) else x, high)


@cuda.jit(device=True)
def two_product(a, b):
    """a b as the sum of two numbers, exactly."""
    high = a * b
    return high, cuda.fma(a, b, -high)


@cuda.jit(device=True)
def two_sum(a, b):
    """a + b as the sum of two numbers, exactly (Knuth)."""
    high = a + b
    back = high - a
    return high, (a - (high - back)) + (b - back)


@cuda.jit(device=True)
def exp_scaled(high, low):
    """exp(high + low) / scale, and scale: multiplied by it last, a subnormal result is rounded only once.

    The scale is exp(-64), in float64 exp(-512); 64 and 512 can be added to such arguments without rounding.
    """
    T = type(high)
    least, factor = (T(-64), T(1.603810890548638e-28)) if is_single(high) else (T(-512), T(4.377491037053051e-223))
    deep = high < least
    y = exp(high - least if deep else high)
    return y + y * low, factor if deep else T(1)


@cuda.jit(device=True)
def exp_difference(x, y):
    """exp(x - y) for x <= y, with the rounding error of the difference: it may reach 32 ulp."""
    T = type(x)
    high, low = two_sum(x, -y)
    e = exp(high)
    return e + e * low if high > T(-110 if is_single(x) else -760) else e


@cuda.jit(device=True)
def power(x, y):
    """x^y, in float64: the error of libdevice's float32 version reaches 4 ulp."""
    return type(x)(pow(np.float64(x), np.float64(y)))


@cuda.jit(device=True)
def quartic(x, c0, c1, c2, c3, c4):
    """c0 + c1 x + c2 x^2 + c3 x^3 + c4 x^4."""
    T = type(x)
    return T(c0) + x * (T(c1) + x * (T(c2) + x * (T(c3) + x * T(c4))))


@cuda.jit(device=True)
def normal_tail(x):
    """Upper tail of the normal distribution at x >= 0 and exp(-x^2 / 2), both to be multiplied by the scale returned.

    The tail is exp(-x^2 / 2) p(x), p(x) = P(t) / (x + 4) with t = (x - 4) / (x + 4) and coefficients of P from
    tools/fit_polynomials.py. What x + 4 loses by rounding is made good with p'(x) = x p(x) - 1 / sqrt(2 pi).
    """
    T = type(x)
    s, lost = two_sum(x, T(4))
    reciprocal = T(1) / s
    t = (s - T(8)) * reciprocal
    square, rest = two_product(x, x)
    bell, scale = exp_scaled(T(-0.5) * square, T(-0.5) * rest)
    if is_single(x):
        p = T(0.0001697124776) + t * (T(-0.0002340460188) + t * T(-0.00005242546261))
        p = quartic(t, 0.06039734142, -0.007545272732, -0.003488328264, 0.001646088194, p)
        p = quartic(t, 0.7552851305, -0.607896658, 0.3871373795, -0.1865213017, p)
    else:
        p = T(1.91827702037334026e-9) + t * (T(-2.52209945787807354e-9) + t * T(-7.2624198104095793e-10))
        p = T(1.96196108613555597e-8) + t * p
        p = quartic(
            t, 2.71804529625928358e-7, -1.54964917422474505e-7, -8.54084181568512498e-8, 1.32807977873103278e-8, p
        )
        p = quartic(
            t, 7.16666324522103119e-7, -5.92017332301610292e-6, -6.29696560581582333e-7, 1.02155403719610153e-6, p
        )
        p = quartic(
            t, 1.33344312409645737e-4, -2.31094935169459014e-4, -1.90825847977343311e-6, 3.5144686053003463e-5, p
        )
        p = quartic(
            t, 0.0603965748909365607, -0.00754018896672679157, -0.00347969236739359515, 0.00163081845758870119, p
        )
        p = quartic(t, 0.755285130415751493, -0.607896641971892108, 0.387137400742214541, -0.186521857959657247, p)
    p *= reciprocal
    return bell * (p + lost * (x * p - T(0.39894228040143268))), bell, scale


# --- activations and their gradients ---------------------------------------------------------------------
# Gradients are written in terms of what table.SAVED names: the output y or the input x.


@cuda.jit(device=True)
def relu(x):
    """max(x, 0)."""
    T = type(x)
    return T(0) if x < T(0) else x


@cuda.jit(device=True)
def relu_backward(dy, y):
    T = type(y)
    return T(0) if y <= T(0) else dy


@cuda.jit(device=True)
def leaky_relu(x, alpha):
    """x, or alpha x where x is negative."""
    return x * alpha if x < type(x)(0) else x


@cuda.jit(device=True)
def leaky_relu_backward(dy, y, alpha):
    return dy * alpha if y <= type(y)(0) else dy


@cuda.jit(device=True)
def elu(x, alpha):
    """x, or alpha (exp(x) - 1) where x is negative (Clevert, Unterthiner and Hochreiter 2016)."""
    return alpha * expm1(x) if x < type(x)(0) else x


@cuda.jit(device=True)
def elu_backward(dy, y, alpha):
    return dy * (y + alpha) if y <= type(y)(0) else dy


@cuda.jit(device=True)
def gelu(x):
    """x Phi(x) = max(x, 0) - |x| Q(|x|), Q the upper tail of the normal distribution (Hendrycks and Gimpel 2016)."""
    a = at_most(abs(x), 14.6 if is_single(x) else 39.0)  # beyond, |x| Q(|x|) is 0
    tail, _, scale = normal_tail(a)
    tail = a * tail * scale
    return -tail if x < type(x)(0) else x - tail


@cuda.jit(device=True)
def gelu_backward(dy, x):
    """dy (Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi))."""
    T = type(x)
    a = at_most(abs(x), 14.6 if is_single(x) else 39.0)
    tail, bell, scale = normal_tail(a)
    tail *= scale
    slope = bell * scale * a * T(0.39894228040143268)
    return dy * (tail - slope if x < T(0) else T(1) - tail + slope)


@cuda.jit(device=True)
def sigmoid(x):
    """1 / (1 + exp(-x)), with the exponential of a negative number only."""
    T = type(x)
    e = exp(-abs(x))
    return (e if x < T(0) else T(1)) / (T(1) + e)


@cuda.jit(device=True)
def sigmoid_slope(x):
    """s (1 - s), s = sigmoid(x)."""
    T = type(x)
    e = exp(-abs(x))
    return e / ((T(1) + e) * (T(1) + e))


@cuda.jit(device=True)
def sigmoid_backward(dy, y):
    return dy * y * (type(y)(1) - y)


@cuda.jit(device=True)
def gated(x, a, high, low):
    """x / (1 + exp(-z)) for z of x's sign, -|z| = high + low, and a = |x| or, where the result is 0 or x, less."""
    T = type(x)
    y, scale = exp_scaled(high, low)
    return (-(a * y) * scale if x < T(0) else x) / (T(1) + y * scale)


@cuda.jit(device=True)
def silu(x):
    """x sigmoid(x) (Elfwing, Uchibe and Doya 2018)."""
    a = at_most(abs(x), 110.0 if is_single(x) else 760.0)  # beyond, |x| exp(-|x|) is 0
    return gated(x, a, -a, type(x)(0))


@cuda.jit(device=True)
def silu_backward(dy, x):
    """dy s (1 + x (1 - s)), s = sigmoid(x)."""
    return dy * (sigmoid(x) + clip(x, -1000.0, 1000.0) * sigmoid_slope(x))


@cuda.jit(device=True)
def gelu_tanh(x):
    """x (1 + tanh(u)) / 2 = x sigmoid(2 u), where 2 u = x w and w = sqrt(8 / pi) (1 + 0.044715 x^2), in two parts."""
    T = type(x)
    a = at_most(abs(x), 11.5 if is_single(x) else 22.0)  # beyond, |x| exp(-2 |u|) is 0
    square, square_low = two_product(a, a)
    product, product_low = two_product(T(0.07135481627260025), square)
    w, w_low = two_sum(T(1.5957691216057308), product)
    w_low += product_low + T(0.07135481627260025) * square_low
    if is_single(x):  # what the constants lose by rounding
        w_low += square * T(2.3988324659995897e-09) - T(4.534068054340423e-08)
    else:
        w_low -= square * T(6.175149918155315e-19) + T(9.96930880911092e-17)
    z, z_low = two_product(a, w)
    return gated(x, a, -z, -(z_low + a * w_low))


@cuda.jit(device=True)
def gelu_tanh_backward(dy, x):
    """dy (s + x s (1 - s) w'), s = sigmoid(2 u), w' = sqrt(8 / pi) (1 + 3 * 0.044715 x^2)."""
    T = type(x)
    a = clip(x, -40.0, 40.0)
    square = a * a * T(0.07135481627260025)
    z = a * (T(1.5957691216057308) + square)
    return dy * (sigmoid(z) + a * sigmoid_slope(z) * (T(1.5957691216057308) + T(3) * square))


@cuda.jit(device=True)
def tanh_backward(dy, y):
    T = type(y)
    return dy * ((T(1) - y) * (T(1) + y))


@cuda.jit(device=True)
def softplus(x):
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))."""
    T = type(x)
    return (T(0) if x < T(0) else x) + log1p(exp(-abs(x)))


@cuda.jit(device=True)
def softplus_backward(dy, y):
    """dy sigmoid(x) = dy (1 - exp(-y))."""
    return dy * -expm1(-y)


@cuda.jit(device=True)
def selu(x):
    """1.0507 x, or 1.0507 * 1.6733 (exp(x) - 1) where x is negative (Klambauer et al. 2017)."""
    T = type(x)
    return T(1.7580993408473769) * expm1(x) if x < T(0) else T(1.0507009873554805) * x


@cuda.jit(device=True)
def selu_backward(dy, y):
    T = type(y)
    return dy * (y + T(1.7580993408473769) if y <= T(0) else T(1.0507009873554805))


@cuda.jit(device=True)
def softsign(x):
    """x / (1 + |x|)."""
    x = clip(x, -1e18, 1e18)  # from 1e16 (1e8) on 1; infinity / infinity is NaN
    return x / (type(x)(1) + abs(x))


@cuda.jit(device=True)
def softsign_backward(dy, x):
    """dy / (1 + |x|)^2."""
    s = type(x)(1) + abs(x)
    return dy / (s * s)


@cuda.jit(device=True)
def hard_sigmoid(x):
    """min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)."""
    T = type(x)
    return clip(x + T(3), 0, 6) * T(0.16666666666666667)  # times 6 it is rounded to 1


@cuda.jit(device=True)
def hard_sigmoid_backward(dy, y):
    T = type(y)
    return T(0) if y <= T(0) or y >= T(1) else dy * T(0.16666666666666667)


@cuda.jit(device=True)
def hard_swish(x):
    """x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019); -3 * 0 from -3 down, for minus infinity too."""
    T = type(x)
    return (T(-3) if x < T(-3) else x) * hard_sigmoid(x)


@cuda.jit(device=True)
def hard_swish_backward(dy, x):
    """dy (2 x + 3) / 6 between -3 and 3."""
    T = type(x)
    slope = (x + x + T(3)) * T(0.16666666666666667)
    slope = T(0) if x <= T(-3) else slope
    return dy * (T(1) if x >= T(3) else slope)


@cuda.jit(device=True)
def mish(x):
    """x tanh(log(1 + exp(x))) (Misra 2019).

    With e = exp(-|x|) the tanh is (1 + 2 e) / (1 + 2 e + 2 e^2), and e (e + 2) / (e (e + 2) + 2) for negative x.
    """
    T = type(x)
    a = at_most(abs(x), 110.0 if is_single(x) else 760.0)  # beyond, |x| exp(-|x|) is 0
    y, scale = exp_scaled(-a, T(0))
    e = y * scale
    if x < T(0):
        return -(a * y) * (e + T(2)) / (e * (e + T(2)) + T(2)) * scale
    return x * (T(1) + T(2) * e) / (T(1) + T(2) * e * (T(1) + e))


@cuda.jit(device=True)
def mish_backward(dy, x):
    """dy (w + x w'), with e = exp(-|x|) and w = n / d as in `mish`: w' = 4 e^2 (1 + e) / d^2, 4 e (1 + e) / d^2."""
    T = type(x)
    a = at_most(abs(x), 110.0 if is_single(x) else 760.0)
    e = exp(-a)
    rest = T(4) * a * (T(1) + e)
    if x < T(0):
        d = e * (e + T(2)) + T(2)
        return dy * (e * ((e + T(2)) * d - rest) / (d * d))
    d = T(1) + T(2) * e * (T(1) + e)
    return dy * (((T(1) + T(2) * e) * d + rest * e * e) / (d * d))


@cuda.jit(device=True)
def activate(code, x, alpha):
    """f(x) for the activation with this position in table.ACTIVATIONS."""
    if code == RELU:
        return relu(x)
    if code == LEAKY_RELU:
        return leaky_relu(x, alpha)
    if code == ELU:
        return elu(x, alpha)
    if code == GELU:
        return gelu(x)
    if code == GELU_TANH:
        return gelu_tanh(x)
    if code == SILU:
        return silu(x)
    if code == SIGMOID:
        return sigmoid(x)
    if code == TANH:
        return tanh(x)
    if code == SOFTPLUS:
        return softplus(x)
    if code == SELU:
        return selu(x)
    if code == SOFTSIGN:
        return softsign(x)
    if code == HARD_SIGMOID:
        return hard_sigmoid(x)
    if code == HARD_SWISH:
        return hard_swish(x)
    if code == MISH:
        return mish(x)
    return x
