"""Sums of columns, in float64, by blocks of ROWS rows, so that rounding errors hardly grow with the number of rows.

The step of a range is a literal, the value of ROWS: with a name, Cython would make a Python object of it.
"""

from cython cimport floating

cdef enum:
    COLUMNS = 64  # most columns summed together
    ROWS = 64  # rows summed before they are added to the total


cdef inline void sum_columns(
    bint squared, const floating *x, const double *center, double *total,
    Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t width
) noexcept nogil:
    """total (width) = sum of the rows of x (rows,width), or of (x - center)^2 if `squared`; width <= COLUMNS.

    The rows are `stride` apart.
    """
    cdef double block[COLUMNS]
    cdef Py_ssize_t start, i, j
    cdef double d
    for j in range(width):
        total[j] = 0
    for start in range(0, rows, 64):
        for j in range(width):
            block[j] = 0
        for i in range(start, min(start + ROWS, rows)):
            for j in range(width):
                if squared:
                    d = x[i * stride + j] - center[j]
                    block[j] += d * d
                else:
                    block[j] += x[i * stride + j]
        for j in range(width):
            total[j] += block[j]
