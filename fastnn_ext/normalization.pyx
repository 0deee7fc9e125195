"""Layer and batch normalisation with their gradients.

Threads share the rows where rows are normalised and blocks of COLUMNS columns where columns are, so that no sum is cut.
Statistics are float64, and the mean that is subtracted has its digits: in float32 one far from 0 would swallow the
spread around it.
"""

from cython cimport floating
from libc.math cimport sqrt

from fastnn_ext.columns cimport sum_columns
from fastnn_ext.rows cimport LANES, lane_sum, row_sum
from fastnn_ext.share cimport first

cdef enum:
    COLUMNS = 32  # two cache lines of float32: half the width of a column sum, for twice the shares
    WIDE = 256  # most columns summed together where the rows are read a second time
    ROWS = 64  # rows summed before they are added to the total


cdef inline double squared_deviations(const floating *x, double mean, Py_ssize_t n) noexcept nogil:
    """sum((x - mean)^2)."""
    cdef double lanes[LANES]
    cdef double total = 0
    cdef double d
    cdef Py_ssize_t rest = n % LANES
    cdef Py_ssize_t i, j
    if n >= LANES:
        for j in range(LANES):
            lanes[j] = 0
        for i in range(n // LANES):
            for j in range(LANES):
                d = x[i * LANES + j] - mean
                lanes[j] += d * d
        total = lane_sum(lanes)
    for j in range(n - rest, n):
        d = x[j] - mean
        total += d * d
    return total


cdef inline void scale_row(
    bint scaled, bint shifted, const floating *x, const floating *gamma, const floating *beta, floating *y,
    double mean, double rstd, Py_ssize_t n
) noexcept nogil:
    """y = (x - mean) rstd gamma + beta, the mean in two parts: half the time of differences in float64."""
    cdef floating high = <floating> mean
    cdef floating low = <floating> (mean - high)
    cdef floating scale = <floating> rstd
    cdef floating v
    cdef Py_ssize_t j
    for j in range(n):
        v = ((x[j] - high) - low) * scale
        if scaled:
            v = v * gamma[j]
        if shifted:
            v = v + beta[j]
        y[j] = v


cdef void layer_norm(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (b,c), gamma (c), beta (c) -> y (b,c), mean (b), rstd (b)."""
    cdef const floating *gamma = buffers[1]
    cdef const floating *beta = buffers[2]
    cdef Py_ssize_t n = dims[1]
    cdef const floating *x
    cdef floating *y
    cdef double mean, rstd
    cdef Py_ssize_t i
    for i in range(first(dims[0], 1, part, parts), first(dims[0], 1, part + 1, parts)):
        x = &buffers[0][i * n]
        y = &buffers[3][i * n]
        mean = row_sum(x, n) / n
        rstd = 1.0 / sqrt(squared_deviations(x, mean, n) / n + params[0])
        if gamma != NULL and beta != NULL:
            scale_row(True, True, x, gamma, beta, y, mean, rstd, n)
        elif gamma != NULL:
            scale_row(True, False, x, gamma, beta, y, mean, rstd, n)
        elif beta != NULL:
            scale_row(False, True, x, gamma, beta, y, mean, rstd, n)
        else:
            scale_row(False, False, x, gamma, beta, y, mean, rstd, n)
        if buffers[4] != NULL:
            buffers[4][i] = <floating> mean
        if buffers[5] != NULL:
            buffers[5][i] = <floating> rstd


cdef inline void row_gradient(
    bint scaled, const floating *dy, const floating *x, const floating *gamma, floating *dx,
    floating mean, floating rstd, Py_ssize_t n
) noexcept nogil:
    """dx = rstd (g - average(g) - h average(g h)), g = dy gamma, h = (x - mean) rstd; only the sums are float64."""
    cdef double sums[LANES]
    cdef double products[LANES]
    cdef double sum = 0
    cdef double product = 0
    cdef floating g, average, slope
    cdef Py_ssize_t rest = n % LANES
    cdef Py_ssize_t i, j
    if n >= LANES:
        for j in range(LANES):
            sums[j] = 0
            products[j] = 0
        for i in range(0, n - rest, 32):
            for j in range(LANES):
                g = dy[i + j] * gamma[i + j] if scaled else dy[i + j]
                sums[j] += g
                products[j] += g * ((x[i + j] - mean) * rstd)
        sum = lane_sum(sums)
        product = lane_sum(products)
    for j in range(n - rest, n):
        g = dy[j] * gamma[j] if scaled else dy[j]
        sum += g
        product += g * ((x[j] - mean) * rstd)
    average = <floating> (sum / n)
    slope = <floating> (product / n)
    for j in range(n):
        g = dy[j] * gamma[j] if scaled else dy[j]
        dx[j] = rstd * (g - average - (x[j] - mean) * rstd * slope)


cdef inline void sum_gradients(
    bint by_row, const floating *dy, const floating *x, const floating *mean, const floating *rstd,
    double *products, double *sums, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t width
) noexcept nogil:
    """Sums over the rows of dy (rows,width) times (x - mean) rstd, and of dy. Statistics are by row or by column."""
    cdef double product[WIDE]
    cdef double block[WIDE]
    cdef double g, m, r
    cdef Py_ssize_t start, i, j
    for j in range(width):
        products[j] = 0
        sums[j] = 0
    for start in range(0, rows, 64):
        for j in range(width):
            product[j] = 0
            block[j] = 0
        for i in range(start, min(start + ROWS, rows)):
            for j in range(width):
                g = dy[i * stride + j]
                m = mean[i if by_row else j]
                r = rstd[i if by_row else j]
                product[j] += g * ((x[i * stride + j] - m) * r)
                block[j] += g
        for j in range(width):
            products[j] += product[j]
            sums[j] += block[j]


cdef inline void store(const double *total, floating *y, Py_ssize_t width) noexcept nogil:
    """y (width) = total, unless y is absent."""
    cdef Py_ssize_t j
    if y != NULL:
        for j in range(width):
            y[j] = <floating> total[j]


cdef inline floating *at(floating *array, Py_ssize_t j) noexcept nogil:
    """Address of element j of an array that may be absent."""
    return &array[j] if array != NULL else NULL


cdef inline void layer_columns(
    floating **buffers, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t j, Py_ssize_t width
) noexcept nogil:
    """dgamma and dbeta of `width` columns from j on."""
    cdef double products[WIDE]
    cdef double sums[WIDE]
    sum_gradients(
        True, <const floating *> &buffers[0][j], <const floating *> &buffers[1][j], <const floating *> buffers[3],
        <const floating *> buffers[4], products, sums, rows, n, width,
    )
    store(products, at(buffers[6], j), width)
    store(sums, at(buffers[7], j), width)


cdef void layer_norm_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """dy (b,c), x (b,c), gamma (c), mean (b), rstd (b) -> dx (b,c), dgamma (c), dbeta (c)."""
    cdef const floating *gamma = buffers[2]
    cdef Py_ssize_t rows = dims[0]
    cdef Py_ssize_t n = dims[1]
    cdef Py_ssize_t stop = first(n, COLUMNS, part + 1, parts)
    cdef Py_ssize_t j = first(n, COLUMNS, part, parts)
    cdef const floating *dy
    cdef const floating *x
    cdef floating *dx
    cdef Py_ssize_t i
    if buffers[5] != NULL:
        for i in range(first(rows, 1, part, parts), first(rows, 1, part + 1, parts)):
            dy = &buffers[0][i * n]
            x = &buffers[1][i * n]
            dx = &buffers[5][i * n]
            if gamma != NULL:
                row_gradient(True, dy, x, gamma, dx, buffers[3][i], buffers[4][i], n)
            else:
                row_gradient(False, dy, x, gamma, dx, buffers[3][i], buffers[4][i], n)
    if buffers[6] != NULL or buffers[7] != NULL:
        while j < stop:
            layer_columns(buffers, rows, n, j, min(<Py_ssize_t> WIDE, stop - j))
            j += WIDE


cdef inline void scale_columns(
    const floating *x, floating *y, const double *mean, const double *scale, const double *shift,
    Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t width
) noexcept nogil:
    """y = (x - mean) scale + shift."""
    cdef Py_ssize_t i, j
    for i in range(rows):
        for j in range(width):
            y[i * stride + j] = <floating> ((x[i * stride + j] - mean[j]) * scale[j] + shift[j])


cdef inline void batch_columns(
    floating **buffers, double momentum, double epsilon, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t j, Py_ssize_t width
) noexcept nogil:
    """The forward pass of `width` columns from j on."""
    cdef const floating *x = &buffers[0][j]
    cdef const floating *gamma = at(buffers[1], j)
    cdef const floating *beta = at(buffers[2], j)
    cdef floating *moving_mean = &buffers[3][j]
    cdef floating *moving_variance = &buffers[4][j]
    cdef double mean[COLUMNS]
    cdef double rstd[COLUMNS]
    cdef double shift[COLUMNS]
    cdef double variance
    cdef Py_ssize_t k
    sum_columns(False, x, mean, mean, rows, n, width)
    for k in range(width):
        mean[k] /= rows
    sum_columns(True, x, mean, rstd, rows, n, width)
    for k in range(width):
        variance = rstd[k] / rows
        rstd[k] = 1.0 / sqrt(variance + epsilon)
        moving_mean[k] = <floating> (momentum * moving_mean[k] + (1.0 - momentum) * mean[k])
        moving_variance[k] = <floating> (momentum * moving_variance[k] + (1.0 - momentum) * variance)
    store(mean, at(buffers[6], j), width)
    store(rstd, at(buffers[7], j), width)
    for k in range(width):
        rstd[k] *= gamma[k] if gamma != NULL else 1.0
        shift[k] = beta[k] if beta != NULL else 0.0
    scale_columns(x, &buffers[5][j], mean, rstd, shift, rows, n, width)


cdef void batch_norm(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (b,c), gamma (c), beta (c), moving_mean (c), moving_variance (c) -> y (b,c), mean (c), rstd (c)."""
    cdef Py_ssize_t n = dims[1]
    cdef Py_ssize_t stop = first(n, COLUMNS, part + 1, parts)
    cdef Py_ssize_t j = first(n, COLUMNS, part, parts)
    while j + COLUMNS <= stop:
        batch_columns(buffers, params[0], params[1], dims[0], n, j, COLUMNS)
        j += COLUMNS
    if j < stop:
        batch_columns(buffers, params[0], params[1], dims[0], n, j, stop - j)


cdef inline void batch_gradients(
    floating **buffers, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t j, Py_ssize_t width
) noexcept nogil:
    """The gradients of `width` columns from j on; dx = gamma rstd (dy - average(dy) - h average(dy h))."""
    cdef const floating *dy = &buffers[0][j]
    cdef const floating *x = &buffers[1][j]
    cdef const floating *gamma = at(buffers[2], j)
    cdef const floating *mean = &buffers[3][j]
    cdef const floating *rstd = &buffers[4][j]
    cdef floating *dx = at(buffers[5], j)
    cdef double products[COLUMNS]
    cdef double sums[COLUMNS]
    cdef double scale[COLUMNS]
    cdef double center[COLUMNS]
    cdef Py_ssize_t i, k
    sum_gradients(False, dy, x, mean, rstd, products, sums, rows, n, width)
    store(products, at(buffers[6], j), width)
    store(sums, at(buffers[7], j), width)
    if dx == NULL:
        return
    for k in range(width):
        sums[k] /= rows
        products[k] = products[k] / rows * rstd[k]
        scale[k] = <double> rstd[k] * gamma[k] if gamma != NULL else rstd[k]
        center[k] = mean[k]
    for i in range(rows):
        for k in range(width):
            dx[i * n + k] = <floating> (scale[k] * (dy[i * n + k] - sums[k] - (x[i * n + k] - center[k]) * products[k]))


cdef void batch_norm_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """dy (b,c), x (b,c), gamma (c), mean (c), rstd (c) -> dx (b,c), dgamma (c), dbeta (c)."""
    cdef Py_ssize_t n = dims[1]
    cdef Py_ssize_t stop = first(n, COLUMNS, part + 1, parts)
    cdef Py_ssize_t j = first(n, COLUMNS, part, parts)
    while j + COLUMNS <= stop:
        batch_gradients(buffers, dims[0], n, j, COLUMNS)
        j += COLUMNS
    if j < stop:
        batch_gradients(buffers, dims[0], n, j, stop - j)


cdef inline void inference_columns(
    floating **buffers, double epsilon, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t j, Py_ssize_t width
) noexcept nogil:
    """The rows from `start` on of `width` columns from j on."""
    cdef double mean[COLUMNS]
    cdef double scale[COLUMNS]
    cdef double shift[COLUMNS]
    cdef Py_ssize_t k
    for k in range(width):
        mean[k] = buffers[3][j + k]
        scale[k] = 1.0 / sqrt(buffers[4][j + k] + epsilon)
        scale[k] *= buffers[1][j + k] if buffers[1] != NULL else 1.0
        shift[k] = buffers[2][j + k] if buffers[2] != NULL else 0.0
    scale_columns(
        <const floating *> &buffers[0][start * n + j], &buffers[5][start * n + j], mean, scale, shift, rows, n, width
    )


cdef void batch_norm_inference(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (b,c), gamma (c), beta (c), moving_mean (c), moving_variance (c) -> y (b,c)."""
    cdef Py_ssize_t n = dims[1]
    cdef Py_ssize_t start = first(dims[0], 1, part, parts)
    cdef Py_ssize_t rows = first(dims[0], 1, part + 1, parts) - start
    cdef Py_ssize_t j
    for j in range(0, n - n % COLUMNS, 32):
        inference_columns(buffers, params[0], start, rows, n, j, COLUMNS)
    if n % COLUMNS:
        inference_columns(buffers, params[0], start, rows, n, n - n % COLUMNS, n % COLUMNS)


#: Addresses of each op's kernels: float32, float64.
KERNELS = {
    "layer_norm": (<size_t> &layer_norm[float], <size_t> &layer_norm[double]),
    "layer_norm_backward": (<size_t> &layer_norm_backward[float], <size_t> &layer_norm_backward[double]),
    "batch_norm": (<size_t> &batch_norm[float], <size_t> &batch_norm[double]),
    "batch_norm_backward": (<size_t> &batch_norm_backward[float], <size_t> &batch_norm_backward[double]),
    "batch_norm_inference": (<size_t> &batch_norm_inference[float], <size_t> &batch_norm_inference[double]),
}
#: Bytes of scratch memory of the ops that need some.
WORKSPACE = {}
