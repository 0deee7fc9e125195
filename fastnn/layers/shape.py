"""Layers that change the shape alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from fastnn import ops
from fastnn.layers.base import Context, Layer, Parameter, Shape
from fastnn.program import Tensor


class Flatten(Layer):
    """All dimensions but the batch's in one."""

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        return (prod(input_shape),), []

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        return ops.reshape(x, (x.shape[0], prod(x.shape[1:])))
