"""Copies of blocks of a matrix in the order in which the register tile reads them."""

from cython cimport floating
from libc.string cimport memcpy


cdef extern from "simd.h" nogil:
    void fastnn_transpose4_f32(const float *x, Py_ssize_t x_row, float *y, Py_ssize_t y_row) noexcept
    void fastnn_transpose4_f64(const double *x, Py_ssize_t x_row, double *y, Py_ssize_t y_row) noexcept


cdef inline void transpose4(const floating *x, Py_ssize_t x_row, floating *y, Py_ssize_t y_row) noexcept nogil:
    if floating is float:
        fastnn_transpose4_f32(x, x_row, y, y_row)
    else:
        fastnn_transpose4_f64(x, x_row, y, y_row)


cdef inline void pack(
    const floating *x, Py_ssize_t x_across, Py_ssize_t x_along, Py_ssize_t count, Py_ssize_t depth,
    floating *y, Py_ssize_t width, Py_ssize_t usual,
) noexcept nogil:
    """y[l, i] = x[i * x_across + l * x_along] for `depth` l and `count` i; rows of y have `width` elements.

    One of x's strides is 1. `usual` is the count that occurs most, a constant, for which the copies are unrolled.
    """
    cdef Py_ssize_t i, j, l, quad
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
    else:
        # Likewise. All of x's four rows are read before the next four: where rows are 4,096 bytes apart, more of them
        # would push each other out of the first-level cache.
        for quad in range(0, count, 4):
            i = min(quad, count - 4)
            for l in range(0, depth - 3, 4):
                transpose4(x + i * x_across + l, x_across, y + l * width + i, width)
            for l in range(depth // 4 * 4, depth):
                for j in range(i, i + 4):
                    y[l * width + j] = x[j * x_across + l]
