"""The activations' formulas and their gradients, in terms of what `table.SAVED` names: the output y or the input x.

Relative errors are at most 2 epsilon, 2.6 for `mish`, 3.5 for `gelu`, in the tails too; subnormal results are off by two
units at most.
"""

from cython cimport floating

from fastnn_ext.elementary cimport (
    at_most, clip, exp_minus, exp_scaled, expm1_, head, log1p_, normal_tail, with_sign,
)


cdef inline floating relu_(floating x) noexcept nogil:
    return <floating> 0 if x < 0 else x


cdef inline floating relu_backward_(floating dy, floating y) noexcept nogil:
    return <floating> 0 if y <= 0 else dy


cdef inline floating leaky_relu_(floating x, floating alpha) noexcept nogil:
    return x * alpha if x < 0 else x


cdef inline floating leaky_relu_backward_(floating dy, floating y, floating alpha) noexcept nogil:
    return dy * alpha if y <= 0 else dy


cdef inline floating elu_(floating x, floating alpha) noexcept nogil:
    """x, or alpha (exp(x) - 1) where x is negative (Clevert, Unterthiner and Hochreiter 2016)."""
    return alpha * expm1_(x) if x < 0 else x


cdef inline floating elu_backward_(floating dy, floating y, floating alpha) noexcept nogil:
    return dy * (y + alpha) if y <= 0 else dy


cdef inline floating within_tail(floating a, floating y) noexcept nogil:
    """y, but 0 for a beyond which even a times the normal distribution's tail at a rounds to 0."""
    if floating is float:
        return <floating> 0 if a > <floating> 14.6 else y
    else:
        return <floating> 0 if a > 39 else y


cdef inline floating gelu_(floating x) noexcept nogil:
    """x Phi(x) = max(x, 0) - |x| Q(|x|), Q the upper tail of the normal distribution (Hendrycks and Gimpel 2016)."""
    cdef floating bell, scale
    cdef floating a = abs(x)
    cdef floating tail = a * normal_tail(a, &bell, &scale) * bell
    return relu_(x) - within_tail(a, tail) * scale


cdef inline floating gelu_backward_(floating dy, floating x) noexcept nogil:
    """dy (Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi))."""
    cdef floating bell, scale
    cdef floating a = abs(x)
    cdef floating tail = normal_tail(a, &bell, &scale) - a * <floating> 0.39894228040143268
    tail = within_tail(a, tail * bell) * scale
    return dy * (tail if x < 0 else <floating> 1 - tail)


cdef inline floating sigmoid_(floating x) noexcept nogil:
    """1 / (1 + exp(-x)), with the exponential of a negative number only."""
    cdef floating e = exp_minus(abs(x))
    return (e if x < 0 else <floating> 1) / (<floating> 1 + e)


cdef inline floating sigmoid_backward_(floating dy, floating y) noexcept nogil:
    return dy * y * (<floating> 1 - y)


cdef inline floating gated(floating x, floating a, floating high, floating low) noexcept nogil:
    """x sigmoid(z) for z of x's sign, |z| = high + low, and a = |x| or, where the result is 0 or x, less."""
    cdef floating scale
    cdef floating y = exp_scaled(-(high + low), -high, -low, &scale)
    return (-(a * y) * scale if x < 0 else x) / (<floating> 1 + y * scale)


cdef inline floating gated_backward(
    floating x, floating a, floating high, floating low, floating slope
) noexcept nogil:
    """s + |x| s (1 - s) slope for s = sigmoid(z): the derivative of x s, if `slope` is that of z times x's sign."""
    cdef floating scale
    cdef floating y = exp_scaled(-(high + low), -high, -low, &scale)
    cdef floating e = y * scale
    cdef floating s = <floating> 1 / (<floating> 1 + e)
    return (e * s if x < 0 else s) + a * y * slope * s * s * scale


