"""Elementary functions in float32 and float64, written so that the compiler vectorises the loop around them.

No branches (a conditional expression becomes a blend), no calls, no tables. NaN propagates, infinities have their
limits, subnormal arguments and results are kept. Relative errors are at most 1 epsilon, 2 for `normal_tail`. Nothing
relies on fused multiply-add, and no error term is harmed by it: where rounding errors matter, products are exact.

Coefficients are from `tools/fit_polynomials.py`. Every literal in an expression is cast to `floating`, and functions
that take literals are called by their type: a bare literal, 1 as well as 1.0, would make C compute in float64.
"""

from cython cimport floating
from libc.math cimport INFINITY, NAN, copysign, copysignf, fma, fmaf

cdef extern from *:
    """
    #ifndef FASTNN_BITS
    #define FASTNN_BITS
    #include <stdint.h>
    #include <string.h>
    #define FASTNN_BIT_OPERATIONS(REAL, WORD, TAG, DIGITS, BIAS, HEAD, SQRT_HALF, TOP)                              \\
    static inline __attribute__((always_inline, unused)) WORD fastnn_word_##TAG(REAL x) {                           \\
        WORD w; memcpy(&w, &x, sizeof w); return w;                                                                 \\
    }                                                                                                               \\
    static inline __attribute__((always_inline, unused)) REAL fastnn_real_##TAG(WORD w) {                           \\
        REAL x; memcpy(&x, &w, sizeof x); return x;                                                                 \\
    }                                                                                                               \\
    /* 2^n for t = n + 1.5 * 2^DIGITS + BIAS, which is n + BIAS in its lowest bits. */                              \\
    static inline __attribute__((always_inline, unused)) REAL fastnn_power_of_two_##TAG(REAL t) {                   \\
        return fastnn_real_##TAG(fastnn_word_##TAG(t) << DIGITS);                                                   \\
    }                                                                                                               \\
    /* x cut to its upper digits, few enough for the product of two heads to be exact. */                           \\
    static inline __attribute__((always_inline, unused)) REAL fastnn_head_##TAG(REAL x) {                           \\
        return fastnn_real_##TAG(fastnn_word_##TAG(x) & ~((((WORD) 1) << HEAD) - 1));                               \\
    }                                                                                                               \\
    /* For normal x > 0: e and m with x = m 2^e and sqrt(1/2) <= m < sqrt(2). */                                    \\
    static inline __attribute__((always_inline, unused)) REAL fastnn_exponent_##TAG(REAL x) {                       \\
        WORD w = fastnn_word_##TAG(x) - SQRT_HALF + ((WORD) (BIAS + 1) << DIGITS);                                  \\
        return fastnn_real_##TAG((w >> DIGITS) | TOP) - (fastnn_real_##TAG(TOP) + (BIAS + 1));                      \\
    }                                                                                                               \\
    static inline __attribute__((always_inline, unused)) REAL fastnn_significand_##TAG(REAL x) {                    \\
        WORD w = fastnn_word_##TAG(x) - SQRT_HALF;                                                                  \\
        return fastnn_real_##TAG((w & ((((WORD) 1) << DIGITS) - 1)) + SQRT_HALF);                                   \\
    }
    FASTNN_BIT_OPERATIONS(float, uint32_t, f32, 23, 127, 12, UINT32_C(0x3F3504F3), UINT32_C(0x4B000000))
    FASTNN_BIT_OPERATIONS(double, uint64_t, f64, 52, 1023, 27, UINT64_C(0x3FE6A09E667F3BCD), 0x4330000000000000)
    #if defined(__FMA__) || defined(__FP_FAST_FMAF)
    #define FASTNN_FMA 1
    #else
    #define FASTNN_FMA 0
    #endif
    #endif
    """
    const bint FASTNN_FMA  # whether the instruction set has fused multiply-add
    float fastnn_power_of_two_f32(float t) noexcept nogil
    double fastnn_power_of_two_f64(double t) noexcept nogil
    float fastnn_head_f32(float x) noexcept nogil
    double fastnn_head_f64(double x) noexcept nogil
    float fastnn_exponent_f32(float x) noexcept nogil
    double fastnn_exponent_f64(double x) noexcept nogil
    float fastnn_significand_f32(float x) noexcept nogil
    double fastnn_significand_f64(double x) noexcept nogil


