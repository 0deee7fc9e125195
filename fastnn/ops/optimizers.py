"""Optimizer updates: one pass over flat parameters, in place. `fastnn.optimizers` is their usual front."""

from __future__ import annotations

from typing import Any

from fastnn import checks
from fastnn.ops.dispatch import apply


def sgd_update(p: Any, g: Any, velocity: Any = None, *, backend: str | None = None, **params: Any) -> None:
    """Stochastic gradient descent with optional momentum (Polyak 1964) or Nesterov momentum (Sutskever et al. 2013).

    ``g += weight_decay p; velocity = momentum velocity + g; p -= learning_rate (g + momentum velocity | velocity)``

    Parameters
    ----------
    p, velocity : array of shape (n,), updated
    g : array of shape (n,)
    **params
        learning_rate, momentum, nesterov, weight_decay.

    Raises
    ------
    ShapeError
        If there is momentum and no velocity.
    """
    _needs_velocity("sgd_update", velocity, params)
    apply("sgd_update", p, g, velocity, backend=backend, **params)


def rmsprop_update(
    p: Any,
    g: Any,
    square_avg: Any,
    velocity: Any = None,
    grad_avg: Any = None,
    *,
    backend: str | None = None,
    **params: Any,
) -> None:
    """RMSProp (Tieleman and Hinton 2012), centred (Graves 2013) where `grad_avg` is given.

    ``square_avg = rho square_avg + (1 - rho) g^2; p -= learning_rate g / (sqrt(square_avg) + epsilon)``

    Parameters
    ----------
    p, square_avg, velocity, grad_avg : array of shape (n,), updated
    g : array of shape (n,)
    **params
        learning_rate, rho, epsilon, momentum, weight_decay.

    Raises
    ------
    ShapeError
        If there is momentum and no velocity.
    """
    _needs_velocity("rmsprop_update", velocity, params)
    apply("rmsprop_update", p, g, square_avg, velocity, grad_avg, backend=backend, **params)


def adam_update(
    p: Any, g: Any, m: Any, v: Any, v_max: Any = None, *, backend: str | None = None, **params: Any
) -> None:
    """Adam (Kingma and Ba 2015), AdamW with ``decoupled=True``, AMSGrad (Reddi et al. 2018) where `v_max` is given.

    ``m = beta_1 m + (1 - beta_1) g; v = beta_2 v + (1 - beta_2) g^2;``
    ``p -= learning_rate m / (1 - beta_1^step) / (sqrt(v / (1 - beta_2^step)) + epsilon)``

    Parameters
    ----------
    p, m, v, v_max : array of shape (n,), updated
    g : array of shape (n,)
    **params
        learning_rate, beta_1, beta_2, epsilon, weight_decay, decoupled, bias_correction, step (from 1).
    """
    apply("adam_update", p, g, m, v, v_max, backend=backend, **params)


def _needs_velocity(op: str, velocity: Any, params: dict[str, Any]) -> None:
    """Momentum without an array to keep it in would be lost."""
    if velocity is None and params.get("momentum"):
        checks.fail(checks.ShapeError, op, "velocity", "an array, since there is momentum", None)
