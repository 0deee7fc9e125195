"""Cross-entropy of softmax and its gradient, for long rows and for tiles of short ones."""

from cython cimport floating
from libc.math cimport NAN

from fastnn_ext.elementary cimport log_
from fastnn_ext.rows cimport (
    LANES, NARROW, TILE, exp_difference, lane_sum, load_tile, pair_sum, row_max, store_tile, tile_exp,
)
from fastnn_ext.share cimport first


cdef inline void add_classes(
    double keep, double share, const floating *x, floating top, const floating *y, floating *e, double *lanes,
    Py_ssize_t count
) noexcept nogil:
    """LANES classes of a row: e = exp(x - top); sums of e, y and (y keep + share) (x - top) are added to `lanes`."""
    cdef double product[LANES]
    cdef double t
    cdef Py_ssize_t j
    for j in range(LANES):
        e[j] = exp_difference(x[j], top)
        t = y[j] * keep + share
        product[j] = 0.0 if t == 0 else t * (<double> x[j] - top)
    for j in range(count):
        lanes[j] += e[j]
        lanes[LANES + j] += y[j]
        lanes[2 * LANES + j] += product[j]


cdef inline double row_loss(
    bint sparse, double keep, double share, const floating *x, const floating *y_true, Py_ssize_t label,
    double weight, floating *grad, Py_ssize_t n
) noexcept nogil:
    """Loss and gradient of one row (n)."""
    cdef floating x_block[LANES]
    cdef floating y_block[LANES]
    cdef floating e[LANES]
    cdef double lanes[3 * LANES]
    cdef const floating *x_here
    cdef const floating *y_here
    cdef floating top = row_max(x, n)
    cdef double total, targets, factor
    cdef Py_ssize_t i, j, count
    for j in range(3 * LANES):
        lanes[j] = 0
    for i in range(0, n, 32):
        count = min(<Py_ssize_t> LANES, n - i)
        x_here = &x[i]
        y_here = y_block
        if sparse:
            for j in range(LANES):
                y_block[j] = <floating> 1 if j == label - i else <floating> 0
        elif count == LANES:
            y_here = &y_true[i]
        else:
            for j in range(LANES):
                y_block[j] = y_true[i + j] if j < count else <floating> 0
        if count == LANES:
            add_classes(keep, share, x_here, top, y_here, e, lanes, LANES)
        else:
            for j in range(LANES):
                x_block[j] = x_here[j] if j < count else top
            add_classes(keep, share, x_block, top, y_here, e, lanes, count)
        if grad != NULL:
            for j in range(count):
                grad[i + j] = e[j]
    total = lane_sum(lanes)
    targets = lane_sum(&lanes[LANES]) * keep + share * n
    if grad != NULL:
        factor = targets / total
        for j in range(n):
            if sparse:
                grad[j] = <floating> ((grad[j] * factor - ((1.0 if j == label else 0.0) * keep + share)) * weight)
            else:
                grad[j] = <floating> ((grad[j] * factor - (y_true[j] * keep + share)) * weight)
    return log_(total) * targets - lane_sum(&lanes[2 * LANES])


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
    tile_exp(tile, n, top, e, total)
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
        targets[i] /= total[i]
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
                label = labels[i + j] if sparse else -1
                losses[i + j] = row_loss(
                    sparse, keep, share, &buffers[0][(i + j) * n], &y_true[(i + j) * n], label, weight[j],
                    NULL if grad == NULL else &grad[j * n], n,
                )
        for j in range(count):
            if buffers[2] != NULL:
                losses[i + j] *= buffers[2][i + j]
            if sparse and not 0 <= labels[i + j] < n:
                losses[i + j] = NAN
        i += count
