"""Penalties on parameters, added to the loss and to the gradients: ``Dense(64, kernel_regularizer=L2(1e-4))``.

Weight decay that is no part of the loss is the optimizers' `weight_decay`.
"""

from __future__ import annotations

from fastnn import checks, ops, registry
from fastnn.program import Slot, Tensor


class L1L2(registry.Configured):
    """The penalty ``l1 sum|p| + l2 sum p^2``, the elastic net (Zou and Hastie 2005).

    Parameters
    ----------
    l1, l2 : float
        At least 0. As in Keras there is no factor 1/2: the gradient is ``l1 sign(p) + 2 l2 p``.
    proximal : bool
        Treat the first term by a proximal step instead of its subgradient: after each update, p becomes
        ``sign(p) max(|p| - learning_rate l1, 0)``, which makes parameters exactly zero (Parikh and Boyd 2014). With
        plain gradient descent this is ISTA (Beck and Teboulle 2009).
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, proximal: bool = False) -> None:
        checks.interval(type(self).__name__, "l1", l1, 0, float("inf"), "left")
        checks.interval(type(self).__name__, "l2", l2, 0, float("inf"), "left")
        self.l1, self.l2, self.proximal = l1, l2, bool(proximal)

    def penalty(self, p: Tensor) -> Tensor:
        """Record the penalty of a parameter, a tensor of shape ()."""
        return ops.penalty(p, l1=self.l1, l2=self.l2)

    def add_gradient(self, p: Tensor, g: Tensor) -> None:
        """Record that the penalty's gradient is added to the loss's."""
        ops.penalty(p, g, l1=0.0 if self.proximal else self.l1, l2=self.l2)

    def after_update(self, p: Tensor, learning_rate: Slot) -> None:
        """Record what follows the optimizer's update."""
        if self.proximal and self.l1:
            ops.soft_threshold(p, learning_rate=learning_rate, l1=self.l1)


class L1(L1L2):
    """The penalty ``l1 sum|p|``, the lasso (Tibshirani 1996); `proximal` as in `L1L2`."""

    def __init__(self, l1: float = 0.01, proximal: bool = False) -> None:
        super().__init__(l1, 0.0, proximal)


class L2(L1L2):
    """The penalty ``l2 sum p^2`` (Hoerl and Kennard 1970)."""

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(0.0, l2)


REGISTRY = registry.Registry("regularizer", L1L2, {"l1": L1, "l2": L2, "l1_l2": L1L2})
