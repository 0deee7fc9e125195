"""Scalar formulas, in float32 and float64, written so that LLVM vectorises the loop around them.

No branches (a conditional expression becomes a blend), no calls, no tables. NaN propagates, infinities have their
limits, subnormal results are kept. Errors are at most 2 ulp, 4 for `gelu`, `gelu_tanh` and `silu`. Nothing relies on
fused multiply-add, and none of the error terms is harmed by it: where rounding errors matter, products are exact.

Coefficients are from `tools/fit_polynomials.py`; the Cython twin of this file is `fastnn_ext/scalar.pxd`. Numba takes
a bare literal for a float64 or an int64, which would turn the arithmetic of float32 into that of float64: hence
``T(1)`` with ``T = type(x)``.
"""

from __future__ import annotations

from numpy import inf, nan

from fastnn.kernels.numba_cpu.bits import exponent, head, is_single, shifted_power_of_two, significand, with_sign
from fastnn.kernels.numba_cpu.common import inlined

# --- building blocks -------------------------------------------------------------------------------------


@inlined
def power_of_two(n):
    """2^n for an integer n within the range of normal exponents."""
    T = type(n)
    if is_single(n):
        return shifted_power_of_two(n + T(12583039.0))  # 1.5 * 2^23 + 127
    return shifted_power_of_two(n + T(6755399441056767.0))  # 1.5 * 2^52 + 1023


@inlined
def nearest(x):
    """The nearest integer, for |x| < 2^22: adding 1.5 * 2^23 (2^52) leaves no room for a fraction."""
    T = type(x)
    big = T(12582912.0) if is_single(x) else T(6755399441055744.0)
    return (x + big) - big


@inlined
def line(x, c0, c1):
    """c0 + c1 x."""
    T = type(x)
    return T(c0) + x * T(c1)


@inlined
def quartic(x, c0, c1, c2, c3, c4):
    """c0 + c1 x + c2 x^2 + c3 x^3 + c4 x^4."""
    T = type(x)
    return T(c0) + x * (T(c1) + x * (T(c2) + x * (T(c3) + x * T(c4))))


@inlined
def at_most(x, high):
    """min(x, high); a NaN stays."""
    T = type(x)
    return T(high) if x > T(high) else x


@inlined
def clip(x, low, high):
    """x between two limits; a NaN stays."""
    T = type(x)
    return at_most(T(low) if x < T(low) else x, high)


# --- exponentials and logarithms -------------------------------------------------------------------------


@inlined
def expm1_reduced(high, low):
    """exp(r) - 1 and n for high + low = n log(2) + r with |r| <= log(2) / 2; |low| is at most about |high| / 1000.

    The product of n and the upper part of log(2) is exact, and so is the difference to `high` (Cody and Waite 1980).
    """
    T = type(high)
    n = nearest((high + low) * T(1.4426950408889634))
    if is_single(high):
        r = (high - n * T(0.693359375)) + (low - n * T(-2.12194440e-4))
        rest = quartic(r, 0.5, 0.1666657342, 0.04166655016, 0.008363767023, 0.001392691806)
    else:
        r = (high - n * T(6.93147180369123816490e-01)) + (low - n * T(1.90821492927058770002e-10))
        rest = line(r, 0.000000276213242693136862, 0.0000000251013358547885218)
        rest = quartic(
            r, 0.00138888889189189062, 0.000198412698643649319, 0.0000248015186722683542, 0.00000275572664423534248, rest
        )
        rest = quartic(r, 0.500000000000000113, 0.166666666666666675, 0.04166666666662068, 0.00833333333332979668, rest)
    return r + r * r * rest, n


@inlined
def exp_scaled(high, low):
    """exp(high + low) / scale, and scale: multiplied by it last, a subnormal result is rounded only once."""
    T = type(high)
    y, n = expm1_reduced(high, low)
    half = nearest(n * T(0.5))
    return (T(1) + y) * power_of_two(half), power_of_two(n - half)


