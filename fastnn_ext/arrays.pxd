"""Arrays for results, and questions about arrays that come up at every call."""

cdef object aligned(int rank, const Py_ssize_t *shape, int type_number, Py_ssize_t size)
cdef bint fits(object array, int type_number, Py_ssize_t size) noexcept
