"""Estimators' parameters: their checks, and the layers, penalty and optimizer they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from math import inf, sqrt
from typing import Any

from fastnn import checks, initializers, layers, losses, optimizers, regularizers
from fastnn.program import Slot

#: scikit-learn's names of activations where they differ.
ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid"}


class Alpha(regularizers.L2):
    """The L2 penalty of all weights, its factor a slot, as it depends on the batches' size in each call of `fit`."""

    def __init__(self, factor: Slot) -> None:
        super().__init__(0.0)
        self.factor = self.l2 = factor


class Scaled(losses.Loss):
    """A multiple of another loss."""

    def __init__(self, loss: losses.Loss, factor: float) -> None:
        self.loss, self.factor = loss, factor

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        found = self.loss.record(y_pred, y_true, weight, gradient=gradient)
        return tuple(self.factor * part for part in found) if gradient else self.factor * found

    def targets(self, y: Any, output_shape: tuple[int, ...], dtype: Any) -> Any:
        return self.loss.targets(y, output_shape, dtype)


def check(estimator: Any) -> None:
    """Check parameters that neither scikit-learn's functions nor the network's parts check."""
    e, who = estimator, type(estimator).__name__
    if e.solver == "lbfgs":
        checks.fail(ValueError, who, "solver", "'adam' or 'sgd', as fastnn trains in batches", "'lbfgs'")
    checks.option(who, "solver", e.solver, ("adam", "sgd"))
    checks.option(who, "learning_rate", e.learning_rate, ("constant", "invscaling", "adaptive"))
    if e.batch_size != "auto":
        checks.integer(who, "batch_size", e.batch_size, 1)
    checks.integer(who, "max_iter", e.max_iter, 1)
    checks.interval(who, "learning_rate_init", e.learning_rate_init, 0, inf, "neither")
    checks.interval(who, "n_iter_no_change", e.n_iter_no_change, 1, inf)
    checks.interval(who, "validation_fraction", e.validation_fraction, 0, 1, "left")
    for name in ("alpha", "power_t", "tol"):
        checks.interval(who, name, getattr(e, name), 0, inf, "left")


def hidden(estimator: Any) -> list[tuple[int, Any, float]]:
    """Units, activation and dropout rate of each hidden layer."""
    who = type(estimator).__name__
    given = estimator.hidden_layer_sizes
    sizes = list(given) if hasattr(given, "__iter__") else [given]
    for size in sizes:
        checks.integer(who, "hidden_layer_sizes", size, 1)
    activations, rates = estimator.activation, estimator.dropout
    activations = activations if isinstance(activations, list) else [activations] * len(sizes)
    rates = list(rates) if hasattr(rates, "__iter__") else [rates] * len(sizes)
    for name, values in (("activation", activations), ("dropout", rates)):
        if len(values) != len(sizes):
            checks.fail(ValueError, who, name, f"one for each of the {len(sizes)} hidden layers", len(values))
    return list(zip(sizes, activations, rates, strict=True))


def stack(
    inputs: int,
    hidden: Sequence[tuple[int, Any, float]],
    outputs: int,
    out_activation: Any,
    penalty: regularizers.L1L2 | None,
) -> list[layers.Layer]:
    """The layers of a network.

    Parameters
    ----------
    inputs : int
        Features.
    hidden : sequence of (int, activation, float)
        Units, activation and dropout rate of each hidden layer.
    outputs : int
    out_activation : activation
    penalty : regularizer or None
        Of the weights, not of the biases.
    """
    result: list[layers.Layer] = []
    activation: Any = None
    for units, activation, rate in hidden:
        result.append(_dense(inputs, units, activation, activation, penalty))
        if rate:
            result.append(layers.Dropout(rate))
        inputs = units
    result.append(_dense(inputs, outputs, out_activation, activation, penalty))
    return result


def _dense(inputs: int, units: int, activation: Any, initial: Any, penalty: regularizers.L1L2 | None) -> layers.Dense:
    """A layer with weights and biases drawn as scikit-learn's are: uniform up to sqrt(6 / (inputs + units)), or
    sqrt(2 / (inputs + units)) in networks of logistic units."""
    bound = sqrt((2 if initial in ("logistic", "sigmoid") else 6) / (inputs + units))
    uniform = initializers.Uniform(-bound, bound)
    named = ACTIVATIONS.get(activation, activation) if isinstance(activation, str) else activation
    return layers.Dense(
        units,
        named,
        kernel_initializer=uniform,
        bias_initializer=uniform,
        kernel_regularizer=penalty,
    )


def optimizer(estimator: Any) -> optimizers.Optimizer:
    """A new optimizer, as an estimator's parameters describe it."""
    e = estimator
    if isinstance(e.optimizer, str):
        return optimizers.REGISTRY.get({"name": e.optimizer, "learning_rate": e.learning_rate_init})
    if e.optimizer is not None:
        return deepcopy(optimizers.REGISTRY.get(e.optimizer))  # an estimator leaves its parameters alone
    if e.solver == "sgd":
        return optimizers.SGD(e.learning_rate_init, e.momentum, nesterov=e.nesterovs_momentum and e.momentum > 0)
    return optimizers.Adam(e.learning_rate_init, e.beta_1, e.beta_2, e.epsilon)
