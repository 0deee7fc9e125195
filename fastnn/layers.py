"""Layers. They contain no loops over numbers and name no backend: they only call ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from fastnn import checks, initializers, ops, registry
from fastnn.autodiff import custom_gradient
from fastnn.program import Slot, Tensor
from fastnn.table import ACTIVATIONS, ALPHA

Shape = tuple[int, ...]
Activate = Callable[[Any], Any]


@dataclass(frozen=True)
class Parameter:
    """What a layer says of one of its parameters."""

    name: str
    shape: Shape
    initializer: initializers.Initializer


@dataclass(frozen=True)
class Context:
    """What a layer may need besides its input: whether the model trains, and random numbers' coordinates."""

    training: bool
    seed: int
    stream: int
    step: Slot


class Layer(registry.Configured):
    """Base class: ``build`` fixes shapes and parameters, ``call`` records the forward pass."""

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        """Output shape and parameters for an input shape, both without the batch dimension."""
        return input_shape, []

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        """Record the layer's ops on a batch."""
        raise NotImplementedError


def activate(x: Any, activation: str | Activate, **params: float) -> Any:
    """Apply an activation by name, or a function of ops."""
    return activation(x) if callable(activation) else getattr(ops, activation)(x, **params)


def _activation(layer: str, given: Any) -> str | Activate:
    """An activation as layers keep it, checked; a pair of functions is a function with a gradient of its own."""
    if isinstance(given, tuple) and len(given) == 2 and all(map(callable, given)):
        return custom_gradient(*given)
    if not callable(given):
        checks.option(layer, "activation", given, (*ACTIVATIONS, "softmax", "log_softmax"))
    return given


class Dense(Layer):
    """y = activation(x w + b): every output unit sees every input.

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str or callable, optional
        Name of an activation, linear by default; a function of ops; or a pair of functions of ops
        ``(forward, backward)`` as for `fastnn.custom_gradient`.
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
        For w of shape (inputs, units), by default Glorot uniform, and b of shape (units,), by default zeros.
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
    ) -> None:
        checks.integer("Dense", "units", units, 1)
        self.units = int(units)
        self.activation = _activation("Dense", activation or "linear")
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.REGISTRY.get(kernel_initializer)
        self.bias_initializer = initializers.REGISTRY.get(bias_initializer)

    def config(self) -> dict[str, Any]:
        config = super().config()
        for key in ("kernel_initializer", "bias_initializer"):
            config[key] = initializers.REGISTRY.describe(config[key])
        return config

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        if not input_shape:
            checks.fail(checks.ShapeError, "Dense", "input", "shape (batch, ..., inputs)", "(batch,)")
        parameters = [Parameter("kernel", (input_shape[-1], self.units), self.kernel_initializer)]
        if self.use_bias:
            parameters.append(Parameter("bias", (self.units,), self.bias_initializer))
        return (*input_shape[:-1], self.units), parameters

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        fused = self.activation if self.activation in ACTIVATIONS else "linear"
        y = ops.dense(x, *parameters, activation=fused)
        return y if fused == self.activation else activate(y, self.activation)


class Activation(Layer):
    """An activation as a layer of its own.

    Parameters
    ----------
    activation : str or callable
        As for `Dense`.
    alpha : float, optional
        For leaky_relu and elu.
    """

    def __init__(self, activation: Any, alpha: float | None = None) -> None:
        activation = _activation("Activation", activation)
        if alpha is not None:
            checks.option("Activation", "activation (alpha is for these only)", activation, tuple(ALPHA))
            checks.interval("Activation", "alpha", alpha, 0, float("inf"), "left")
        self.activation = activation
        self.alpha = alpha

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        return activate(x, self.activation, **({} if self.alpha is None else {"alpha": self.alpha}))


class Dropout(Layer):
    """In training, sets a share `rate` of its inputs to zero and scales the others by 1 / (1 - rate).

    Srivastava et al. 2014. The masks follow from the model's seed, the layer's place and the training step alone.

    Parameters
    ----------
    rate : float in [0, 1]
    """

    def __init__(self, rate: float) -> None:
        checks.interval("Dropout", "rate", rate, 0, 1)
        self.rate = float(rate)

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        if not context.training or self.rate == 0:
            return x
        return ops.dropout(x, self.rate, seed=context.seed, stream=context.stream, step=context.step)


class Flatten(Layer):
    """All dimensions but the batch's in one."""

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        return (prod(input_shape),), []

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        return ops.reshape(x, (x.shape[0], prod(x.shape[1:])))


REGISTRY = registry.Registry(
    "layer", Layer, {"dense": Dense, "activation": Activation, "dropout": Dropout, "flatten": Flatten}
)
