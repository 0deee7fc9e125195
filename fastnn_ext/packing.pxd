"""Copies of blocks of a matrix in the order in which the register tile reads them."""

from cython cimport floating
from libc.string cimport memcpy


cdef extern from "transpose.h" nogil:
    void fastnn_transpose4_f32(const float *x, Py_ssize_t x_row, float *y, Py_ssize_t y_row) noexcept
    void fastnn_transpose4_f64(const double *x, Py_ssize_t x_row, double *y, Py_ssize_t y_row) noexcept
    void fastnn_transpose8_f32(const float *x, Py_ssize_t x_row, float *y, Py_ssize_t y_row) noexcept
    void fastnn_transpose8_f64(const double *x, Py_ssize_t x_row, double *y, Py_ssize_t y_row) noexcept


cdef inline void transpose(
    Py_ssize_t rows, const floating *x, Py_ssize_t x_row, floating *y, Py_ssize_t y_row
) noexcept nogil:
    """y[l, i] = x[i, l] for four columns l of 4 or 8 rows i."""
    if floating is float:
        if rows == 4:
            fastnn_transpose4_f32(x, x_row, y, y_row)
        else:
            fastnn_transpose8_f32(x, x_row, y, y_row)
    else:
        if rows == 4:
            fastnn_transpose4_f64(x, x_row, y, y_row)
        else:
            fastnn_transpose8_f64(x, x_row, y, y_row)


cdef inline void pack_rows(
    Py_ssize_t rows, const floating *x, Py_ssize_t x_row, Py_ssize_t count, Py_ssize_t depth,
    floating *y, Py_ssize_t width,
) noexcept nogil:
    """y[l, i] = x[i * x_row + l], so many rows at a time, 4 or 8, the last of them overlapping those before."""
    cdef Py_ssize_t group, i, j, l
    for group in range((count + rows - 1) // rows):
        i = min(group * rows, count - rows)
        for l in range(0, depth - 3, 4):
            transpose(rows, x + i * x_row + l, x_row, y + l * width + i, width)
        for l in range(depth // 4 * 4, depth):
            for j in range(i, i + rows):
                y[l * width + j] = x[j * x_row + l]


cdef inline void pack(
    const floating *x, Py_ssize_t x_across, Py_ssize_t x_along, Py_ssize_t count, Py_ssize_t depth,
    floating *y, Py_ssize_t width, Py_ssize_t usual,
) noexcept nogil:
    """y[l, i] = x[i * x_across + l * x_along] for `depth` l and `count` i; rows of y have `width` elements.

    One of x's strides is 1. `usual` is the count that occurs most, a constant, for which the copies are unrolled.
    """
    cdef Py_ssize_t i, l, quad
    if count < 4:
        for l in range(depth):
            for i in range(count):
                y[l * width + i] = x[i * x_across + l * x_along]
    elif x_across == 1 and count == usual:
        for l in range(depth):
            memcpy(y + l * width, x + l * x_along, usual * sizeof(floating))
    elif x_across == 1:
        # Four at a time, the last four overlapping those before.
        for l in range(depth):
            for quad in range(0, count - 4, 4):
                memcpy(y + l * width + quad, x + l * x_along + quad, 4 * sizeof(floating))
            memcpy(y + l * width + count - 4, x + l * x_along + count - 4, 4 * sizeof(floating))
    elif count < 8:
        pack_rows(4, x, x_across, count, depth, y, width)
    else:
        pack_rows(8, x, x_across, count, depth, y, width)
