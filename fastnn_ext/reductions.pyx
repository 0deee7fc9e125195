"""Sums, the norm of a gradient and its clipping, argmax and counting."""

from cython cimport floating
from libc.math cimport sqrt

from fastnn_ext.columns cimport COLUMNS, sum_columns
from fastnn_ext.rows cimport pair_sum, row_dot, row_sum
from fastnn_ext.share cimport first

cdef enum:
    CHUNK = 4096  # elements whose sum is one number of the workspace


cdef void sum(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (o,r) -> y (o): the sum of each row."""
    cdef Py_ssize_t n = dims[1]
    cdef Py_ssize_t i
    for i in range(first(dims[0], 1, part, parts), first(dims[0], 1, part + 1, parts)):
        buffers[1][i] = <floating> row_sum(<const floating *> &buffers[0][i * n], n)


cdef inline void column_block(
    const floating *x, floating *y, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t width
) noexcept nogil:
    """y (width) = sum of the rows of x (rows,width), which are `stride` apart; width <= COLUMNS."""
    cdef double total[COLUMNS]
    cdef Py_ssize_t j
    sum_columns(False, x, NULL, total, rows, stride, width)
    for j in range(width):
        y[j] = <floating> total[j]


cdef void column_sum(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (r,o) -> y (o): the sum of each column."""
    cdef Py_ssize_t rows = dims[0]
    cdef Py_ssize_t n = dims[1]
    cdef Py_ssize_t stop = first(n, COLUMNS, part + 1, parts)
    cdef Py_ssize_t j = first(n, COLUMNS, part, parts)
    while j + COLUMNS <= stop:
        column_block(<const floating *> &buffers[0][j], &buffers[1][j], rows, n, COLUMNS)
        j += COLUMNS
    if j < stop:
        column_block(<const floating *> &buffers[0][j], &buffers[1][j], rows, n, stop - j)


cdef void sum_of_squares(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (n) -> y (one); workspace: one sum per chunk."""
    cdef Py_ssize_t n = dims[0]
    cdef Py_ssize_t chunks = (n + CHUNK - 1) // CHUNK
    cdef double *sums = <double *> buffers[2]
    cdef const floating *x
    cdef Py_ssize_t i
    if phase == 0:
        for i in range(first(chunks, 1, part, parts), first(chunks, 1, part + 1, parts)):
            x = &buffers[0][i * CHUNK]
            sums[i] = row_dot(x, x, min(<Py_ssize_t> CHUNK, n - i * CHUNK))
    elif part == 0:
        buffers[1][0] = <floating> pair_sum(sums, chunks)


cdef void clip_by_norm(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """g (n), squared_norm (one): g *= min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_."""
    cdef floating *g = buffers[0]
    cdef double ratio = params[0] / (sqrt(<double> buffers[1][0]) + 1e-6)
    cdef floating factor = <floating> (ratio if ratio < 1 else 1.0)
    cdef Py_ssize_t i
    for i in range(first(dims[0], 64, part, parts), first(dims[0], 64, part + 1, parts)):
        g[i] *= factor


cdef void argmax(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (o,r) -> y (o) int: the first largest element of each row; a NaN counts as the largest."""
    cdef Py_ssize_t n = dims[1]
    cdef long long *y = <long long *> buffers[1]
    cdef const floating *x
    cdef Py_ssize_t i, j, best
    for i in range(first(dims[0], 1, part, parts), first(dims[0], 1, part + 1, parts)):
        x = &buffers[0][i * n]
        best = 0
        for j in range(1, n):
            if not x[j] <= x[best] and x[best] == x[best]:  # larger, or the first NaN
                best = j
        y[i] = best


cdef void count_equal(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """a (n) int, b (n) int -> y (one)."""
    cdef const long long *a = <const long long *> buffers[0]
    cdef const long long *b = <const long long *> buffers[1]
    cdef Py_ssize_t count = 0
    cdef Py_ssize_t i
    if part == 0:
        for i in range(dims[0]):
            count += a[i] == b[i]
        buffers[2][0] = <floating> count


def _chunk_sums(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    return 8 * -(-dims["n"] // CHUNK)


#: Addresses of each op's kernels: float32, float64.
KERNELS = {
    "sum": (<size_t> &sum[float], <size_t> &sum[double]),
    "column_sum": (<size_t> &column_sum[float], <size_t> &column_sum[double]),
    "sum_of_squares": (<size_t> &sum_of_squares[float], <size_t> &sum_of_squares[double]),
    "clip_by_norm": (<size_t> &clip_by_norm[float], <size_t> &clip_by_norm[double]),
    "argmax": (<size_t> &argmax[float], <size_t> &argmax[double]),
    "count_equal": (<size_t> &count_equal[float], <size_t> &count_equal[double]),
}
#: Bytes of scratch memory of the ops that need some.
WORKSPACE = {"sum_of_squares": _chunk_sums}
