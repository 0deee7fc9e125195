"""Which part of the work is a thread's."""


cdef inline Py_ssize_t first(Py_ssize_t n, Py_ssize_t grain, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    """Where number `part` of `parts` begins, and the one before it ends: n elements are cut at multiples of grain."""
    return min(n, (n + grain - 1) // grain * part // parts * grain)
