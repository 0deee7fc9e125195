"""Initial values of parameters.

An initializer is called as ``initializer(shape, dtype, rng)`` and returns an array; every one may have a seed of its
own, and else draws from the model's generator for that parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod, sqrt
from typing import Any

import numpy as np

from fastnn import checks, registry


def generator(seed: int, *place: int) -> np.random.Generator:
    """A counter-based generator (Philox) for a seed and a place of use, such as a parameter's number."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=place)))


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Number of inputs and outputs of one unit of a weight array of shape (..., inputs, outputs)."""
    if len(shape) < 2:
        return prod(shape), prod(shape)
    field = prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


class Initializer(registry.Configured):
    """Base class.

    Parameters
    ----------
    seed : int, optional
        Draw from a generator with this seed instead of the model's.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed

    def __call__(self, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> np.ndarray:
        """An array of initial values."""
        source = rng if self.seed is None else generator(self.seed)
        return self.draw(tuple(shape), source).astype(dtype)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Values in float64."""
        raise NotImplementedError


class Constant(Initializer):
    """All elements equal to `value`."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = value

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return np.full(shape, self.value)


class Zeros(Constant):
    """All elements zero."""

    def __init__(self) -> None:
        super().__init__(0.0)


class Normal(Initializer):
    """Normal distribution."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        checks.interval("Normal", "mean", mean, float("-inf"), float("inf"), "neither")
        checks.interval("Normal", "stddev", stddev, 0, float("inf"), "left")
        self.mean, self.stddev = mean, stddev

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.normal(self.mean, self.stddev, shape)


class Uniform(Initializer):
    """Uniform distribution on [low, high)."""

    def __init__(self, low: float = -0.05, high: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        checks.interval("Uniform", "low", low, float("-inf"), float("inf"), "neither")
        checks.interval("Uniform", "high", high, low, float("inf"), "left")
        self.low, self.high = low, high

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(self.low, self.high, shape)


class VarianceScaling(Initializer):
    """Zero mean and variance ``scale / fan``; a uniform distribution on +-sqrt(3 variance), or a normal one."""

    scale = 1.0
    mode = "fan_in"
    uniform = True

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": fan_in, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(fan, 1)
        if self.uniform:
            return rng.uniform(-sqrt(3 * variance), sqrt(3 * variance), shape)
        return rng.normal(0.0, sqrt(variance), shape)


class GlorotUniform(VarianceScaling):
    """Variance 2 / (fan_in + fan_out), uniform (Glorot and Bengio 2010)."""

    mode = "fan_avg"


class GlorotNormal(GlorotUniform):
    """Variance 2 / (fan_in + fan_out), normal (Glorot and Bengio 2010)."""

    uniform = False


class HeUniform(VarianceScaling):
    """Variance 2 / fan_in, uniform (He et al. 2015): for relu."""

    scale = 2.0


class HeNormal(HeUniform):
    """Variance 2 / fan_in, normal (He et al. 2015): for relu."""

    uniform = False


class LecunUniform(VarianceScaling):
    """Variance 1 / fan_in, uniform (LeCun et al. 1998, Efficient BackProp)."""


class LecunNormal(VarianceScaling):
    """Variance 1 / fan_in, normal (LeCun et al. 1998, Efficient BackProp)."""

    uniform = False


REGISTRY = registry.Registry(
    "initializer",
    Callable,  # functions of (shape, dtype, rng) too
    {
        "zeros": Zeros,
        "constant": Constant,
        "normal": Normal,
        "uniform": Uniform,
        "glorot_uniform": GlorotUniform,
        "glorot_normal": GlorotNormal,
        "he_uniform": HeUniform,
        "he_normal": HeNormal,
        "lecun_uniform": LecunUniform,
        "lecun_normal": LecunNormal,
    },
)
