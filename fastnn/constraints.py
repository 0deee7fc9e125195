"""Conditions that parameters are brought back to after each update."""

from __future__ import annotations

from fastnn import checks, ops, registry
from fastnn.program import Slot, Tensor


class Constraint(registry.Configured):
    """Base class."""

    def after_update(self, p: Tensor, learning_rate: Slot) -> None:
        """Record what follows the optimizer's update."""
        raise NotImplementedError


class MaxNorm(Constraint):
    """Each unit's incoming weights, a column of w (in, out), have at most this norm (Srivastava et al. 2014).

    A bias (out,) is one column.

    Parameters
    ----------
    max_value : float
        Above 0.
    """

    def __init__(self, max_value: float = 2.0) -> None:
        checks.interval("MaxNorm", "max_value", max_value, 0, float("inf"), "neither")
        self.max_value = max_value

    def after_update(self, p: Tensor, learning_rate: Slot) -> None:
        ops.max_norm(p.reshape(-1, p.shape[-1] if p.ndim > 1 else 1), max_norm=self.max_value)


REGISTRY = registry.Registry("constraint", Constraint, {"max_norm": MaxNorm})
