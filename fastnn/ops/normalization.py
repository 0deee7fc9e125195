"""Layer and batch normalisation: forward passes, their gradients, and the one with fixed statistics.

Given tensors, the forward passes record the mean and 1 / sqrt(variance + epsilon) that their gradients read. The mean
is saved in the arrays' dtype: where it is much larger than the spread, as 10^4 against 1 in float32, outputs keep all
their digits, and gradients lose those that the rounded mean lacks, as in PyTorch.
"""

from __future__ import annotations

from math import prod
from typing import Any

from fastnn import checks
from fastnn.ops.dispatch import apply, flat_out, remembered, reshape_any, shape_of
from fastnn.program import Tensor

_STATISTICS = ("mean", "rstd")
_GRADIENTS = ("dx", "dgamma", "dbeta")


def _matrix(op: str, name: str, x: Any) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Shape of an array, and as a matrix of all other axes by the last."""
    shape = shape_of(x)
    if not shape:
        checks.fail(checks.ShapeError, op, name, "at least one dimension", shape)
    return shape, (prod(shape[:-1]), shape[-1])


def _forward(op: str, x: Any, *others: Any, statistics: bool, out: Any, backend: str | None, **params: float) -> Any:
    """Run a forward pass on x (..., c) as a matrix (b, c)."""
    checks.interval(op, "epsilon", params["epsilon"], 0, float("inf"), "left")
    shape, matrix = _matrix(op, "x", x)
    symbolic = any(isinstance(v, Tensor) for v in (x, *others))
    result = apply(
        op,
        reshape_any(x, matrix),
        *others,
        out=flat_out(out, shape, matrix, op),
        want=_STATISTICS if statistics or (symbolic and op != "batch_norm_inference") else (),
        backend=backend,
        **params,
    )
    y, *saved = result if isinstance(result, tuple) else (result,)
    y = reshape_any(y, shape) if out is None else out
    return (y, *saved) if statistics else y


def _backward(op: str, dy: Any, x: Any, gamma: Any, mean: Any, rstd: Any, backend: str | None) -> tuple[Any, Any, Any]:
    shape, matrix = _matrix(op, "x", x)
    if shape_of(dy) != shape:
        checks.fail(checks.ShapeError, op, "dy", f"shape {shape}", shape_of(dy))
    arrays = (reshape_any(dy, matrix), reshape_any(x, matrix), gamma, mean, rstd)
    dx, dgamma, dbeta = apply(op, *arrays, want=_GRADIENTS, backend=backend)
    return reshape_any(dx, shape), dgamma, dbeta


@remembered
def layer_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    epsilon: float = 1e-3,
    statistics: bool = False,
    out: Any = None,
    backend: str | None = None,
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) gamma + beta along the last axis (Ba, Kiros and Hinton 2016).

    The variance is the biased one. Mean and variance are float64 and taken in two passes, so that x may be far from 0.

    Parameters
    ----------
    x : array_like of shape (..., c)
    gamma, beta : array_like of shape (c,), optional
    epsilon : float
        At least 0. The default is Keras's; PyTorch has 1e-5.
    statistics : bool
        Whether to return the mean and 1 / sqrt(variance + epsilon) of each row, of shape (rows,), too.
    out : array of shape (..., c), optional

    Returns
    -------
    array of shape (..., c), or with ``statistics=True`` a tuple (y, mean, rstd)

    Raises
    ------
    DataError
        If the last axis is empty.
    """
    return _forward(
        "layer_norm", x, gamma, beta, statistics=statistics, out=out, backend=backend, epsilon=epsilon
    )


@remembered
def layer_norm_backward(
    dy: Any, x: Any, gamma: Any, mean: Any, rstd: Any, *, backend: str | None = None
) -> tuple[Any, Any, Any]:
    """Gradients of `layer_norm` by x, gamma and beta.

    With n = (x - mean) rstd and g = dy gamma, dx = rstd (g - average(g) - n average(g n)), averages along the last
    axis; dgamma and dbeta are the sums of dy n and dy over the rows.

    Parameters
    ----------
    dy, x : array_like of shape (..., c)
    gamma : array_like of shape (c,) or None
    mean, rstd : array_like of shape (rows,)
        From ``layer_norm(..., statistics=True)``.

    Returns
    -------
    dx, dgamma, dbeta : arrays of shape (..., c), (c,) and (c,)
    """
    return _backward("layer_norm_backward", dy, x, gamma, mean, rstd, backend)


@remembered
def batch_norm(
    x: Any,
    gamma: Any,
    beta: Any,
    moving_mean: Any,
    moving_variance: Any,
    *,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    statistics: bool = False,
    out: Any = None,
    backend: str | None = None,
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) gamma + beta, mean and variance over all axes but the last.

    Ioffe and Szegedy (2015). Also ``moving = momentum moving + (1 - momentum) batch's``, of the biased variance, as in
    Keras; Ioffe and Szegedy and PyTorch take the unbiased one, b / (b - 1) times as large, there, and PyTorch calls
    1 - momentum momentum.

    Parameters
    ----------
    x : array_like of shape (..., c)
    gamma, beta : array_like of shape (c,) or None
    moving_mean, moving_variance : array of shape (c,), updated
    momentum : float in [0, 1]
    epsilon : float
        At least 0.
    statistics : bool
        Whether to return the batch's mean and 1 / sqrt(variance + epsilon), of shape (c,), too.
    out : array of shape (..., c), optional

    Returns
    -------
    array of shape (..., c), or with ``statistics=True`` a tuple (y, mean, rstd)

    Raises
    ------
    DataError
        If there are no rows.
    """
    checks.interval("batch_norm", "momentum", momentum, 0, 1)
    return _forward(
        "batch_norm", x, gamma, beta, moving_mean, moving_variance,
        statistics=statistics, out=out, backend=backend, momentum=momentum, epsilon=epsilon,
    )  # fmt: skip


@remembered
def batch_norm_backward(
    dy: Any, x: Any, gamma: Any, mean: Any, rstd: Any, *, backend: str | None = None
) -> tuple[Any, Any, Any]:
    """Gradients of `batch_norm` by x, gamma and beta.

    With n = (x - mean) rstd, dx = gamma rstd (dy - average(dy) - n average(dy n)), averages over the rows; dgamma and
    dbeta are the sums of dy n and dy over the rows.

    Parameters
    ----------
    dy, x : array_like of shape (..., c)
    gamma : array_like of shape (c,) or None
    mean, rstd : array_like of shape (c,)
        From ``batch_norm(..., statistics=True)``.

    Returns
    -------
    dx, dgamma, dbeta : arrays of shape (..., c), (c,) and (c,)
    """
    return _backward("batch_norm_backward", dy, x, gamma, mean, rstd, backend)


@remembered
def batch_norm_inference(
    x: Any,
    gamma: Any,
    beta: Any,
    moving_mean: Any,
    moving_variance: Any,
    *,
    epsilon: float = 1e-3,
    out: Any = None,
    backend: str | None = None,
) -> Any:
    """(x - moving_mean) / sqrt(moving_variance + epsilon) gamma + beta: `batch_norm` with fixed statistics.

    Parameters
    ----------
    x : array_like of shape (..., c)
    gamma, beta : array_like of shape (c,) or None
    moving_mean, moving_variance : array_like of shape (c,)
    epsilon : float
        At least 0.
    out : array of shape (..., c), optional
    """
    return _forward(
        "batch_norm_inference", x, gamma, beta, moving_mean, moving_variance,
        statistics=False, out=out, backend=backend, epsilon=epsilon,
    )  # fmt: skip
