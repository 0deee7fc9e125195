"""Layers that disturb what passes through them, in training alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from fastnn import checks, ops
from fastnn.layers.base import Context, Layer
from fastnn.program import Tensor


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


class AlphaDropout(Layer):
    """In training, dropout for networks of selu, which keeps mean 0 and variance 1 (Klambauer et al. 2017).

    Parameters
    ----------
    rate : float in [0, 1)
    """

    def __init__(self, rate: float) -> None:
        checks.interval("AlphaDropout", "rate", rate, 0, 1, "left")
        self.rate = float(rate)

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        if not context.training or self.rate == 0:
            return x
        return ops.alpha_dropout(x, self.rate, seed=context.seed, stream=context.stream, step=context.step)


class GaussianNoise(Layer):
    """In training, adds normal noise with mean 0.

    Parameters
    ----------
    stddev : float in [0, inf)
        Standard deviation.
    """

    def __init__(self, stddev: float) -> None:
        checks.interval("GaussianNoise", "stddev", stddev, 0, float("inf"), "left")
        self.stddev = float(stddev)

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        if not context.training or self.stddev == 0:
            return x
        return ops.gaussian_noise(x, self.stddev, seed=context.seed, stream=context.stream, step=context.step)


class GaussianDropout(Layer):
    """In training, multiplies by normal noise with mean 1 and dropout's variance rate / (1 - rate).

    Srivastava et al. 2014, section 10.

    Parameters
    ----------
    rate : float in [0, 1)
    """

    def __init__(self, rate: float) -> None:
        checks.interval("GaussianDropout", "rate", rate, 0, 1, "left")
        self.rate = float(rate)

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        if not context.training or self.rate == 0:
            return x
        stddev = sqrt(self.rate / (1 - self.rate))
        return ops.gaussian_dropout(x, stddev, seed=context.seed, stream=context.stream, step=context.step)
