"""Optimizer updates: one pass over flat parameters p (n) and gradients g (n). Rules as in backends/reference.py."""

from __future__ import annotations

from math import sqrt

from fastnn.kernels.numba_cpu.common import kernel, share


@kernel
def sgd_update(p, g, velocity, learning_rate, momentum, nesterov, weight_decay, part, parts):
    """Gradient descent with weight decay and, where there is a velocity (n), momentum (Sutskever et al. 2013)."""
    T = p.dtype.type
    rate, mu, decay = T(learning_rate), T(momentum), T(weight_decay)
    start, stop = share(p.size, part, parts)
    if velocity.size == 0:
        for i in range(start, stop):
            p[i] -= rate * (g[i] + decay * p[i])
        return
    ahead = nesterov != 0
    for i in range(start, stop):
        slope = g[i] + decay * p[i]
        v = mu * velocity[i] + slope
        velocity[i] = v
        p[i] -= rate * (slope + mu * v if ahead else v)


@kernel
def rmsprop_update(
    p, g, square_avg, velocity, grad_avg, learning_rate, rho, epsilon, momentum, weight_decay, part, parts
):
    """Hinton's RMSprop; `velocity` (n) is there with momentum, `grad_avg` (n) when centred (Graves 2013)."""
    T = p.dtype.type
    rate, rest, eps, mu, decay = T(learning_rate), T(1 - rho), T(epsilon), T(momentum), T(weight_decay)
    centred, heavy = grad_avg.size > 0, velocity.size > 0
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
            step = mu * velocity[i] + step
            velocity[i] = step
        p[i] -= rate * step


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


KERNELS = {"sgd_update": sgd_update, "rmsprop_update": rmsprop_update, "adam_update": adam_update}
WORKSPACE = {}
