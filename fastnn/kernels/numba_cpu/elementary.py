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

from fastnn.kernels.numba_cpu.bits import exponent, fused, has_fma, head, is_single, shifted_power_of_two, significand
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
def product_error(x, y, product):
    """x y - product, for product = x y rounded: by the one instruction for it, or in parts (Dekker 1971)."""
    if has_fma(x):
        return fused(x, y, -product)
    a, b = head(x), head(y)
    return (((a * b - product) + a * (y - b)) + (x - a) * b) + (x - a) * (y - b)


@inlined
def exp_argument(high, low, n):
    """high + low - n log(2).

    The product of n and the upper part of log(2) is exact, and so is the difference to `high` (Cody and Waite 1980).
    """
    T = type(high)
    if is_single(high):
        return (high - n * T(0.693359375)) + (low - n * T(-2.12194440e-4))
    return (high - n * T(0.693147180369123816490)) + (low - n * T(1.90821492927058770002e-10))


@inlined
def exp_rest(r):
    """(exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2."""
    if is_single(r):
        return quartic(r, 0.5, 0.1666657342, 0.04166655016, 0.008363767023, 0.001392691806)
    rest = line(r, 2.76213242693136862e-7, 2.51013358547885218e-8)
    rest = quartic(
        r, 0.00138888889189189062, 0.000198412698643649319, 2.48015186722683542e-5, 2.75572664423534248e-6, rest
    )
    return quartic(r, 0.500000000000000113, 0.166666666666666675, 0.04166666666662068, 0.00833333333332979668, rest)


@inlined
def expm1_reduced(x):
    """exp(r) - 1 and n for x = n log(2) + r with |r| <= log(2) / 2."""
    T = type(x)
    n = nearest(x * T(1.4426950408889634))
    r = exp_argument(x, T(-0.0), n)  # x + -0 is x for the compiler, x + 0 is not: x may be -0
    return r + r * r * exp_rest(r), n


@inlined
def scaled_power(x, start):
    """2^m / scale, n = start + m and scale, for x from -110 (-760) to 0 and m the whole number next to x / log(2).

    The scale, 2^-64 (2^-512), keeps the quotient normal: what is multiplied by it last is rounded once.
    """
    T = type(x)
    # 1.5 * 2^23 + 127 + 64, 1.5 * 2^52 + 1023 + 512
    big = T(12583103.0) if is_single(x) else T(6755399441057279.0)
    scale = T(5.42101086242752217e-20) if is_single(x) else T(7.45834073120020674e-155)
    m = x * T(1.4426950408889634) + big
    return shifted_power_of_two(m), m - (big - start), scale


@inlined
def exp_reduced(r):
    """exp(r) for |r| <= log(2) / 2."""
    T = type(r)
    return T(1) + r * (T(1) + r * exp_rest(r))


@inlined
def exp_scaled(x, high, low):
    """exp(high + low) / scale, and scale, for x = high + low, rounded, between -110 (-760 in float64) and 0, or NaN."""
    power, n, scale = scaled_power(x, type(x)(0))
    return exp_reduced(exp_argument(high, low, n)) * power, scale


@inlined
def exp_minus(x):
    """exp(-x) for x >= 0."""
    x = at_most(x, 110) if is_single(x) else at_most(x, 760)
    y, scale = exp_scaled(-x, -x, type(x)(-0.0))
    return y * scale


@inlined
def exp(x):
    """exp(x), from 0 where even the smallest subnormal number is too large to infinity.

    2^n is in two factors: alone it may overflow, and where the result is subnormal it may round twice.
    """
    T = type(x)
    x = clip(x, -110, 90) if is_single(x) else clip(x, -760, 720)
    y, n = expm1_reduced(x)
    half = nearest(n * T(0.5))
    return (T(1) + y) * power_of_two(half) * power_of_two(n - half)


@inlined
def row_scale(top):
    """shift, n and r with top = shift + n log(2) + r, n a whole number, |r| <= log(2) / 2, for `exp_below`.

    From a `top` on that is twice as large as all differences to it that count, these are exact (Sterbenz 1974), and
    shift is `top`. An infinite or undefined `top` makes all of the row's exponentials NaN.
    """
    T = type(top)
    shift = T(0) if abs(top) <= (T(256) if is_single(top) else T(2048)) else top
    n = nearest((top - shift) * T(1.4426950408889634))
    return shift, n, exp_argument(top - shift, T(-0.0), n)


@inlined
def exp_below(x, top, shift, n, r):
    """exp(x - top) / scale for x <= top and what `row_scale` makes of `top`, and scale; negligible where it is 0.

    The rounding error of x - top would be multiplied by up to 100 (700 in float64): the difference is taken between
    what is left of both without multiples of log(2), which is 0 for x = top. The scale is always the same.
    """
    T = type(x)
    base = top - shift
    low = base - (T(110) if is_single(x) else T(760))
    y = x - shift
    y = low if y < low else y
    power, m, scale = scaled_power(y - base, n)
    return exp_reduced(exp_argument(y, T(-0.0), m) - r) * power, scale


@inlined
def expm1(x):
    """exp(x) - 1 = 2 (2^(n-1) (exp(r) - 1) + (2^(n-1) - 1/2)): 2^n alone may overflow."""
    T = type(x)
    x = clip(x, -20, 89) if is_single(x) else clip(x, -40, 710)  # n <= 128, 1024
    y, n = expm1_reduced(x)
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
    """Upper tail of the normal distribution at x >= 0 over exp(-x^2 / 2), and that still to be multiplied by a scale.

    The quotient is P(x) / Q(x), all of whose terms are positive. The square comes with its rounding error, which would
    be multiplied by up to 100 (700 in float64). From where the product of all three and x rounds to 0, at 14.6 (39 in
    float64), nothing here has a meaning.
    """
    T = type(x)
    square = x * x
    high = square * T(-0.5)
    bell, scale = exp_scaled(high, high, product_error(x, x, square) * T(-0.5))
    if is_single(x):  # in pairs of terms: with fewer roundings one after the other, errors are a fifth smaller
        p = line(x, 0.1828336734, 0.04048470193) + square * T(0.004090530151)
        p = line(x, 0.5000000021, 0.4378142613) + square * p
        q = line(x, 1.20093389, 0.4683995013) + square * line(x, 0.1014865228, 0.01025332001)
        return p / (line(x, 1, 1.673513407) + square * q), bell, scale
    p = line(x, 8.894056469191476e-5, line(x, 5.62386709299377077e-6, 1.73263766277139451e-7))
    p = quartic(x, 0.121903923115004101, 0.0322251348143684643, 0.0062856520368009224, 0.000893823548797743123, p)
    p = quartic(x, 0.5, 0.810652755773264283, 0.652705581974911187, 0.336622051841772005, p)
    q = line(x, 0.000223375242064900137, line(x, 1.40969442681570435e-5, 4.34307855518908772e-7))
    q = quartic(x, 0.320882060080372725, 0.0829887242185342141, 0.0159778654166566928, 0.00225458032475168076, q)
    q = quartic(x, 2.41919007234939393, 2.73564557232497045, 1.91233995376328444, 0.920223053640060834, q)
    return p / (T(1) + x * q), bell, scale
