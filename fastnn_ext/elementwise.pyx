"""Elementwise primitives, and the strided copy behind transposes and broadcasts."""

from cython cimport floating
from libc.math cimport cos as cos_f64
from libc.math cimport cosf as cos_f32
from libc.math cimport pow as pow_f64
from libc.math cimport powf as pow_f32
from libc.math cimport sin as sin_f64
from libc.math cimport sinf as sin_f32
from libc.math cimport sqrt as sqrt_f64
from libc.math cimport sqrtf as sqrt_f32

from fastnn_ext.elementary cimport exp_, log_
from fastnn_ext.share cimport first

cdef enum Operation:
    ADD, SUBTRACT, MULTIPLY, DIVIDE, MAXIMUM, PRELU, POWER, EXP, LOG, SIN, COS, SQRT

cdef enum:
    MAX_RANK = 8


cdef inline floating binary_formula(int code, floating a, floating b) noexcept nogil:
    if code == ADD:
        return a + b
    elif code == SUBTRACT:
        return a - b
    elif code == MULTIPLY:
        return a * b
    elif code == DIVIDE:
        return a / b
    elif code == MAXIMUM:
        b = a if a > b else b  # NaN where b is
        return a if a != a else b
    elif code == PRELU:
        return a if a > 0 else a * b
    elif floating is float:
        return pow_f32(a, b)
    else:
        return pow_f64(a, b)


cdef inline floating unary_formula(int code, floating x) noexcept nogil:
    if code == EXP:
        return exp_(x)
    elif code == LOG:
        return log_(x)
    elif floating is float:
        if code == SIN:
            return sin_f32(x)
        elif code == COS:
            return cos_f32(x)
        else:
            return sqrt_f32(x)
    else:
        if code == SIN:
            return sin_f64(x)
        elif code == COS:
            return cos_f64(x)
        else:
            return sqrt_f64(x)