cdef inline floating head(floating x) noexcept nogil:
    """The upper half of x's significand; x - head(x) is exact."""
    if floating is float:
        return fastnn_head_f32(x)
    else:
        return fastnn_head_f64(x)


cdef inline floating product_error(floating x, floating y, floating product) noexcept nogil:
    """x y - product, for product = x y rounded: by the one instruction for it, or in parts (Dekker 1971)."""
    cdef floating a, b
    if FASTNN_FMA:
        return fmaf(x, y, -product) if floating is float else fma(x, y, -product)
    a = head(x)
    b = head(y)
    return (((a * b - product) + a * (y - b)) + (x - a) * b) + (x - a) * (y - b)


cdef inline floating power_of_two(floating n) noexcept nogil:
    """2^n for an integer n within the range of normal exponents."""
    if floating is float:
        return fastnn_power_of_two_f32(n + <floating> 12583039.0)  # 1.5 * 2^23 + 127
    else:
        return fastnn_power_of_two_f64(n + <floating> 6755399441056767.0)  # 1.5 * 2^52 + 1023


cdef inline floating nearest(floating x) noexcept nogil:
    """The nearest integer, for |x| < 2^22: adding 1.5 * 2^23 (2^52 in float64) leaves no room for a fraction."""
    if floating is float:
        return (x + <floating> 12582912.0) - <floating> 12582912.0
    else:
        return (x + <floating> 6755399441055744.0) - <floating> 6755399441055744.0


cdef inline floating line(floating x, floating c0, floating c1) noexcept nogil:
    """c0 + c1 x."""
    return c0 + x * c1


cdef inline floating quartic(
    floating x, floating c0, floating c1, floating c2, floating c3, floating c4
) noexcept nogil:
    """c0 + c1 x + c2 x^2 + c3 x^3 + c4 x^4."""
    return c0 + x * (c1 + x * (c2 + x * (c3 + x * c4)))


cdef inline floating at_most(floating x, floating high) noexcept nogil:
    """min(x, high); a NaN stays."""
    return high if x > high else x


cdef inline floating clip(floating x, floating low, floating high) noexcept nogil:
    """x between two limits; a NaN stays."""
    return at_most[floating](low if x < low else x, high)


cdef inline floating with_sign(floating x, floating sign) noexcept nogil:
    """|x| with the sign of `sign`."""
    if floating is float:
        return copysignf(x, sign)
    else:
        return copysign(x, sign)


cdef inline floating exp_argument(floating high, floating low, floating n) noexcept nogil:
    """high + low - n log(2).

    The product of n and the upper part of log(2) is exact, and so is the difference to `high` (Cody and Waite 1980).
    """
    if floating is float:
        return (high - n * <floating> 0.693359375) + (low - n * <floating> -2.12194440e-4)
    else:
        return (high - n * <floating> 0.693147180369123816490) + (low - n * <floating> 1.90821492927058770002e-10)


cdef inline floating exp_rest(floating r) noexcept nogil:
    """(exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2."""
    cdef floating rest
    if floating is float:
        return quartic[floating](r, 0.5, 0.1666657342, 0.04166655016, 0.008363767023, 0.001392691806)
    else:
        rest = line[floating](r, 2.76213242693136862e-7, 2.51013358547885218e-8)
        rest = quartic[floating](
            r, 0.00138888889189189062, 0.000198412698643649319, 2.48015186722683542e-5, 2.75572664423534248e-6, rest
        )
        return quartic[floating](
            r, 0.500000000000000113, 0.166666666666666675, 0.04166666666662068, 0.00833333333332979668, rest
        )


cdef inline floating expm1_reduced(floating x, floating *n) noexcept nogil:
    """exp(r) - 1 for x = n log(2) + r with |r| <= log(2) / 2."""
    cdef floating r
    n[0] = nearest(x * <floating> 1.4426950408889634)
    r = exp_argument[floating](x, -0.0, n[0])  # x + -0 is x for the compiler, x + 0 is not: x may be 0
    return r + r * r * exp_rest(r)


