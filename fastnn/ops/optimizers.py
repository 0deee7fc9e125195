"""Optimizer updates: one pass over flat parameters, in place. `fastnn.optimizers` is their usual front."""

from __future__ import annotations

from typing import Any

from fastnn import checks
from fastnn.ops.dispatch import apply


def sgd_update(p: Any, g: Any, velocity: Any = None, *, backend: str | None = None, **params: Any) -> None:
    """Stochastic gradient descent with optional momentum (Polyak 1964) or Nesterov momentum (Sutskever et al. 2013).

    ``g += weight_decay p; velocity = momentum velocity + (1 - dampening) g;``
    ``p -= learning_rate (g + momentum velocity | velocity)``

    Parameters
    ----------
    p, velocity : array of shape (n,), updated
    g : array of shape (n,)
    **params
        learning_rate, momentum, nesterov, weight_decay, dampening.

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

    ``square_avg = rho square_avg + (1 - rho) g^2; step = g / (sqrt(square_avg) + epsilon); p -= learning_rate step``
    With momentum ``velocity = momentum velocity + step`` takes the step's place, with Nesterov's (Sutskever et al.
    2013) ``momentum velocity + step``.

    Parameters
    ----------
    p, square_avg, velocity, grad_avg : array of shape (n,), updated
    g : array of shape (n,)
    **params
        learning_rate, rho, epsilon, momentum, nesterov, weight_decay.

    Raises
    ------
    ShapeError
        If there is momentum and no velocity.
    """
    _needs_velocity("rmsprop_update", velocity, params)
    apply("rmsprop_update", p, g, square_avg, velocity, grad_avg, backend=backend, **params)


def adagrad_update(p: Any, g: Any, square_sum: Any, *, backend: str | None = None, **params: Any) -> None:
    """AdaGrad (Duchi, Hazan and Singer 2011).

    ``square_sum += g^2; p -= learning_rate / (1 + (step - 1) lr_decay) g / (sqrt(square_sum) + epsilon)``

    Parameters
    ----------
    p, square_sum : array of shape (n,), updated
    g : array of shape (n,)
    **params
        learning_rate, lr_decay, epsilon, weight_decay (coupled), step (from 1).
    """
    apply("adagrad_update", p, g, square_sum, backend=backend, **params)


def adadelta_update(
    p: Any, g: Any, square_avg: Any, delta_avg: Any, *, backend: str | None = None, **params: Any
) -> None:
    """Adadelta (Zeiler 2012).

    ``square_avg = rho square_avg + (1 - rho) g^2; d = sqrt(delta_avg + epsilon) / sqrt(square_avg + epsilon) g;``
    ``delta_avg = rho delta_avg + (1 - rho) d^2; p -= learning_rate d``

    Parameters
    ----------
    p, square_avg, delta_avg : array of shape (n,), updated
    g : array of shape (n,)
    **params
        learning_rate, rho, epsilon, weight_decay (coupled).
    """
    apply("adadelta_update", p, g, square_avg, delta_avg, backend=backend, **params)


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


def adamax_update(p: Any, g: Any, m: Any, u: Any, *, backend: str | None = None, **params: Any) -> None:
    """AdaMax (Kingma and Ba 2015, section 7.1).

    ``m = beta_1 m + (1 - beta_1) g; u = max(beta_2 u, |g| + epsilon); p -= learning_rate / (1 - beta_1^step) m / u``

    Parameters
    ----------
    p, m, u : array of shape (n,), updated
    g : array of shape (n,)
    **params
        learning_rate, beta_1, beta_2, epsilon, weight_decay (coupled), step (from 1).
    """
    apply("adamax_update", p, g, m, u, backend=backend, **params)


def nadam_update(p: Any, g: Any, m: Any, v: Any, *, backend: str | None = None, **params: Any) -> None:
    """NAdam (Dozat 2016): Adam with Nesterov momentum.

    With m and v as in Adam, ``mu_t = beta_1 (1 - 0.96^(t momentum_decay) / 2)`` and ``P_t = mu_1 ... mu_t``:
    ``d = (1 - mu_t) / (1 - P_t) g + mu_(t+1) / (1 - P_(t+1)) m;``
    ``p -= learning_rate d / (sqrt(v / (1 - beta_2^t)) + epsilon)``

    Parameters
    ----------
    p, m, v : array of shape (n,), updated
    g : array of shape (n,)
    **params
        learning_rate, beta_1, beta_2, epsilon, weight_decay, decoupled, momentum_decay, momentum_product (P_t), step
        (t, from 1).
    """
    apply("nadam_update", p, g, m, v, backend=backend, **params)


def radam_update(p: Any, g: Any, m: Any, v: Any, *, backend: str | None = None, **params: Any) -> None:
    """RAdam (Liu et al. 2020): Adam whose step is rectified by its variance.

    With m and v as in Adam, ``r_inf = 2 / (1 - beta_2) - 1`` and ``r = r_inf - 2 t beta_2^t / (1 - beta_2^t)``:
    ``p -= learning_rate / (1 - beta_1^t) m`` while ``r <= 5``, later times
    ``sqrt((r - 4) (r - 2) r_inf / ((r_inf - 4) (r_inf - 2) r)) sqrt(1 - beta_2^t) / (sqrt(v) + epsilon)``

    Parameters
    ----------
    p, m, v : array of shape (n,), updated
    g : array of shape (n,)
    **params
        learning_rate, beta_1, beta_2, epsilon, weight_decay, decoupled, step (t, from 1).
    """
    apply("radam_update", p, g, m, v, backend=backend, **params)


def lion_update(p: Any, g: Any, m: Any, *, backend: str | None = None, **params: Any) -> None:
    """Lion (Chen et al. 2023, algorithm 2): the sign of an interpolated momentum.

    ``p -= learning_rate (sign(beta_1 m + (1 - beta_1) g) + weight_decay p); m = beta_2 m + (1 - beta_2) g``

    Parameters
    ----------
    p, m : array of shape (n,), updated
    g : array of shape (n,)
    **params
        learning_rate, beta_1, beta_2, weight_decay (decoupled).
    """
    apply("lion_update", p, g, m, backend=backend, **params)


def _needs_velocity(op: str, velocity: Any, params: dict[str, Any]) -> None:
    """Momentum without an array to keep it in would be lost."""
    if velocity is None and params.get("momentum"):
        checks.fail(checks.ShapeError, op, "velocity", "an array, since there is momentum", None)
