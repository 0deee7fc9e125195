"""Metrics by name in ``compile``, computed within the program."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastnn import checks, ops, registry
from fastnn.ops.dispatch import apply
from fastnn.program import Tensor


class Metric(registry.Configured):
    """Base class; `name` is its key in histories.

    `record` says what is measured on a batch: one statistic or several, each a mean over rows. They are averaged over
    the batches, weighted by their rows, and `result` makes the metric of the averages. For a metric that is itself a
    mean over rows, that is the average; a ratio of sums, such as precision, is not the mean of the batches' ratios.
    """

    name: str = ""

    def record(self, y_pred: Tensor, y_true: Tensor, threshold: float) -> Tensor:
        """The statistics of one batch.

        Parameters
        ----------
        y_pred, y_true : Tensor
            The model's output and the targets, as the loss takes them.
        threshold : float
            The single output of a model of two classes above which it means class 1: the loss's.
        """
        raise NotImplementedError

    def result(self, statistics: Any) -> float:
        """The metric, from the statistics' means: a number, or an array where `record` returns several."""
        return float(statistics)


class _Thresholded(Metric):
    """A metric of classes; a single output means class 1 above `threshold`, by default the loss's."""

    def __init__(self, threshold: float | None = None) -> None:
        if threshold is not None:
            checks.interval(type(self).__name__, "threshold", threshold, float("-inf"), float("inf"), "neither")
        self.threshold = threshold

    def positive(self, y_pred: Tensor, threshold: float) -> Tensor:
        """1 where a single output means class 1, else 0."""
        return _positive(y_pred - (threshold if self.threshold is None else self.threshold))


class Accuracy(_Thresholded):
    """Share of rows whose predicted class is the true one.

    For labels or one-hot targets the class is the largest output; a single output means class 1 above a threshold.

    Parameters
    ----------
    threshold : float, optional
        By default the loss's: 0 where outputs are logits, 0.5 where they are probabilities.
    """

    name = "accuracy"

    def record(self, y_pred: Tensor, y_true: Tensor, threshold: float) -> Tensor:
        if y_pred.shape[-1] == 1:
            wrong = ops.mean_absolute_error(self.positive(y_pred, threshold), _positive(y_true - 0.5))
            return ops.affine(wrong, -1.0, 1.0)
        labels = _labels(y_true)
        return ops.affine(ops.count_equal(ops.argmax(y_pred), labels), 1 / labels.size)


class TopKAccuracy(Metric):
    """Share of rows whose true class has one of the k largest outputs.

    A class whose output equals the k-th largest counts as among them.

    Parameters
    ----------
    k : int
    """

    name = "top_k_accuracy"

    def __init__(self, k: int = 5) -> None:
        checks.integer("TopKAccuracy", "k", k, 1)
        self.k = int(k)

    def record(self, y_pred: Tensor, y_true: Tensor, threshold: float) -> Tensor:
        if y_pred.shape[-1] < 2:
            checks.fail(checks.ShapeError, "TopKAccuracy", "y_pred", "at least two classes", y_pred.shape)
        scores = _rows(y_pred)
        own = ops.sum(scores * _one_hot(_labels(y_true), scores), axis=-1, keepdims=True)
        larger = ops.sum(_positive(scores - own), axis=-1)
        return ops.mean(_positive(self.k - 0.5 - larger))


