"""Adam and its relatives: a momentum over the root of a running mean square."""

from __future__ import annotations

from typing import Any

from fastnn.optimizers.base import LearningRate, Optimizer
from fastnn.program import Slot


class _Moments(Optimizer):
    """Two state arrays with a decay each, corrected by the number of steps."""

    def __init__(
        self, learning_rate: LearningRate, beta_1: float, beta_2: float, epsilon: float, weight_decay: float
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        self._check(1, beta_1=beta_1, beta_2=beta_2)
        self._check(epsilon=epsilon)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def states(self) -> tuple[bool, ...]:
        return True, True

    def numbers(self) -> dict[str, Any]:
        return {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon, "step": self._step}


class Adam(_Moments):
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
        learning_rate: LearningRate = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        bias_correction: bool = True,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay)
        self.amsgrad, self.bias_correction = amsgrad, bias_correction

    def states(self) -> tuple[bool, ...]:
        return True, True, self.amsgrad

    def numbers(self) -> dict[str, Any]:
        return {**super().numbers(), "decoupled": self.decoupled, "bias_correction": self.bias_correction}


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): ``p -= learning_rate weight_decay p``."""

    decoupled = True

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        bias_correction: bool = True,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay, amsgrad, bias_correction)


class Adamax(_Moments):
    """Adam with the infinity norm (Kingma and Ba 2015, section 7.1).

    ``m = beta_1 m + (1 - beta_1) g; u = max(beta_2 u, |g| + epsilon); p -= learning_rate / (1 - beta_1^t) m / u``;
    epsilon, which the paper lacks, is added to the gradient's size.

    Parameters
    ----------
    learning_rate : float or schedule
    beta_1, beta_2 : float in [0, 1)
    epsilon : float
    weight_decay : float
        L2 penalty, coupled.
    """

    op = "adamax_update"

    def __init__(
        self,
        learning_rate: LearningRate = 2e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay)


class NAdam(_Moments):
    """Adam with Nesterov momentum (Dozat 2016), its schedule of momenta included.

    With m and v as in Adam, ``mu_t = beta_1 (1 - 0.96^(t momentum_decay) / 2)`` and ``P_t = mu_1 ... mu_t``:
    ``d = (1 - mu_t) / (1 - P_t) g + mu_(t+1) / (1 - P_(t+1)) m;``
    ``p -= learning_rate d / (sqrt(v / (1 - beta_2^t)) + epsilon)``

    Parameters
    ----------
    learning_rate : float or schedule
    beta_1, beta_2 : float in [0, 1)
    epsilon : float
    weight_decay : float
        L2 penalty, coupled unless `decoupled`.
    momentum_decay : float
    decoupled : bool
        Decay as in AdamW.
    """

    op = "nadam_update"

    def __init__(
        self,
        learning_rate: LearningRate = 2e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled: bool = False,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay)
        self._check(momentum_decay=momentum_decay)
        self.momentum_decay, self.decoupled = momentum_decay, decoupled
        self._product, self._factors = Slot("momentum_product", 1), 0

    def advance(self) -> None:
        super().advance()
        product, factors = self._product.value, self._factors
        if factors != self.iterations - 1:  # they were set: the product is taken anew, in the same order
            product, factors = 1.0, 0
        while factors < self.iterations and 1 - product < 1:  # factors that change 1 - P_t no more are left out
            factors += 1
            product *= self.beta_1 * (1 - 0.5 * 0.96 ** (factors * self.momentum_decay))
        self._product.value, self._factors = product, self.iterations

    def numbers(self) -> dict[str, Any]:
        return {
            **super().numbers(),
            "decoupled": self.decoupled,
            "momentum_decay": self.momentum_decay,
            "momentum_product": self._product,
        }


class RAdam(_Moments):
    """Adam whose step is rectified by its variance (Liu et al. 2020); momentum alone in the first steps.

    With m and v as in Adam, ``r_inf = 2 / (1 - beta_2) - 1`` and ``r = r_inf - 2 t beta_2^t / (1 - beta_2^t)``:
    ``p -= learning_rate / (1 - beta_1^t) m`` while ``r <= 5`` (the paper: 4), later times
    ``sqrt((r - 4) (r - 2) r_inf / ((r_inf - 4) (r_inf - 2) r)) sqrt(1 - beta_2^t) / (sqrt(v) + epsilon)``

    Parameters
    ----------
    learning_rate : float or schedule
    beta_1, beta_2 : float in [0, 1)
    epsilon : float
        Added to the root before its bias is corrected.
    weight_decay : float
        L2 penalty, coupled unless `decoupled`.
    decoupled : bool
        Decay as in AdamW.
    """

    op = "radam_update"

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay)
        self.decoupled = decoupled

    def numbers(self) -> dict[str, Any]:
        return {**super().numbers(), "decoupled": self.decoupled}
