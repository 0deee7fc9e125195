"""Penalties on parameters, and what parameters and gradients are brought back to, in place."""

from cython cimport floating
from libc.math cimport sqrt

from fastnn_ext.columns cimport COLUMNS, sum_columns
from fastnn_ext.elementary cimport clip
from fastnn_ext.rows cimport LANES, lane_sum, pair_sum
from fastnn_ext.share cimport first

cdef enum:
    CHUNK = 4096  # elements whose sum is one number of the workspace


cdef inline double penalty_of(const floating *p, double l1, double l2, Py_ssize_t n) noexcept nogil:
    """sum(l1 |p| + l2 p^2)."""
    cdef double lanes[LANES]
    cdef double total
    cdef double a
    cdef Py_ssize_t rest = n % LANES
    cdef Py_ssize_t i, j
    for j in range(LANES):
        lanes[j] = 0
    for i in range(0, n - rest, 32):
        for j in range(LANES):
            a = abs(p[i + j])
            lanes[j] += l1 * a + l2 * (a * a)
    total = lane_sum(lanes)
    for j in range(n - rest, n):
        a = abs(p[j])
        total += l1 * a + l2 * (a * a)
    return total


cdef inline void add_slope(const floating *p, floating *g, floating l1, floating twice, Py_ssize_t n) noexcept nogil:
    """g += l1 sign(p) + twice p; a NaN in p stays one by the second term."""
    cdef floating sign
    cdef Py_ssize_t j
    for j in range(n):
        sign = -l1 if p[j] < 0 else <floating> 0
        sign = l1 if p[j] > 0 else sign
        g[j] += sign + twice * p[j]


cdef void penalty(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """p (n), g (n) -> value (one); workspace: one sum per chunk."""
    cdef Py_ssize_t n = dims[0]
    cdef Py_ssize_t chunks = (n + CHUNK - 1) // CHUNK
    cdef double *sums = <double *> buffers[3]
    cdef const floating *p
    cdef Py_ssize_t i, size
    if phase == 0:
        for i in range(first(chunks, 1, part, parts), first(chunks, 1, part + 1, parts)):
            p = &buffers[0][i * CHUNK]
            size = min(<Py_ssize_t> CHUNK, n - i * CHUNK)
            sums[i] = penalty_of(p, params[0], params[1], size)
            if buffers[1] != NULL:
                add_slope(p, &buffers[1][i * CHUNK], <floating> params[0], <floating> (2 * params[1]), size)
    elif part == 0:
        buffers[2][0] = <floating> pair_sum(sums, chunks)


cdef void soft_threshold(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """p (n): sign(p) max(|p| - t, 0) = p - clip(p, -t, t), t = learning_rate l1."""
    cdef floating *p = buffers[0]
    cdef floating t = <floating> (params[0] * params[1])
    cdef Py_ssize_t i
    for i in range(first(dims[0], 64, part, parts), first(dims[0], 64, part + 1, parts)):
        p[i] -= clip[floating](p[i], -t, t)


cdef inline void limit_columns(
    floating *w, double limit, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t width
) noexcept nogil:
    """Scale the columns of w (rows,width) whose norm is above the limit down to it."""
    cdef double norm[COLUMNS]
    cdef double zero[COLUMNS]
    cdef floating factor[COLUMNS]
    cdef Py_ssize_t i, j
    for j in range(width):
        zero[j] = 0
    sum_columns(True, <const floating *> w, zero, norm, rows, stride, width)
    for j in range(width):
        norm[j] = sqrt(norm[j])
        factor[j] = <floating> (limit / norm[j] if norm[j] > limit else 1.0)
    for i in range(rows):
        for j in range(width):
            w[i * stride + j] *= factor[j]


cdef void max_norm(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """w (i,o)."""
    cdef Py_ssize_t n = dims[1]
    cdef Py_ssize_t stop = first(n, COLUMNS, part + 1, parts)
    cdef Py_ssize_t j = first(n, COLUMNS, part, parts)
    while j + COLUMNS <= stop:
        limit_columns(&buffers[0][j], params[0], dims[0], n, COLUMNS)
        j += COLUMNS
    if j < stop:
        limit_columns(&buffers[0][j], params[0], dims[0], n, stop - j)


cdef void clip_by_value(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """g (n): to [-max_value, max_value]."""
    cdef floating *g = buffers[0]
    cdef floating limit = <floating> params[0]
    cdef Py_ssize_t i
    for i in range(first(dims[0], 64, part, parts), first(dims[0], 64, part + 1, parts)):
        g[i] = clip[floating](g[i], -limit, limit)


def _chunk_sums(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    return 8 * -(-dims["n"] // CHUNK)


#: Addresses of each op's kernels: float32, float64.
KERNELS = {
    "penalty": (<size_t> &penalty[float], <size_t> &penalty[double]),
    "soft_threshold": (<size_t> &soft_threshold[float], <size_t> &soft_threshold[double]),
    "max_norm": (<size_t> &max_norm[float], <size_t> &max_norm[double]),
    "clip_by_value": (<size_t> &clip_by_value[float], <size_t> &clip_by_value[double]),
}
#: Bytes of scratch memory of the ops that need some.
WORKSPACE = {"penalty": _chunk_sums}
