"""Cross-entropy of softmax and its gradient, for long rows and for tiles of short ones."""

from cython cimport floating
from libc.math cimport NAN

from fastnn_ext.elementary cimport log_
from fastnn_ext.rows cimport (
    LANES, NARROW, TILE, lane_sum, load_tile, pair_sum, row_exp, row_max, row_sum, store_tile, tile_exp,
)
from fastnn_ext.share cimport first


cdef inline void add_targets(
    double keep, double share, const floating *x, floating top, const floating *y, double *lanes, Py_ssize_t count
) noexcept nogil:
    """Up to LANES classes of a row: sums of y and of t (x - top), t = y keep + share, are added to `lanes`."""
    cdef double t
    cdef Py_ssize_t j
    for j in range(count):
        t = y[j] * keep + share
        lanes[j] += y[j]
        lanes[LANES + j] += 0.0 if t == 0 else t * (<double> x[j] - top)


cdef inline double dense_loss(
    double keep, double share, const floating *x, const floating *y_true, double weight, floating *grad, Py_ssize_t n
) noexcept nogil:
    """Loss and gradient of one row (n)."""
    cdef floating top = row_max(x, n)
    cdef floating scale
    cdef double total = row_exp(grad != NULL, x, top, grad, &scale, n)
    cdef double lanes[2 * LANES]
    cdef double targets, factor
    cdef Py_ssize_t rest = n % LANES
    cdef Py_ssize_t i, j
    for j in range(2 * LANES):
        lanes[j] = 0
    for i in range(0, n - rest, 32):
        add_targets(keep, share, &x[i], top, &y_true[i], lanes, LANES)
    add_targets(keep, share, &x[n - rest], top, &y_true[n - rest], lanes, rest)
    targets = lane_sum(lanes) * keep + share * n
    if grad != NULL:
        factor = targets / total * scale
        for j in range(n):
            grad[j] = <floating> ((grad[j] * factor - (y_true[j] * keep + share)) * weight)
    return log_(total) * targets - lane_sum(&lanes[LANES])


cdef inline double sparse_loss(
    double keep, double share, const floating *x, Py_ssize_t label, double weight, floating *grad, Py_ssize_t n
) noexcept nogil:
    """Loss and gradient of one row (n) whose targets are `share`, and keep + share at the label."""
    cdef floating top = row_max(x, n)
    cdef floating scale
    cdef double total = row_exp(grad != NULL, x, top, grad, &scale, n)
    cdef double targets = keep + share * n
    cdef double product = share * (row_sum(x, n) - <double> n * top) if share != 0 else 0.0
    cdef double factor = targets / total * scale
    cdef double here
    cdef floating f = <floating> factor
    cdef floating base = <floating> share
    cdef floating w = <floating> weight
    cdef Py_ssize_t j
    if keep != 0:
        product += keep * (<double> x[label] - top)
    if grad != NULL:
        here = grad[label] * factor - (keep + share)
        for j in range(n):
            grad[j] = (grad[j] * f - base) * w
        grad[label] = <floating> (here * weight)
    return log_(total) * targets - product


cdef inline void tile_loss(
    bint sparse, double keep, double share, const floating *x, const floating *y_true, const long long *labels,
    const double *weight, floating *grad, double *losses, Py_ssize_t rows, Py_ssize_t n
) noexcept nogil:
    """Losses and gradients of up to TILE rows of up to NARROW classes."""
    cdef floating tile[NARROW * TILE]
    cdef floating y[NARROW * TILE]
    cdef floating e[NARROW * TILE]
    cdef floating top[TILE]
    cdef double total[TILE]
    cdef double targets[TILE]
    cdef double products[TILE]
    cdef double t
    cdef floating scale
    cdef Py_ssize_t i, j
    load_tile(x, rows, n, tile)
    if sparse:
        for i in range(n * TILE):
            y[i] = 0
        for i in range(rows):
            if 0 <= labels[i] < n:
                y[labels[i] * TILE + i] = 1
    else:
        load_tile(y_true, rows, n, y)
    tile_exp(tile, n, top, e, &scale, total)
    for i in range(TILE):
        targets[i] = 0
        products[i] = 0
    for j in range(n):
        for i in range(TILE):
            t = y[j * TILE + i] * keep + share
            targets[i] += y[j * TILE + i]
            products[i] += 0.0 if t == 0 else t * (<double> tile[j * TILE + i] - top[i])
    for i in range(TILE):
        targets[i] = targets[i] * keep + share * n
        products[i] = log_(total[i]) * targets[i] - products[i]
        targets[i] *= scale / total[i]
    for i in range(rows):
        losses[i] = products[i]
    if grad != NULL:
        for j in range(n):
            for i in range(TILE):
                t = e[j * TILE + i] * targets[i] - (y[j * TILE + i] * keep + share)
                e[j * TILE + i] = <floating> (t * weight[i])
        store_tile(e, rows, n, grad)


cdef inline void cross_entropy(
    bint sparse, floating **buffers, const Py_ssize_t *dims, double smoothing,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """y_pred (b,c), y_true (b,c) or labels (b), weight (b) -> loss (one), grad (b,c); workspace: one loss per row.

    A row's loss is log(sum(exp(x - m))) sum(t) - sum(t (x - m)) with m = max(x), its gradient softmax(x) sum(t) - t;
    t (x - m) is 0 where t is 0, for x of minus infinity too. A NaN comes out by the sum of exponentials.
    The targets t are y_true, or 1 at the label and 0 elsewhere, smoothed.
    """
    cdef Py_ssize_t rows = dims[0]
    cdef Py_ssize_t n = dims[1]
    cdef const floating *y_true = buffers[0] if sparse else buffers[1]
    cdef const long long *labels = <const long long *> buffers[1]
    cdef double *losses = <double *> buffers[5]
    cdef floating *grad
    cdef floating *row
    cdef double weight[TILE]
    cdef double keep = 1 - smoothing
    cdef double share = smoothing / n
    cdef Py_ssize_t i = first(rows, 1, part, parts)
    cdef Py_ssize_t stop = first(rows, 1, part + 1, parts)
    cdef Py_ssize_t j, count, label
    if phase == 1:
        if part == 0:
            buffers[3][0] = <floating> (pair_sum(losses, rows) / rows)
        return
    while i < stop:
        count = min(<Py_ssize_t> TILE, stop - i)
        grad = NULL if buffers[4] == NULL else &buffers[4][i * n]
        for j in range(TILE):
            weight[j] = 1.0 / rows
        if buffers[2] != NULL:
            for j in range(count):
                weight[j] = <double> buffers[2][i + j] / rows
        if n <= NARROW:
            tile_loss(
                sparse, keep, share, &buffers[0][i * n], &y_true[i * n], &labels[i], weight, grad, &losses[i], count, n
            )
        else:
            for j in range(count):
                row = NULL if grad == NULL else &grad[j * n]
                if sparse:
                    label = labels[i + j] if 0 <= labels[i + j] < n else 0  # then the loss becomes NaN
                    losses[i + j] = sparse_loss(keep, share, &buffers[0][(i + j) * n], label, weight[j], row, n)
                else:
                    losses[i + j] = dense_loss(
                        keep, share, &buffers[0][(i + j) * n], &y_true[(i + j) * n], weight[j], row, n
                    )
        for j in range(count):
            if buffers[2] != NULL:
                losses[i + j] *= buffers[2][i + j]
            if sparse and not 0 <= labels[i + j] < n:
                losses[i + j] = NAN
        i += count
