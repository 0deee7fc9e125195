"""Questions about arrays that come up at every call."""

cdef bint fits(object array, int type_number, Py_ssize_t size) noexcept
