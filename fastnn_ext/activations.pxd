"""Activations by their code, over arrays."""

from cython cimport floating

from fastnn_ext.scalar cimport (
    elu_, elu_backward_, gelu_, gelu_backward_, gelu_tanh_, gelu_tanh_backward_, hard_sigmoid_,
    hard_sigmoid_backward_, hard_swish_, hard_swish_backward_, leaky_relu_, leaky_relu_backward_, mish_,
    mish_backward_, relu_, relu_backward_, selu_, selu_backward_, sigmoid_, sigmoid_backward_, silu_, silu_backward_,
    softplus_, softplus_backward_, softsign_, softsign_backward_, tanh_, tanh_backward_,
)

# Position in table.ACTIVATIONS.
cdef enum Activation:
    LINEAR, RELU, LEAKY_RELU, ELU, GELU, GELU_TANH, SILU, SIGMOID, TANH, SOFTPLUS
    SELU, SOFTSIGN, HARD_SIGMOID, HARD_SWISH, MISH

# Elements treated together: a constant, so that the loop is vectorised without a scalar rest, and through a local
# array, so that the result may be stored where the input is. For one or two instructions per element it does not pay.
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


cdef inline void block_forward(int code, floating alpha, const floating *x, floating *y) noexcept nogil:
    cdef floating result[BLOCK]
    cdef Py_ssize_t j
    for j in range(BLOCK):
        result[j] = formula(code, alpha, x[j])
    for j in range(BLOCK):
        y[j] = result[j]


cdef inline void block_backward(
    int code, floating alpha, const floating *dy, const floating *saved, floating *dx
) noexcept nogil:
    cdef floating result[BLOCK]
    cdef Py_ssize_t j
    for j in range(BLOCK):
        result[j] = formula_backward(code, alpha, dy[j], saved[j])
    for j in range(BLOCK):
        dx[j] = result[j]


cdef inline void map_forward(int code, floating alpha, const floating *x, floating *y, Py_ssize_t n) noexcept nogil:
    """y = f(x), for y == x too."""
    cdef floating block[BLOCK]
    cdef Py_ssize_t i, j
    cdef Py_ssize_t rest = n % BLOCK
    if code == LINEAR or code == RELU or code == LEAKY_RELU:
        if x == y:
            for i in range(n):
                y[i] = formula(code, alpha, y[i])
        else:
            for i in range(n):
                y[i] = formula(code, alpha, x[i])
        return
    for i in range(n // BLOCK):
        block_forward(code, alpha, &x[i * BLOCK], &y[i * BLOCK])
    if rest:
        i = n - rest
        for j in range(BLOCK):
            block[j] = x[i + j] if j < rest else 0
        block_forward(code, alpha, block, block)
        for j in range(rest):
            y[i + j] = block[j]


cdef inline void map_backward(
    int code, floating alpha, const floating *dy, const floating *saved, floating *dx, Py_ssize_t n
) noexcept nogil:
    """dx = dy f'(saved), for dx == dy or dx == saved too."""
    cdef floating block[BLOCK]
    cdef floating other[BLOCK]
    cdef Py_ssize_t i, j
    cdef Py_ssize_t rest = n % BLOCK
    if code != GELU and code != GELU_TANH and code != SILU and code != SOFTPLUS and code != MISH:
        if dx == dy:
            for i in range(n):
                dx[i] = formula_backward(code, alpha, dx[i], saved[i])
        else:
            for i in range(n):
                dx[i] = formula_backward(code, alpha, dy[i], saved[i])
        return
    for i in range(n // BLOCK):
        block_backward(code, alpha, &dy[i * BLOCK], &saved[i * BLOCK], &dx[i * BLOCK])
    if rest:
        i = n - rest
        for j in range(BLOCK):
            block[j] = dy[i + j] if j < rest else 0
            other[j] = saved[i + j] if j < rest else 0
        block_backward(code, alpha, block, other, block)
        for j in range(rest):
            dx[i + j] = block[j]


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
