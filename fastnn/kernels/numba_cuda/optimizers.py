"""Optimizer updates of parameters p by gradients g, element by element. Rules as in backends/reference.py.

What depends on the parameters alone is computed in float64, by the function whose name ends in `numbers`, and comes to
the formula in the arrays' type. An element of an array that is absent is None.
"""

from __future__ import annotations

from collections.abc import Callable

from fastnn.kernels.numba_cuda.shim import inlined, sqrt
from fastnn.kernels.numba_cuda.vectors import Elementwise


@inlined
def sgd_update(p, g, velocity, rate, momentum, arriving, decay, nesterov):
    """Gradient descent with weight decay and, where there is a velocity, momentum (Sutskever et al. 2013)."""
    slope = g + decay * p
    if velocity is not None:
        velocity = momentum * velocity + arriving * slope
        slope = slope + momentum * velocity if nesterov != 0 else velocity
    return p - rate * slope, velocity


@inlined
def rmsprop_update(p, g, square_avg, velocity, grad_avg, rate, rest, epsilon, momentum, decay, nesterov):
    """Hinton's RMSprop; `velocity` is there with momentum, `grad_avg` when centred (Graves 2013)."""
    slope = g + decay * p
    square_avg += rest * (slope * slope - square_avg)
    second = square_avg
    if grad_avg is not None:
        grad_avg += rest * (slope - grad_avg)
        second = square_avg - grad_avg * grad_avg
    step = slope / (sqrt(second) + epsilon)
    if velocity is not None:
        velocity = momentum * velocity + step
        step = step + momentum * velocity if nesterov != 0 else velocity
    return p - rate * step, square_avg, velocity, grad_avg


@inlined
def adagrad_update(p, g, square_sum, rate, epsilon, decay):
    """Duchi, Hazan and Singer 2011."""
    slope = g + decay * p
    square_sum += slope * slope
    return p - rate * slope / (sqrt(square_sum) + epsilon), square_sum


@inlined
def adadelta_update(p, g, square_avg, delta_avg, rate, rest, epsilon, decay):
    """Zeiler 2012."""
    slope = g + decay * p
    square_avg += rest * (slope * slope - square_avg)
    delta = sqrt(delta_avg + epsilon) / sqrt(square_avg + epsilon) * slope
    delta_avg += rest * (delta * delta - delta_avg)
    return p - rate * delta, square_avg, delta_avg


@inlined
def with_moments(p, g, m, v, rest_1, rest_2, shrink, decay, decoupled):
    """Weight decay of the parameter itself where it is decoupled, else of the gradient; both moments with that."""
    if decoupled != 0:
        p *= shrink
    else:
        g += decay * p
    return p, g, m + rest_1 * (g - m), v + rest_2 * (g * g - v)


@inlined
def adam_update(p, g, m, v, v_max, rate, rest_1, rest_2, root, epsilon, shrink, decay, decoupled):
    """Kingma and Ba 2015; `decoupled` is AdamW (Loshchilov and Hutter 2019); with `v_max` it is AMSGrad."""
    p, g, m, v = with_moments(p, g, m, v, rest_1, rest_2, shrink, decay, decoupled)
    second = v
    if v_max is not None:
        # A NaN in either stays.
        v_max = v if v > v_max or v != v else v_max
        second = v_max
    return p - rate * m / (sqrt(second) * root + epsilon), m, v, v_max


@inlined
def adamax_update(p, g, m, u, rate, rest, keep, epsilon, decay):
    """Kingma and Ba 2015, section 7.1."""
    slope = g + decay * p
    m += rest * (slope - m)
    kept, largest = keep * u, abs(slope) + epsilon
    # A NaN in either stays.
    largest = largest if largest > kept or largest != largest else kept
    return p - rate * m / largest, m, largest


@inlined
def nadam_update(p, g, m, v, rate_g, rate_m, rest_1, rest_2, root, epsilon, shrink, decay, decoupled):
    """Dozat 2016."""
    p, g, m, v = with_moments(p, g, m, v, rest_1, rest_2, shrink, decay, decoupled)
    return p - (rate_g * g + rate_m * m) / (sqrt(v) * root + epsilon), m, v


@inlined
def radam_update(p, g, m, v, rate, rest_1, rest_2, epsilon, shrink, decay, rectified, decoupled):
    """Liu et al. 2020; without rectification, in the first steps, momentum alone."""
    p, g, m, v = with_moments(p, g, m, v, rest_1, rest_2, shrink, decay, decoupled)
    return p - (rate * m / (sqrt(v) + epsilon) if rectified != 0 else rate * m), m, v


