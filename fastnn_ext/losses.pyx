"""Losses, each with its gradient in the same pass, optionally with one weight per row.

Phase 0 writes sums of losses to the workspace, one per chunk of CHUNK elements (one per row for cross-entropy); phase
1 adds them in order, so that the result does not depend on the number of threads.
"""

from cython cimport floating

from fastnn_ext.cross_entropy cimport cross_entropy
from fastnn_ext.elementary cimport clip, exp_, log1p_
from fastnn_ext.rows cimport LANES, lane_sum, pair_sum
from fastnn_ext.share cimport first

cdef enum Loss:
    SQUARED_ERROR, ABSOLUTE_ERROR, HUBER, BINARY_CROSS_ENTROPY

cdef enum:
    CHUNK = 512


cdef inline double element(int code, double delta, floating x, floating t, double *slope) noexcept nogil:
    """One element's loss for prediction x and target t, and its derivative by x; all but the exponential in float64."""
    cdef double e = <double> x - t
    cdef double a = abs(e)
    cdef floating p
    if code == SQUARED_ERROR:
        slope[0] = e + e
        return e * e
    elif code == ABSOLUTE_ERROR:
        e = -1.0 if e < 0 else e
        slope[0] = 1.0 if e > 0 else e
        return a
    elif code == HUBER:
        slope[0] = clip(e, -delta, delta)
        return 0.5 * e * e if a <= delta else delta * (a - 0.5 * delta)
    else:  # max(x, 0) - x t + log(1 + exp(-|x|)), whose derivative is sigmoid(x) - t = 1 - t - sigmoid(-x)
        p = exp_(-abs(x))
        e = p / (<floating> 1 + p)
        slope[0] = e - t if x < 0 else (1.0 - t) - e
        return (<double> (x if x > 0 else <floating> 0) - <double> x * t) + log1p_(p)


cdef inline void block(
    int code, double delta, double factor, const floating *x, const floating *t, const floating *w,
    floating *grad, double *lanes
) noexcept nogil:
    """Gradient of LANES elements, and their weighted losses added to `lanes`."""
    cdef double slope[LANES]
    cdef double value[LANES]
    cdef Py_ssize_t j
    for j in range(LANES):
        value[j] = w[j] * element(code, delta, x[j], t[j], &slope[j])
    for j in range(LANES):
        lanes[j] += value[j]
        grad[j] = <floating> (w[j] * slope[j] * factor)


cdef inline double chunk_loss(
    int code, double delta, double factor, floating **buffers, Py_ssize_t columns, Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    """Gradient and sum of losses of elements start to stop, the last block filled up with zeros of weight zero."""
    cdef const floating *weight = buffers[2]
    cdef floating *grad = buffers[4]
    cdef floating x[LANES]
    cdef floating t[LANES]
    cdef floating w[LANES]
    cdef floating slope[LANES]
    cdef double lanes[LANES]
    cdef Py_ssize_t row = start // columns
    cdef Py_ssize_t column = start % columns
    cdef Py_ssize_t rest = (stop - start) % LANES
    cdef Py_ssize_t i, j
    for j in range(LANES):
        lanes[j] = 0
        w[j] = 1
    for i in range(start, stop - rest, 32):
        if weight != NULL:
            for j in range(LANES):
                w[j] = weight[row]
                column += 1
                if column == columns:
                    column = 0
                    row += 1
        block(code, delta, factor, &buffers[0][i], &buffers[1][i], w, slope, lanes)
        if grad != NULL:
            for j in range(LANES):
                grad[i + j] = slope[j]
    if rest:
        i = stop - rest
        for j in range(LANES):
            x[j] = buffers[0][i + j] if j < rest else <floating> 0
            t[j] = buffers[1][i + j] if j < rest else <floating> 0
            w[j] = <floating> 0
        for j in range(rest):
            w[j] = weight[(i + j) // columns] if weight != NULL else <floating> 1
        block(code, delta, factor, x, t, w, slope, lanes)
        if grad != NULL:
            for j in range(rest):
                grad[i + j] = slope[j]
    return lane_sum(lanes)


cdef inline void elementwise_loss(
    int code, double delta, floating **buffers, const Py_ssize_t *dims,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """y_pred (b,c), y_true (b,c), weight (b) -> loss (one), grad (b,c); workspace: one sum per chunk."""
    cdef double *sums = <double *> buffers[5]
    cdef Py_ssize_t n = dims[0] * dims[1]
    cdef Py_ssize_t chunks = (n + CHUNK - 1) // CHUNK
    cdef Py_ssize_t i
    if phase == 0:
        for i in range(first(chunks, 1, part, parts), first(chunks, 1, part + 1, parts)):
            sums[i] = chunk_loss(code, delta, 1.0 / n, buffers, dims[1], i * CHUNK, min(n, (i + 1) * CHUNK))
    elif part == 0:
        buffers[3][0] = <floating> (pair_sum(sums, chunks) / n)


cdef void mean_squared_error(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    elementwise_loss(SQUARED_ERROR, 0, buffers, dims, phase, part, parts)


cdef void mean_absolute_error(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    elementwise_loss(ABSOLUTE_ERROR, 0, buffers, dims, phase, part, parts)


cdef void huber(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """e^2 / 2 for |e| <= delta, else delta (|e| - delta / 2) (Huber 1964)."""
    elementwise_loss(HUBER, params[0], buffers, dims, phase, part, parts)


cdef void binary_cross_entropy(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    elementwise_loss(BINARY_CROSS_ENTROPY, 0, buffers, dims, phase, part, parts)


cdef void softmax_cross_entropy(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    cross_entropy(False, buffers, dims, params[0], phase, part, parts)


cdef void sparse_softmax_cross_entropy(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """A label outside 0 ... c - 1 makes the loss NaN."""
    cross_entropy(True, buffers, dims, params[0], phase, part, parts)


def _chunk_sums(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    return 8 * -(-dims["b"] * dims["c"] // CHUNK)


def _row_losses(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    return 8 * dims["b"]


#: Addresses of each op's kernels: float32, float64.
KERNELS = {
    "mean_squared_error": (<size_t> &mean_squared_error[float], <size_t> &mean_squared_error[double]),
    "mean_absolute_error": (<size_t> &mean_absolute_error[float], <size_t> &mean_absolute_error[double]),
    "huber": (<size_t> &huber[float], <size_t> &huber[double]),
    "binary_cross_entropy": (<size_t> &binary_cross_entropy[float], <size_t> &binary_cross_entropy[double]),
    "softmax_cross_entropy": (<size_t> &softmax_cross_entropy[float], <size_t> &softmax_cross_entropy[double]),
    "sparse_softmax_cross_entropy": (
        <size_t> &sparse_softmax_cross_entropy[float], <size_t> &sparse_softmax_cross_entropy[double]
    ),
}
#: Bytes of scratch memory of the ops that need some.
WORKSPACE = {
    "mean_squared_error": _chunk_sums,
    "mean_absolute_error": _chunk_sums,
    "huber": _chunk_sums,
    "binary_cross_entropy": _chunk_sums,
    "softmax_cross_entropy": _row_losses,
    "sparse_softmax_cross_entropy": _row_losses,
}
