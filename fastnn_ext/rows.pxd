"""Sums and the like over a contiguous row.

Without -ffast-math a compiler may not reorder a sum, so the order is written out: LANES running sums, in float64,
added up in pairs at the end.
"""

from cython cimport floating
from libc.math cimport INFINITY

from fastnn_ext.scalar cimport exp_scaled

cdef enum:
    LANES = 16


cdef inline double lane_sum(double *lanes) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(8):
        lanes[j] += lanes[j + 8]
    for j in range(4):
        lanes[j] += lanes[j + 4]
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])


cdef inline double row_sum(const floating *x, Py_ssize_t n) noexcept nogil:
    """sum(x)."""
    cdef double lanes[LANES]
    cdef Py_ssize_t i, j
    for j in range(LANES):
        lanes[j] = 0
    for i in range(n // LANES):
        for j in range(LANES):
            lanes[j] += x[i * LANES + j]
    for j in range(n % LANES):
        lanes[j] += x[n - n % LANES + j]
    return lane_sum(lanes)


cdef inline double row_dot(const floating *a, const floating *b, Py_ssize_t n) noexcept nogil:
    """sum(a b)."""
    cdef double lanes[LANES]
    cdef Py_ssize_t i, j
    for j in range(LANES):
        lanes[j] = 0
    for i in range(n // LANES):
        for j in range(LANES):
            lanes[j] += <double> a[i * LANES + j] * b[i * LANES + j]
    for j in range(n % LANES):
        lanes[j] += <double> a[n - n % LANES + j] * b[n - n % LANES + j]
    return lane_sum(lanes)


cdef inline floating row_max(const floating *x, Py_ssize_t n) noexcept nogil:
    """The largest element that is not NaN, or minus infinity."""
    cdef floating lanes[LANES]
    cdef Py_ssize_t i, j
    for j in range(LANES):
        lanes[j] = -<floating> INFINITY
    for i in range(n // LANES):
        for j in range(LANES):
            lanes[j] = x[i * LANES + j] if x[i * LANES + j] > lanes[j] else lanes[j]
    for j in range(n % LANES):
        lanes[j] = x[n - n % LANES + j] if x[n - n % LANES + j] > lanes[j] else lanes[j]
    for j in range(8):
        lanes[j] = lanes[j] if lanes[j] > lanes[j + 8] else lanes[j + 8]
    for j in range(4):
        lanes[j] = lanes[j] if lanes[j] > lanes[j + 4] else lanes[j + 4]
    lanes[0] = lanes[0] if lanes[0] > lanes[2] else lanes[2]
    lanes[1] = lanes[1] if lanes[1] > lanes[3] else lanes[3]
    return lanes[0] if lanes[0] > lanes[1] else lanes[1]


cdef inline floating exp_difference(floating x, floating top) noexcept nogil:
    """exp(x - top) for x <= top, with the rounding error of the difference (Knuth's two-sum)."""
    cdef floating d = x - top
    cdef floating back = d - x
    cdef floating error = (x - (d - back)) - (top + back)
    cdef floating scale
    if floating is float:
        error = <floating> 0 if d < -110 else error
        d = <floating> -110 if d < -110 else d
    else:
        error = <floating> 0 if d < -760 else error
        d = <floating> -760 if d < -760 else d
    d = exp_scaled(d, error, &scale)
    return d * scale


cdef inline double row_exp(const floating *x, floating top, floating *y, Py_ssize_t n) noexcept nogil:
    """y = exp(x - top), and its sum."""
    cdef floating block[LANES]
    cdef double lanes[LANES]
    cdef Py_ssize_t i, j
    for j in range(LANES):
        lanes[j] = 0
    for i in range(n // LANES):
        for j in range(LANES):
            block[j] = exp_difference(x[i * LANES + j], top)
        for j in range(LANES):
            y[i * LANES + j] = block[j]
            lanes[j] += block[j]
    if n % LANES:
        for j in range(LANES):
            block[j] = x[n - n % LANES + j] if j < n % LANES else -<floating> INFINITY
        for j in range(LANES):
            block[j] = exp_difference(block[j], top)
        for j in range(n % LANES):
            y[n - n % LANES + j] = block[j]
            lanes[j] += block[j]
    return lane_sum(lanes)
