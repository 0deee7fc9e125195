"""Optimizer updates: one pass over flat parameters, in place.

Each update is one inline function whose flags are constants where it is called, so that no loop holds a branch.
Hyper-parameters are cast to the arrays' type once; what depends on the step is computed in float64 once per call.
"""

from cython cimport floating
from libc.math cimport fabs, fabsf, pow, sqrt, sqrtf

from fastnn_ext.share cimport first


cdef inline floating root(floating x) noexcept nogil:
    if floating is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef inline floating size(floating x) noexcept nogil:
    if floating is float:
        return fabsf(x)
    else:
        return fabs(x)


cdef inline void sgd(
    bint momentous, bint nesterov, floating **buffers, const double *params, Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    cdef floating *p = buffers[0]
    cdef const floating *g = buffers[1]
    cdef floating *velocity = buffers[2]
    cdef floating learning_rate = <floating> params[0]
    cdef floating momentum = <floating> params[1]
    cdef floating weight_decay = <floating> params[3]
    cdef floating arriving = <floating> (1 - params[4])
    cdef floating slope, speed
    cdef Py_ssize_t i
    for i in range(start, stop):
        slope = g[i] + weight_decay * p[i]
        if momentous:
            speed = momentum * velocity[i] + arriving * slope
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
    bint momentous, bint nesterov, bint centred, floating **buffers, const double *params, Py_ssize_t start, Py_ssize_t stop
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
    cdef floating weight_decay = <floating> params[5]
    cdef floating slope, square, mean, step, speed
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
            speed = momentum * velocity[i] + step
            velocity[i] = speed
            step = momentum * speed + step if nesterov else speed
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
            rmsprop(False, False, False, buffers, params, start, stop)
        else:
            rmsprop(False, False, True, buffers, params, start, stop)
    elif buffers[4] == NULL:
        if params[4]:
            rmsprop(True, True, False, buffers, params, start, stop)
        else:
            rmsprop(True, False, False, buffers, params, start, stop)
    elif params[4]:
        rmsprop(True, True, True, buffers, params, start, stop)
    else:
        rmsprop(True, False, True, buffers, params, start, stop)


cdef void adagrad_update(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """p (n), g (n), square_sum (n) (Duchi, Hazan and Singer 2011)."""
    cdef floating *p = buffers[0]
    cdef const floating *g = buffers[1]
    cdef floating *square_sum = buffers[2]
    cdef floating rate = <floating> (params[0] / (1 + (params[4] - 1) * params[1]))
    cdef floating epsilon = <floating> params[2]
    cdef floating weight_decay = <floating> params[3]
    cdef floating slope, total
    cdef Py_ssize_t i
    for i in range(first(dims[0], 64, part, parts), first(dims[0], 64, part + 1, parts)):
        slope = g[i] + weight_decay * p[i]
        total = square_sum[i] + slope * slope
        square_sum[i] = total
        p[i] -= rate * slope / (root(total) + epsilon)


cdef void adadelta_update(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """p (n), g (n), square_avg (n), delta_avg (n) (Zeiler 2012)."""
    cdef floating *p = buffers[0]
    cdef const floating *g = buffers[1]
    cdef floating *square_avg = buffers[2]
    cdef floating *delta_avg = buffers[3]
    cdef floating learning_rate = <floating> params[0]
    cdef floating keep = <floating> (1 - params[1])
    cdef floating epsilon = <floating> params[2]
    cdef floating weight_decay = <floating> params[3]
    cdef floating slope, square, delta
    cdef Py_ssize_t i
    for i in range(first(dims[0], 64, part, parts), first(dims[0], 64, part + 1, parts)):
        slope = g[i] + weight_decay * p[i]
        square = square_avg[i] + keep * (slope * slope - square_avg[i])
        square_avg[i] = square
        delta = root(delta_avg[i] + epsilon) / root(square + epsilon) * slope
        delta_avg[i] += keep * (delta * delta - delta_avg[i])
        p[i] -= learning_rate * delta


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


cdef void adamax_update(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """p (n), g (n), m (n), u (n) (Kingma and Ba 2015, section 7.1)."""
    cdef floating *p = buffers[0]
    cdef const floating *g = buffers[1]
    cdef floating *m = buffers[2]
    cdef floating *u = buffers[3]
    cdef floating rate = <floating> (params[0] / (1 - pow(params[1], params[5])))
    cdef floating keep = <floating> (1 - params[1])
    cdef floating beta_2 = <floating> params[2]
    cdef floating epsilon = <floating> params[3]
    cdef floating weight_decay = <floating> params[4]
    cdef floating slope, mean, largest, kept
    cdef Py_ssize_t i
    for i in range(first(dims[0], 64, part, parts), first(dims[0], 64, part + 1, parts)):
        slope = g[i] + weight_decay * p[i]
        mean = m[i] + keep * (slope - m[i])
        m[i] = mean
        kept = beta_2 * u[i]
        largest = size(slope) + epsilon
        largest = kept if kept > largest else largest
        largest = kept if kept != kept else largest
        u[i] = largest
        p[i] -= rate * mean / largest


cdef inline void nadam(
    bint decoupled, floating **buffers, const double *params, Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    cdef floating *p = buffers[0]
    cdef const floating *g = buffers[1]
    cdef floating *m = buffers[2]
    cdef floating *v = buffers[3]
    cdef double momentum = params[1] * (1 - 0.5 * pow(0.96, params[8] * params[6]))
    cdef double following = params[1] * (1 - 0.5 * pow(0.96, (params[8] + 1) * params[6]))
    cdef floating rate_g = <floating> (params[0] * (1 - momentum) / (1 - params[7]))
    cdef floating rate_m = <floating> (params[0] * following / (1 - params[7] * following))
    cdef floating inverse_root = <floating> (1 / sqrt(1 - pow(params[2], params[8])))
    cdef floating keep_1 = <floating> (1 - params[1])
    cdef floating keep_2 = <floating> (1 - params[2])
    cdef floating epsilon = <floating> params[3]
    cdef floating weight_decay = <floating> params[4]
    cdef floating shrink = <floating> (1 - params[0] * params[4])
    cdef floating weight, slope, mean, second
    cdef Py_ssize_t i
    for i in range(start, stop):
        weight = p[i] * shrink if decoupled else p[i]
        slope = g[i] if decoupled else g[i] + weight_decay * weight
        mean = m[i] + keep_1 * (slope - m[i])
        second = v[i] + keep_2 * (slope * slope - v[i])
        m[i] = mean
        v[i] = second
        p[i] = weight - (rate_g * slope + rate_m * mean) / (root(second) * inverse_root + epsilon)


cdef void nadam_update(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """p (n), g (n), m (n), v (n) (Dozat 2016)."""
    cdef Py_ssize_t start = first(dims[0], 64, part, parts)
    cdef Py_ssize_t stop = first(dims[0], 64, part + 1, parts)
    if params[5]:
        nadam(True, buffers, params, start, stop)
    else:
        nadam(False, buffers, params, start, stop)


cdef inline double rectification(double beta_2, double step) noexcept nogil:
    """How far the variance of Adam's step allows it, times v's bias correction; 0 where it does not at all."""
    cdef double longest = 2 / (1 - beta_2) - 1
    cdef double correction = 1 - pow(beta_2, step)
    cdef double length = longest - 2 * step * pow(beta_2, step) / correction
    if length <= 5:
        return 0
    return sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length) * correction)


cdef inline void radam(
    bint decoupled, bint rectified, double rectified_by, floating **buffers, const double *params,
    Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    cdef floating *p = buffers[0]
    cdef const floating *g = buffers[1]
    cdef floating *m = buffers[2]
    cdef floating *v = buffers[3]
    cdef floating rate = <floating> (params[0] / (1 - pow(params[1], params[6])) * rectified_by)
    cdef floating keep_1 = <floating> (1 - params[1])
    cdef floating keep_2 = <floating> (1 - params[2])
    cdef floating epsilon = <floating> params[3]
    cdef floating weight_decay = <floating> params[4]
    cdef floating shrink = <floating> (1 - params[0] * params[4])
    cdef floating weight, slope, mean, second
    cdef Py_ssize_t i
    for i in range(start, stop):
        weight = p[i] * shrink if decoupled else p[i]
        slope = g[i] if decoupled else g[i] + weight_decay * weight
        mean = m[i] + keep_1 * (slope - m[i])
        second = v[i] + keep_2 * (slope * slope - v[i])
        m[i] = mean
        v[i] = second
        p[i] = weight - (rate * mean / (root(second) + epsilon) if rectified else rate * mean)


cdef void radam_update(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """p (n), g (n), m (n), v (n) (Liu et al. 2020)."""
    cdef Py_ssize_t start = first(dims[0], 64, part, parts)
    cdef Py_ssize_t stop = first(dims[0], 64, part + 1, parts)
    cdef double factor = rectification(params[2], params[6])
    if params[5]:
        if factor:
            radam(True, True, factor, buffers, params, start, stop)
        else:
            radam(True, False, 1, buffers, params, start, stop)
    elif factor:
        radam(False, True, factor, buffers, params, start, stop)
    else:
        radam(False, False, 1, buffers, params, start, stop)


cdef void lion_update(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """p (n), g (n), m (n) (Chen et al. 2023)."""
    cdef floating *p = buffers[0]
    cdef const floating *g = buffers[1]
    cdef floating *m = buffers[2]
    cdef floating learning_rate = <floating> params[0]
    cdef floating keep_1 = <floating> (1 - params[1])
    cdef floating keep_2 = <floating> (1 - params[2])
    cdef floating shrink = <floating> (1 - params[0] * params[3])
    cdef floating change, ahead, step
    cdef Py_ssize_t i
    for i in range(first(dims[0], 64, part, parts), first(dims[0], 64, part + 1, parts)):
        change = g[i] - m[i]
        ahead = m[i] + keep_1 * change
        m[i] += keep_2 * change
        # The sign; 0 and NaN stay.
        step = learning_rate if ahead > 0 else learning_rate * ahead
        step = -learning_rate if ahead < 0 else step
        p[i] = shrink * p[i] - step


#: Addresses of each op's kernels: float32, float64.
KERNELS = {
    "sgd_update": (<size_t> &sgd_update[float], <size_t> &sgd_update[double]),
    "rmsprop_update": (<size_t> &rmsprop_update[float], <size_t> &rmsprop_update[double]),
    "adagrad_update": (<size_t> &adagrad_update[float], <size_t> &adagrad_update[double]),
    "adadelta_update": (<size_t> &adadelta_update[float], <size_t> &adadelta_update[double]),
    "adam_update": (<size_t> &adam_update[float], <size_t> &adam_update[double]),
    "adamax_update": (<size_t> &adamax_update[float], <size_t> &adamax_update[double]),
    "nadam_update": (<size_t> &nadam_update[float], <size_t> &nadam_update[double]),
    "radam_update": (<size_t> &radam_update[float], <size_t> &radam_update[double]),
    "lion_update": (<size_t> &lion_update[float], <size_t> &lion_update[double]),
}
#: Bytes of scratch memory of the ops that need some.
WORKSPACE = {}
