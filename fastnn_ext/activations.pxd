"""Activations by their code, over arrays."""

from cython cimport floating

from fastnn_ext.scalar cimport (
    elu_, elu_backward_, gelu_, gelu_backward_, gelu_tanh_, gelu_tanh_backward_, hard_sigmoid_,
    hard_sigmoid_backward_, hard_swish_, hard_swish_backward_, leaky_relu_, leaky_relu_backward_, mish_,
    mish_backward_, relu_, relu_backward_, selu_, selu_backward_, sigmoid_, sigmoid_backward_, silu_, silu_backward_,
    softplus_, softplus_backward_, softsign_, softsign_backward_, tanh_, tanh_backward_,
)

cdef extern from "simd.h":
    void fastnn_stream(void *to, const void *source, size_t size) noexcept nogil
    void fastnn_stream_end() noexcept nogil

# Position in table.ACTIVATIONS.
cdef enum Activation:
    LINEAR, RELU, LEAKY_RELU, ELU, GELU, GELU_TANH, SILU, SIGMOID, TANH, SOFTPLUS
    SELU, SOFTSIGN, HARD_SIGMOID, HARD_SWISH, MISH

# Elements treated together: a constant, so that the loop is vectorised without a scalar rest, and through a local
# array, so that the result may be stored where the input is. For one or two instructions per element it does not pay:
# there the stores count, which begin at a cache line, since one across two lines takes as long as two. (No product is
# added to a sum there, so that elements before the line, taken one by one, come out the same.)
cdef enum:
    BLOCK = 32


cdef inline floating formula(int code, floating alpha, floating x) noexcept nogil:
    """One activation; `code` is a constant where this is inlined."""
    if code == RELU:
        return relu_(x)
    elif code == LEAKY_RELU:
        return leaky_relu_(x, alpha)
    elif code == ELU:
        return elu_(x, alpha)
    elif code == GELU:
        return gelu_(x)
    elif code == GELU_TANH:
        return gelu_tanh_(x)
    elif code == SILU:
        return silu_(x)
    elif code == SIGMOID:
        return sigmoid_(x)
    elif code == TANH:
        return tanh_(x)
    elif code == SOFTPLUS:
        return softplus_(x)
    elif code == SELU:
        return selu_(x)
    elif code == SOFTSIGN:
        return softsign_(x)
    elif code == HARD_SIGMOID:
        return hard_sigmoid_(x)
    elif code == HARD_SWISH:
        return hard_swish_(x)
    elif code == MISH:
        return mish_(x)
    else:
        return x


cdef inline floating formula_backward(int code, floating alpha, floating dy, floating saved) noexcept nogil:
    """One activation's gradient; `code` is a constant where this is inlined."""
    if code == RELU:
        return relu_backward_(dy, saved)
    elif code == LEAKY_RELU:
        return leaky_relu_backward_(dy, saved, alpha)
    elif code == ELU:
        return elu_backward_(dy, saved, alpha)
    elif code == GELU:
        return gelu_backward_(dy, saved)
    elif code == GELU_TANH:
        return gelu_tanh_backward_(dy, saved)
    elif code == SILU:
        return silu_backward_(dy, saved)
    elif code == SIGMOID:
        return sigmoid_backward_(dy, saved)
    elif code == TANH:
        return tanh_backward_(dy, saved)
    elif code == SOFTPLUS:
        return softplus_backward_(dy, saved)
    elif code == SELU:
        return selu_backward_(dy, saved)
    elif code == SOFTSIGN:
        return softsign_backward_(dy, saved)
    elif code == HARD_SIGMOID:
        return hard_sigmoid_backward_(dy, saved)
    elif code == HARD_SWISH:
        return hard_swish_backward_(dy, saved)
    elif code == MISH:
        return mish_backward_(dy, saved)
    else:
        return dy


cdef inline void store_block(bint streamed, const floating *block, floating *y) noexcept nogil:
    cdef Py_ssize_t j
    if streamed:
        fastnn_stream(y, block, BLOCK * sizeof(floating))
    else:
        for j in range(BLOCK):
            y[j] = block[j]


