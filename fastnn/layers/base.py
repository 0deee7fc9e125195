"""What every layer is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastnn import constraints, initializers, registry, regularizers
from fastnn.program import Slot, Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Parameter:
    """What a layer says of one of its parameters."""

    name: str
    shape: Shape
    initializer: initializers.Initializer
    regularizer: regularizers.L1L2 | None = None
    constraint: constraints.Constraint | None = None
    #: Whether it is learned; what is not, such as moving averages, the layer updates itself.
    trainable: bool = True


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

    def config(self) -> dict[str, Any]:
        config = super().config()
        for key, value in config.items():
            kind = _KINDS.get(key.rpartition("_")[2])
            if kind is not None and value is not None:
                config[key] = kind.describe(value)
        return config


#: What the ends of arguments' names say they are.
_KINDS: dict[str, registry.Registry] = {
    "initializer": initializers.REGISTRY,
    "regularizer": regularizers.REGISTRY,
    "constraint": constraints.REGISTRY,
}


def optional(kind: registry.Registry, given: Any) -> Any:
    """An object of a registry, or None."""
    return None if given is None else kind.get(given)