@inlined
def lion_update(p, g, m, rate, rest_1, rest_2, shrink):
    """Chen et al. 2023."""
    ahead = m + rest_1 * (g - m)
    step = rate * ahead  # 0 and NaN stay
    if ahead > 0:
        step = rate
    elif ahead < 0:
        step = -rate
    return shrink * p - step, m + rest_2 * (g - m)


def sgd_numbers(params: dict) -> tuple[float, ...]:
    rate, momentum, decay = (params[k] for k in ("learning_rate", "momentum", "weight_decay"))
    return rate, momentum, 1 - params["dampening"], decay, params["nesterov"]


def rmsprop_numbers(params: dict) -> tuple[float, ...]:
    rate, momentum, decay = (params[k] for k in ("learning_rate", "momentum", "weight_decay"))
    return rate, 1 - params["rho"], params["epsilon"], momentum, decay, params["nesterov"]


def adagrad_numbers(params: dict) -> tuple[float, ...]:
    rate = params["learning_rate"] / (1 + (params["step"] - 1) * params["lr_decay"])
    return rate, params["epsilon"], params["weight_decay"]


def adadelta_numbers(params: dict) -> tuple[float, ...]:
    return params["learning_rate"], 1 - params["rho"], params["epsilon"], params["weight_decay"]


def adam_numbers(params: dict) -> tuple[float, ...]:
    rate, beta_1, beta_2, decay = (params[k] for k in ("learning_rate", "beta_1", "beta_2", "weight_decay"))
    corrected = bool(params["bias_correction"])
    correction_1 = 1 - beta_1 ** params["step"] if corrected else 1.0
    correction_2 = 1 - beta_2 ** params["step"] if corrected else 1.0
    rate_1, root = rate / correction_1, correction_2**-0.5
    return rate_1, 1 - beta_1, 1 - beta_2, root, params["epsilon"], 1 - rate * decay, decay, params["decoupled"]


def adamax_numbers(params: dict) -> tuple[float, ...]:
    beta_1, beta_2 = params["beta_1"], params["beta_2"]
    rate = params["learning_rate"] / (1 - beta_1 ** params["step"])
    return rate, 1 - beta_1, beta_2, params["epsilon"], params["weight_decay"]


def nadam_numbers(params: dict) -> tuple[float, ...]:
    rate, beta_1, beta_2, decay = (params[k] for k in ("learning_rate", "beta_1", "beta_2", "weight_decay"))
    step, product = params["step"], params["momentum_product"]
    momentum, following = (beta_1 * (1 - 0.5 * 0.96 ** (t * params["momentum_decay"])) for t in (step, step + 1))
    rates = rate * (1 - momentum) / (1 - product), rate * following / (1 - product * following)
    root = (1 - beta_2**step) ** -0.5
    return *rates, 1 - beta_1, 1 - beta_2, root, params["epsilon"], 1 - rate * decay, decay, params["decoupled"]


def radam_numbers(params: dict) -> tuple[float, ...]:
    rate, beta_1, beta_2, decay = (params[k] for k in ("learning_rate", "beta_1", "beta_2", "weight_decay"))
    decayed = beta_2 ** params["step"]
    longest = 2 / (1 - beta_2) - 1
    length = longest - 2 * params["step"] * decayed / (1 - decayed)
    rectified, step_size = length > 5, rate / (1 - beta_1 ** params["step"])
    if rectified:
        ratio = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        step_size *= (ratio * (1 - decayed)) ** 0.5
    shrink, decoupled = 1 - rate * decay, params["decoupled"]
    return step_size, 1 - beta_1, 1 - beta_2, params["epsilon"], shrink, decay, rectified, decoupled


def lion_numbers(params: dict) -> tuple[float, ...]:
    rate, beta_1, beta_2, decay = (params[k] for k in ("learning_rate", "beta_1", "beta_2", "weight_decay"))
    return rate, 1 - beta_1, 1 - beta_2, 1 - rate * decay


KERNELS = {
    name: Elementwise(name, *made_of)
    for name, made_of in {
        "sgd_update": (sgd_update, sgd_numbers), "rmsprop_update": (rmsprop_update, rmsprop_numbers),
        "adagrad_update": (adagrad_update, adagrad_numbers), "adadelta_update": (adadelta_update, adadelta_numbers),
        "adam_update": (adam_update, adam_numbers), "adamax_update": (adamax_update, adamax_numbers),
        "nadam_update": (nadam_update, nadam_numbers), "radam_update": (radam_update, radam_numbers),
        "lion_update": (lion_update, lion_numbers),
    }.items()
}  # fmt: skip
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {}