cdef inline floating silu_(floating x) noexcept nogil:
    """x sigmoid(x) (Elfwing, Uchibe and Doya 2018)."""
    cdef floating a
    if floating is float:
        a = at_most[floating](abs(x), 110)  # beyond, |x| exp(-|x|) is 0
    else:
        a = at_most[floating](abs(x), 760)
    return gated[floating](x, a, a, 0.0)


cdef inline floating silu_backward_(floating dy, floating x) noexcept nogil:
    """dy (s + x s (1 - s)), s = sigmoid(x)."""
    cdef floating a
    if floating is float:
        a = at_most[floating](abs(x), 110)
    else:
        a = at_most[floating](abs(x), 760)
    return dy * gated_backward[floating](x, a, a, 0.0, with_sign[floating](1, x))


cdef inline floating gelu_tanh_argument(floating a, floating *low) noexcept nogil:
    """2 u = sqrt(8 / pi) (a + 0.044715 a^3) for 0 <= a <= 22, in two parts.

    Its rounding error in one part would be multiplied by up to 100 (700 in float64) in the exponential.
    """
    cdef floating h = head(a)
    cdef floating square = head(h * h)
    cdef floating rest = (h * h - square) + (a - h) * (a + h)  # a^2 = square + rest
    cdef floating product, base, w, part
    if floating is float:
        product = square * <floating> 0.07135009765625  # 12 digits, so that the product is exact
        rest = rest * <floating> 0.07135009765625 + a * a * <floating> 4.7186163502487763388e-6
        rest = rest - <floating> 4.534068042105271576e-8
        base = <floating> 1.5957691669464111
    else:
        product = square * <floating> 0.071354815736413002014  # 26 digits
        rest = rest * <floating> 0.071354815736413002014 + a * a * <floating> 5.3618724676217859603e-10
        rest = rest - <floating> 9.9693088091109203146e-17
        base = <floating> 1.5957691216057308
    w = base + product
    part = w - base
    rest = rest + ((base - (w - part)) + (product - part))  # 2 u / a = w + rest (Knuth's two-sum)
    square = head(w)
    low[0] = a * (rest + (w - square)) + (a - h) * square
    return h * square


