"""The loss of one element: its value for a prediction x and a target t, and its derivative by x.

Float64, but for exponentials and logarithms of which the arrays' type loses nothing. No branches on values, so that
loops vectorise; `code` and the two parameters `a` and `b` are the same for a whole array.
"""

from cython cimport floating

from fastnn_ext.elementary cimport at_most, clip, exp_, expm1_, log1p_, log_

cdef enum Loss:
    SQUARED_ERROR, ABSOLUTE_ERROR, HUBER, LOG_COSH, HINGE, SQUARED_HINGE, POISSON, POISSON_RATE
    BINARY_LOGITS, BINARY, CATEGORICAL


cdef inline double times_log(double t, double p, double log_p) noexcept nogil:
    """t log p, where 0 log p is 0 for every p but NaN."""
    cdef double product = t * log_p
    return 0.0 if (t == 0) & (p == p) else product


cdef inline double quotient(double t, double p) noexcept nogil:
    """t / p, where 0 / 0 is 0: the derivative of t log p."""
    cdef double ratio = t / p
    return 0.0 if (t == 0) & (p == 0) else ratio


cdef inline floating log_rest(floating p) noexcept nogil:
    """log(1 - p), for a small p without what 1 - p would lose of it."""
    cdef floating small = log1p_(-p)
    cdef floating large = log_(<floating> 1 - p)
    return small if abs(p) < <floating> 0.25 else large


cdef inline double log_cosh_error(floating x, floating t, double *slope) noexcept nogil:
    """log cosh(e), e = x - t, from m = exp(|e|) - 1: log(1 + m^2 / (2 + 2 m)), or |e| - log 2 + log(1 + 1 / (1 + m)^2).

    The first keeps all digits near 0, and 1 is where both logarithms are of numbers from 1 to 1.55. Its derivative is
    tanh(e) = m (m + 2) / (m (m + 2) + 2). From |e| = 20 on all that m adds is lost in float64.
    """
    cdef double e = <double> x - t
    cdef double distance = abs(e)
    cdef double m = expm1_(at_most[floating](<floating> distance, 20))
    cdef double square = m * (m + 2.0)
    cdef bint near = distance < 1
    cdef floating rest = <floating> (m * m / (2.0 + 2.0 * m) if near else 1.0 / (square + 1.0))
    slope[0] = square / (square + 2.0)
    slope[0] = -slope[0] if e < 0 else slope[0]
    return (0.0 if near else distance - 0.69314718055994531) + log1p_(rest)


cdef inline double logistic_error(floating x, floating t, double *slope) noexcept nogil:
    """max(x, 0) - x t + log(1 + exp(-|x|)), whose derivative is sigmoid(x) - t = 1 - t - sigmoid(-x)."""
    cdef floating p = exp_(-abs(x))
    cdef double tail = p / (<floating> 1 + p)
    slope[0] = tail - t if x < 0 else (1.0 - t) - tail
    return (<double> (x if x > 0 else <floating> 0) - <double> x * t) + log1p_(p)


cdef inline double binary_error(floating p, floating t, double *slope) noexcept nogil:
    """-t log p - (1 - t) log(1 - p), whose derivative is (p - t) / (p (1 - p)); a term of weight zero is 0."""
    cdef double no = 1.0 - t
    cdef double rest = 1.0 - p
    cdef double top = <double> p - t
    cdef double bottom = p * rest
    top = 1.0 if t == 0 else (-1.0 if t == 1 else top)
    bottom = rest if t == 0 else (<double> p if t == 1 else bottom)
    slope[0] = top / bottom
    return -times_log(t, p, log_(p)) - times_log(no, rest, log_rest(p))


cdef inline double element(int code, double a, double b, floating x, floating t, double *slope) noexcept nogil:
    """One element's loss for prediction x and target t, and its derivative by x."""
    cdef double e = <double> x - t
    cdef double distance = abs(e)
    cdef double margin = 1.0 - <double> x * t
    cdef double excess = 0.0 if margin <= 0 else margin  # a NaN stays
    cdef double rate, target
    if code == SQUARED_ERROR:
        slope[0] = e + e
        return e * e
    elif code == ABSOLUTE_ERROR:
        e = -1.0 if e < 0 else e
        slope[0] = 1.0 if e > 0 else e
        return distance
    elif code == HUBER:
        slope[0] = clip(e, -a, a)
        return 0.5 * e * e if distance <= a else a * (distance - 0.5 * a)
    elif code == LOG_COSH:
        return log_cosh_error(x, t, slope)
    elif code == HINGE:
        slope[0] = -(<double> t) if excess > 0 else excess
        return excess
    elif code == SQUARED_HINGE:
        slope[0] = -2.0 * t * excess
        return excess * excess
    elif code == POISSON:  # exp(x) in float64: its difference to t or t x may be small
        rate = exp_[double](x)
        slope[0] = rate - t
        return rate - (0.0 if t == 0 else <double> t * x)
    elif code == POISSON_RATE:
        slope[0] = 1.0 - quotient(t, x)
        return x - (0.0 if t == 0 else t * log_[double](x))
    elif code == BINARY_LOGITS:
        return logistic_error(x, t, slope)
    elif code == BINARY:
        return binary_error(x, t, slope)
    else:
        target = t * a + b  # smoothed
        slope[0] = -quotient(target, x)
        return -times_log(target, x, log_(x))
