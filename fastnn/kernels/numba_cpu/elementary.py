"""Elementary functions, in float32 and float64, written so that LLVM vectorises the loop around them.

No branches (a conditional expression becomes a blend), no calls, no tables. NaN propagates, infinities have their
limits, subnormal results are kept. Errors are at most 1 ulp. Nothing relies on fused multiply-add, and none of the
error terms is harmed by it: where rounding errors matter, products are exact.

Coefficients are from `tools/fit_polynomials.py`; the Cython twin of this file is `fastnn_ext/elementary.pxd`. Numba
takes a bare literal for a float64 or an int64, which would turn the arithmetic of float32 into that of float64: hence
``T(1)`` with ``T = type(x)``.
"""

from __future__ import annotations

from numpy import inf, nan

from fastnn.kernels.numba_cpu.bits import exponent, head, is_single, shifted_power_of_two, significand
from fastnn.kernels.numba_cpu.common import inlined


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


@inlined
def expm1_reduced(high, low):
    """exp(r) - 1 and n for high + low = n log(2) + r with |r| <= log(2) / 2.

    The product of n and the upper part of log(2) is exact, and so is the difference to `high` (Cody and Waite 1980).
    """
    T = type(high)
    n = nearest((high + low) * T(1.4426950408889634))
    if is_single(high):
        r = (high - n * T(0.693359375)) + (low - n * T(-2.12194440e-4))
        rest = quartic(r, 0.5, 0.1666657342, 0.04166655016, 0.008363767023, 0.001392691806)
    else:
        r = (high - n * T(0.693147180369123816490)) + (low - n * T(1.90821492927058770002e-10))
        rest = line(r, 2.76213242693136862e-7, 2.51013358547885218e-8)
        rest = quartic(
            r, 0.00138888889189189062, 0.000198412698643649319, 2.48015186722683542e-5, 2.75572664423534248e-6, rest
        )
        rest = quartic(r, 0.500000000000000113, 0.166666666666666675, 0.04166666666662068, 0.00833333333332979668, rest)
    return r + r * r * rest, n


@inlined
def exp_scaled(high, low):
    """exp(high + low) / scale, |low| much less than |high|, and scale. What is multiplied by it last is rounded once.

    Half of the exponent is in `scale`: 2^n alone may overflow, and where the result is subnormal it may round twice.
    """
    T = type(high)
    y, n = expm1_reduced(high, low)
    half = nearest(n * T(0.5))
    return (T(1) + y) * power_of_two(half), power_of_two(n - half)


@inlined
def exp(x):
    """exp(x), from 0 where even the smallest subnormal number is too large to infinity."""
    x = clip(x, -110, 90) if is_single(x) else clip(x, -760, 720)
    y, scale = exp_scaled(x, type(x)(-0.0))  # x + -0 is x for the compiler, x + 0 is not: x may be -0
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
    """exp(x) - 1 = 2 (2^(n-1) (exp(r) - 1) + (2^(n-1) - 1/2)): 2^n alone may overflow."""
    T = type(x)
    x = clip(x, -20, 89) if is_single(x) else clip(x, -40, 710)  # n <= 128, 1024
    y, n = expm1_reduced(x, T(-0.0))
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
def quarter_sine(f):
    """sin(pi f / 2) for |f| <= 1/2."""
    z = f * f
    if is_single(f):
        return f * quartic(z, 1.570796327, -0.6459640961, 0.07969258273, -0.004681266257, 0.0001582063036)
    rest = line(z, 0.000160441150742190911, line(z, -3.5986433529823097e-6, 5.63393378153785395e-8))
    return f * quartic(
        z, 1.57079632679489661, -0.645964097506244316, 0.0796926262460430031, -0.00468175413234097599, rest
    )


@inlined
def quarter_cosine(f):
    """cos(pi f / 2) for |f| <= 1/2."""
    T = type(f)
    z = f * f
    if is_single(f):
        rest = quartic(z, -1.23370055, 0.2536695077, -0.02086347506, 0.0009191963343, -2.49092287e-5)
    else:
        rest = line(z, -0.0000252020390280291761, line(z, 4.71067840550522711e-7, -6.32939634496742351e-9))
        rest = quartic(
            z, -1.23370055013616983, 0.253669507901047823, -0.0208634807633407725, 0.000919260274546844619, rest
        )
    return T(1) + z * rest


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
        p = line(t, 0.0001697124776, line(t, -0.0002340460188, -5.242546261e-5))
        p = quartic(t, 0.06039734142, -0.007545272732, -0.003488328264, 0.001646088194, p)
        p = quartic(t, 0.7552851305, -0.607896658, 0.3871373795, -0.1865213017, p)
    else:
        p = line(t, -2.52209945787807354e-9, -7.2624198104095793e-10)
        p = line(t, 1.96196108613555597e-8, line(t, 1.91827702037334026e-9, p))
        p = quartic(
            t, 2.71804529625928358e-7, -1.54964917422474505e-7, -8.54084181568512498e-8, 1.32807977873103278e-8, p
        )
        p = quartic(
            t, 7.16666324522103119e-7, -5.92017332301610292e-6, -6.29696560581582333e-7, 1.02155403719610153e-6, p
        )
        p = quartic(
            t, 0.000133344312409645737, -0.000231094935169459014, -1.90825847977343311e-6, 3.5144686053003463e-5, p
        )
        p = quartic(
            t, 0.0603965748909365607, -0.00754018896672679157, -0.00347969236739359515, 0.00163081845758870119, p
        )
        p = quartic(
            t, 0.755285130415751493, -0.607896641971892108, 0.387137400742214541, -0.186521857959657247, p
        )  # fmt: skip
    p = p * reciprocal
    return bell * (p + lost * (x * p - T(0.39894228040143268))), bell, scale