@inlined
def exp(x):
    """exp(x)."""
    x = clip(x, -110, 90) if is_single(x) else clip(x, -760, 720)
    y, scale = exp_scaled(x, type(x)(0))
    return y * scale


@inlined
def exp_difference(x, y):
    """exp(x - y) for x <= y, with the rounding error of the difference (Knuth's two-sum): it may reach 32 ulp."""
    T = type(x)
    high = x - y
    x_back = high + y
    low = (x - x_back) - (y - (x_back - high))
    least = T(-110) if is_single(x) else T(-760)  # below, the result is 0
    low = low if high > least else T(0)
    result, scale = exp_scaled(least if high < least else high, low)
    return result * scale


@inlined
def expm1(x):
    """exp(x) - 1 = 2 (2^(n-1) (exp(r) - 1) + (2^(n-1) - 1/2)): 2^n alone could overflow."""
    T = type(x)
    x = clip(x, -20, 89) if is_single(x) else clip(x, -40, 710)  # n <= 128, 1024
    y, n = expm1_reduced(x, T(0))
    half = power_of_two(n - T(1))
    return y if n == T(0) else T(2) * (half * y + (half - T(0.5)))


@inlined
def log1p(f):
    """log(1 + f) for -0.3 <= f <= 1, as 2 atanh(s) = 2 s + s^3 (2/3 + ...) with s = f / (2 + f).

    2 s = f - (f^2 / 2 - s f^2 / 2) keeps the rounding error of s out of the leading term (fdlibm).
    """
    T = type(f)
    s = f / (T(2) + f)
    z = s * s
    square = f * f * T(0.5)
    if is_single(f):
        rest = quartic(z, 0.6666666732, 0.3999970633, 0.2859235799, 0.217065758, 0.2322432922)
    else:
        rest = line(z, 0.0880073848614467388, 0.161640456119435322)
        rest = quartic(
            z, 0.181817894361328582, 0.153855700649586231, 0.133141442096549362, 0.120010728095907125, rest
        )  # fmt: skip
        rest = quartic(z, 0.666666666666666586, 0.400000000000145827, 0.285714285671087572, 0.22222222717427863, rest)
    return f - (square - s * (square + z * rest))


@inlined
def log(x):
    """e log(2) + log(m) for x = m 2^e with sqrt(1/2) <= m < sqrt(2)."""
    T = type(x)
    if is_single(x):
        small = x < T(1.17549435e-38)
        y = x * T(16777216.0) if small else x  # 2^24 makes subnormal numbers normal
        e = exponent(y) - (T(24) if small else T(0))
        y = log1p(significand(y) - T(1))
        y = e * T(0.693359375) + (y + e * T(-2.12194440e-4))
    else:
        small = x < T(2.2250738585072014e-308)
        y = x * T(18014398509481984.0) if small else x  # 2^54
        e = exponent(y) - (T(54) if small else T(0))
        y = log1p(significand(y) - T(1))
        y = e * T(6.93147180369123816490e-01) + (y + e * T(1.90821492927058770002e-10))
    y = y if x < T(inf) else x  # infinity and NaN
    y = y if x >= T(0) else x * T(nan)
    return T(-inf) if x == T(0) else y


