"""Optimizer updates: one launch over flat parameters p (n) and gradients g (n). Rules as in backends/reference.py.

What depends on the parameters alone is computed by the launcher, in float64, and passed in the arrays' type, as one
tuple: in a program it may change from step to step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.kernels.numba_cuda.groups import blocks_for
from fastnn.kernels.numba_cuda.shim import cuda, sqrt
from fastnn.kernels.numba_cuda.sizes import BLOCK


@cuda.jit
def sgd_update(p, g, velocity, nesterov, numbers):
    """Gradient descent with weight decay and, where there is a velocity (n), momentum (Sutskever et al. 2013)."""
    rate, momentum, arriving, decay = numbers[0], numbers[1], numbers[2], numbers[3]
    i = cuda.grid(1)
    if i < p.size:
        slope = g[i] + decay * p[i]
        if velocity.size > 0:
            v = momentum * velocity[i] + arriving * slope
            velocity[i] = v
            slope = slope + momentum * v if nesterov else v
        p[i] -= rate * slope


@cuda.jit
def rmsprop_update(p, g, square_avg, velocity, grad_avg, nesterov, numbers):
    """Hinton's RMSprop; `velocity` (n) is there with momentum, `grad_avg` (n) when centred (Graves 2013)."""
    rate, rest, epsilon, momentum, decay = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
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
            v = momentum * velocity[i] + step
            velocity[i] = v
            step = step + momentum * v if nesterov else v
        p[i] -= rate * step


@cuda.jit
def adagrad_update(p, g, square_sum, numbers):
    """Duchi, Hazan and Singer 2011."""
    rate, epsilon, decay = numbers[0], numbers[1], numbers[2]
    i = cuda.grid(1)
    if i < p.size:
        slope = g[i] + decay * p[i]
        total = square_sum[i] + slope * slope
        square_sum[i] = total
        p[i] -= rate * slope / (sqrt(total) + epsilon)


@cuda.jit
def adadelta_update(p, g, square_avg, delta_avg, numbers):
    """Zeiler 2012."""
    rate, rest, epsilon, decay = numbers[0], numbers[1], numbers[2], numbers[3]
    i = cuda.grid(1)
    if i < p.size:
        slope = g[i] + decay * p[i]
        second = square_avg[i] + rest * (slope * slope - square_avg[i])
        square_avg[i] = second
        delta = sqrt(delta_avg[i] + epsilon) / sqrt(second + epsilon) * slope
        delta_avg[i] += rest * (delta * delta - delta_avg[i])
        p[i] -= rate * delta


@cuda.jit
def adam_update(p, g, m, v, v_max, decoupled, numbers):
    """Kingma and Ba 2015; `decoupled` is AdamW (Loshchilov and Hutter 2019); `v_max` (n) present is AMSGrad."""
    rate, rest_1, rest_2, root, epsilon, shrink, decay = (
        numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6],
    )  # fmt: skip
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


@cuda.jit
def adamax_update(p, g, m, u, numbers):
    """Kingma and Ba 2015, section 7.1."""
    rate, rest, keep, epsilon, decay = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    i = cuda.grid(1)
    if i < p.size:
        slope = g[i] + decay * p[i]
        mean = m[i] + rest * (slope - m[i])
        m[i] = mean
        kept, largest = keep * u[i], abs(slope) + epsilon
        # A NaN in either stays.
        largest = largest if largest > kept or largest != largest else kept
        u[i] = largest
        p[i] -= rate * mean / largest


@cuda.jit
def nadam_update(p, g, m, v, decoupled, numbers):
    """Dozat 2016."""
    rate_g, rate_m, rest_1, rest_2, root, epsilon, shrink, decay = (
        numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6], numbers[7],
    )  # fmt: skip
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
        p[i] = value - (rate_g * slope + rate_m * mean) / (sqrt(second) * root + epsilon)


@cuda.jit
def radam_update(p, g, m, v, decoupled, numbers):
    """Liu et al. 2020; without rectification, in the first steps, momentum alone."""
    rate, rest_1, rest_2, epsilon, shrink, decay, rectified = (
        numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6],
    )  # fmt: skip
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
        p[i] = value - (rate * mean / (sqrt(second) + epsilon) if rectified != 0 else rate * mean)


@cuda.jit
def lion_update(p, g, m, numbers):
    """Chen et al. 2023."""
    rate, rest_1, rest_2, shrink = numbers[0], numbers[1], numbers[2], numbers[3]
    i = cuda.grid(1)
    if i < p.size:
        ahead = m[i] + rest_1 * (g[i] - m[i])
        step = rate * ahead  # 0 and NaN stay
        if ahead > 0:
            step = rate
        elif ahead < 0:
            step = -rate
        p[i] = shrink * p[i] - step
        m[i] += rest_2 * (g[i] - m[i])


