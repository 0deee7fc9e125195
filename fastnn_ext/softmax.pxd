"""Softmax and log-softmax of a long row, and of a tile of short ones."""

from cython cimport floating

from fastnn_ext.elementary cimport log_
from fastnn_ext.rows cimport NARROW, TILE, load_tile, row_exp, row_max, store_tile, tile_exp


cdef inline void softmax_row(const floating *x, floating *y, Py_ssize_t n) noexcept nogil:
    """x (n) -> y (n)."""
    cdef floating scale
    cdef double total = row_exp(True, x, row_max(x, n), y, &scale, n)
    cdef floating factor = <floating> (scale / total)
    cdef Py_ssize_t j
    for j in range(n):
        y[j] *= factor


cdef inline void softmax_tile(const floating *x, floating *y, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    """x (rows,n) -> y (rows,n)."""
    cdef floating tile[NARROW * TILE]
    cdef floating e[NARROW * TILE]
    cdef floating top[TILE]
    cdef double total[TILE]
    cdef floating scale
    cdef Py_ssize_t i, j
    load_tile(x, rows, n, tile)
    tile_exp(tile, n, top, e, &scale, total)
    for i in range(TILE):
        top[i] = <floating> (scale / total[i])
    for j in range(n):
        for i in range(TILE):
            e[j * TILE + i] *= top[i]
    store_tile(e, rows, n, y)


cdef inline void log_softmax_row(const floating *x, floating *y, Py_ssize_t n) noexcept nogil:
    """x (n) -> y (n)."""
    cdef floating top = row_max(x, n)
    cdef floating scale
    cdef floating rest = <floating> log_(row_exp[floating](False, x, top, y, &scale, n))
    cdef Py_ssize_t j
    for j in range(n):
        y[j] = (x[j] - top) - rest


cdef inline void log_softmax_tile(const floating *x, floating *y, Py_ssize_t rows, Py_ssize_t n) noexcept nogil:
    """x (rows,n) -> y (rows,n)."""
    cdef floating tile[NARROW * TILE]
    cdef floating e[NARROW * TILE]
    cdef floating top[TILE]
    cdef floating rest[TILE]
    cdef double total[TILE]
    cdef floating scale
    cdef Py_ssize_t i, j
    load_tile(x, rows, n, tile)
    tile_exp(tile, n, top, e, &scale, total)
    for i in range(TILE):
        rest[i] = <floating> log_(total[i])
    for j in range(n):
        for i in range(TILE):
            tile[j * TILE + i] = (tile[j * TILE + i] - top[i]) - rest[i]
    store_tile(tile, rows, n, y)