@inlined
def normal_tail(x):
    """Upper tail of the normal distribution at x >= 0 and exp(-x^2 / 2), both to be multiplied by the scale returned.

    The tail is exp(-x^2 / 2) p(x), p(x) = P(t) / (x + 4) with t = (x - 4) / (x + 4). What x + 4 loses by rounding is
    made good with p'(x) = x p(x) - 1 / sqrt(2 pi). The square is taken in two parts, the first one exact: its rounding
    error would be multiplied by up to 100 (700 in float64).
    """
    T = type(x)
    s = x + T(4)
    lost = x - (s - T(4))
    reciprocal = T(1) / s
    t = (s - T(8)) * reciprocal
    h = head(x)
    bell, scale = exp_scaled(h * h * T(-0.5), (x - h) * (x + h) * T(-0.5))
    if is_single(x):
        p = line(t, 0.0001697124776, line(t, -0.0002340460188, -0.00005242546261))
        p = quartic(t, 0.06039734142, -0.007545272732, -0.003488328264, 0.001646088194, p)
        p = quartic(t, 0.7552851305, -0.607896658, 0.3871373795, -0.1865213017, p)
    else:
        p = line(t, 0.00000000191827702037334026, line(t, -0.00000000252209945787807354, -0.00000000072624198104095793))
        p = line(t, 0.0000000196196108613555597, p)
        p = quartic(
            t, 0.000000271804529625928358, -0.000000154964917422474505, -0.0000000854084181568512498,
            0.0000000132807977873103278, p,
        )  # fmt: skip
        p = quartic(
            t, 0.000000716666324522103119, -0.00000592017332301610292, -0.000000629696560581582333,
            0.00000102155403719610153, p,
        )  # fmt: skip
        p = quartic(
            t, 0.000133344312409645737, -0.000231094935169459014, -0.00000190825847977343311, 0.000035144686053003463, p
        )
        p = quartic(
            t, 0.0603965748909365607, -0.00754018896672679157, -0.00347969236739359515, 0.00163081845758870119, p
        )
        p = quartic(
            t, 0.755285130415751493, -0.607896641971892108, 0.387137400742214541, -0.186521857959657247, p
        )  # fmt: skip
    p = p * reciprocal
    return bell * (p + lost * (x * p - T(0.39894228040143268))), bell, scale


# --- activations and their gradients ---------------------------------------------------------------------
# Gradients are written in terms of what table.SAVED names: the output y or the input x.


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
def gelu(x):
    """x Phi(x) = max(x, 0) - |x| Q(|x|), Q the upper tail of the normal distribution (Hendrycks and Gimpel 2016)."""
    a = at_most(abs(x), 14.6 if is_single(x) else 39.0)  # beyond, |x| Q(|x|) is 0
    tail, _, scale = normal_tail(a)
    tail = a * tail * scale
    return -tail if x < 0 else x - tail


@inlined
def gelu_backward(dy, x):
    """dy (Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi))."""
    T = type(x)
    a = at_most(abs(x), 14.6 if is_single(x) else 39.0)
    tail, bell, scale = normal_tail(a)
    tail = tail * scale
    slope = bell * scale * a * T(0.39894228040143268)
    return dy * (tail - slope if x < 0 else T(1) - tail + slope)


@inlined
def sigmoid(x):
    """1 / (1 + exp(-x)), with the exponential of a negative number only."""
    T = type(x)
    e = exp(-abs(x))
    return (e if x < 0 else T(1)) / (T(1) + e)


@inlined
def sigmoid_backward(dy, y):
    return dy * y * (type(y)(1) - y)


@inlined
def gated(x, a, high, low):
    """x sigmoid(z) for z of x's sign, |z| = high + low, and a = |x| or, where the result is 0 or x, less."""
    y, scale = exp_scaled(-high, -low)
    return (-(a * y) * scale if x < 0 else x) / (type(x)(1) + y * scale)


@inlined
def gated_backward(x, a, high, low, slope):
    """s + |x| s (1 - s) slope for s = sigmoid(z): the derivative of x s, if `slope` is that of z times x's sign."""
    T = type(x)
    y, scale = exp_scaled(-high, -low)
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
    return dy * (type(y)(1) - y * y)


@inlined
def softplus(x):
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))."""
    return (x if x > 0 else type(x)(0)) + log1p(exp(-abs(x)))


@inlined
def softplus_backward(dy, y):
    """dy sigmoid(x) = dy (1 - exp(-y))."""
    return dy * -expm1(-y)
