"""Optimizer updates: one pass over flat parameters, in place.

Each update is one inline function whose flags are constants where it is called, so that no loop holds a branch.
Hyper-parameters are cast to the arrays' type once; what depends on the step is computed in float64 once per call.
"""

from cython cimport floating
from libc.math cimport pow, sqrt, sqrtf

from fastnn_ext.share cimport first


cdef inline floating root(floating x) noexcept nogil:
    if floating is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef inline void sgd(
    bint momentous, bint nesterov, floating **buffers, const double *params, Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    cdef floating *p = buffers[0]
    cdef const floating *g = buffers[1]
    cdef floating *velocity = buffers[2]
    cdef floating learning_rate = <floating> params[0]
    cdef floating momentum = <floating> params[1]
    cdef floating weight_decay = <floating> params[3]
    cdef floating slope, speed
    cdef Py_ssize_t i
    for i in range(start, stop):
        slope = g[i] + weight_decay * p[i]
        if momentous:
            speed = momentum * velocity[i] + slope
            velocity[i] = speed
            slope = slope + momentum * speed if nesterov else speed
        p[i] -= learning_rate * slope


cdef void sgd_update(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """p (n), g (n), velocity (n)."""
    cdef Py_ssize_t start = first(dims[0], 64, part, parts)
    cdef Py_ssize_t stop = first(dims[0], 64, part + 1, parts)
    if buffers[2] == NULL:
        sgd(False, False, buffers, params, start, stop)
    elif params[2]:
        sgd(True, True, buffers, params, start, stop)
    else:
        sgd(True, False, buffers, params, start, stop)


cdef inline void rmsprop(
    bint momentous, bint centred, floating **buffers, const double *params, Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    cdef floating *p = buffers[0]
    cdef const floating *g = buffers[1]
    cdef floating *square_avg = buffers[2]
    cdef floating *velocity = buffers[3]
    cdef floating *grad_avg = buffers[4]
    cdef floating learning_rate = <floating> params[0]
    cdef floating keep = <floating> (1 - params[1])
    cdef floating epsilon = <floating> params[2]
    cdef floating momentum = <floating> params[3]
    cdef floating weight_decay = <floating> params[4]
    cdef floating slope, square, mean, step
    cdef Py_ssize_t i
    for i in range(start, stop):
        slope = g[i] + weight_decay * p[i]
        square = square_avg[i] + keep * (slope * slope - square_avg[i])
        square_avg[i] = square
        if centred:
            mean = grad_avg[i] + keep * (slope - grad_avg[i])
            grad_avg[i] = mean
            square = square - mean * mean
        step = slope / (root(square) + epsilon)
        if momentous:
            step = momentum * velocity[i] + step
            velocity[i] = step
        p[i] -= learning_rate * step


cdef void rmsprop_update(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """p (n), g (n), square_avg (n), velocity (n), grad_avg (n) (Tieleman and Hinton 2012; centred: Graves 2013)."""
    cdef Py_ssize_t start = first(dims[0], 64, part, parts)
    cdef Py_ssize_t stop = first(dims[0], 64, part + 1, parts)
    if buffers[3] == NULL:
        if buffers[4] == NULL:
            rmsprop(False, False, buffers, params, start, stop)
        else:
            rmsprop(False, True, buffers, params, start, stop)
    elif buffers[4] == NULL:
        rmsprop(True, False, buffers, params, start, stop)
    else:
        rmsprop(True, True, buffers, params, start, stop)


cdef inline void adam(
    bint decoupled, bint amsgrad, floating **buffers, const double *params, Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    cdef floating *p = buffers[0]
    cdef const floating *g = buffers[1]
    cdef floating *m = buffers[2]
    cdef floating *v = buffers[3]
    cdef floating *v_max = buffers[4]
    cdef double correction_1 = 1 - pow(params[1], params[7]) if params[6] else 1.0
    cdef double correction_2 = 1 - pow(params[2], params[7]) if params[6] else 1.0
    cdef floating rate = <floating> (params[0] / correction_1)
    cdef floating inverse_root = <floating> (1 / sqrt(correction_2))
    cdef floating keep_1 = <floating> (1 - params[1])
    cdef floating keep_2 = <floating> (1 - params[2])
    cdef floating epsilon = <floating> params[3]
    cdef floating weight_decay = <floating> params[4]
    cdef floating shrink = <floating> (1 - params[0] * params[4])
    cdef floating weight, slope, mean, second, largest
    cdef Py_ssize_t i
    for i in range(start, stop):
        if decoupled:
            weight = p[i] * shrink
            slope = g[i]
        else:
            weight = p[i]
            slope = g[i] + weight_decay * weight
        mean = m[i] + keep_1 * (slope - m[i])
        second = v[i] + keep_2 * (slope * slope - v[i])
        m[i] = mean
        v[i] = second
        if amsgrad:
            largest = v_max[i]
            second = largest if largest > second else second
            second = largest if largest != largest else second
            v_max[i] = second
        p[i] = weight - rate * mean / (root(second) * inverse_root + epsilon)


cdef void adam_update(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """p (n), g (n), m (n), v (n), v_max (n).

    Kingma and Ba 2015; decoupled weight decay is AdamW (Loshchilov and Hutter 2019), v_max AMSGrad (Reddi et al. 2018).
    """
    cdef Py_ssize_t start = first(dims[0], 64, part, parts)
    cdef Py_ssize_t stop = first(dims[0], 64, part + 1, parts)
    if params[5]:
        if buffers[4] == NULL:
            adam(True, False, buffers, params, start, stop)
        else:
            adam(True, True, buffers, params, start, stop)
    elif buffers[4] == NULL:
        adam(False, False, buffers, params, start, stop)
    else:
        adam(False, True, buffers, params, start, stop)


#: Addresses of each op's kernels: float32, float64.
KERNELS = {
    "sgd_update": (<size_t> &sgd_update[float], <size_t> &sgd_update[double]),
    "rmsprop_update": (<size_t> &rmsprop_update[float], <size_t> &rmsprop_update[double]),
    "adam_update": (<size_t> &adam_update[float], <size_t> &adam_update[double]),
}
#: Bytes of scratch memory of the ops that need some.
WORKSPACE = {}
