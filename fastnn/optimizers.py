"""Optimizers: one pass over all parameters each, within a model's program or alone on lists of arrays.

Update rules and defaults are PyTorch's. `learning_rate` may be a number, or a schedule: a function of the number of
steps done that returns the next step's learning rate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn import checks, registry
from fastnn.ops.dispatch import apply
from fastnn.program import Slot, Tensor
from fastnn.table import Argument

Schedule = Callable[[int], float]
#: How error messages describe the arrays that an optimizer updates.
_PARAMS = Argument("params", ("n",), updated=True)


class Optimizer(registry.Configured):
    """Base class.

    A subclass names its op, the op's state arrays it uses and the parameters it fixes; `update` and `record` do the
    rest.

    Attributes
    ----------
    iterations : int
        Steps done.
    """

    op: str

    def __init__(self, learning_rate: float | Schedule, weight_decay: float) -> None:
        checks.interval(type(self).__name__, "weight_decay", weight_decay, 0, float("inf"), "left")
        self._rate = Slot("learning_rate", 0)
        self._step = Slot("step", 1)
        self.weight_decay = weight_decay
        self.iterations = 0
        self._alone: list[list[np.ndarray | None]] | None = None
        self.learning_rate = learning_rate

    @property
    def learning_rate(self) -> float | Schedule:
        """A number or schedule; setting it takes effect at the next step."""
        return self._schedule or self._rate.value

    @learning_rate.setter
    def learning_rate(self, value: float | Schedule) -> None:
        self._schedule = value if callable(value) else None
        self._set_rate(value(self.iterations) if callable(value) else value)

    def _set_rate(self, value: float) -> None:
        checks.interval(type(self).__name__, "learning_rate", value, 0, float("inf"), "left")
        self._rate.value = value

    def states(self) -> tuple[bool, ...]:
        """For each state argument of the op, whether this optimizer keeps it."""
        raise NotImplementedError

    def numbers(self) -> dict[str, Any]:
        """The op's parameters other than the learning rate and the step."""
        raise NotImplementedError

    def advance(self) -> None:
        """Go to the next step: count it, and set the slots that programs read."""
        if self._schedule is not None:
            self._set_rate(self._schedule(self.iterations))
        self.iterations += 1
        self._step.value = self.iterations

    def record(self, p: Tensor, g: Tensor, states: Sequence[Tensor | None]) -> None:
        """Record the update of flat parameters in a program."""
        apply(self.op, p, g, *states, **self._params())

    def _params(self) -> dict[str, Any]:
        return {"learning_rate": self._rate, "weight_decay": self.weight_decay, **self.numbers()}

    def update(self, params: Sequence[np.ndarray], grads: Sequence[Any]) -> None:
        """One step, in place, on lists of arrays of the same shapes.

        The arrays must be the same ones at every step: their moments are kept by position.

        Parameters
        ----------
        params : sequence of array
            C-contiguous float32 or float64 arrays, updated.
        grads : sequence of array_like

        Raises
        ------
        ShapeError
            If the lists differ in length or shape.
        DtypeError
            If a parameter is neither float32 nor float64, or its gradient is of another dtype.
        LayoutError
            If a parameter cannot be written in place, or its gradient overlaps it.

        Nothing is changed then.
        """
        name = type(self).__name__
        if len(params) != len(grads):
            checks.fail(checks.ShapeError, name, "grads", f"{len(params)} arrays", len(grads))
        flat = [_flat_pair(name, p, g) for p, g in zip(params, grads, strict=True)]
        if self._alone is None:
            self._alone = [[np.zeros_like(p) if kept else None for kept in self.states()] for p, _ in flat]
        self._check_known(params)
        self.advance()
        for (p, g), state in zip(flat, self._alone, strict=True):
            apply(self.op, p, g, *state, **self._params())

    def _check_known(self, params: Sequence[np.ndarray]) -> None:
        """The arrays must fit the moments kept from earlier steps."""
        assert self._alone is not None
        if len(params) != len(self._alone):
            checks.fail(checks.ShapeError, type(self).__name__, "params", f"{len(self._alone)} arrays", len(params))
        for p, row in zip(params, self._alone, strict=True):
            kept = next((s for s in row if s is not None), None)
            if kept is not None and (kept.size != p.size or kept.dtype != p.dtype):
                expected = f"{kept.size} elements of {kept.dtype} as in earlier steps"
                checks.fail(checks.ShapeError, type(self).__name__, "params", expected, f"{p.size} of {p.dtype}")


