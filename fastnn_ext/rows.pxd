"""Sums, maxima and exponentials of rows.

Without -ffast-math a compiler may not reorder a sum, so the order is written out. A long row is treated LANES
elements at a time; its sums are LANES running sums in float64 over BLOCK elements, added up in pairs, so that rounding
errors hardly grow with the length. Short rows are treated TILE at a time, transposed, with one row per vector lane.
LANES and TILE are 32 because loops of up to 16 rounds are unrolled by the compiler before it looks for vectors.
Steps of ranges are literals, the values of LANES and BLOCK: with a name, Cython would make Python objects of them.
"""

from cython cimport floating
from libc.math cimport INFINITY

from fastnn_ext.elementary cimport exp_scaled

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
    cdef floating top = -<floating> INFINITY
    cdef Py_ssize_t i, j
    for j in range(LANES):
        lanes[j] = top
    for i in range(n // LANES):
        for j in range(LANES):
            lanes[j] = larger(x[i * LANES + j], lanes[j])
    for j in range(n % LANES):
        lanes[j] = larger(x[n - n % LANES + j], lanes[j])
    for j in range(LANES):
        top = larger(lanes[j], top)
    return top


cdef inline floating exp_difference(floating x, floating top, floating *scale) noexcept nogil:
    """exp(x - top) / scale for x <= top, with the rounding error of the difference. The scale is always the same.

    As x - top <= 0, the smaller one of x and -top is the larger one in magnitude, so that Dekker's fast two-sum serves.
    """
    cdef floating a = -top if -top < x else x
    cdef floating b = -top if -top > x else x
    cdef floating d = a + b
    cdef floating y = exp_scaled(d, d, b - (d - a), scale)
    if floating is float:
        return <floating> 0 if d < -104 else y
    else:
        return <floating> 0 if d < -746 else y


cdef inline double row_exp(const floating *x, floating top, floating *y, floating *scale, Py_ssize_t n) noexcept nogil:
    """Sum of exp(x - top), and y = exp(x - top) / scale unless y is NULL; y == x is allowed."""
    cdef floating e[LANES]
    cdef floating lanes[LANES]
    cdef double total[LANES]
    cdef Py_ssize_t rest = n % LANES
    cdef Py_ssize_t start, i, j
    for j in range(LANES):
        total[j] = 0
    for start in range(0, n - rest, 512):
        for j in range(LANES):
            lanes[j] = 0
        for i in range(start, min(start + STRETCH, n - rest), 32):
            for j in range(LANES):
                e[j] = exp_difference(x[i + j], top, scale)
            for j in range(LANES):
                lanes[j] += e[j]
            if y != NULL:
                for j in range(LANES):
                    y[i + j] = e[j]
        for j in range(LANES):
            total[j] += lanes[j]
    if rest:
        for j in range(LANES):
            e[j] = x[n - rest + j] if j < rest else -<floating> INFINITY
        for j in range(LANES):
            e[j] = exp_difference(e[j], top, scale)
        for j in range(LANES):
            total[j] += e[j]
        if y != NULL:
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
    cdef Py_ssize_t i, j
    for i in range(TILE):
        top[i] = -<floating> INFINITY
        total[i] = 0
    for j in range(n):
        for i in range(TILE):
            top[i] = larger(tile[j * TILE + i], top[i])
    for j in range(n):
        for i in range(TILE):
            e[j * TILE + i] = exp_difference(tile[j * TILE + i], top[i], scale)
        for i in range(TILE):
            total[i] += e[j * TILE + i]
    for i in range(TILE):
        total[i] *= scale[0]
