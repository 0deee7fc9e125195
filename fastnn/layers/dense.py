"""Layers whose outputs see every input."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from fastnn import checks, constraints, initializers, ops, regularizers
from fastnn.layers.activation import activate, known_activation
from fastnn.layers.base import Context, Layer, Parameter, Shape, optional
from fastnn.program import Tensor
from fastnn.table import ACTIVATIONS


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
    kernel_regularizer, bias_regularizer : str or regularizer, optional
        Penalties on w and b, see `fastnn.regularizers`.
    kernel_constraint, bias_constraint : str or Constraint, optional
        What w and b are brought back to after each step, see `fastnn.constraints`.
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
    ) -> None:
        checks.integer("Dense", "units", units, 1)
        self.units = int(units)
        self.activation = known_activation("Dense", "linear" if activation is None else activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.REGISTRY.get(kernel_initializer)
        self.bias_initializer = initializers.REGISTRY.get(bias_initializer)
        self.kernel_regularizer = optional(regularizers.REGISTRY, kernel_regularizer)
        self.bias_regularizer = optional(regularizers.REGISTRY, bias_regularizer)
        self.kernel_constraint = optional(constraints.REGISTRY, kernel_constraint)
        self.bias_constraint = optional(constraints.REGISTRY, bias_constraint)

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        if not input_shape:
            checks.fail(checks.ShapeError, "Dense", "input", "shape (batch, ..., inputs)", "(batch,)")
        kernel, bias = (input_shape[-1], self.units), (self.units,)
        own = [Parameter("kernel", kernel, self.kernel_initializer, self.kernel_regularizer, self.kernel_constraint)]
        if self.use_bias:
            own.append(Parameter("bias", bias, self.bias_initializer, self.bias_regularizer, self.bias_constraint))
        return (*input_shape[:-1], self.units), own

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        fused = self.activation if self.activation in ACTIVATIONS else "linear"
        y = ops.dense(x, *parameters, activation=fused)
        return y if fused == self.activation else activate(y, self.activation)


class Maxout(Layer):
    """y = max over the pieces j of x w_j + b_j (Goodfellow et al. 2013).

    Parameters
    ----------
    units : int
        Number of outputs.
    pieces : int
        Linear functions of which each output is the largest.
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
        For each w_j of shape (inputs, units), by default Glorot uniform, and b_j of shape (units,), by default zeros.
        A kernel initializer with a seed of its own would make all pieces equal.
    """

    def __init__(
        self,
        units: int,
        pieces: int = 2,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
    ) -> None:
        checks.integer("Maxout", "pieces", pieces, 1)
        checks.integer("Maxout", "units", units, 1)
        self.units, self.pieces, self.use_bias = int(units), int(pieces), bool(use_bias)
        self.kernel_initializer = initializers.REGISTRY.get(kernel_initializer)
        self.bias_initializer = initializers.REGISTRY.get(bias_initializer)

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        if not input_shape:
            checks.fail(checks.ShapeError, "Maxout", "input", "shape (batch, ..., inputs)", "(batch,)")
        parameters = []
        for j in range(self.pieces):
            parameters.append(Parameter(f"kernel_{j}", (input_shape[-1], self.units), self.kernel_initializer))
            if self.use_bias:
                parameters.append(Parameter(f"bias_{j}", (self.units,), self.bias_initializer))
        return (*input_shape[:-1], self.units), parameters

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        width = 1 + self.use_bias
        pieces = (ops.dense(x, *parameters[i : i + width]) for i in range(0, len(parameters), width))
        return reduce(ops.maximum, pieces)