cdef inline void binary(
    int code, floating **buffers, const Py_ssize_t *dims, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """a (n), b (n) -> y (n)."""
    cdef const floating *a = buffers[0]
    cdef const floating *b = buffers[1]
    cdef floating *y = buffers[2]
    cdef Py_ssize_t i
    for i in range(first(dims[0], 64, part, parts), first(dims[0], 64, part + 1, parts)):
        y[i] = binary_formula(code, a[i], b[i])


cdef inline void unary(
    int code, floating **buffers, const Py_ssize_t *dims, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (n) -> y (n)."""
    cdef const floating *x = buffers[0]
    cdef floating *y = buffers[1]
    cdef Py_ssize_t i
    for i in range(first(dims[0], 64, part, parts), first(dims[0], 64, part + 1, parts)):
        y[i] = unary_formula(code, x[i])


cdef void add(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    binary(ADD, buffers, dims, part, parts)


cdef void subtract(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    binary(SUBTRACT, buffers, dims, part, parts)


cdef void multiply(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    binary(MULTIPLY, buffers, dims, part, parts)


cdef void divide(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    binary(DIVIDE, buffers, dims, part, parts)


cdef void maximum(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    binary(MAXIMUM, buffers, dims, part, parts)


cdef void prelu(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (n), slope (n) -> y (n)."""
    binary(PRELU, buffers, dims, part, parts)


cdef void power(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    binary(POWER, buffers, dims, part, parts)


cdef void exp(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    unary(EXP, buffers, dims, part, parts)


cdef void log(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    unary(LOG, buffers, dims, part, parts)


cdef void sin(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    unary(SIN, buffers, dims, part, parts)


cdef void cos(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    unary(COS, buffers, dims, part, parts)


cdef void sqrt(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    unary(SQRT, buffers, dims, part, parts)


cdef void maximum_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """dy (n), a (n), b (n) -> da (n), db (n): the larger input takes the gradient, equal ones share it."""
    cdef const floating *dy = buffers[0]
    cdef const floating *a = buffers[1]
    cdef const floating *b = buffers[2]
    cdef floating *da = buffers[3]
    cdef floating *db = buffers[4]
    cdef floating weight
    cdef Py_ssize_t i
    for i in range(first(dims[0], 64, part, parts), first(dims[0], 64, part + 1, parts)):
        weight = <floating> 0.5 if a[i] == b[i] else <floating> 0
        weight = <floating> 1 if a[i] > b[i] else weight
        da[i] = dy[i] * weight
        db[i] = dy[i] * (<floating> 1 - weight)


cdef void prelu_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """dy (n), x (n), slope (n) -> dx (n), dslope (n)."""
    cdef const floating *dy = buffers[0]
    cdef const floating *x = buffers[1]
    cdef const floating *slope = buffers[2]
    cdef floating *dx = buffers[3]
    cdef floating *dslope = buffers[4]
    cdef Py_ssize_t i
    for i in range(first(dims[0], 64, part, parts), first(dims[0], 64, part + 1, parts)):
        dx[i] = dy[i] if x[i] > 0 else dy[i] * slope[i]
        dslope[i] = <floating> 0 if x[i] > 0 else dy[i] * x[i]


cdef void affine(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (n) -> y (n): x scale + shift."""
    cdef const floating *x = buffers[0]
    cdef floating *y = buffers[1]
    cdef floating scale = <floating> params[0]
    cdef floating shift = <floating> params[1]
    cdef Py_ssize_t i
    for i in range(first(dims[0], 64, part, parts), first(dims[0], 64, part + 1, parts)):
        y[i] = x[i] * scale + shift


cdef Py_ssize_t merge(const double *params, Py_ssize_t *shape, Py_ssize_t *strides) noexcept nogil:
    """Copy shape and strides without the dimensions of size 1, neighbours made one where possible; the new rank."""
    cdef Py_ssize_t rank = 0
    cdef Py_ssize_t i, size, stride
    for i in range(MAX_RANK):
        size = <Py_ssize_t> params[i]
        stride = <Py_ssize_t> params[MAX_RANK + i]
        if size == 1:
            continue
        if rank and strides[rank - 1] == size * stride:
            shape[rank - 1] *= size
            strides[rank - 1] = stride
            continue
        shape[rank] = size
        strides[rank] = stride
        rank += 1
    if rank == 0:
        shape[0] = 1
        strides[0] = 1
        rank = 1
    return rank


cdef void copy(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (n) -> y (m): y[i0, ..., i7] = x[i0 s0 + ... + i7 s7]."""
    cdef Py_ssize_t shape[MAX_RANK]
    cdef Py_ssize_t strides[MAX_RANK]
    cdef Py_ssize_t index[MAX_RANK]
    cdef Py_ssize_t last = merge(params, shape, strides) - 1
    cdef Py_ssize_t position = first(dims[1], 64, part, parts)
    cdef Py_ssize_t stop = first(dims[1], 64, part + 1, parts)
    cdef Py_ssize_t step = strides[last]
    cdef Py_ssize_t rest = position
    cdef const floating *x = buffers[0]
    cdef floating *y = buffers[1]
    cdef Py_ssize_t i, d, run
    if position >= stop:
        return
    for d in range(last, -1, -1):
        index[d] = rest % shape[d]
        rest = rest // shape[d]
        x += index[d] * strides[d]
    while True:
        run = min(shape[last] - index[last], stop - position)
        if step == 1:
            for i in range(run):
                y[position + i] = x[i]
        else:
            for i in range(run):
                y[position + i] = x[i * step]
        position += run
        if position == stop:
            return
        # The row is finished: back to its beginning, and on to the next one.
        x -= index[last] * step
        index[last] = 0
        d = last - 1
        while index[d] == shape[d] - 1:
            x -= index[d] * strides[d]
            index[d] = 0
            d -= 1
        x += strides[d]
        index[d] += 1


#: Addresses of each op's kernels: float32, float64.
KERNELS = {
    "add": (<size_t> &add[float], <size_t> &add[double]),
    "subtract": (<size_t> &subtract[float], <size_t> &subtract[double]),
    "multiply": (<size_t> &multiply[float], <size_t> &multiply[double]),
    "divide": (<size_t> &divide[float], <size_t> &divide[double]),
    "maximum": (<size_t> &maximum[float], <size_t> &maximum[double]),
    "maximum_backward": (<size_t> &maximum_backward[float], <size_t> &maximum_backward[double]),
    "prelu": (<size_t> &prelu[float], <size_t> &prelu[double]),
    "prelu_backward": (<size_t> &prelu_backward[float], <size_t> &prelu_backward[double]),
    "power": (<size_t> &power[float], <size_t> &power[double]),
    "affine": (<size_t> &affine[float], <size_t> &affine[double]),
    "exp": (<size_t> &exp[float], <size_t> &exp[double]),
    "log": (<size_t> &log[float], <size_t> &log[double]),
    "sin": (<size_t> &sin[float], <size_t> &sin[double]),
    "cos": (<size_t> &cos[float], <size_t> &cos[double]),
    "sqrt": (<size_t> &sqrt[float], <size_t> &sqrt[double]),
    "copy": (<size_t> &copy[float], <size_t> &copy[double]),
}
#: Bytes of scratch memory of the ops that need some.
WORKSPACE = {}
