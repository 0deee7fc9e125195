"""Activations as layers, and how layers take them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastnn import checks, initializers, ops
from fastnn.autodiff import custom_gradient
from fastnn.layers.base import Context, Layer, Parameter, Shape
from fastnn.program import Tensor
from fastnn.table import ACTIVATIONS, ALPHA

Activate = Callable[[Any], Any]


def activate(x: Any, activation: str | Activate, **params: float) -> Any:
    """Apply an activation by name, or a function of ops."""
    return activation(x) if callable(activation) else getattr(ops, activation)(x, **params)


def known_activation(layer: str, given: Any) -> str | Activate:
    """An activation as layers keep it, checked; a pair of functions is a function with a gradient of its own."""
    if isinstance(given, tuple) and len(given) == 2 and all(map(callable, given)):
        return custom_gradient(*given)
    if isinstance(given, type) or not (isinstance(given, str) or callable(given)):
        checks.fail(TypeError, layer, "activation", "a name, a function of ops or a pair of them", repr(given))
    if isinstance(given, str):
        checks.option(layer, "activation", given, (*ACTIVATIONS, "softmax", "log_softmax"))
    return given


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
        activation = known_activation("Activation", activation)
        if alpha is not None:
            checks.option("Activation", "activation (alpha is for these only)", activation, tuple(ALPHA))
            checks.interval("Activation", "alpha", alpha, 0, float("inf"), "left")
        self.activation = activation
        self.alpha = alpha

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        return activate(x, self.activation, **({} if self.alpha is None else {"alpha": self.alpha}))


class PReLU(Layer):
    """y = x where it is positive, else alpha x, with slopes alpha that are learned (He et al. 2015).

    Parameters
    ----------
    alpha_initializer : str or Initializer, optional
        For alpha; by default constant 0.25, as in the paper and in PyTorch (Keras begins with 0).
    shared_axes : sequence of int, optional
        Axes along which all elements have one slope, counted from 1, the first after the batch's. By default every
        element of a row has its own; (1, 2) gives rows of shape (height, width, channels) one for each channel.
    """

    def __init__(self, alpha_initializer: Any = None, shared_axes: Sequence[int] | None = None) -> None:
        self.alpha_initializer = initializers.REGISTRY.get(alpha_initializer or initializers.Constant(0.25))
        if shared_axes is not None and not isinstance(shared_axes, Sequence):
            checks.fail(TypeError, "PReLU", "shared_axes", "a sequence of integers", repr(shared_axes))
        for axis in shared_axes or ():
            checks.integer("PReLU", "shared_axes", axis, 1)
        self.shared_axes = None if shared_axes is None else tuple(int(a) for a in shared_axes)

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        shared = self.shared_axes or ()
        if max(shared, default=0) > len(input_shape):
            checks.fail(checks.ShapeError, "PReLU", "shared_axes", f"axes of rows of shape {input_shape}", shared)
        shape = tuple(1 if axis in shared else n for axis, n in enumerate(input_shape, 1))
        return input_shape, [Parameter("alpha", shape, self.alpha_initializer)]

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        return ops.prelu(x, parameters[0])