def launch_sgd(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    cast = arrays[0].dtype.type
    rate, momentum, decay = (cast(params[k]) for k in ("learning_rate", "momentum", "weight_decay"))
    numbers = rate, momentum, cast(1 - params["dampening"]), decay
    launch(sgd_update, blocks_for(dims["n"]), BLOCK, *arrays, bool(params["nesterov"]), numbers)


def launch_rmsprop(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    numbers = (
        params["learning_rate"], 1 - params["rho"], params["epsilon"], params["momentum"], params["weight_decay"],
    )  # fmt: skip
    numbers = tuple(map(arrays[0].dtype.type, numbers))
    launch(rmsprop_update, blocks_for(dims["n"]), BLOCK, *arrays, bool(params["nesterov"]), numbers)


def launch_adagrad(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    rate = params["learning_rate"] / (1 + (params["step"] - 1) * params["lr_decay"])
    numbers = tuple(map(arrays[0].dtype.type, (rate, params["epsilon"], params["weight_decay"])))
    launch(adagrad_update, blocks_for(dims["n"]), BLOCK, *arrays, numbers)


def launch_adadelta(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    numbers = params["learning_rate"], 1 - params["rho"], params["epsilon"], params["weight_decay"]
    launch(adadelta_update, blocks_for(dims["n"]), BLOCK, *arrays, tuple(map(arrays[0].dtype.type, numbers)))


def launch_adam(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    cast = arrays[0].dtype.type
    rate, beta_1, beta_2, decay = (params[k] for k in ("learning_rate", "beta_1", "beta_2", "weight_decay"))
    corrected = bool(params["bias_correction"])
    correction_1 = 1 - beta_1 ** params["step"] if corrected else 1.0
    correction_2 = 1 - beta_2 ** params["step"] if corrected else 1.0
    rate_1, root = rate / correction_1, correction_2**-0.5
    numbers = rate_1, 1 - beta_1, 1 - beta_2, root, params["epsilon"], 1 - rate * decay, decay
    launch(adam_update, blocks_for(dims["n"]), BLOCK, *arrays, bool(params["decoupled"]), tuple(map(cast, numbers)))


def launch_adamax(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    beta_1, beta_2 = params["beta_1"], params["beta_2"]
    rate = params["learning_rate"] / (1 - beta_1 ** params["step"])
    numbers = rate, 1 - beta_1, beta_2, params["epsilon"], params["weight_decay"]
    launch(adamax_update, blocks_for(dims["n"]), BLOCK, *arrays, tuple(map(arrays[0].dtype.type, numbers)))


def launch_nadam(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    cast = arrays[0].dtype.type
    rate, beta_1, beta_2, decay = (params[k] for k in ("learning_rate", "beta_1", "beta_2", "weight_decay"))
    step, product = params["step"], params["momentum_product"]
    momentum, following = (beta_1 * (1 - 0.5 * 0.96 ** (t * params["momentum_decay"])) for t in (step, step + 1))
    rates = rate * (1 - momentum) / (1 - product), rate * following / (1 - product * following)
    numbers = *rates, 1 - beta_1, 1 - beta_2, (1 - beta_2**step) ** -0.5, params["epsilon"], 1 - rate * decay, decay
    launch(nadam_update, blocks_for(dims["n"]), BLOCK, *arrays, bool(params["decoupled"]), tuple(map(cast, numbers)))


def launch_radam(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    cast = arrays[0].dtype.type
    rate, beta_1, beta_2, decay = (params[k] for k in ("learning_rate", "beta_1", "beta_2", "weight_decay"))
    decayed = beta_2 ** params["step"]
    longest = 2 / (1 - beta_2) - 1
    length = longest - 2 * params["step"] * decayed / (1 - decayed)
    rectified, step_size = length > 5, rate / (1 - beta_1 ** params["step"])
    if rectified:
        ratio = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        step_size *= (ratio * (1 - decayed)) ** 0.5
    numbers = step_size, 1 - beta_1, 1 - beta_2, params["epsilon"], 1 - rate * decay, decay, rectified
    launch(radam_update, blocks_for(dims["n"]), BLOCK, *arrays, bool(params["decoupled"]), tuple(map(cast, numbers)))


def launch_lion(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    rate, beta_1, beta_2, decay = (params[k] for k in ("learning_rate", "beta_1", "beta_2", "weight_decay"))
    numbers = tuple(map(arrays[0].dtype.type, (rate, 1 - beta_1, 1 - beta_2, 1 - rate * decay)))
    launch(lion_update, blocks_for(dims["n"]), BLOCK, *arrays, numbers)


KERNELS = {
    "sgd_update": launch_sgd, "rmsprop_update": launch_rmsprop, "adagrad_update": launch_adagrad,
    "adadelta_update": launch_adadelta, "adam_update": launch_adam, "adamax_update": launch_adamax,
    "nadam_update": launch_nadam, "radam_update": launch_radam, "lion_update": launch_lion,
}  # fmt: skip
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {}
