"""Arrays that begin where vectors do, and questions about arrays that Python takes ten to a hundred times as long to
answer."""

from libc.stdint cimport int64_t
cimport numpy as cnp

cnp.import_array()

cdef enum:
    # A cache line, and the widest vector.
    ALIGNMENT = 64
    # Arrays of LARGE bytes begin with a page, as NumPy's do but for 16 bytes. Loads across two lines wait for the
    # stores before them at addresses with the same lower 12 bits: with outputs 48 bytes further into a page than the
    # inputs, sigmoid takes 1.6 times as long, at 64 MiB.
    PAGE = 4096
    LARGE = 1 << 18


cdef object aligned(int rank, const Py_ssize_t *shape, int type_number, Py_ssize_t size):
    """An uninitialised array of `size` bytes, aligned, in a block of NumPy's that is a little larger."""
    cdef cnp.ndarray block, array
    cdef char *start
    cdef Py_ssize_t step = PAGE if size >= LARGE else ALIGNMENT
    cdef cnp.npy_intp nbytes = size + step
    block = cnp.PyArray_EMPTY(1, &nbytes, cnp.NPY_UINT8, 0)
    start = cnp.PyArray_BYTES(block)
    start += -<size_t> start % step
    array = cnp.PyArray_SimpleNewFromData(rank, <cnp.npy_intp *> shape, type_number, start)
    cnp.set_array_base(array, block)
    return array


def empty(tuple shape, cnp.dtype dtype) -> cnp.ndarray:
    """An uninitialised array of a native dtype of numbers that begins at a multiple of 64 bytes."""
    cdef cnp.npy_intp dims[64]
    cdef cnp.npy_intp size = dtype.itemsize
    cdef Py_ssize_t axis
    if len(shape) > 64:
        raise ValueError(f"empty: shape: expected at most 64 dimensions, got {len(shape)}")
    for axis in range(len(shape)):
        dims[axis] = shape[axis]
        size *= dims[axis]
    return aligned(<int> len(shape), <Py_ssize_t *> dims, dtype.num, size)


cdef bint fits(object array, int type_number, Py_ssize_t size) noexcept:
    """Whether an object is a C-contiguous, aligned array of this native dtype and size."""
    return (
        cnp.PyArray_Check(array)
        and cnp.PyArray_TYPE(<cnp.ndarray> array) == type_number
        and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray> array)
        and cnp.PyArray_SIZE(array) == size
    )


def ready(object value, cnp.dtype dtype) -> bool:
    """Whether a kernel can read a value as it is: an array, of no subclass, C-contiguous, aligned, of a native dtype."""
    return (
        cnp.PyArray_CheckExact(value)
        and cnp.PyArray_TYPE(<cnp.ndarray> value) == dtype.num
        and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray> value)
    )


def class_numbers(value, int64_t count) -> bool:
    """Whether a value is an array of int64, one number a row, that a kernel can read as it is, within 0 and `count`."""
    return (
        cnp.PyArray_CheckExact(value)
        and cnp.PyArray_TYPE(<cnp.ndarray> value) == cnp.NPY_INT64
        and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray> value)
        and cnp.PyArray_NDIM(<cnp.ndarray> value) == 1
        and within(value, count)
    )


def ready_rows(value, cnp.dtype dtype, tuple shape) -> bool:
    """Whether a kernel can read a value as it is, and it holds rows of this shape."""
    cdef Py_ssize_t axis, ndim = len(shape)
    if not ready(value, dtype) or cnp.PyArray_NDIM(<cnp.ndarray> value) != ndim + 1:
        return False
    for axis in range(ndim):
        if cnp.PyArray_DIM(<cnp.ndarray> value, <int> axis + 1) != <Py_ssize_t> shape[axis]:
            return False
    return True


cpdef bint within(cnp.ndarray labels, int64_t count) except -1:
    """Whether all elements of a C-contiguous int64 array are at least 0 and less than `count`."""
    cdef Py_ssize_t i, n = cnp.PyArray_SIZE(labels)
    cdef const int64_t *label = <const int64_t *> cnp.PyArray_DATA(labels)
    cdef bint inside = True
    if cnp.PyArray_TYPE(labels) != cnp.NPY_INT64 or not cnp.PyArray_ISCARRAY_RO(labels):
        raise TypeError("within: labels: expected a C-contiguous array of native int64")
    for i in range(n):
        inside &= 0 <= label[i] < count
    return inside


cdef bint outside(const int64_t *spans, Py_ssize_t count, int64_t start, int64_t end) noexcept:
    """Whether some memory lies between spans of it, pairs of beginning and end, which are sorted."""
    cdef Py_ssize_t middle, low = 0, high = count
    while low < high:  # `low` becomes the first span that ends behind the start
        middle = (low + high) // 2
        if spans[2 * middle + 1] > start:
            high = middle
        else:
            low = middle + 1
    return low == count or spans[2 * low] >= end


def known_pairs(tuple updated, tuple others, tuple known, cnp.ndarray spans) -> bool:
    """Whether the arrays to update are the very ones known, which lie in these spans, can be written, and each has
    beside it a C-contiguous array of the same dtype and shape elsewhere in memory."""
    cdef Py_ssize_t i, size
    cdef int axis
    cdef cnp.ndarray a, b
    cdef int64_t start
    cdef Py_ssize_t count = cnp.PyArray_SIZE(spans) // 2
    if not fits(spans, cnp.NPY_INT64, 2 * count):
        raise TypeError("known_pairs: spans: expected a C-contiguous array of pairs of int64")
    if not len(updated) == len(others) == len(known):
        return False
    for i in range(len(updated)):
        if updated[i] is not known[i] or not cnp.PyArray_Check(others[i]):
            return False
        a, b = updated[i], others[i]
        if not cnp.PyArray_ISCARRAY(a) or cnp.PyArray_NDIM(a) != cnp.PyArray_NDIM(b):
            return False
        if not fits(b, cnp.PyArray_TYPE(a), cnp.PyArray_SIZE(a)):
            return False
        for axis in range(cnp.PyArray_NDIM(a)):
            if cnp.PyArray_DIM(a, axis) != cnp.PyArray_DIM(b, axis):
                return False
        size = cnp.PyArray_NBYTES(a)
        start = <int64_t> cnp.PyArray_BYTES(b)
        if size and not outside(<const int64_t *> cnp.PyArray_DATA(spans), count, start, start + size):
            return False
    return True