cdef inline floating gelu_tanh_(floating x) noexcept nogil:
    """x (1 + tanh(u)) / 2 = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    cdef floating a, high, low
    if floating is float:
        a = at_most[floating](abs(x), <floating> 11.5)  # beyond, |x| exp(-2 |u|) is 0
    else:
        a = at_most[floating](abs(x), 22)
    high = gelu_tanh_argument(a, &low)
    return gated(x, a, high, low)


cdef inline floating gelu_tanh_backward_(floating dy, floating x) noexcept nogil:
    """dy (s + x s (1 - s) 2 u'), s = sigmoid(2 u), 2 u' = sqrt(8 / pi) (1 + 3 * 0.044715 x^2)."""
    cdef floating a, high, low, slope
    if floating is float:
        a = at_most[floating](abs(x), <floating> 11.5)
    else:
        a = at_most[floating](abs(x), 22)
    high = gelu_tanh_argument(a, &low)
    slope = <floating> 1.5957691216057308 + a * a * <floating> 0.2140644488178007463
    return dy * gated_backward(x, a, high, low, with_sign(slope, x))


cdef inline floating tanh_(floating x) noexcept nogil:
    """e / (e + 2), e = exp(2 |x|) - 1, with x's sign."""
    cdef floating e = expm1_(<floating> 2 * at_most[floating](abs(x), 22))  # beyond, 1
    return with_sign(e / (e + <floating> 2), x)


cdef inline floating tanh_backward_(floating dy, floating y) noexcept nogil:
    return dy * ((<floating> 1 - y) * (<floating> 1 + y))  # 1 - y^2 would lose its digits near 1


cdef inline floating softplus_(floating x) noexcept nogil:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))."""
    return (x if x > 0 else <floating> 0) + log1p_(exp_minus(abs(x)))


cdef inline floating softplus_backward_(floating dy, floating y) noexcept nogil:
    """dy sigmoid(x) = dy (1 - exp(-y))."""
    return dy * -expm1_(-y)


cdef inline floating selu_(floating x) noexcept nogil:
    """1.0507 x, or 1.0507 * 1.6733 (exp(x) - 1) where x is negative (Klambauer et al. 2017)."""
    return <floating> 1.7580993408473769 * expm1_(x) if x < 0 else <floating> 1.0507009873554805 * x


cdef inline floating selu_backward_(floating dy, floating y) noexcept nogil:
    return dy * (y + <floating> 1.7580993408473769 if y <= 0 else <floating> 1.0507009873554805)


cdef inline floating softsign_(floating x) noexcept nogil:
    """x / (1 + |x|)."""
    cdef floating a = at_most[floating](abs(x), <floating> 1e18)  # from 1e16 (1e8) on 1; infinity / infinity is NaN
    return with_sign(a / (<floating> 1 + a), x)


cdef inline floating softsign_backward_(floating dy, floating x) noexcept nogil:
    """dy / (1 + |x|)^2."""
    cdef floating s = <floating> 1 + abs(x)
    return dy / (s * s)


cdef inline floating hard_sigmoid_(floating x) noexcept nogil:
    """min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)."""
    return clip[floating](x + <floating> 3, 0, 6) * <floating> 0.16666666666666667  # times 6 it is rounded to 1


cdef inline floating hard_sigmoid_backward_(floating dy, floating y) noexcept nogil:
    cdef floating dx = <floating> 0 if y <= 0 else dy * <floating> 0.16666666666666667
    return <floating> 0 if y >= 1 else dx


cdef inline floating hard_swish_(floating x) noexcept nogil:
    """x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019); -3 * 0 from -3 down, for minus infinity too."""
    return (<floating> -3 if x < -3 else x) * hard_sigmoid_(x)


cdef inline floating hard_swish_backward_(floating dy, floating x) noexcept nogil:
    """dy (2 x + 3) / 6 between -3 and 3."""
    cdef floating slope = (x + x + <floating> 3) * <floating> 0.16666666666666667
    slope = <floating> 0 if x <= -3 else slope
    return dy * (<floating> 1 if x >= 3 else slope)


cdef inline floating mish_(floating x) noexcept nogil:
    """x tanh(log(1 + exp(x))) (Misra 2019).

    With e = exp(-|x|) the tanh is (1 + 2 e) / (1 + 2 e + 2 e^2), and e (e + 2) / (e (e + 2) + 2) for negative x.
    """
    cdef floating a, e, y, scale
    if floating is float:
        a = at_most[floating](abs(x), 110)  # beyond, |x| exp(-|x|) is 0
    else:
        a = at_most[floating](abs(x), 760)
    y = exp_scaled[floating](-a, -a, -0.0, &scale)
    e = y * scale
    y = -(a * y) * (e + <floating> 2) if x < 0 else x * (<floating> 1 + <floating> 2 * e)
    e = e * (e + <floating> 2) + <floating> 2 if x < 0 else <floating> 1 + <floating> 2 * e * (<floating> 1 + e)
    return y / e * (scale if x < 0 else <floating> 1)


cdef inline floating mish_backward_(floating dy, floating x) noexcept nogil:
    """dy (w + x w'), with e = exp(-|x|) and w = n / d as in `mish_`: w' = 4 e^2 (1 + e) / d^2, 4 e (1 + e) / d^2."""
    cdef floating a, e, y, d, n, scale
    if floating is float:
        a = at_most[floating](abs(x), 110)
    else:
        a = at_most[floating](abs(x), 760)
    y = exp_scaled[floating](-a, -a, -0.0, &scale)
    e = y * scale
    d = e * (e + <floating> 2) + <floating> 2 if x < 0 else <floating> 1 + <floating> 2 * e * (<floating> 1 + e)
    n = (e + <floating> 2) * d if x < 0 else (<floating> 1 + <floating> 2 * e) * d
    a = <floating> 4 * a * (<floating> 1 + e)
    n = y * (n - a) * scale if x < 0 else n + a * e * e
    return dy * (n / (d * d))
