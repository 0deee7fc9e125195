"""The one way in which kernels are called: by a team of threads, phase by phase."""

# buffers (inputs, outputs, workspace), sizes, parameters, phase, part, parts: see docs/kernels.md.
ctypedef void (*kernel_t)(
    void **buffers, const Py_ssize_t *dims, const double *params, Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil


cdef struct Instruction:
    kernel_t kernel
    void **buffers
    Py_ssize_t *dims
    double *params
    Py_ssize_t phases
    Py_ssize_t threads  # the most that are worth using


cdef void execute(const Instruction *instructions, Py_ssize_t count, int threads) noexcept nogil
