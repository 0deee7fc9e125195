"""Optimizer updates: one launch over flat parameters p (n) and gradients g (n). Rules as in backends/reference.py.

What depends on the parameters alone is computed by the launcher, in float64, and passed in the arrays' type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.kernels.numba_cuda.groups import blocks_for
from fastnn.kernels.numba_cuda.shim import cuda, sqrt
from fastnn.kernels.numba_cuda.sizes import BLOCK


@cuda.jit
def sgd_update(p, g, velocity, rate, momentum, nesterov, decay):
    """Gradient descent with weight decay and, where there is a velocity (n), momentum (Sutskever et al. 2013)."""
    i = cuda.grid(1)
    if i < p.size:
        slope = g[i] + decay * p[i]
        if velocity.size > 0:
            v = momentum * velocity[i] + slope
            velocity[i] = v
            slope = slope + momentum * v if nesterov else v
        p[i] -= rate * slope


@cuda.jit
def rmsprop_update(p, g, square_avg, velocity, grad_avg, rate, rest, epsilon, momentum, decay):
    """Hinton's RMSprop; `velocity` (n) is there with momentum, `grad_avg` (n) when centred (Graves 2013)."""
    i = cuda.grid(1)
    if i < p.size:
        slope = g[i] + decay * p[i]
        second = square_avg[i] + rest * (slope * slope - square_avg[i])
        square_avg[i] = second
        if grad_avg.size > 0:
            mean = grad_avg[i] + rest * (slope - grad_avg[i])
            grad_avg[i] = mean
            second = second - mean * mean
        step = slope / (sqrt(second) + epsilon)
        if velocity.size > 0:
            step = momentum * velocity[i] + step
            velocity[i] = step
        p[i] -= rate * step


@cuda.jit
def adam_update(p, g, m, v, v_max, rate, rest_1, rest_2, root, epsilon, decoupled, shrink, decay):
    """Kingma and Ba 2015; `decoupled` is AdamW (Loshchilov and Hutter 2019); `v_max` (n) present is AMSGrad."""
    i = cuda.grid(1)
    if i < p.size:
        value, slope = p[i], g[i]
        if decoupled:
            value *= shrink
        else:
            slope += decay * value
        mean = m[i] + rest_1 * (slope - m[i])
        second = v[i] + rest_2 * (slope * slope - v[i])
        m[i] = mean
        v[i] = second
        if v_max.size > 0:
            # A NaN in either stays.
            second = second if second > v_max[i] or second != second else v_max[i]
            v_max[i] = second
        p[i] = value - rate * mean / (sqrt(second) * root + epsilon)


def launch_sgd(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    cast = arrays[0].dtype.type
    rate, momentum, decay = (cast(params[k]) for k in ("learning_rate", "momentum", "weight_decay"))
    nesterov = bool(params["nesterov"])
    launch(sgd_update, blocks_for(dims["n"]), BLOCK, *arrays, rate, momentum, nesterov, decay)


def launch_rmsprop(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    numbers = (
        params["learning_rate"], 1 - params["rho"], params["epsilon"], params["momentum"], params["weight_decay"],
    )  # fmt: skip
    launch(rmsprop_update, blocks_for(dims["n"]), BLOCK, *arrays, *map(arrays[0].dtype.type, numbers))


def launch_adam(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    cast = arrays[0].dtype.type
    rate, beta_1, beta_2, decay = (params[k] for k in ("learning_rate", "beta_1", "beta_2", "weight_decay"))
    corrected = bool(params["bias_correction"])
    correction_1 = 1 - beta_1 ** params["step"] if corrected else 1.0
    correction_2 = 1 - beta_2 ** params["step"] if corrected else 1.0
    numbers = map(cast, (rate / correction_1, 1 - beta_1, 1 - beta_2, correction_2**-0.5, params["epsilon"]))
    weights = bool(params["decoupled"]), cast(1 - rate * decay), cast(decay)
    launch(adam_update, blocks_for(dims["n"]), BLOCK, *arrays, *numbers, *weights)


KERNELS = {"sgd_update": launch_sgd, "rmsprop_update": launch_rmsprop, "adam_update": launch_adam}
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {}
