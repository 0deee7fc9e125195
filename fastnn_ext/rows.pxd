"""Sums, maxima and exponentials of rows.

Without -ffast-math a compiler may not reorder a sum, so the order is written out. A long row is treated LANES
elements at a time; its sums are LANES running sums in float64 over BLOCK elements, added up in pairs, so that rounding
errors hardly grow with the length. Short rows are treated TILE at a time, transposed, with one row per vector lane.
LANES and TILE are 32 because loops of up to 16 rounds are unrolled by the compiler before it looks for vectors.
Steps of ranges are literals, the values of LANES and BLOCK: with a name, Cython would make Python objects of them.
"""

from cython cimport floating
from libc.math cimport INFINITY

from fastnn_ext.elementary cimport exp_argument, exp_reduced, nearest, scaled_power

cdef extern from "simd.h":
    void fastnn_fetch(const void *source, size_t size) noexcept nogil

cdef enum:
    LANES = 32
    BLOCK = 1024  # elements
    BLOCKS = 64  # whose sums are added in pairs
    STRETCH = 512  # exponentials whose LANES sums are in the arrays' type
    TILE = 32  # rows
    NARROW = 32  # most columns of a tile


cdef inline double lane_sum(double *lanes) noexcept nogil:
    """Sum of LANES numbers, which are overwritten."""
    cdef Py_ssize_t j
    for j in range(16):
        lanes[j] += lanes[j + 16]
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
    """sum(a b), or sum(a) if a is `alone`."""
    cdef double lanes[LANES]
    cdef double total = 0
    cdef Py_ssize_t rest = n % LANES
    cdef Py_ssize_t i, j
    if n >= LANES:
        for j in range(LANES):
            lanes[j] = 0
        for i in range(n // LANES):
            for j in range(LANES):
                lanes[j] += a[i * LANES + j] if alone else <double> a[i * LANES + j] * b[i * LANES + j]
        total = lane_sum(lanes)
    for j in range(n - rest, n):
        total += a[j] if alone else <double> a[j] * b[j]
    return total


cdef inline double blocked_dot(bint alone, const floating *a, const floating *b, Py_ssize_t n) noexcept nogil:
    cdef double sums[BLOCKS]
    cdef double total = 0
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t k
    if n <= BLOCK:
        return block_dot(alone, a, b, n)
    while start < n:
        k = 0
        while k < BLOCKS and start < n:
            sums[k] = block_dot(alone, &a[start], &b[start], min(<Py_ssize_t> BLOCK, n - start))
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


cdef inline floating larger(floating a, floating b) noexcept nogil:
    """max(a, b) where neither is NaN; b where one is."""
    return a if a > b else b


cdef inline floating row_max(const floating *x, Py_ssize_t n) noexcept nogil:
    """The largest element that is not NaN, or minus infinity."""
    cdef floating lanes[LANES]
    cdef Py_ssize_t i, j
    for j in range(LANES):
        lanes[j] = -<floating> INFINITY
    for i in range(n // LANES):
        for j in range(LANES):
            lanes[j] = larger(x[i * LANES + j], lanes[j])
    for j in range(n % LANES):
        lanes[j] = larger(x[n - n % LANES + j], lanes[j])
    for j in range(16):
        lanes[j] = larger(lanes[j + 16], lanes[j])
    for j in range(8):
        lanes[j] = larger(lanes[j + 8], lanes[j])
    for j in range(4):
        lanes[j] = larger(lanes[j + 4], lanes[j])
    return larger(larger(lanes[0], lanes[2]), larger(lanes[1], lanes[3]))


cdef inline floating row_scale(floating top, floating *shift, floating *n) noexcept nogil:
    """r with top = shift + n log(2) + r, n a whole number, |r| <= log(2) / 2: by these a row's exponentials are taken.

    From a `top` on that is twice as large as all differences to it that count, these are exact (Sterbenz 1974), and
    shift is `top`. An infinite or undefined `top` makes all of the row's exponentials NaN.
    """
    if floating is float:
        shift[0] = <floating> 0 if -256 <= top <= 256 else top
    else:
        shift[0] = <floating> 0 if -2048 <= top <= 2048 else top
    n[0] = nearest((top - shift[0]) * <floating> 1.4426950408889634)
    return exp_argument[floating](top - shift[0], -0.0, n[0])


cdef inline floating exp_below(
    floating x, floating top, floating shift, floating n, floating r, floating *scale
) noexcept nogil:
    """exp(x - top) / scale for x <= top and what `row_scale` makes of `top`; negligible where exp(x - top) rounds to 0.

    The rounding error of x - top would be multiplied by up to 100 (700 in float64): the difference is taken between
    what is left of both without multiples of log(2), which is 0 for x = top. The scale is always the same.
    """
    cdef floating y = x - shift
    cdef floating low = top - shift
    cdef floating m, power
    if floating is float:
        low -= <floating> 110
    else:
        low -= <floating> 760
    y = low if y < low else y
    power = scaled_power[floating](y - (top - shift), n, &m, scale)
    return exp_reduced(exp_argument[floating](y, -0.0, m) - r) * power


cdef inline double row_exp(
    bint kept, const floating *x, floating top, floating *y, floating *scale, Py_ssize_t n
) noexcept nogil:
    """Sum of exp(x - top), and y = exp(x - top) / scale if they are `kept`; y == x is allowed.

    What is needed next is fetched meanwhile, the row after x and, unless it is written at once or NULL, y: in rows
    from memory 4,096 of 1,000 log-softmax takes 0.55 instead of 1.0 ns an element.
    """
    cdef floating e[LANES]
    cdef floating lanes[LANES]
    cdef double total[LANES]
    cdef floating shift, whole
    cdef floating part = row_scale(top, &shift, &whole)
    cdef Py_ssize_t rest = n % LANES
    cdef Py_ssize_t start, i, j
    for j in range(LANES):
        total[j] = 0
    for start in range(0, n - rest, 512):
        for j in range(LANES):
            lanes[j] = 0
        for i in range(start, min(start + STRETCH, n - rest), 32):
            fastnn_fetch(&x[n + i], LANES * sizeof(floating))
            for j in range(LANES):
                e[j] = exp_below(x[i + j], top, shift, whole, part, scale)
            for j in range(LANES):
                lanes[j] += e[j]
            if kept:
                for j in range(LANES):
                    y[i + j] = e[j]
            elif y != NULL:
                fastnn_fetch(&y[i], LANES * sizeof(floating))
        for j in range(LANES):
            total[j] += lanes[j]
    if rest:
        for j in range(LANES):
            e[j] = -<floating> INFINITY
        for j in range(rest):
            e[j] = x[n - rest + j]
        for j in range(LANES):
            e[j] = exp_below(e[j], top, shift, whole, part, scale)
        for j in range(LANES):
            total[j] += e[j]
        if kept:
            for j in range(rest):
                y[n - rest + j] = e[j]
    return lane_sum(total) * scale[0]


cdef inline void load_tile(const floating *x, Py_ssize_t rows, Py_ssize_t n, floating *tile) noexcept nogil:
    """tile (n,TILE) = transposed x (rows,n), the last row standing in for those that are missing."""
    cdef const floating *row
    cdef Py_ssize_t i, j
    for i in range(TILE):
        row = &x[min(i, rows - 1) * n]
        for j in range(n):
            tile[j * TILE + i] = row[j]


cdef inline void store_tile(const floating *tile, Py_ssize_t rows, Py_ssize_t n, floating *y) noexcept nogil:
    """y (rows,n) = transposed tile (n,TILE)."""
    cdef Py_ssize_t i, j
    for i in range(rows):
        for j in range(n):
            y[i * n + j] = tile[j * TILE + i]


cdef inline void tile_exp(
    const floating *tile, Py_ssize_t n, floating *top, floating *e, floating *scale, double *total
) noexcept nogil:
    """top (TILE) = each row's maximum, e (n,TILE) = exp(tile - top) / scale, total (TILE) = sums of exp(tile - top)."""
    cdef floating shift[TILE]
    cdef floating whole[TILE]
    cdef floating part[TILE]
    cdef Py_ssize_t i, j
    for i in range(TILE):
        top[i] = -<floating> INFINITY
        total[i] = 0
    for j in range(n):
        for i in range(TILE):
            top[i] = larger(tile[j * TILE + i], top[i])
    for i in range(TILE):
        part[i] = row_scale(top[i], &shift[i], &whole[i])
    for j in range(n):
        for i in range(TILE):
            e[j * TILE + i] = exp_below(tile[j * TILE + i], top[i], shift[i], whole[i], part[i], scale)
        for i in range(TILE):
            total[i] += e[j * TILE + i]
    for i in range(TILE):
        total[i] *= scale[0]
