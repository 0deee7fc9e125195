"""Scratch memory that stays from call to call."""

cdef char *borrow(Py_ssize_t nbytes) noexcept nogil
cdef void give_back(char *scratch) noexcept nogil
