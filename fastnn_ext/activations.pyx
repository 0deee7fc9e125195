"""Activations and their gradients: elementwise ones, and softmax and log-softmax of rows."""

from cython cimport floating

from fastnn_ext.activations cimport (
    ELU, GELU, GELU_TANH, HARD_SIGMOID, HARD_SWISH, LEAKY_RELU, LINEAR, MISH, RELU, SELU, SIGMOID, SILU, SOFTPLUS,
    SOFTSIGN, TANH, store_backward, store_forward,
)
from fastnn_ext.elementary cimport exp_
from fastnn_ext.rows cimport NARROW, TILE, row_dot, row_sum
from fastnn_ext.share cimport first
from fastnn_ext.softmax cimport log_softmax_row, log_softmax_tile, softmax_row, softmax_tile


cdef enum:
    # Bytes of a result that is written past the caches: more than they hold, so that fetching each line before it is
    # overwritten would be for nothing. With 32 MiB of last-level cache relu takes 0.6 of the time at 64 MiB, equal
    # times at 8 MiB.
    STREAMED = 1 << 25


cdef inline void forward(
    int code, floating alpha, floating **buffers, const Py_ssize_t *dims, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (n) -> y (n)."""
    cdef Py_ssize_t start = first(dims[0], 64, part, parts)
    cdef Py_ssize_t stop = first(dims[0], 64, part + 1, parts)
    cdef bint streamed = dims[0] * sizeof(floating) >= STREAMED
    store_forward(code, streamed, alpha, &buffers[0][start], &buffers[1][start], stop - start)


cdef inline void backward(
    int code, floating alpha, floating **buffers, const Py_ssize_t *dims, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """dy (n), saved (n) -> dx (n)."""
    cdef Py_ssize_t start = first(dims[0], 64, part, parts)
    cdef Py_ssize_t stop = first(dims[0], 64, part + 1, parts)
    cdef bint streamed = dims[0] * sizeof(floating) >= STREAMED
    store_backward(code, streamed, alpha, &buffers[0][start], &buffers[1][start], &buffers[2][start], stop - start)


cdef void linear(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    forward(LINEAR, 0, buffers, dims, part, parts)


cdef void linear_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    backward(LINEAR, 0, buffers, dims, part, parts)


cdef void relu(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    forward(RELU, 0, buffers, dims, part, parts)


cdef void relu_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    backward(RELU, 0, buffers, dims, part, parts)


cdef void leaky_relu(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    forward(LEAKY_RELU, <floating> params[0], buffers, dims, part, parts)


cdef void leaky_relu_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    backward(LEAKY_RELU, <floating> params[0], buffers, dims, part, parts)


cdef void elu(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    forward(ELU, <floating> params[0], buffers, dims, part, parts)


cdef void elu_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    backward(ELU, <floating> params[0], buffers, dims, part, parts)


cdef void gelu(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    forward(GELU, 0, buffers, dims, part, parts)


cdef void gelu_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    backward(GELU, 0, buffers, dims, part, parts)


cdef void gelu_tanh(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    forward(GELU_TANH, 0, buffers, dims, part, parts)


cdef void gelu_tanh_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    backward(GELU_TANH, 0, buffers, dims, part, parts)


cdef void silu(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    forward(SILU, 0, buffers, dims, part, parts)


cdef void silu_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    backward(SILU, 0, buffers, dims, part, parts)


cdef void sigmoid(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    forward(SIGMOID, 0, buffers, dims, part, parts)


cdef void sigmoid_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    backward(SIGMOID, 0, buffers, dims, part, parts)


cdef void tanh(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    forward(TANH, 0, buffers, dims, part, parts)


cdef void tanh_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    backward(TANH, 0, buffers, dims, part, parts)


cdef void softplus(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    forward(SOFTPLUS, 0, buffers, dims, part, parts)


cdef void softplus_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    backward(SOFTPLUS, 0, buffers, dims, part, parts)


cdef void selu(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    forward(SELU, 0, buffers, dims, part, parts)


cdef void selu_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    backward(SELU, 0, buffers, dims, part, parts)


cdef void softsign(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    forward(SOFTSIGN, 0, buffers, dims, part, parts)


cdef void softsign_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    backward(SOFTSIGN, 0, buffers, dims, part, parts)


cdef void hard_sigmoid(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    forward(HARD_SIGMOID, 0, buffers, dims, part, parts)


cdef void hard_sigmoid_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    backward(HARD_SIGMOID, 0, buffers, dims, part, parts)


cdef void hard_swish(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    forward(HARD_SWISH, 0, buffers, dims, part, parts)


cdef void hard_swish_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    backward(HARD_SWISH, 0, buffers, dims, part, parts)


cdef void mish(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    forward(MISH, 0, buffers, dims, part, parts)


cdef void mish_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    backward(MISH, 0, buffers, dims, part, parts)


cdef void softmax(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (o,r) -> y (o,r): exp(x - m) / sum(exp(x - m)), m the row's maximum."""
    cdef Py_ssize_t n = dims[1]
    cdef Py_ssize_t i = first(dims[0], 1, part, parts)
    cdef Py_ssize_t stop = first(dims[0], 1, part + 1, parts)
    if n <= NARROW:
        while i < stop:
            softmax_tile(&buffers[0][i * n], &buffers[1][i * n], min(<Py_ssize_t> TILE, stop - i), n)
            i += TILE
    while i < stop:
        softmax_row(&buffers[0][i * n], &buffers[1][i * n], n)
        i += 1


cdef void softmax_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """dy (o,r), y (o,r) -> dx (o,r): y (dy - sum(dy y))."""
    cdef Py_ssize_t n = dims[1]
    cdef const floating *dy
    cdef const floating *y
    cdef floating *dx
    cdef double mean
    cdef Py_ssize_t i, j
    for i in range(first(dims[0], 1, part, parts), first(dims[0], 1, part + 1, parts)):
        dy = &buffers[0][i * n]
        y = &buffers[1][i * n]
        dx = &buffers[2][i * n]
        mean = row_dot(dy, y, n)
        for j in range(n):
            dx[j] = <floating> (y[j] * (dy[j] - mean))


cdef void log_softmax(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (o,r) -> y (o,r): x - m - log(sum(exp(x - m))), m the row's maximum."""
    cdef Py_ssize_t n = dims[1]
    cdef Py_ssize_t i = first(dims[0], 1, part, parts)
    cdef Py_ssize_t stop = first(dims[0], 1, part + 1, parts)
    if n <= NARROW:
        while i < stop:
            log_softmax_tile(&buffers[0][i * n], &buffers[1][i * n], min(<Py_ssize_t> TILE, stop - i), n)
            i += TILE
    while i < stop:
        log_softmax_row(&buffers[0][i * n], &buffers[1][i * n], n)
        i += 1


cdef void log_softmax_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """dy (o,r), y (o,r) -> dx (o,r): dy - exp(y) sum(dy)."""
    cdef Py_ssize_t n = dims[1]
    cdef const floating *dy
    cdef const floating *y
    cdef floating *dx
    cdef double total
    cdef Py_ssize_t i, j
    for i in range(first(dims[0], 1, part, parts), first(dims[0], 1, part + 1, parts)):
        dy = &buffers[0][i * n]
        y = &buffers[1][i * n]
        dx = &buffers[2][i * n]
        total = row_sum(dy, n)
        for j in range(n):
            dx[j] = <floating> (dy[j] - exp_(y[j]) * total)


#: Addresses of each op's kernels: float32, float64.
KERNELS = {
    "linear": (<size_t> &linear[float], <size_t> &linear[double]),
    "linear_backward": (<size_t> &linear_backward[float], <size_t> &linear_backward[double]),
    "relu": (<size_t> &relu[float], <size_t> &relu[double]),
    "relu_backward": (<size_t> &relu_backward[float], <size_t> &relu_backward[double]),
    "leaky_relu": (<size_t> &leaky_relu[float], <size_t> &leaky_relu[double]),
    "leaky_relu_backward": (<size_t> &leaky_relu_backward[float], <size_t> &leaky_relu_backward[double]),
    "elu": (<size_t> &elu[float], <size_t> &elu[double]),
    "elu_backward": (<size_t> &elu_backward[float], <size_t> &elu_backward[double]),
    "gelu": (<size_t> &gelu[float], <size_t> &gelu[double]),
    "gelu_backward": (<size_t> &gelu_backward[float], <size_t> &gelu_backward[double]),
    "gelu_tanh": (<size_t> &gelu_tanh[float], <size_t> &gelu_tanh[double]),
    "gelu_tanh_backward": (<size_t> &gelu_tanh_backward[float], <size_t> &gelu_tanh_backward[double]),
    "silu": (<size_t> &silu[float], <size_t> &silu[double]),
    "silu_backward": (<size_t> &silu_backward[float], <size_t> &silu_backward[double]),
    "sigmoid": (<size_t> &sigmoid[float], <size_t> &sigmoid[double]),
    "sigmoid_backward": (<size_t> &sigmoid_backward[float], <size_t> &sigmoid_backward[double]),
    "tanh": (<size_t> &tanh[float], <size_t> &tanh[double]),
    "tanh_backward": (<size_t> &tanh_backward[float], <size_t> &tanh_backward[double]),
    "softplus": (<size_t> &softplus[float], <size_t> &softplus[double]),
    "softplus_backward": (<size_t> &softplus_backward[float], <size_t> &softplus_backward[double]),
    "selu": (<size_t> &selu[float], <size_t> &selu[double]),
    "selu_backward": (<size_t> &selu_backward[float], <size_t> &selu_backward[double]),
    "softsign": (<size_t> &softsign[float], <size_t> &softsign[double]),
    "softsign_backward": (<size_t> &softsign_backward[float], <size_t> &softsign_backward[double]),
    "hard_sigmoid": (<size_t> &hard_sigmoid[float], <size_t> &hard_sigmoid[double]),
    "hard_sigmoid_backward": (<size_t> &hard_sigmoid_backward[float], <size_t> &hard_sigmoid_backward[double]),
    "hard_swish": (<size_t> &hard_swish[float], <size_t> &hard_swish[double]),
    "hard_swish_backward": (<size_t> &hard_swish_backward[float], <size_t> &hard_swish_backward[double]),
    "mish": (<size_t> &mish[float], <size_t> &mish[double]),
    "mish_backward": (<size_t> &mish_backward[float], <size_t> &mish_backward[double]),
    "softmax": (<size_t> &softmax[float], <size_t> &softmax[double]),
    "softmax_backward": (<size_t> &softmax_backward[float], <size_t> &softmax_backward[double]),
    "log_softmax": (<size_t> &log_softmax[float], <size_t> &log_softmax[double]),
    "log_softmax_backward": (<size_t> &log_softmax_backward[float], <size_t> &log_softmax_backward[double]),
}
#: Bytes of scratch memory of the ops that need some.
WORKSPACE = {}
