"""Arrays for results, and questions about arrays that come up at every call."""

cimport numpy as cnp

cdef cnp.ndarray aligned(int rank, const cnp.npy_intp *shape, int type_number, cnp.npy_intp size)
cdef bint fits(object array, int type_number, Py_ssize_t size) noexcept
