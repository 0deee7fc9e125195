"""Optimizer updates: one pass over flat parameters p (n) and gradients g (n). Rules as in backends/reference.py."""

from __future__ import annotations

from math import sqrt

from fastnn.kernels.numba_cpu.common import inlined, kernel, share


@kernel
def sgd_update(p, g, velocity, learning_rate, momentum, nesterov, weight_decay, dampening, part, parts):
    """Gradient descent with weight decay and, where there is a velocity (n), momentum (Sutskever et al. 2013)."""
    T = p.dtype.type
    rate, mu, decay, arriving = T(learning_rate), T(momentum), T(weight_decay), T(1 - dampening)
    start, stop = share(p.size, part, parts)
    if velocity.size == 0:
        for i in range(start, stop):
            p[i] -= rate * (g[i] + decay * p[i])
        return
    ahead = nesterov != 0
    for i in range(start, stop):
        slope = g[i] + decay * p[i]
        v = mu * velocity[i] + arriving * slope
        velocity[i] = v
        p[i] -= rate * (slope + mu * v if ahead else v)


@kernel
def rmsprop_update(
    p, g, square_avg, velocity, grad_avg, learning_rate, rho, epsilon, momentum, nesterov, weight_decay, part, parts
):
    """Hinton's RMSprop; `velocity` (n) is there with momentum, `grad_avg` (n) when centred (Graves 2013)."""
    T = p.dtype.type
    rate, rest, eps, mu, decay = T(learning_rate), T(1 - rho), T(epsilon), T(momentum), T(weight_decay)
    centred, heavy, ahead = grad_avg.size > 0, velocity.size > 0, nesterov != 0
    start, stop = share(p.size, part, parts)
    for i in range(start, stop):
        slope = g[i] + decay * p[i]
        second = square_avg[i] + rest * (slope * slope - square_avg[i])
        square_avg[i] = second
        if centred:
            mean = grad_avg[i] + rest * (slope - grad_avg[i])
            grad_avg[i] = mean
            second = second - mean * mean
        step = slope / (sqrt(second) + eps)
        if heavy:
            v = mu * velocity[i] + step
            velocity[i] = v
            step = step + mu * v if ahead else v
        p[i] -= rate * step


@kernel
def adagrad_update(p, g, square_sum, learning_rate, lr_decay, epsilon, weight_decay, step, part, parts):
    """Duchi, Hazan and Singer 2011."""
    T = p.dtype.type
    rate, eps, decay = T(learning_rate / (1 + (step - 1) * lr_decay)), T(epsilon), T(weight_decay)
    start, stop = share(p.size, part, parts)
    for i in range(start, stop):
        slope = g[i] + decay * p[i]
        total = square_sum[i] + slope * slope
        square_sum[i] = total
        p[i] -= rate * slope / (sqrt(total) + eps)


@kernel
def adadelta_update(p, g, square_avg, delta_avg, learning_rate, rho, epsilon, weight_decay, part, parts):
    """Zeiler 2012."""
    T = p.dtype.type
    rate, rest, eps, decay = T(learning_rate), T(1 - rho), T(epsilon), T(weight_decay)
    start, stop = share(p.size, part, parts)
    for i in range(start, stop):
        slope = g[i] + decay * p[i]
        second = square_avg[i] + rest * (slope * slope - square_avg[i])
        square_avg[i] = second
        delta = sqrt(delta_avg[i] + eps) / sqrt(second + eps) * slope
        delta_avg[i] += rest * (delta * delta - delta_avg[i])
        p[i] -= rate * delta


@kernel
def adam_update(
    p, g, m, v, v_max, learning_rate, beta_1, beta_2, epsilon, weight_decay, decoupled, bias_correction, step,
    part, parts,
):  # fmt: skip
    """Kingma and Ba 2015; `decoupled` is AdamW (Loshchilov and Hutter 2019); `v_max` (n) present is AMSGrad."""
    T = p.dtype.type
    correction_1 = 1 - beta_1**step if bias_correction != 0 else 1.0
    correction_2 = 1 - beta_2**step if bias_correction != 0 else 1.0
    rest_1, rest_2, eps = T(1 - beta_1), T(1 - beta_2), T(epsilon)
    rate, root = T(learning_rate / correction_1), T(1 / sqrt(correction_2))
    apart, largest = decoupled != 0, v_max.size > 0
    decay, shrink = T(weight_decay), T(1 - learning_rate * weight_decay)
    start, stop = share(p.size, part, parts)
    for i in range(start, stop):
        old = p[i] * shrink if apart else p[i]
        slope = g[i] if apart else g[i] + decay * old
        mean = m[i] + rest_1 * (slope - m[i])
        second = v[i] + rest_2 * (slope * slope - v[i])
        m[i] = mean
        v[i] = second
        if largest:
            # A NaN in either stays.
            second = second if second > v_max[i] or second != second else v_max[i]
            v_max[i] = second
        p[i] = old - rate * mean / (sqrt(second) * root + eps)


