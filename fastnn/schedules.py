"""Learning rate schedules: the learning rate as a function of the number of optimizer steps done.

Each may stand for an optimizer's `learning_rate`, and is saved with it. Names, arguments and formulas are Keras' where
it has the schedule (`keras.optimizers.schedules`), else PyTorch's, taken by step.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from math import ceil, cos, floor, inf, pi
from typing import Any

from fastnn import checks, registry


class Schedule(registry.Configured):
    """Base class: a subclass defines ``__call__(step)``."""

    def __call__(self, step: int) -> float:
        """Learning rate of the next step, where `step` counts those done."""
        raise NotImplementedError

    def plot(self, steps: int, ax: Any = None) -> Any:
        """Draw the learning rates of the first steps (needs matplotlib).

        Parameters
        ----------
        steps : int
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default new axes.

        Returns
        -------
        matplotlib.axes.Axes
        """
        checks.integer("plot", "steps", steps, 1)
        if ax is None:
            from matplotlib import pyplot

            _, ax = pyplot.subplots()
        ax.plot(range(steps), [self(step) for step in range(steps)], label=repr(self))
        ax.set_xlabel("step")
        ax.set_ylabel("learning rate")
        ax.set_ylim(bottom=0)
        return ax

    def _rates(self, **numbers: float) -> None:
        """Check that arguments are finite and at least 0."""
        for argument, value in numbers.items():
            checks.interval(type(self).__name__, argument, value, 0, inf, "left")

    def _positive(self, **numbers: float) -> None:
        """Check that arguments are finite and above 0."""
        for argument, value in numbers.items():
            checks.interval(type(self).__name__, argument, value, 0, inf, "neither")


class Constant(Schedule):
    """The same learning rate at every step.

    Parameters
    ----------
    learning_rate : float
    """

    def __init__(self, learning_rate: float) -> None:
        self._rates(learning_rate=learning_rate)
        self.learning_rate = learning_rate

    def __call__(self, step: int) -> float:
        return self.learning_rate


class PiecewiseConstant(Schedule):
    """``values[i]`` while ``boundaries[i - 1] < step <= boundaries[i]`` (Keras' PiecewiseConstantDecay).

    Parameters
    ----------
    boundaries : sequence of int
        Increasing.
    values : sequence of float
        One more than there are boundaries.
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float]) -> None:
        for boundary in boundaries:
            checks.interval("PiecewiseConstant", "boundaries", boundary, 0, inf, "left")
        for value in values:
            self._rates(values=value)
        if any(a >= b for a, b in pairwise(boundaries)):
            checks.fail(ValueError, "PiecewiseConstant", "boundaries", "increasing numbers", list(boundaries))
        if len(values) != len(boundaries) + 1:
            expected = f"{len(boundaries) + 1} numbers, one more than boundaries"
            checks.fail(ValueError, "PiecewiseConstant", "values", expected, len(values))
        self.boundaries, self.values = tuple(boundaries), tuple(values)

    def __call__(self, step: int) -> float:
        return self.values[bisect_left(self.boundaries, step)]


