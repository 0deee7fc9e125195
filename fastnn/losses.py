"""Losses: what training minimises. Each is the thin front of a fused op, usable alone or by name in ``compile``."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastnn import checks, ops, registry
from fastnn.program import Tensor


class Loss(registry.Configured):
    """Base class. ``loss(y_pred, y_true, sample_weight) -> float`` and ``loss.gradient(...) -> array``."""

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        """Call the op, on tensors or arrays; with `gradient`, of arrays, the pair of value and gradient."""
        raise NotImplementedError

    def targets(self, y: Any, output_shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Targets as the op takes them, for a model's output shape without the batch dimension.

        Raises
        ------
        ShapeError, DataError
            If they do not fit the output.
        """
        y = np.asarray(y)
        array = checks.host_array(type(self).__name__, "y_true", y, np.dtype(dtype))
        if array.ndim == len(output_shape) and output_shape[-1:] == (1,):
            array = array[..., None]
        if array.shape[1:] != tuple(output_shape):
            checks.fail(checks.ShapeError, type(self).__name__, "y_true", f"rows of shape {output_shape}", y.shape)
        return array

    def __call__(self, y_pred: Any, y_true: Any, sample_weight: Any = None) -> float:
        """The loss of predictions, averaged over rows.

        Parameters
        ----------
        y_pred : array_like of shape (rows, ...)
        y_true : array_like
            Targets of the same shape, or integer labels of shape (rows,) for cross-entropy.
        sample_weight : array_like of shape (rows,), optional
        """
        y_pred, y_true, sample_weight = self._arrays(y_pred, y_true, sample_weight)
        return float(self.record(y_pred, y_true, sample_weight)[0])

    def gradient(self, y_pred: Any, y_true: Any, sample_weight: Any = None) -> np.ndarray:
        """Gradient of the loss by `y_pred`, of the same shape."""
        y_pred, y_true, sample_weight = self._arrays(y_pred, y_true, sample_weight)
        return self.record(y_pred, y_true, sample_weight, gradient=True)[1]

    def _arrays(self, y_pred: Any, y_true: Any, weight: Any) -> tuple[Any, Any, Any]:
        y_pred = np.asarray(y_pred)
        dtype = checks.floating_dtype(type(self).__name__, [y_pred], ["y_pred"])
        if y_pred.ndim == 0:
            checks.fail(checks.ShapeError, type(self).__name__, "y_pred", "at least one dimension", y_pred.shape)
        if weight is not None:
            weight = checks.host_array(type(self).__name__, "sample_weight", weight, dtype)
        return y_pred, self.targets(y_true, y_pred.shape[1:], dtype), weight


class MeanSquaredError(Loss):
    """Mean of (y_pred - y_true)^2."""

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        return ops.mean_squared_error(y_pred, y_true, weight, gradient=gradient)


class MeanAbsoluteError(Loss):
    """Mean of |y_pred - y_true|."""

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        return ops.mean_absolute_error(y_pred, y_true, weight, gradient=gradient)


class Huber(Loss):
    """Mean of e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2) (Huber 1964)."""

    def __init__(self, delta: float = 1.0) -> None:
        checks.interval("Huber", "delta", delta, 0, float("inf"), "neither")
        self.delta = delta

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        return ops.huber(y_pred, y_true, weight, delta=self.delta, gradient=gradient)


class BinaryCrossEntropy(Loss):
    """Mean of -t log p - (1 - t) log(1 - p), p = sigmoid of the logits, for targets t in [0, 1]."""

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        return ops.binary_cross_entropy(y_pred, y_true, weight, gradient=gradient)

    def targets(self, y: Any, output_shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        array = super().targets(y, output_shape, dtype)
        if array.size and not (array.min() >= 0 and array.max() <= 1):
            found = f"{array.min()} to {array.max()}"
            checks.fail(checks.DataError, "BinaryCrossEntropy", "y_true", "targets from 0 to 1", found)
        return array


class CrossEntropy(Loss):
    """Mean over rows of -sum(t log softmax(logits)).

    Targets are integer class labels of shape (rows,), or one distribution a row of the logits' shape.

    Parameters
    ----------
    label_smoothing : float in [0, 1]
        Replaces t by (1 - label_smoothing) t + label_smoothing / classes (Szegedy et al. 2016).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        checks.interval("CrossEntropy", "label_smoothing", label_smoothing, 0, 1)
        self.label_smoothing = label_smoothing

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        dtype = y_true.dtype if isinstance(y_true, Tensor) else np.asarray(y_true).dtype
        op = ops.softmax_cross_entropy if dtype.kind == "f" else ops.sparse_softmax_cross_entropy
        if weight is not None and len(y_pred.shape) > 2:  # (rows, ..., classes): each position has its row's weight
            rows, inner = y_pred.shape[0], prod(y_pred.shape[1:-1])
            weight = ops.reshape(ops.broadcast_to(ops.reshape(weight, (rows, 1)), (rows, inner)), rows * inner)
        return op(y_pred, y_true, weight, label_smoothing=self.label_smoothing, gradient=gradient)

    def targets(self, y: Any, output_shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        y = np.asarray(y)
        if not output_shape or output_shape[-1] < 2:
            shape = (*y.shape[:1], *output_shape)
            checks.fail(checks.ShapeError, "CrossEntropy", "y_pred", "at least two classes", shape)
        if y.shape[1:] == tuple(output_shape):
            return super().targets(y, output_shape, dtype)
        if y.shape[1:] == (*output_shape[:-1], 1):
            y = y[..., 0]
        if y.shape[1:] != tuple(output_shape[:-1]):
            expected = f"labels of shape (rows,) or targets of shape (rows, {output_shape[-1]})"
            checks.fail(checks.ShapeError, "CrossEntropy", "y_true", expected, y.shape)
        if y.dtype.kind == "f" and np.array_equal(y, np.floor(y)):
            y = y.astype(np.int64)
        labels = checks.host_array("CrossEntropy", "y_true", y, np.dtype(np.int64))
        checks.labels("CrossEntropy", labels, output_shape[-1])
        return labels


REGISTRY = registry.Registry(
    "loss",
    Loss,
    {
        "mean_squared_error": MeanSquaredError,
        "mean_absolute_error": MeanAbsoluteError,
        "huber": Huber,
        "binary_cross_entropy": BinaryCrossEntropy,
        "cross_entropy": CrossEntropy,
        "mse": MeanSquaredError,
        "mae": MeanAbsoluteError,
    },
)
