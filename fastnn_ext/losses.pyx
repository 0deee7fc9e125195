"""Losses, each with its gradient in the same pass, optionally with one weight per row.

Phase 0 writes sums of losses to the workspace, one per chunk of CHUNK elements (one per row for cross-entropy of
softmax); phase 1 adds them in order, so that the result does not depend on the number of threads.
"""

from cython cimport floating
from libc.math cimport NAN

from fastnn_ext.cross_entropy cimport cross_entropy
from fastnn_ext.errors cimport (
    ABSOLUTE_ERROR, BINARY, BINARY_LOGITS, CATEGORICAL, HINGE, HUBER, LOG_COSH, POISSON, POISSON_RATE, SQUARED_ERROR,
    SQUARED_HINGE, element,
)
from fastnn_ext.rows cimport LANES, lane_sum, pair_sum
from fastnn_ext.share cimport first

cdef enum:
    CHUNK = 512


cdef inline void block(
    int code, double a, double b, double factor, const floating *x, const floating *t, const floating *w,
    floating *grad, double *lanes
) noexcept nogil:
    """Gradient of LANES elements, and their weighted losses added to `lanes`."""
    cdef double slope[LANES]
    cdef double value[LANES]
    cdef Py_ssize_t j
    for j in range(LANES):
        value[j] = w[j] * element(code, a, b, x[j], t[j], &slope[j])
    for j in range(LANES):
        lanes[j] += value[j]
        grad[j] = <floating> (w[j] * slope[j] * factor)