class _ClassCounts(_Thresholded):
    """A ratio of counts of each class's rows: predicted rightly, predicted, and actual.

    The statistics are these counts as shares of the rows, of shape (3, classes). With a single output there is one
    class, 1; else the result is the mean over the classes that are predicted or actual at all ("macro").
    """

    def record(self, y_pred: Tensor, y_true: Tensor, threshold: float) -> Tensor:
        scores = _rows(y_pred)
        if y_pred.shape[-1] == 1:
            predicted, actual = self.positive(scores, threshold), _positive(_rows(y_true) - 0.5)
        else:
            predicted, actual = _one_hot(ops.argmax(scores), scores), _one_hot(_labels(y_true), scores)
        return _stack([ops.mean(t, axis=0) for t in (predicted * actual, predicted, actual)])

    def result(self, statistics: Any) -> float:
        right, predicted, actual = statistics
        above, below = self.fraction(right, predicted, actual)
        ratios = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
        return float(ratios[predicted + actual > 0].mean()) if statistics.any() else 0.0

    def fraction(self, right: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ratio's numerator and denominator, of shape (classes,)."""
        raise NotImplementedError


class Precision(_ClassCounts):
    """Share of the rows predicted to be of a class that are of it; 0 where there are none.

    Of class 1 for a single output, else the mean over the classes that occur ("macro").

    Parameters
    ----------
    threshold : float, optional
        Of a single output; by default the loss's.
    """

    name = "precision"

    def fraction(self, right: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return right, predicted


class Recall(_ClassCounts):
    """Share of the rows of a class that are predicted to be of it; 0 where there are none.

    Of class 1 for a single output, else the mean over the classes that occur ("macro").

    Parameters
    ----------
    threshold : float, optional
        Of a single output; by default the loss's.
    """

    name = "recall"

    def fraction(self, right: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return right, actual


class F1(_ClassCounts):
    """Harmonic mean of precision and recall, 2 right / (predicted + actual) (van Rijsbergen 1979).

    Of class 1 for a single output, else the mean over the classes that occur ("macro").

    Parameters
    ----------
    threshold : float, optional
        Of a single output; by default the loss's.
    """

    name = "f1"

    def fraction(self, right: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 2 * right, predicted + actual


class MeanSquaredError(Metric):
    """Mean of (y_pred - y_true)^2."""

    name = "mse"

    def record(self, y_pred: Tensor, y_true: Tensor, threshold: float) -> Tensor:
        return ops.mean_squared_error(y_pred, y_true)


class MeanAbsoluteError(Metric):
    """Mean of |y_pred - y_true|."""

    name = "mae"

    def record(self, y_pred: Tensor, y_true: Tensor, threshold: float) -> Tensor:
        return ops.mean_absolute_error(y_pred, y_true)


class R2(Metric):
    """Coefficient of determination, 1 - sum (y_true - y_pred)^2 / sum (y_true - mean y_true)^2, mean over outputs.

    A constant target has 1 where it is predicted exactly, else 0. The spread is computed from the means of y_true and
    y_true^2: in float32, targets whose mean is 100 times their standard deviation leave it three digits.
    """

    name = "r2"

    def record(self, y_pred: Tensor, y_true: Tensor, threshold: float) -> Tensor:
        predicted, actual = _rows(y_pred), _rows(y_true)
        error = predicted - actual
        return _stack([ops.mean(t, axis=0) for t in (error * error, actual, actual * actual)])

    def result(self, statistics: Any) -> float:
        error, mean, square = statistics
        spread = square - mean**2
        constant = (error > 0).astype(float)  # what to subtract from 1 where there is no spread
        return float(np.mean(1 - np.divide(error, spread, out=constant, where=spread > 0)))


def _rows(x: Tensor) -> Tensor:
    """All dimensions but the last in one."""
    return ops.reshape(x, (prod(x.shape[:-1]), x.shape[-1]))


def _positive(x: Tensor) -> Tensor:
    """1 where x > 0, else 0: the slope of relu."""
    return ops.relu_backward(np.ones(x.shape, x.dtype), x)


def _labels(y_true: Tensor) -> Tensor:
    """Class numbers, of labels or one-hot targets."""
    return y_true if y_true.dtype.kind == "i" else ops.argmax(y_true)


def _one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Rows of zeros with a 1 at the label, of the shape and dtype of `like`.

    The cross-entropy's gradient where all logits are 0 is (1 / classes - one_hot) / rows: negative at the label alone.
    """
    logits = like.program.constant(np.zeros(like.shape, like.dtype))
    _, slope = apply("sparse_softmax_cross_entropy", logits, labels.reshape(-1), None, want=("grad",))
    return _positive(-slope)


def _stack(rows: list[Tensor]) -> Tensor:
    """Tensors of shape (n,) as the rows of one of shape (len(rows), n)."""
    places = np.eye(len(rows), dtype=rows[0].dtype)[:, :, None]
    parts = [ops.multiply(place, row) for place, row in zip(places, rows, strict=True)]
    return sum(parts[1:], parts[0])


REGISTRY = registry.Registry(
    "metric",
    Metric,
    {
        "accuracy": Accuracy,
        "top_k_accuracy": TopKAccuracy,
        "precision": Precision,
        "recall": Recall,
        "f1": F1,
        "r2": R2,
        "mean_squared_error": MeanSquaredError,
        "mean_absolute_error": MeanAbsoluteError,
        "mse": MeanSquaredError,
        "mae": MeanAbsoluteError,
    },
)
