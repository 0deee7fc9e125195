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

#: Standard deviation of the standard normal distribution cut off at +-2: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
TRUNCATED_STDDEV = 0.8796256610342398


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
        if seed is not None:
            checks.integer(type(self).__name__, "seed", seed, 0)
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
        checks.interval(type(self).__name__, "value", value, float("-inf"), float("inf"), "neither")
        self.value = value

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return np.full(shape, self.value)


class Zeros(Constant):
    """All elements zero."""

    def __init__(self) -> None:
        super().__init__(0.0)


class Ones(Constant):
    """All elements one."""

    def __init__(self) -> None:
        super().__init__(1.0)


class Normal(Initializer):
    """Normal distribution."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        who = type(self).__name__
        checks.interval(who, "mean", mean, float("-inf"), float("inf"), "neither")
        checks.interval(who, "stddev", stddev, 0, float("inf"), "left")
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


class TruncatedNormal(Normal):
    """Normal distribution, what lies more than two `stddev` from `mean` drawn again, as in Keras.

    The values' standard deviation is 0.87962566 `stddev`.
    """

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return self.mean + self.stddev * _truncated(shape, rng)


def _truncated(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Standard normal values, those beyond +-2 (4.6%) drawn again."""
    values = rng.normal(size=prod(shape))
    outside = np.flatnonzero(np.abs(values) > 2)
    while outside.size:
        values[outside] = rng.normal(size=outside.size)
        outside = outside[np.abs(values[outside]) > 2]
    return values.reshape(shape)


class Orthogonal(Initializer):
    """A matrix with orthonormal rows or columns, whichever are fewer, times `gain` (Saxe, McClelland and Ganguli 2014).

    An array of more dimensions is taken as the matrix of its last one by all others, as in Keras. The matrix is
    uniformly distributed: the Q of a normal matrix, its columns' signs such that R's diagonal is positive (Mezzadri
    2007).

    Parameters
    ----------
    gain : float
    seed : int, optional
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        checks.interval("Orthogonal", "gain", gain, float("-inf"), float("inf"), "neither")
        self.gain = gain

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        if len(shape) < 2:
            checks.fail(checks.ShapeError, "Orthogonal", "shape", "at least two dimensions", shape)
        rows, columns = prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
        q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


class VarianceScaling(Initializer):
    """Zero mean and variance ``scale / fan``. Glorot's, He's and LeCun's initializers are the named cases.

    Parameters
    ----------
    scale : float
        Above 0.
    mode : {"fan_in", "fan_out", "fan_avg"}
        Divide by the number of a unit's inputs, of its outputs, or by their mean.
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}
        Normal, with what lies more than two standard deviations from zero drawn again (the variance is corrected for
        it); normal; or uniform on +-sqrt(3 variance).
    seed : int, optional
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        checks.interval("VarianceScaling", "scale", scale, 0, float("inf"), "neither")
        checks.option("VarianceScaling", "mode", mode, ("fan_in", "fan_out", "fan_avg"))
        options = ("truncated_normal", "untruncated_normal", "uniform")
        checks.option("VarianceScaling", "distribution", distribution, options)
        self.scale, self.mode, self.distribution = scale, mode, distribution

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(fan, 1)
        if self.distribution == "uniform":
            return rng.uniform(-sqrt(3 * variance), sqrt(3 * variance), shape)
        if self.distribution == "untruncated_normal":
            return rng.normal(0.0, sqrt(variance), shape)
        return _truncated(shape, rng) * (sqrt(variance) / TRUNCATED_STDDEV)


class GlorotUniform(VarianceScaling):
    """Variance 2 / (fan_in + fan_out), uniform (Glorot and Bengio 2010)."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed)


class GlorotNormal(VarianceScaling):
    """Variance 2 / (fan_in + fan_out), normal (Glorot and Bengio 2010)."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "untruncated_normal", seed)


class HeUniform(VarianceScaling):
    """Variance 2 / fan_in, uniform (He et al. 2015): for relu."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "uniform", seed)


class HeNormal(VarianceScaling):
    """Variance 2 / fan_in, normal (He et al. 2015): for relu."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "untruncated_normal", seed)


class LecunUniform(VarianceScaling):
    """Variance 1 / fan_in, uniform (LeCun et al. 1998, Efficient BackProp)."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "uniform", seed)


class LecunNormal(VarianceScaling):
    """Variance 1 / fan_in, normal (LeCun et al. 1998, Efficient BackProp)."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "untruncated_normal", seed)


REGISTRY = registry.Registry(
    "initializer",
    Callable,  # functions of (shape, dtype, rng) too
    {
        "zeros": Zeros,
        "ones": Ones,
        "constant": Constant,
        "normal": Normal,
        "uniform": Uniform,
        "truncated_normal": TruncatedNormal,
        "orthogonal": Orthogonal,
        "variance_scaling": VarianceScaling,
        "glorot_uniform": GlorotUniform,
        "glorot_normal": GlorotNormal,
        "he_uniform": HeUniform,
        "he_normal": HeNormal,
        "lecun_uniform": LecunUniform,
        "lecun_normal": LecunNormal,
    },
)