cdef inline floating scaled_power(floating x, floating start, floating *n, floating *scale) noexcept nogil:
    """2^m / scale and n = start + m, for x from -110 (-760 in float64) to 0 and m the whole number next to x / log(2).

    The scale, 2^-64 (2^-512), keeps the quotient normal: what is multiplied by it last is rounded once.
    """
    cdef floating m
    if floating is float:
        m = x * <floating> 1.4426950408889634 + <floating> 12583103.0  # 1.5 * 2^23 + 127 + 64
        scale[0] = <floating> 5.42101086242752217e-20
        n[0] = m - (<floating> 12583103.0 - start)
        return fastnn_power_of_two_f32(m)
    else:
        m = x * <floating> 1.4426950408889634 + <floating> 6755399441057279.0  # 1.5 * 2^52 + 1023 + 512
        scale[0] = <floating> 7.45834073120020674e-155
        n[0] = m - (<floating> 6755399441057279.0 - start)
        return fastnn_power_of_two_f64(m)


cdef inline floating exp_reduced(floating r) noexcept nogil:
    """exp(r) for |r| <= log(2) / 2."""
    return <floating> 1 + r * (<floating> 1 + r * exp_rest(r))


cdef inline floating exp_scaled(floating x, floating high, floating low, floating *scale) noexcept nogil:
    """exp(high + low) / scale for x = high + low, rounded, between -110 (-760 in float64) and 0, or NaN."""
    cdef floating n
    cdef floating power = scaled_power[floating](x, 0, &n, scale)
    return exp_reduced(exp_argument(high, low, n)) * power


cdef inline floating exp_minus(floating x) noexcept nogil:
    """exp(-x) for x >= 0."""
    cdef floating scale
    if floating is float:
        x = at_most[floating](x, 110)
    else:
        x = at_most[floating](x, 760)
    x = exp_scaled[floating](-x, -x, -0.0, &scale)
    return x * scale


cdef inline floating exp_(floating x) noexcept nogil:
    """exp(x), from 0 where even the smallest subnormal number is too large to infinity.

    2^n is in two factors: alone it may overflow, and where the result is subnormal it may round twice.
    """
    cdef floating n, half
    if floating is float:
        x = clip[floating](x, -110, 90)
    else:
        x = clip[floating](x, -760, 720)
    x = <floating> 1 + expm1_reduced[floating](x, &n)
    half = nearest(n * <floating> 0.5)
    return x * power_of_two(half) * power_of_two(n - half)


cdef inline floating expm1_(floating x) noexcept nogil:
    """exp(x) - 1 = 2 (2^(n-1) (exp(r) - 1) + (2^(n-1) - 1/2)): 2^n alone may overflow."""
    cdef floating n, y, half
    if floating is float:
        y = expm1_reduced[floating](clip[floating](x, -20, 89), &n)  # n <= 128
    else:
        y = expm1_reduced[floating](clip[floating](x, -40, 710), &n)  # n <= 1024
    half = power_of_two(n - <floating> 1)
    return y if n == 0 else <floating> 2 * (half * y + (half - <floating> 0.5))


cdef inline floating log1p_(floating f) noexcept nogil:
    """log(1 + f) for -0.3 <= f <= 1, as 2 atanh(s) = 2 s + s^3 (2/3 + ...) with s = f / (2 + f).

    2 s = f - (f^2 / 2 - s f^2 / 2) keeps the rounding error of s out of the leading term (fdlibm).
    """
    cdef floating s = f / (<floating> 2 + f)
    cdef floating z = s * s
    cdef floating square = f * f * <floating> 0.5
    cdef floating rest
    if floating is float:
        rest = quartic[floating](z, 0.6666666732, 0.3999970633, 0.2859235799, 0.217065758, 0.2322432922)
    else:
        rest = line[floating](z, 0.0880073848614467388, 0.161640456119435322)
        rest = quartic[floating](
            z, 0.181817894361328582, 0.153855700649586231, 0.133141442096549362, 0.120010728095907125, rest
        )
        rest = quartic[floating](
            z, 0.666666666666666586, 0.400000000000145827, 0.285714285671087572, 0.22222222717427863, rest
        )
    return f - (square - s * (square + z * rest))