class _Decay(Schedule):
    """A function of the share of `decay_steps` that is done; with `staircase`, of its whole part."""

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False
    ) -> None:
        self._rates(initial_learning_rate=initial_learning_rate, decay_rate=decay_rate)
        self._positive(decay_steps=decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.decay_rate, self.staircase = decay_rate, staircase

    def _done(self, step: int) -> float:
        done = step / self.decay_steps
        return floor(done) if self.staircase else done


class ExponentialDecay(_Decay):
    """``initial_learning_rate decay_rate^(step / decay_steps)``.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    decay_rate : float
    staircase : bool
        Round the exponent down.
    """

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate * self.decay_rate ** self._done(step)


class InverseTimeDecay(_Decay):
    """``initial_learning_rate / (1 + decay_rate step / decay_steps)`` (Robbins and Monro 1951).

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    decay_rate : float
    staircase : bool
        Round ``step / decay_steps`` down.
    """

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate / (1 + self.decay_rate * self._done(step))


class PolynomialDecay(Schedule):
    """From one learning rate to another: ``(initial - end) (1 - step / decay_steps)^power + end``, then constant.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    end_learning_rate : float
    power : float
        1 is linear.
    cycle : bool
        Instead of staying at the end, begin again from ever lower rates: `decay_steps` is multiplied by the smallest
        integer that makes it at least `step`.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 1e-4,
        power: float = 1.0,
        cycle: bool = False,
    ) -> None:
        self._rates(initial_learning_rate=initial_learning_rate, end_learning_rate=end_learning_rate)
        self._positive(decay_steps=decay_steps, power=power)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.end_learning_rate, self.power, self.cycle = end_learning_rate, power, cycle

    def __call__(self, step: int) -> float:
        rounds = max(ceil(step / self.decay_steps), 1) if self.cycle else 1
        left = 1 - min(step / (self.decay_steps * rounds), 1)
        return (self.initial_learning_rate - self.end_learning_rate) * left**self.power + self.end_learning_rate


class StepDecay(Schedule):
    """``initial_learning_rate gamma^floor(step / step_size)`` (PyTorch's StepLR, by optimizer steps).

    Parameters
    ----------
    initial_learning_rate : float
    step_size : int
    gamma : float
    """

    def __init__(self, initial_learning_rate: float, step_size: int, gamma: float = 0.1) -> None:
        self._rates(initial_learning_rate=initial_learning_rate, gamma=gamma)
        checks.integer("StepDecay", "step_size", step_size, 1)
        self.initial_learning_rate, self.step_size, self.gamma = initial_learning_rate, step_size, gamma

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate * self.gamma ** (step // self.step_size)


class CosineDecay(Schedule):
    """Half a cosine wave from the initial learning rate down to `alpha` times it (Loshchilov and Hutter 2017).

    ``initial_learning_rate ((1 - alpha) (1 + cos(pi step / decay_steps)) / 2 + alpha)``, then constant. With a
    `warmup_target`, the rate first grows linearly from the initial one to the target in `warmup_steps` (Goyal et al.
    2017), and the decay starts from there.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Not counting the warm-up.
    alpha : float in [0, 1]
    warmup_target : float, optional
    warmup_steps : int
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self._rates(initial_learning_rate=initial_learning_rate, warmup_steps=warmup_steps)
        self._positive(decay_steps=decay_steps)
        checks.interval("CosineDecay", "alpha", alpha, 0, 1)
        if warmup_target is not None:
            self._rates(warmup_target=warmup_target)
        elif warmup_steps:
            checks.fail(ValueError, "CosineDecay", "warmup_target", "a number, since there are warmup_steps", None)
        self.initial_learning_rate, self.decay_steps, self.alpha = initial_learning_rate, decay_steps, alpha
        self.warmup_target, self.warmup_steps = warmup_target, warmup_steps

    def __call__(self, step: int) -> float:
        top = self.initial_learning_rate
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return top + (self.warmup_target - top) * step / self.warmup_steps
            step, top = step - self.warmup_steps, self.warmup_target
        wave = (1 + cos(pi * min(step / self.decay_steps, 1))) / 2
        return top * ((1 - self.alpha) * wave + self.alpha)


class OneCycle(Schedule):
    """Up to the largest learning rate and down to nearly 0, in two half cosine waves (Smith and Topin 2018).

    PyTorch's OneCycleLR: ``max / div_factor`` at step 0, ``max`` at step ``pct_start total_steps - 1``,
    ``max / div_factor / final_div_factor`` at the last step, ``total_steps - 1``, and after it.

    Parameters
    ----------
    max_learning_rate : float
    total_steps : int
    pct_start : float in [0, 1)
        Share of the steps before the peak.
    div_factor, final_div_factor : float
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        self._rates(max_learning_rate=max_learning_rate)
        checks.integer("OneCycle", "total_steps", total_steps, 1)
        checks.interval("OneCycle", "pct_start", pct_start, 0, 1, "left")
        self._positive(div_factor=div_factor, final_div_factor=final_div_factor)
        self.max_learning_rate, self.total_steps, self.pct_start = max_learning_rate, total_steps, pct_start
        self.div_factor, self.final_div_factor = div_factor, final_div_factor

    def __call__(self, step: int) -> float:
        top, low = self.max_learning_rate, self.max_learning_rate / self.div_factor
        peak, last = self.pct_start * self.total_steps - 1, self.total_steps - 1
        if step < peak:
            return top + (low - top) * (1 + cos(pi * step / peak)) / 2
        end = low / self.final_div_factor
        return end + (top - end) * (1 + cos(pi * min((step - peak) / (last - peak), 1))) / 2


REGISTRY = registry.Registry(
    "schedule",
    Schedule,
    {
        "constant": Constant, "piecewise_constant": PiecewiseConstant, "exponential_decay": ExponentialDecay,
        "polynomial_decay": PolynomialDecay, "inverse_time_decay": InverseTimeDecay, "step_decay": StepDecay,
        "cosine_decay": CosineDecay, "one_cycle": OneCycle,
    },
)  # fmt: skip
