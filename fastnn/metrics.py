"""Metrics: what training and evaluation report besides the loss, computed within the program."""

from __future__ import annotations

import numpy as np

from fastnn import ops, registry
from fastnn.program import Tensor


class Metric(registry.Configured):
    """Base class; `name` is its key in histories."""

    name: str = ""

    def record(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """The metric of one batch, a tensor of one element: a mean over rows."""
        raise NotImplementedError


class Accuracy(Metric):
    """Share of rows whose predicted class is the true one.

    For labels or one-hot targets the class is the largest output; for one output (a logit) its sign.
    """

    name = "accuracy"

    def record(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        if y_pred.shape[-1] == 1:
            wrong = ops.mean_absolute_error(_positive(y_pred), _positive(y_true - 0.5))
            return ops.affine(wrong, -1.0, 1.0)
        labels = y_true if y_true.dtype.kind == "i" else ops.argmax(y_true)
        return ops.affine(ops.count_equal(ops.argmax(y_pred), labels), 1 / labels.size)


def _positive(x: Tensor) -> Tensor:
    """1 where x > 0, else 0: the slope of relu."""
    return ops.relu_backward(np.ones(x.shape, x.dtype), x)


class MeanSquaredError(Metric):
    """Mean of (y_pred - y_true)^2."""

    name = "mse"

    def record(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        return ops.mean_squared_error(y_pred, y_true)


class MeanAbsoluteError(Metric):
    """Mean of |y_pred - y_true|."""

    name = "mae"

    def record(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        return ops.mean_absolute_error(y_pred, y_true)


REGISTRY = registry.Registry(
    "metric",
    Metric,
    {
        "accuracy": Accuracy,
        "mean_squared_error": MeanSquaredError,
        "mean_absolute_error": MeanAbsoluteError,
        "mse": MeanSquaredError,
        "mae": MeanAbsoluteError,
    },
)