cdef inline floating log_(floating x) noexcept nogil:
    """e log(2) + log(m) for x = m 2^e with sqrt(1/2) <= m < sqrt(2)."""
    cdef floating y, e
    if floating is float:
        y = x * <floating> 16777216.0 if x < <floating> 1.17549435e-38 else x  # 2^24 makes subnormal numbers normal
        e = fastnn_exponent_f32(y) - <floating> (24 if x < <floating> 1.17549435e-38 else 0)
        y = log1p_(fastnn_significand_f32(y) - <floating> 1)
        y = e * <floating> 0.693359375 + (y + e * <floating> -2.12194440e-4)
    else:
        y = x * <floating> 18014398509481984.0 if x < <floating> 2.2250738585072014e-308 else x  # 2^54
        e = fastnn_exponent_f64(y) - <floating> (54 if x < <floating> 2.2250738585072014e-308 else 0)
        y = log1p_(fastnn_significand_f64(y) - <floating> 1)
        y = e * <floating> 6.93147180369123816490e-01 + (y + e * <floating> 1.90821492927058770002e-10)
    y = y if x < <floating> INFINITY else x  # infinity and NaN
    y = y if x >= 0 else x * <floating> NAN
    return -<floating> INFINITY if x == 0 else y


cdef inline floating quarter_sine(floating f) noexcept nogil:
    """sin(pi f / 2) for |f| <= 1/2."""
    cdef floating z = f * f
    cdef floating rest
    if floating is float:
        return f * quartic[floating](z, 1.570796327, -0.6459640961, 0.07969258273, -0.004681266257, 0.0001582063036)
    else:
        rest = line[floating](z, -3.5986433529823097e-6, 5.63393378153785395e-8)
        rest = line[floating](z, 0.000160441150742190911, rest)
        return f * quartic[floating](
            z, 1.57079632679489661, -0.645964097506244316, 0.0796926262460430031, -0.00468175413234097599, rest
        )


cdef inline floating quarter_cosine(floating f) noexcept nogil:
    """cos(pi f / 2) for |f| <= 1/2."""
    cdef floating z = f * f
    cdef floating rest
    if floating is float:
        rest = quartic[floating](z, -1.23370055, 0.2536695077, -0.02086347506, 0.0009191963343, -2.49092287e-5)
    else:
        rest = line[floating](z, 4.71067840550522711e-7, -6.32939634496742351e-9)
        rest = line[floating](z, -0.0000252020390280291761, rest)
        rest = quartic[floating](
            z, -1.23370055013616983, 0.253669507901047823, -0.0208634807633407725, 0.000919260274546844619, rest
        )
    return <floating> 1 + z * rest


cdef inline floating normal_tail(floating x, floating *bell, floating *scale) noexcept nogil:
    """Upper tail of the normal distribution at x >= 0 over exp(-x^2 / 2), and that still to be multiplied by `scale`.

    The quotient is P(x) / Q(x), all of whose terms are positive. The square comes with its rounding error, which would
    be multiplied by up to 100 (700 in float64). From where the product of all three and x rounds to 0, at 14.6 (39 in
    float64), nothing here has a meaning.
    """
    cdef floating square = x * x
    cdef floating high = square * <floating> -0.5
    cdef floating p, q
    bell[0] = exp_scaled(high, high, product_error(x, x, square) * <floating> -0.5, scale)
    if floating is float:  # in pairs of terms: with fewer roundings one after the other, errors are a fifth smaller
        p = line[floating](x, 0.1828336734, 0.04048470193) + square * <floating> 0.004090530151
        p = line[floating](x, 0.5000000021, 0.4378142613) + square * p
        q = line[floating](x, 1.20093389, 0.4683995013) + square * line[floating](x, 0.1014865228, 0.01025332001)
        return p / (line[floating](x, 1, 1.673513407) + square * q)
    else:
        p = line[floating](x, 5.62386709299377077e-6, 1.73263766277139451e-7)
        p = line[floating](x, 8.894056469191476e-5, p)
        p = quartic[floating](
            x, 0.121903923115004101, 0.0322251348143684643, 0.0062856520368009224, 0.000893823548797743123, p
        )
        p = quartic[floating](x, 0.5, 0.810652755773264283, 0.652705581974911187, 0.336622051841772005, p)
        q = line[floating](x, 1.40969442681570435e-5, 4.34307855518908772e-7)
        q = line[floating](x, 0.000223375242064900137, q)
        q = quartic[floating](
            x, 0.320882060080372725, 0.0829887242185342141, 0.0159778654166566928, 0.00225458032475168076, q
        )
        q = quartic[floating](x, 2.41919007234939393, 2.73564557232497045, 1.91233995376328444, 0.920223053640060834, q)
        return p / (<floating> 1 + x * q)
