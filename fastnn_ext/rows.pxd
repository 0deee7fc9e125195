"""Sums and the like over a contiguous row.

Without -ffast-math a compiler may not reorder a sum, so the order is written out: LANES running sums in float64 over
BLOCK elements, added up in pairs, and the blocks' sums in pairs too. The rounding error hardly grows with the length.
"""

from cython cimport floating
from libc.math cimport INFINITY

from fastnn_ext.scalar cimport exp_scaled

cdef enum:
    LANES = 16
    BLOCK = 512
    BLOCKS = 64


cdef inline double lane_sum(double *lanes) noexcept nogil:
    """Sum of LANES numbers, which are overwritten."""
    cdef Py_ssize_t j
    for j in range(8):
        lanes[j] += lanes[j + 8]
    for j in range(4):
        lanes[j] += lanes[j + 4]
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])


cdef inline double pair_sum(double *x, Py_ssize_t n) noexcept nogil:
    """Sum of n numbers, which are overwritten, by adding neighbours until one is left."""
    cdef Py_ssize_t i
    while n > 1:
        for i in range(n // 2):
            x[i] = x[2 * i] + x[2 * i + 1]
        if n % 2:
            x[n // 2] = x[n - 1]
        n = (n + 1) // 2
    return x[0] if n else 0.0


cdef inline double block_dot(bint alone, const floating *a, const floating *b, Py_ssize_t n) noexcept nogil:
    """sum(a b), or sum(a) if a is `alone`, in LANES running sums."""
    cdef double lanes[LANES]
    cdef Py_ssize_t rest = n % LANES
    cdef Py_ssize_t i, j
    for j in range(LANES):
        lanes[j] = 0
    for i in range(n // LANES):
        for j in range(LANES):
            lanes[j] += a[i * LANES + j] if alone else <double> a[i * LANES + j] * b[i * LANES + j]
    for j in range(rest):
        lanes[j] += a[n - rest + j] if alone else <double> a[n - rest + j] * b[n - rest + j]
    return lane_sum(lanes)


cdef inline double blocked_dot(bint alone, const floating *a, const floating *b, Py_ssize_t n) noexcept nogil:
    cdef double sums[BLOCKS]
    cdef double total = 0
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t k
    while start < n:
        k = 0
        while k < BLOCKS and start < n:
            sums[k] = block_dot(alone, &a[start], a if alone else &b[start], min(<Py_ssize_t> BLOCK, n - start))
            start += BLOCK
            k += 1
        total += pair_sum(sums, k)
    return total


cdef inline double row_sum(const floating *x, Py_ssize_t n) noexcept nogil:
    """sum(x)."""
    return blocked_dot(True, x, x, n)


cdef inline double row_dot(const floating *a, const floating *b, Py_ssize_t n) noexcept nogil:
    """sum(a b)."""
    return blocked_dot(False, a, b, n)


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
    cdef double total = 0
    cdef Py_ssize_t rest = n % LANES
    cdef Py_ssize_t start, i, j
    for start in range(0, n, 512):
        for j in range(LANES):
            lanes[j] = 0
        for i in range(start, min(start + BLOCK, n - rest), 16):
            for j in range(LANES):
                block[j] = exp_difference(x[i + j], top)
            for j in range(LANES):
                y[i + j] = block[j]
                lanes[j] += block[j]
        total += lane_sum(lanes)
    for j in range(LANES):
        block[j] = x[n - rest + j] if j < rest else -<floating> INFINITY
        lanes[j] = 0
    for j in range(LANES):
        block[j] = exp_difference(block[j], top)
    for j in range(rest):
        y[n - rest + j] = block[j]
        lanes[j] = block[j]
    return total + lane_sum(lanes)