def _flat_pair(name: str, p: Any, g: Any) -> tuple[np.ndarray, np.ndarray]:
    """One parameter, as a view, and its gradient, both flat and checked."""
    dtype = checks.floating_dtype(name, [p], ["params"])
    checks.updated(name, _PARAMS, p, dtype)
    checks.floating_dtype(name, [p, g], ["params", "grads"])
    if np.shape(g) != p.shape:
        checks.fail(checks.ShapeError, name, "grads", f"shape {p.shape}", np.shape(g))
    g = checks.host_array(name, "grads", g, dtype)
    checks.apart(name, [p, g], ["params", "grads"])
    return p.reshape(-1), g.reshape(-1)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak 1964) or Nesterov momentum (Sutskever et al. 2013).

    ``g += weight_decay p; v = momentum v + g; p -= learning_rate v`` (with `nesterov`, ``g + momentum v`` for v).

    Parameters
    ----------
    learning_rate : float or schedule
    momentum : float in [0, 1)
    nesterov : bool
    weight_decay : float
        L2 penalty, coupled: added to the gradient.
    """

    op = "sgd_update"

    def __init__(
        self,
        learning_rate: float | Schedule = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        checks.interval("SGD", "momentum", momentum, 0, 1, "left")
        if nesterov and not momentum:
            checks.fail(ValueError, "SGD", "nesterov", "a momentum above 0 with it", momentum)
        self.momentum, self.nesterov = momentum, nesterov

    def states(self) -> tuple[bool, ...]:
        return (self.momentum > 0,)

    def numbers(self) -> dict[str, Any]:
        return {"momentum": self.momentum, "nesterov": self.nesterov}


class RMSprop(Optimizer):
    """Gradient over the root of its running mean square (Tieleman and Hinton 2012).

    ``s = rho s + (1 - rho) g^2; p -= learning_rate g / (sqrt(s) + epsilon)``; epsilon is outside the root.

    Parameters
    ----------
    learning_rate : float or schedule
    rho : float in [0, 1]
    epsilon : float
    momentum : float in [0, 1)
    centered : bool
        Divide by the root of the estimated variance instead (Graves 2013).
    weight_decay : float
        L2 penalty, coupled.
    """

    op = "rmsprop_update"

    def __init__(
        self,
        learning_rate: float | Schedule = 0.01,
        rho: float = 0.99,
        epsilon: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        checks.interval("RMSprop", "rho", rho, 0, 1)
        checks.interval("RMSprop", "epsilon", epsilon, 0, float("inf"), "left")
        checks.interval("RMSprop", "momentum", momentum, 0, 1, "left")
        self.rho, self.epsilon, self.momentum, self.centered = rho, epsilon, momentum, centered

    def states(self) -> tuple[bool, ...]:
        return True, self.momentum > 0, self.centered

    def numbers(self) -> dict[str, Any]:
        return {"rho": self.rho, "epsilon": self.epsilon, "momentum": self.momentum}


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), optionally AMSGrad (Reddi, Kale and Kumar 2018).

    ``m = beta_1 m + (1 - beta_1) g; v = beta_2 v + (1 - beta_2) g^2;``
    ``p -= learning_rate m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon)``

    Parameters
    ----------
    learning_rate : float or schedule
    beta_1, beta_2 : float in [0, 1)
    epsilon : float
    weight_decay : float
        L2 penalty, coupled: added to the gradient.
    amsgrad : bool
        Divide by the largest v so far.
    bias_correction : bool
        Divide the moments by ``1 - beta^t``.
    """

    op = "adam_update"
    decoupled = False

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        bias_correction: bool = True,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        name = type(self).__name__
        checks.interval(name, "beta_1", beta_1, 0, 1, "left")
        checks.interval(name, "beta_2", beta_2, 0, 1, "left")
        checks.interval(name, "epsilon", epsilon, 0, float("inf"), "left")
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.amsgrad, self.bias_correction = amsgrad, bias_correction

    def states(self) -> tuple[bool, ...]:
        return True, True, self.amsgrad

    def numbers(self) -> dict[str, Any]:
        return {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "decoupled": self.decoupled,
            "bias_correction": self.bias_correction,
            "step": self._step,
        }


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): ``p -= learning_rate weight_decay p``."""

    decoupled = True

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        bias_correction: bool = True,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay, amsgrad, bias_correction)


REGISTRY = registry.Registry("optimizer", Optimizer, {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam, "adamw": AdamW})
