"""Layers that bring what passes through them to mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Sequence

from fastnn import checks, initializers, ops
from fastnn.layers.base import Context, Layer, Parameter, Shape
from fastnn.program import Tensor


class LayerNormalization(Layer):
    """y = (x - mean) / sqrt(variance + epsilon) gamma + beta, over each row's features (Ba, Kiros and Hinton 2016).

    Parameters
    ----------
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether there is a beta, at first 0, and a gamma, at first 1, for each feature (last axis).
    """

    def __init__(self, epsilon: float = 1e-3, center: bool = True, scale: bool = True) -> None:
        checks.interval("LayerNormalization", "epsilon", epsilon, 0, float("inf"), "neither")
        self.epsilon, self.center, self.scale = epsilon, bool(center), bool(scale)

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        return input_shape, _scale_and_shift(self, input_shape)

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        gamma, beta, _ = _present(self, parameters)
        return ops.layer_norm(x, gamma, beta, epsilon=self.epsilon)


class BatchNormalization(Layer):
    """y = (x - mean) / sqrt(variance + epsilon) gamma + beta, feature by feature (Ioffe and Szegedy 2015).

    In training with mean and variance of the batch, else with their moving averages:
    ``moving = momentum moving + (1 - momentum) batch's``, of the biased variance as in Keras.

    Parameters
    ----------
    momentum : float in [0, 1]
        Share of the moving averages that a batch leaves.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether there is a beta, at first 0, and a gamma, at first 1, for each feature (last axis).
    """

    def __init__(
        self, momentum: float = 0.99, epsilon: float = 1e-3, center: bool = True, scale: bool = True
    ) -> None:
        checks.interval("BatchNormalization", "momentum", momentum, 0, 1)
        checks.interval("BatchNormalization", "epsilon", epsilon, 0, float("inf"), "neither")
        self.momentum, self.epsilon, self.center, self.scale = momentum, epsilon, bool(center), bool(scale)

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        own = _scale_and_shift(self, input_shape)
        features = input_shape[-1:]
        own.append(Parameter("moving_mean", features, initializers.Zeros(), trainable=False))
        own.append(Parameter("moving_variance", features, initializers.Constant(1.0), trainable=False))
        return input_shape, own

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        gamma, beta, moving = _present(self, parameters)
        if not context.training:
            return ops.batch_norm_inference(x, gamma, beta, *moving, epsilon=self.epsilon)
        return ops.batch_norm(x, gamma, beta, *moving, momentum=self.momentum, epsilon=self.epsilon)


Normalization = LayerNormalization | BatchNormalization


def _scale_and_shift(layer: Normalization, input_shape: Shape) -> list[Parameter]:
    """The parameters gamma and beta, as far as a layer has them."""
    if not input_shape:
        checks.fail(checks.ShapeError, type(layer).__name__, "input", "shape (batch, ..., features)", "(batch,)")
    features = input_shape[-1:]
    gamma = [Parameter("gamma", features, initializers.Constant(1.0))] * layer.scale
    return gamma + [Parameter("beta", features, initializers.Zeros())] * layer.center


def _present(layer: Normalization, parameters: Sequence[Tensor]) -> tuple[Tensor | None, Tensor | None, list[Tensor]]:
    """Gamma and beta, None where a layer has none, and the other parameters."""
    rest = list(parameters)
    gamma = rest.pop(0) if layer.scale else None
    beta = rest.pop(0) if layer.center else None
    return gamma, beta, rest