@kernel
def adamax_update(p, g, m, u, learning_rate, beta_1, beta_2, epsilon, weight_decay, step, part, parts):
    """Kingma and Ba 2015, section 7.1."""
    T = p.dtype.type
    rate, rest, keep = T(learning_rate / (1 - beta_1**step)), T(1 - beta_1), T(beta_2)
    eps, decay = T(epsilon), T(weight_decay)
    start, stop = share(p.size, part, parts)
    for i in range(start, stop):
        slope = g[i] + decay * p[i]
        mean = m[i] + rest * (slope - m[i])
        m[i] = mean
        kept, largest = keep * u[i], abs(slope) + eps
        # A NaN in either stays.
        largest = largest if largest > kept or largest != largest else kept
        u[i] = largest
        p[i] -= rate * mean / largest


@kernel
def nadam_update(
    p, g, m, v, learning_rate, beta_1, beta_2, epsilon, weight_decay, decoupled, momentum_decay, momentum_product, step,
    part, parts,
):  # fmt: skip
    """Dozat 2016."""
    T = p.dtype.type
    momentum = beta_1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))
    following = beta_1 * (1 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
    rate_g = T(learning_rate * (1 - momentum) / (1 - momentum_product))
    rate_m = T(learning_rate * following / (1 - momentum_product * following))
    rest_1, rest_2, eps, root = T(1 - beta_1), T(1 - beta_2), T(epsilon), T(1 / sqrt(1 - beta_2**step))
    apart, decay, shrink = decoupled != 0, T(weight_decay), T(1 - learning_rate * weight_decay)
    start, stop = share(p.size, part, parts)
    for i in range(start, stop):
        old = p[i] * shrink if apart else p[i]
        slope = g[i] if apart else g[i] + decay * old
        mean = m[i] + rest_1 * (slope - m[i])
        second = v[i] + rest_2 * (slope * slope - v[i])
        m[i] = mean
        v[i] = second
        p[i] = old - (rate_g * slope + rate_m * mean) / (sqrt(second) * root + eps)


@inlined
def _rectification(beta_2, step):
    """How far the variance of Adam's step allows it, times v's bias correction; 0 where it does not at all."""
    longest = 2 / (1 - beta_2) - 1
    correction = 1 - beta_2**step
    length = longest - 2 * step * beta_2**step / correction
    if length <= 5:
        return 0.0
    return sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length) * correction)


@kernel
def radam_update(p, g, m, v, learning_rate, beta_1, beta_2, epsilon, weight_decay, decoupled, step, part, parts):
    """Liu et al. 2020; without rectification, in the first steps, momentum alone."""
    T = p.dtype.type
    factor = _rectification(beta_2, step)
    rectified = factor > 0
    rate = T(learning_rate / (1 - beta_1**step) * (factor if rectified else 1.0))
    rest_1, rest_2, eps = T(1 - beta_1), T(1 - beta_2), T(epsilon)
    apart, decay, shrink = decoupled != 0, T(weight_decay), T(1 - learning_rate * weight_decay)
    start, stop = share(p.size, part, parts)
    for i in range(start, stop):
        old = p[i] * shrink if apart else p[i]
        slope = g[i] if apart else g[i] + decay * old
        mean = m[i] + rest_1 * (slope - m[i])
        second = v[i] + rest_2 * (slope * slope - v[i])
        m[i] = mean
        v[i] = second
        p[i] = old - (rate * mean / (sqrt(second) + eps) if rectified else rate * mean)


@kernel
def lion_update(p, g, m, learning_rate, beta_1, beta_2, weight_decay, part, parts):
    """Chen et al. 2023."""
    T = p.dtype.type
    rate, rest_1, rest_2, shrink = T(learning_rate), T(1 - beta_1), T(1 - beta_2), T(1 - learning_rate * weight_decay)
    start, stop = share(p.size, part, parts)
    for i in range(start, stop):
        ahead = m[i] + rest_1 * (g[i] - m[i])
        # The sign; 0 and NaN stay.
        ahead = T(1) if ahead > 0 else ahead
        ahead = T(-1) if ahead < 0 else ahead
        p[i] = shrink * p[i] - rate * ahead
        m[i] += rest_2 * (g[i] - m[i])


KERNELS = {
    "sgd_update": sgd_update, "rmsprop_update": rmsprop_update, "adagrad_update": adagrad_update,
    "adadelta_update": adadelta_update, "adam_update": adam_update, "adamax_update": adamax_update,
    "nadam_update": nadam_update, "radam_update": radam_update, "lion_update": lion_update,
}  # fmt: skip
WORKSPACE = {}
