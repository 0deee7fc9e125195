"""Penalties on parameters, and what parameters and gradients are brought back to, in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import checks
from fastnn.ops.dispatch import apply, remembered, reshape_any, shape_of
from fastnn.program import Slot, Tensor


def _flat(op: str, name: str, x: Any) -> Any:
    """An array that is updated as one dimension, in the same memory."""
    if isinstance(x, np.ndarray):
        checks.writable(op, name, x)
    return x.reshape(-1) if hasattr(x, "reshape") else x


def _check(op: str, name: str, value: float | Slot) -> None:
    """Check that a number is at least 0; a slot's may change."""
    checks.interval(op, name, getattr(value, "value", value), 0, float("inf"), "left")


@remembered
def penalty(
    p: Any, g: Any = None, *, l1: float | Slot = 0.0, l2: float | Slot = 0.0, backend: str | None = None
) -> Any:
    """l1 sum|p| + l2 sum p^2, the elastic net (Zou and Hastie 2005); adds its derivative to g where that is given.

    As in Keras there is no factor 1/2: ``g += l1 sign(p) + 2 l2 p``.

    Parameters
    ----------
    p : array_like
    g : array of p's shape, updated, optional
    l1, l2 : float
        At least 0; a recorded program may have slots for them.

    Returns
    -------
    array of shape (1,); given tensors, a tensor of shape ()
    """
    _check("penalty", "l1", l1)
    _check("penalty", "l2", l2)
    if g is not None:
        if shape_of(g) != shape_of(p):
            checks.fail(checks.ShapeError, "penalty", "g", f"shape {shape_of(p)}", shape_of(g))
        g = _flat("penalty", "g", g)
    value = apply("penalty", reshape_any(p, (-1,)), g, backend=backend, l1=l1, l2=l2)
    return value.reshape(()) if isinstance(value, Tensor) else value


@remembered
def soft_threshold(
    p: Any, *, learning_rate: float | Slot = 0.01, l1: float = 0.0, backend: str | None = None
) -> None:
    """p = sign(p) max(|p| - learning_rate l1, 0): the proximal step of l1 sum|p| (Parikh and Boyd 2014, section 6.5.2).

    Parameters
    ----------
    p : array, updated
    learning_rate, l1 : float
        At least 0; a recorded program may have a slot for the learning rate.
    """
    _check("soft_threshold", "learning_rate", learning_rate)
    _check("soft_threshold", "l1", l1)
    apply("soft_threshold", _flat("soft_threshold", "p", p), backend=backend, learning_rate=learning_rate, l1=l1)


@remembered
def max_norm(w: Any, max_norm: float = 1.0, *, backend: str | None = None) -> None:
    """Scale down every column of w whose Euclidean norm is larger than `max_norm` to that norm.

    The constraint on a unit's incoming weights of Srivastava et al. (2014, section 5.1).

    Parameters
    ----------
    w : array of shape (i, o), updated
    max_norm : float
        Above 0.
    """
    checks.interval("max_norm", "max_norm", max_norm, 0, float("inf"), "right")
    apply("max_norm", w, backend=backend, max_norm=max_norm)


@remembered
def clip_by_value(g: Any, max_value: float = 1.0, *, backend: str | None = None) -> None:
    """Bring every element into [-max_value, max_value]; NaN stays.

    Parameters
    ----------
    g : array, updated
    max_value : float
        At least 0.
    """
    checks.interval("clip_by_value", "max_value", max_value, 0, float("inf"))
    apply("clip_by_value", _flat("clip_by_value", "g", g), backend=backend, max_value=max_value)
