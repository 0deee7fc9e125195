"""Fused losses: the value, and on request the gradient by the prediction, in one pass.

All take predictions and targets whose first dimension counts the rows and average over all elements, the
cross-entropies of classes over rows. With `weight`, each row's loss is multiplied by its weight first; the division is
by the number of rows, not by the sum of the weights, so that a mini-batch's gradient is unbiased (as in Keras).

Infinite losses are values, not errors: a probability of 0 for what is true gives infinity. Probabilities are taken as
they are, where Keras clips them to 1e-7 and more. What has a target of 0 adds nothing: 0 log 0 is 0.

Given arrays they return an array of shape (1,), or with ``gradient=True`` that and the gradient.
Given tensors they return a tensor of shape ().
"""

from __future__ import annotations

from math import prod
from typing import Any

from fastnn import checks
from fastnn.ops.dispatch import apply, remembered, reshape_any, shape_of
from fastnn.program import Tensor


def _loss(
    name: str, y_pred: Any, targets: Any, weight: Any, gradient: bool, backend: str | None, **params: float
) -> Any:
    """Run a loss op on arguments brought to two dimensions."""
    shape = shape_of(y_pred)
    sparse = name.startswith("sparse")
    expected = shape[:-1] if sparse else shape
    if not shape or shape_of(targets) != expected:
        checks.fail(
            checks.ShapeError, name, "labels" if sparse else "y_true", f"shape {expected}", shape_of(targets)
        )
    crossed = "softmax" in name or "categorical" in name
    rows = prod(shape[:-1]) if crossed else shape[0]
    columns = shape[-1] if crossed else prod(shape[1:])
    symbolic = any(isinstance(x, Tensor) for x in (y_pred, targets, weight))
    result = apply(
        name,
        reshape_any(y_pred, (rows, columns)),
        reshape_any(targets, (rows,) if sparse else (rows, columns)),
        weight,
        want=("grad",) if gradient or symbolic else (),
        backend=backend,
        **params,
    )
    if symbolic:
        return reshape_any(result[0], ())
    return (result[0], reshape_any(result[1], shape)) if gradient else result


@remembered
def mean_squared_error(
    y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False, backend: str | None = None
) -> Any:
    """Mean of (y_pred - y_true)^2."""
    return _loss("mean_squared_error", y_pred, y_true, weight, gradient, backend)


@remembered
def mean_absolute_error(
    y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False, backend: str | None = None
) -> Any:
    """Mean of |y_pred - y_true|; the gradient at equality is 0."""
    return _loss("mean_absolute_error", y_pred, y_true, weight, gradient, backend)


@remembered
def huber(
    y_pred: Any,
    y_true: Any,
    weight: Any = None,
    *,
    delta: float = 1.0,
    gradient: bool = False,
    backend: str | None = None,
) -> Any:
    """Mean of e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2), e = y_pred - y_true (Huber 1964)."""
    checks.interval("huber", "delta", delta, 0, float("inf"), "neither")
    return _loss("huber", y_pred, y_true, weight, gradient, backend, delta=delta)


@remembered
def log_cosh(
    y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False, backend: str | None = None
) -> Any:
    """Mean of log cosh(y_pred - y_true): e^2 / 2 for small errors e, |e| - log 2 for large ones."""
    return _loss("log_cosh", y_pred, y_true, weight, gradient, backend)


@remembered
def hinge(y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False, backend: str | None = None) -> Any:
    """Mean of max(0, 1 - t y) for targets t of -1 or 1; the gradient where t y is 1 is 0."""
    return _loss("hinge", y_pred, y_true, weight, gradient, backend)


@remembered
def squared_hinge(
    y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False, backend: str | None = None
) -> Any:
    """Mean of max(0, 1 - t y)^2 for targets t of -1 or 1."""
    return _loss("squared_hinge", y_pred, y_true, weight, gradient, backend)


@remembered
def poisson(
    y_pred: Any,
    y_true: Any,
    weight: Any = None,
    *,
    log_input: bool = True,
    gradient: bool = False,
    backend: str | None = None,
) -> Any:
    """Mean of p - t log p for targets t >= 0: the predictions are log p, or without `log_input` the rates p."""
    return _loss("poisson", y_pred, y_true, weight, gradient, backend, log_input=bool(log_input))


@remembered
def binary_cross_entropy(
    y_pred: Any,
    y_true: Any,
    weight: Any = None,
    *,
    from_logits: bool = True,
    gradient: bool = False,
    backend: str | None = None,
) -> Any:
    """Mean of -t log p - (1 - t) log(1 - p) for targets t in [0, 1].

    The predictions are logits x, p = sigmoid(x), or without `from_logits` the probabilities p. From logits it is
    computed as max(x, 0) - x t + log(1 + exp(-|x|)).
    """
    return _loss("binary_cross_entropy", y_pred, y_true, weight, gradient, backend, from_logits=bool(from_logits))


@remembered
def softmax_cross_entropy(
    logits: Any,
    y_true: Any,
    weight: Any = None,
    *,
    label_smoothing: float = 0.0,
    gradient: bool = False,
    backend: str | None = None,
) -> Any:
    """Mean over rows of -sum(t log softmax(x)), the targets t one distribution a row (one-hot, for example).

    `label_smoothing` e replaces t by (1 - e) t + e / classes (Szegedy et al. 2016).
    """
    checks.interval("softmax_cross_entropy", "label_smoothing", label_smoothing, 0, 1)
    return _loss(
        "softmax_cross_entropy", logits, y_true, weight, gradient, backend, label_smoothing=label_smoothing
    )


@remembered
def sparse_softmax_cross_entropy(
    logits: Any,
    labels: Any,
    weight: Any = None,
    *,
    label_smoothing: float = 0.0,
    gradient: bool = False,
    backend: str | None = None,
) -> Any:
    """`softmax_cross_entropy` with integer class labels instead of distributions."""
    checks.interval("sparse_softmax_cross_entropy", "label_smoothing", label_smoothing, 0, 1)
    return _loss(
        "sparse_softmax_cross_entropy", logits, labels, weight, gradient, backend, label_smoothing=label_smoothing
    )


@remembered
def categorical_cross_entropy(
    y_pred: Any,
    y_true: Any,
    weight: Any = None,
    *,
    label_smoothing: float = 0.0,
    gradient: bool = False,
    backend: str | None = None,
) -> Any:
    """Mean over rows of -sum(t log p) for probabilities p, the targets t one distribution a row.

    The gradient is -t / p, that of p as they are: rows are not normalised. `label_smoothing` as in
    `softmax_cross_entropy`.
    """
    checks.interval("categorical_cross_entropy", "label_smoothing", label_smoothing, 0, 1)
    return _loss(
        "categorical_cross_entropy", y_pred, y_true, weight, gradient, backend, label_smoothing=label_smoothing
    )


@remembered
def sparse_categorical_cross_entropy(
    y_pred: Any,
    labels: Any,
    weight: Any = None,
    *,
    label_smoothing: float = 0.0,
    gradient: bool = False,
    backend: str | None = None,
) -> Any:
    """`categorical_cross_entropy` with integer class labels instead of distributions."""
    checks.interval("sparse_categorical_cross_entropy", "label_smoothing", label_smoothing, 0, 1)
    return _loss(
        "sparse_categorical_cross_entropy", y_pred, labels, weight, gradient, backend, label_smoothing=label_smoothing
    )