cdef inline Py_ssize_t before_line(const floating *y, Py_ssize_t n) noexcept nogil:
    """How many of n elements lie before the next cache line."""
    return min(n, <Py_ssize_t> (-<size_t> y % 64 // sizeof(floating)))


cdef inline void block_forward(int code, floating alpha, const floating *x, floating *result) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(BLOCK):
        result[j] = formula(code, alpha, x[j])


cdef inline void part_forward(int code, floating alpha, const floating *x, floating *y, Py_ssize_t n) noexcept nogil:
    """Less than a block."""
    cdef floating block[BLOCK]
    cdef floating result[BLOCK]
    cdef Py_ssize_t j
    for j in range(BLOCK):
        block[j] = x[j] if j < n else 0
    block_forward(code, alpha, block, result)
    for j in range(n):
        y[j] = result[j]


cdef inline void store_forward(
    int code, bint streamed, floating alpha, const floating *x, floating *y, Py_ssize_t n
) noexcept nogil:
    """y = f(x), for y == x too unless `streamed`: past the caches."""
    cdef floating result[BLOCK]
    cdef bint heavy = code != LINEAR and code != RELU and code != LEAKY_RELU
    cdef Py_ssize_t head = 0 if heavy and not streamed else before_line(y, n)
    cdef Py_ssize_t rest = (n - head) % BLOCK
    cdef Py_ssize_t i
    if not heavy and not streamed:
        if x == y:
            for i in range(n):
                y[i] = formula(code, alpha, y[i])
        else:
            for i in range(head):
                y[i] = formula(code, alpha, x[i])
            for i in range(head, n):
                y[i] = formula(code, alpha, x[i])
        return
    if head:
        part_forward(code, alpha, x, y, head)
    for i in range(head, n - rest, 32):
        block_forward(code, alpha, &x[i], result)
        store_block(streamed, result, &y[i])
    if rest:
        part_forward(code, alpha, &x[n - rest], &y[n - rest], rest)
    if streamed:
        fastnn_stream_end()


cdef inline void map_forward(int code, floating alpha, const floating *x, floating *y, Py_ssize_t n) noexcept nogil:
    """y = f(x), for y == x too."""
    store_forward(code, False, alpha, x, y, n)


cdef inline void block_backward(
    int code, floating alpha, const floating *dy, const floating *saved, floating *result
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(BLOCK):
        result[j] = formula_backward(code, alpha, dy[j], saved[j])


cdef inline void part_backward(
    int code, floating alpha, const floating *dy, const floating *saved, floating *dx, Py_ssize_t n
) noexcept nogil:
    """Less than a block."""
    cdef floating block[BLOCK]
    cdef floating other[BLOCK]
    cdef floating result[BLOCK]
    cdef Py_ssize_t j
    for j in range(BLOCK):
        block[j] = dy[j] if j < n else 0
        other[j] = saved[j] if j < n else 0
    block_backward(code, alpha, block, other, result)
    for j in range(n):
        dx[j] = result[j]


cdef inline void store_backward(
    int code, bint streamed, floating alpha, const floating *dy, const floating *saved, floating *dx, Py_ssize_t n
) noexcept nogil:
    """dx = dy f'(saved), for dx == dy or dx == saved too unless `streamed`: past the caches."""
    cdef floating result[BLOCK]
    cdef bint heavy = code == GELU or code == GELU_TANH or code == SILU or code == SOFTPLUS or code == MISH
    cdef Py_ssize_t head = 0 if heavy and not streamed else before_line(dx, n)
    cdef Py_ssize_t rest = (n - head) % BLOCK
    cdef Py_ssize_t i
    if not heavy and not streamed:
        if dx == dy:
            for i in range(n):
                dx[i] = formula_backward(code, alpha, dx[i], saved[i])
        else:
            for i in range(head):
                dx[i] = formula_backward(code, alpha, dy[i], saved[i])
            for i in range(head, n):
                dx[i] = formula_backward(code, alpha, dy[i], saved[i])
        return
    if head:
        part_backward(code, alpha, dy, saved, dx, head)
    for i in range(head, n - rest, 32):
        block_backward(code, alpha, &dy[i], &saved[i], result)
        store_block(streamed, result, &dx[i])
    if rest:
        part_backward(code, alpha, &dy[n - rest], &saved[n - rest], &dx[n - rest], rest)
    if streamed:
        fastnn_stream_end()


cdef inline void map_backward(
    int code, floating alpha, const floating *dy, const floating *saved, floating *dx, Py_ssize_t n
) noexcept nogil:
    """dx = dy f'(saved), for dx == dy or dx == saved too."""
    store_backward(code, False, alpha, dy, saved, dx, n)


cdef inline void activate(int code, floating alpha, const floating *x, floating *y, Py_ssize_t n) noexcept nogil:
    """y = f(x) for the activation of this code; y == x is allowed. Call it from one place: it holds every loop."""
    if code == RELU:
        map_forward(RELU, alpha, x, y, n)
    elif code == LEAKY_RELU:
        map_forward(LEAKY_RELU, alpha, x, y, n)
    elif code == ELU:
        map_forward(ELU, alpha, x, y, n)
    elif code == GELU:
        map_forward(GELU, alpha, x, y, n)
    elif code == GELU_TANH:
        map_forward(GELU_TANH, alpha, x, y, n)
    elif code == SILU:
        map_forward(SILU, alpha, x, y, n)
    elif code == SIGMOID:
        map_forward(SIGMOID, alpha, x, y, n)
    elif code == TANH:
        map_forward(TANH, alpha, x, y, n)
    elif code == SOFTPLUS:
        map_forward(SOFTPLUS, alpha, x, y, n)
    elif code == SELU:
        map_forward(SELU, alpha, x, y, n)
    elif code == SOFTSIGN:
        map_forward(SOFTSIGN, alpha, x, y, n)
    elif code == HARD_SIGMOID:
        map_forward(HARD_SIGMOID, alpha, x, y, n)
    elif code == HARD_SWISH:
        map_forward(HARD_SWISH, alpha, x, y, n)
    elif code == MISH:
        map_forward(MISH, alpha, x, y, n)
    elif x != y:
        map_forward(LINEAR, alpha, x, y, n)


cdef inline void activate_backward(
    int code, floating alpha, const floating *dy, const floating *saved, floating *dx, Py_ssize_t n
) noexcept nogil:
    """dx = dy f'(saved) for the activation of this code; dx == dy and dx == saved are allowed."""
    if code == RELU:
        map_backward(RELU, alpha, dy, saved, dx, n)
    elif code == LEAKY_RELU:
        map_backward(LEAKY_RELU, alpha, dy, saved, dx, n)
    elif code == ELU:
        map_backward(ELU, alpha, dy, saved, dx, n)
    elif code == GELU:
        map_backward(GELU, alpha, dy, saved, dx, n)
    elif code == GELU_TANH:
        map_backward(GELU_TANH, alpha, dy, saved, dx, n)
    elif code == SILU:
        map_backward(SILU, alpha, dy, saved, dx, n)
    elif code == SIGMOID:
        map_backward(SIGMOID, alpha, dy, saved, dx, n)
    elif code == TANH:
        map_backward(TANH, alpha, dy, saved, dx, n)
    elif code == SOFTPLUS:
        map_backward(SOFTPLUS, alpha, dy, saved, dx, n)
    elif code == SELU:
        map_backward(SELU, alpha, dy, saved, dx, n)
    elif code == SOFTSIGN:
        map_backward(SOFTSIGN, alpha, dy, saved, dx, n)
    elif code == HARD_SIGMOID:
        map_backward(HARD_SIGMOID, alpha, dy, saved, dx, n)
    elif code == HARD_SWISH:
        map_backward(HARD_SWISH, alpha, dy, saved, dx, n)
    elif code == MISH:
        map_backward(MISH, alpha, dy, saved, dx, n)
    elif dx != dy:
        map_backward(LINEAR, alpha, dy, saved, dx, n)