cdef inline double chunk_loss(
    int code, bint sparse, double a, double b, double factor, floating **buffers, Py_ssize_t columns,
    Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    """Gradient and sum of losses of elements start to stop, the last block filled up with ones of weight zero."""
    cdef const long long *labels = <const long long *> buffers[1]
    cdef const floating *weight = buffers[2]
    cdef floating *grad = buffers[4]
    cdef const floating *targets
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
        if sparse or weight != NULL:
            for j in range(LANES):
                if sparse:
                    t[j] = <floating> 1 if column == labels[row] else <floating> 0
                if weight != NULL:
                    w[j] = weight[row]
                column += 1
                if column == columns:
                    column = 0
                    row += 1
        targets = t
        if not sparse:
            targets = &buffers[1][i]
        block(code, a, b, factor, &buffers[0][i], targets, w, slope, lanes)
        if grad != NULL:
            for j in range(LANES):
                grad[i + j] = slope[j]
    if rest:
        i = stop - rest
        for j in range(LANES):
            x[j] = buffers[0][i + j] if j < rest else <floating> 1
            t[j] = <floating> 1
            w[j] = <floating> 0
        for j in range(rest):
            if sparse:
                t[j] = <floating> 1 if (i + j) % columns == labels[(i + j) // columns] else <floating> 0
            else:
                t[j] = buffers[1][i + j]
            w[j] = weight[(i + j) // columns] if weight != NULL else <floating> 1
        block(code, a, b, factor, x, t, w, slope, lanes)
        if grad != NULL:
            for j in range(rest):
                grad[i + j] = slope[j]
    return lane_sum(lanes)


cdef inline void elementwise_loss(
    int code, bint sparse, double a, double b, Py_ssize_t count, floating **buffers, const Py_ssize_t *dims,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """y_pred (b,c), y_true (b,c) or labels (b), weight (b) -> loss (one), grad (b,c); workspace: one sum per chunk.

    The loss is the sum over the elements divided by `count`; `a` and `b` are parameters of an element's loss.
    """
    cdef double *sums = <double *> buffers[5]
    cdef Py_ssize_t n = dims[0] * dims[1]
    cdef Py_ssize_t chunks = (n + CHUNK - 1) // CHUNK
    cdef double factor = 1.0 / count
    cdef Py_ssize_t i
    if phase == 0:
        for i in range(first(chunks, 1, part, parts), first(chunks, 1, part + 1, parts)):
            sums[i] = chunk_loss(code, sparse, a, b, factor, buffers, dims[1], i * CHUNK, min(n, (i + 1) * CHUNK))
    elif part == 0:
        buffers[3][0] = <floating> (pair_sum(sums, chunks) / count)


cdef inline void mean_loss(
    int code, double a, floating **buffers, const Py_ssize_t *dims,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """The mean over all elements of a loss with one parameter."""
    elementwise_loss(code, False, a, 0, dims[0] * dims[1], buffers, dims, phase, part, parts)


cdef void mean_squared_error(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    mean_loss(SQUARED_ERROR, 0, buffers, dims, phase, part, parts)


cdef void mean_absolute_error(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    mean_loss(ABSOLUTE_ERROR, 0, buffers, dims, phase, part, parts)


cdef void huber(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """e^2 / 2 for |e| <= delta, else delta (|e| - delta / 2) (Huber 1964)."""
    mean_loss(HUBER, params[0], buffers, dims, phase, part, parts)


cdef void log_cosh(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    mean_loss(LOG_COSH, 0, buffers, dims, phase, part, parts)


cdef void hinge(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    mean_loss(HINGE, 0, buffers, dims, phase, part, parts)


cdef void squared_hinge(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    mean_loss(SQUARED_HINGE, 0, buffers, dims, phase, part, parts)


cdef void poisson(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """From logarithms of rates with `log_input`, else from rates."""
    if params[0] != 0:
        mean_loss(POISSON, 0, buffers, dims, phase, part, parts)
    else:
        mean_loss(POISSON_RATE, 0, buffers, dims, phase, part, parts)


cdef void binary_cross_entropy(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """From logits with `from_logits`, else from probabilities."""
    if params[0] != 0:
        mean_loss(BINARY_LOGITS, 0, buffers, dims, phase, part, parts)
    else:
        mean_loss(BINARY, 0, buffers, dims, phase, part, parts)


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


cdef void categorical_cross_entropy(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    cdef double share = params[0] / dims[1]
    elementwise_loss(CATEGORICAL, False, 1 - params[0], share, dims[0], buffers, dims, phase, part, parts)


cdef void sparse_categorical_cross_entropy(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """A label outside 0 ... c - 1 makes the loss NaN."""
    cdef const long long *labels = <const long long *> buffers[1]
    cdef double share = params[0] / dims[1]
    cdef Py_ssize_t i
    elementwise_loss(CATEGORICAL, True, 1 - params[0], share, dims[0], buffers, dims, phase, part, parts)
    if phase == 1 and part == 0:
        for i in range(dims[0]):
            if not 0 <= labels[i] < dims[1]:
                buffers[3][0] = <floating> NAN


def _chunk_sums(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    return 8 * -(-dims["b"] * dims["c"] // CHUNK)


def _row_losses(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    return 8 * dims["b"]


#: Addresses of each op's kernels: float32, float64.
KERNELS = {
    "mean_squared_error": (<size_t> &mean_squared_error[float], <size_t> &mean_squared_error[double]),
    "mean_absolute_error": (<size_t> &mean_absolute_error[float], <size_t> &mean_absolute_error[double]),
    "huber": (<size_t> &huber[float], <size_t> &huber[double]),
    "log_cosh": (<size_t> &log_cosh[float], <size_t> &log_cosh[double]),
    "hinge": (<size_t> &hinge[float], <size_t> &hinge[double]),
    "squared_hinge": (<size_t> &squared_hinge[float], <size_t> &squared_hinge[double]),
    "poisson": (<size_t> &poisson[float], <size_t> &poisson[double]),
    "binary_cross_entropy": (<size_t> &binary_cross_entropy[float], <size_t> &binary_cross_entropy[double]),
    "softmax_cross_entropy": (<size_t> &softmax_cross_entropy[float], <size_t> &softmax_cross_entropy[double]),
    "sparse_softmax_cross_entropy": (
        <size_t> &sparse_softmax_cross_entropy[float], <size_t> &sparse_softmax_cross_entropy[double]
    ),
    "categorical_cross_entropy": (
        <size_t> &categorical_cross_entropy[float], <size_t> &categorical_cross_entropy[double]
    ),
    "sparse_categorical_cross_entropy": (
        <size_t> &sparse_categorical_cross_entropy[float], <size_t> &sparse_categorical_cross_entropy[double]
    ),
}
#: Bytes of scratch memory of the ops that need some.
WORKSPACE = {name: _row_losses if "softmax" in name else _chunk_sums for name in KERNELS}
