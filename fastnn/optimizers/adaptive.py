"""Optimizers that divide the gradient by the root of its mean square, or of its sum."""

from __future__ import annotations

from typing import Any

from fastnn import checks
from fastnn.optimizers.base import LearningRate, Optimizer


class RMSprop(Optimizer):
    """Gradient over the root of its running mean square (Tieleman and Hinton 2012).

    ``s = rho s + (1 - rho) g^2; d = g / (sqrt(s) + epsilon); p -= learning_rate d``; epsilon is outside the root.
    With momentum ``v = momentum v + d; p -= learning_rate v``; with `nesterov` ``p -= learning_rate (momentum v + d)``,
    as in Sutskever et al. 2013.

    Parameters
    ----------
    learning_rate : float or schedule
    rho : float in [0, 1]
    epsilon : float
    momentum : float in [0, 1)
    nesterov : bool
    centered : bool
        Divide by the root of the estimated variance instead (Graves 2013).
    weight_decay : float
        L2 penalty, coupled.
    """

    op = "rmsprop_update"

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        rho: float = 0.99,
        epsilon: float = 1e-8,
        momentum: float = 0.0,
        nesterov: bool = False,
        centered: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        checks.interval("RMSprop", "rho", rho, 0, 1)
        self._check(epsilon=epsilon)
        self._check(1, momentum=momentum)
        if nesterov and not momentum:
            checks.fail(ValueError, "RMSprop", "nesterov", "a momentum above 0 with it", momentum)
        self.rho, self.epsilon = rho, epsilon
        self.momentum, self.nesterov, self.centered = momentum, nesterov, centered

    def states(self) -> tuple[bool, ...]:
        return True, self.momentum > 0, self.centered

    def numbers(self) -> dict[str, Any]:
        return {"rho": self.rho, "epsilon": self.epsilon, "momentum": self.momentum, "nesterov": self.nesterov}


class Adagrad(Optimizer):
    """Gradient over the root of the sum of its squares (Duchi, Hazan and Singer 2011).

    ``s += g^2; p -= learning_rate / (1 + (t - 1) lr_decay) g / (sqrt(s) + epsilon)`` in step t; epsilon is outside the
    root.

    Parameters
    ----------
    learning_rate : float or schedule
    lr_decay : float
    epsilon : float
    weight_decay : float
        L2 penalty, coupled.
    initial_accumulator_value : float
        Of s.
    """

    op = "adagrad_update"

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        lr_decay: float = 0.0,
        epsilon: float = 1e-10,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        self._check(lr_decay=lr_decay, epsilon=epsilon, initial_accumulator_value=initial_accumulator_value)
        self.lr_decay, self.epsilon = lr_decay, epsilon
        self.initial_accumulator_value = self.initial_state = initial_accumulator_value

    def states(self) -> tuple[bool, ...]:
        return (True,)

    def numbers(self) -> dict[str, Any]:
        return {"lr_decay": self.lr_decay, "epsilon": self.epsilon, "step": self._step}


class Adadelta(Optimizer):
    """Gradient times the root mean square of earlier steps over its own (Zeiler 2012).

    ``s = rho s + (1 - rho) g^2; d = sqrt(a + epsilon) / sqrt(s + epsilon) g; a = rho a + (1 - rho) d^2;``
    ``p -= learning_rate d``; epsilon is inside the roots.

    Parameters
    ----------
    learning_rate : float or schedule
        The paper has none: 1.
    rho : float in [0, 1]
    epsilon : float
    weight_decay : float
        L2 penalty, coupled.
    """

    op = "adadelta_update"

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        rho: float = 0.9,
        epsilon: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        checks.interval("Adadelta", "rho", rho, 0, 1)
        self._check(epsilon=epsilon)
        self.rho, self.epsilon = rho, epsilon

    def states(self) -> tuple[bool, ...]:
        return True, True

    def numbers(self) -> dict[str, Any]:
        return {"rho": self.rho, "epsilon": self.epsilon}
