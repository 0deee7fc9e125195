"""Optimizers whose step is the gradient itself, or its sign."""

from __future__ import annotations

from typing import Any

from fastnn import checks
from fastnn.optimizers.base import LearningRate, Optimizer
from fastnn.program import Slot


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak 1964) or Nesterov momentum (Sutskever et al. 2013).

    ``g += weight_decay p; v = momentum v + (1 - dampening) g; p -= learning_rate v`` (with `nesterov`,
    ``g + momentum v`` for v). The learning rate is no part of v (unlike in Sutskever et al.).

    Parameters
    ----------
    learning_rate : float or schedule
    momentum : float in [0, 1)
    nesterov : bool
        Not together with `dampening`.
    weight_decay : float
        L2 penalty, coupled: added to the gradient.
    dampening : float in [0, 1)
        Of the gradient in v; the first gradient counts in full.
    """

    op = "sgd_update"

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        dampening: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        self._check(1, momentum=momentum, dampening=dampening)
        if nesterov and not momentum:
            checks.fail(ValueError, "SGD", "nesterov", "a momentum above 0 with it", momentum)
        if nesterov and dampening:
            checks.fail(ValueError, "SGD", "nesterov", "no dampening with it", dampening)
        self.momentum, self.nesterov, self.dampening = momentum, nesterov, dampening
        self._dampening = Slot("dampening", 0)

    def advance(self) -> None:
        super().advance()
        self._dampening.value = self.dampening if self._step.value > 1 else 0

    def states(self) -> tuple[bool, ...]:
        return (self.momentum > 0,)

    def numbers(self) -> dict[str, Any]:
        return {"momentum": self.momentum, "nesterov": self.nesterov, "dampening": self._dampening}


class Lion(Optimizer):
    """The sign of an interpolated momentum (Chen et al. 2023, algorithm 2).

    ``p -= learning_rate (sign(beta_1 m + (1 - beta_1) g) + weight_decay p); m = beta_2 m + (1 - beta_2) g``

    Parameters
    ----------
    learning_rate : float or schedule
        Every parameter moves by this much, so it is usually 3 to 10 times smaller than Adam's.
    beta_1, beta_2 : float in [0, 1)
    weight_decay : float
        Decoupled: times the learning rate, beside the sign.
    """

    op = "lion_update"

    def __init__(
        self,
        learning_rate: LearningRate = 1e-4,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        self._check(1, beta_1=beta_1, beta_2=beta_2)
        self.beta_1, self.beta_2 = beta_1, beta_2

    def states(self) -> tuple[bool, ...]:
        return (True,)

    def numbers(self) -> dict[str, Any]:
        return {"beta_1": self.beta_1, "beta_2": self.beta_2}
