"""Losses: what training minimises. Each is the thin front of a fused op, usable alone or by name in ``compile``.

A plain function of ops does as well (`FunctionLoss`). A loss is a mean over elements, those of classes over rows. With
`sample_weight` each row's loss is multiplied by its weight; the division is by the number of rows all the same.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastnn import checks, ops, registry
from fastnn.loss import FunctionLoss, Loss
from fastnn.program import Tensor


class MeanSquaredError(Loss):
    """Mean of (y_pred - y_true)^2 (least squares, Legendre 1805).

    For regression: targets are any numbers, the last layer is linear.
    """

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        return ops.mean_squared_error(y_pred, y_true, weight, gradient=gradient)


class MeanAbsoluteError(Loss):
    """Mean of |y_pred - y_true| (least absolute deviations, Boscovich 1757).

    For regression that outliers shall not decide: it estimates medians. The last layer is linear.
    """

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        return ops.mean_absolute_error(y_pred, y_true, weight, gradient=gradient)


class Huber(Loss):
    """Mean of e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2), e = y_pred - y_true (Huber 1964).

    For regression with outliers, the last layer linear.

    Parameters
    ----------
    delta : float above 0
    """

    def __init__(self, delta: float = 1.0) -> None:
        checks.interval("Huber", "delta", delta, 0, float("inf"), "neither")
        self.delta = delta

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        return ops.huber(y_pred, y_true, weight, delta=self.delta, gradient=gradient)


class LogCosh(Loss):
    """Mean of log cosh(e), e = y_pred - y_true (Saleh and Saleh 2022, arXiv:2208.04564).

    About e^2 / 2 for small errors and |e| - log 2 for large ones, twice differentiable where `Huber` is not. For
    regression with outliers, the last layer linear.
    """

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        return ops.log_cosh(y_pred, y_true, weight, gradient=gradient)


class Hinge(Loss):
    """Mean of max(0, 1 - t y) for targets t of -1 or 1 (Cortes and Vapnik 1995).

    For two classes with a margin: the last layer is linear, its sign the class. Targets of 0 and 1 are taken for -1 and
    1, as in Keras.
    """

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        return ops.hinge(y_pred, y_true, weight, gradient=gradient)

    def targets(self, y: Any, output_shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        array = super().targets(y, output_shape, dtype)
        if np.isin(array, (0, 1)).all():
            return 2 * array - 1
        for known in ((-1, 0, 1), (-1, 1)):
            wrong = array[~np.isin(array, known)]
            if wrong.size:
                expected = "targets of -1 and 1, or of 0 and 1"
                checks.fail(checks.DataError, type(self).__name__, "y_true", expected, wrong[0])
        return array


class SquaredHinge(Hinge):
    """Mean of max(0, 1 - t y)^2 for targets t of -1 or 1 (Tang 2013, arXiv:1306.0239).

    As `Hinge`, with a gradient that is continuous.
    """

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        return ops.squared_hinge(y_pred, y_true, weight, gradient=gradient)


class Poisson(Loss):
    """Mean of p - t log p for rates p and targets t of at least 0 (McCullagh and Nelder 1989, chapter 6).

    The negative logarithm of the Poisson distribution's density, without log t!, which no prediction changes. For
    counts: the last layer is linear and predicts log p, or without `log_input` a positive one such as softplus.

    Parameters
    ----------
    log_input : bool
        Whether predictions are log p, as PyTorch's PoissonNLLLoss has it, or p, as Keras does. Neither's epsilon is
        added to p: where p is 0 and t is not, the loss is infinite.
    """

    def __init__(self, log_input: bool = True) -> None:
        self.log_input = bool(log_input)

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        return ops.poisson(y_pred, y_true, weight, log_input=self.log_input, gradient=gradient)

    def targets(self, y: Any, output_shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        array = super().targets(y, output_shape, dtype)
        _within("Poisson", array, 0, np.inf, "targets of at least 0")
        return array


class BinaryCrossEntropy(Loss):
    """Mean of -t log p - (1 - t) log(1 - p) for targets t in [0, 1] (logistic regression, Cox 1958).

    For two classes, or several yes-or-no questions: the last layer is linear and predicts logits x, p = sigmoid(x); or
    without `from_logits` a sigmoid that predicts p. From logits no digits are lost, and no loss is infinite.
    Probabilities are not clipped, as Keras clips them: p of 0 for a target of 1 gives an infinite loss.

    Parameters
    ----------
    from_logits : bool
    label_smoothing : float in [0, 1]
        Replaces t by (1 - label_smoothing) t + label_smoothing / 2.
    """

    def __init__(self, from_logits: bool = True, label_smoothing: float = 0.0) -> None:
        checks.interval("BinaryCrossEntropy", "label_smoothing", label_smoothing, 0, 1)
        self.from_logits = bool(from_logits)
        self.label_smoothing = label_smoothing
        self.threshold = 0.0 if from_logits else 0.5

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        if self.label_smoothing:
            y_true = ops.affine(y_true, 1 - self.label_smoothing, self.label_smoothing / 2)
        return ops.binary_cross_entropy(y_pred, y_true, weight, from_logits=self.from_logits, gradient=gradient)

    def targets(self, y: Any, output_shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        array = super().targets(y, output_shape, dtype)
        _within("BinaryCrossEntropy", array, 0, 1, "targets from 0 to 1")
        return array


class CrossEntropy(Loss):
    """Mean over rows of -sum(t log p), p the probabilities of the classes (Bridle 1990).

    Targets are integer class labels of shape (rows,), or one distribution t a row, one-hot for example, of the
    predictions' shape. The last layer is linear and predicts logits x, p = softmax(x); or without `from_logits` a
    softmax that predicts p. From logits no digits are lost. Probabilities are taken as they are, where Keras clips
    them: p of 0 for the true class gives an infinite loss.

    Parameters
    ----------
    from_logits : bool
    label_smoothing : float in [0, 1]
        Replaces t by (1 - label_smoothing) t + label_smoothing / classes (Szegedy et al. 2016).
    """

    def __init__(self, from_logits: bool = True, label_smoothing: float = 0.0) -> None:
        checks.interval("CrossEntropy", "label_smoothing", label_smoothing, 0, 1)
        self.from_logits = bool(from_logits)
        self.label_smoothing = label_smoothing

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        dtype = y_true.dtype if isinstance(y_true, Tensor) else np.asarray(y_true).dtype
        if dtype.kind == "f":
            op = ops.softmax_cross_entropy if self.from_logits else ops.categorical_cross_entropy
        else:
            op = ops.sparse_softmax_cross_entropy if self.from_logits else ops.sparse_categorical_cross_entropy
        weight = _of_positions(weight, y_pred)
        return op(y_pred, y_true, weight, label_smoothing=self.label_smoothing, gradient=gradient)

    def targets(self, y: Any, output_shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        if len(output_shape) == 1 and output_shape[0] > 1 and checks.class_numbers(y, output_shape[0]):
            return y
        y = checks.numbers("CrossEntropy", "y_true", y, "integers")
        _several_classes("CrossEntropy", y, output_shape)
        if y.shape[1:] == tuple(output_shape):
            array = super().targets(y, output_shape, dtype)
            _within("CrossEntropy", array, 0, np.inf, "targets of at least 0")
            return array
        if y.shape[1:] == (*output_shape[:-1], 1):
            y = y[..., 0]
        if y.shape[1:] != tuple(output_shape[:-1]):
            expected = f"labels of shape (rows,) or targets of shape (rows, {output_shape[-1]})"
            checks.fail(checks.ShapeError, "CrossEntropy", "y_true", expected, y.shape)
        labels = checks.whole("CrossEntropy", "y_true", y)
        checks.labels("CrossEntropy", labels, output_shape[-1])
        return labels


class KLDivergence(Loss):
    """Mean over rows of sum(t log(t / p)), the divergence of distributions p from t (Kullback and Leibler 1951).

    `CrossEntropy` less the entropy of the targets, of the same gradient; 0 where p is t. Targets are one distribution t
    a row, of the predictions' shape. The last layer is linear and predicts logits, or without `from_logits` a softmax.

    Parameters
    ----------
    from_logits : bool
    """

    def __init__(self, from_logits: bool = True) -> None:
        self.from_logits = bool(from_logits)

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        op = ops.softmax_cross_entropy if self.from_logits else ops.categorical_cross_entropy
        weight = _of_positions(weight, y_pred)
        crossed = op(y_pred, y_true, weight, gradient=gradient)
        entropy = ops.categorical_cross_entropy(y_true, y_true, weight)
        return (ops.subtract(crossed[0], entropy), crossed[1]) if gradient else ops.subtract(crossed, entropy)

    def targets(self, y: Any, output_shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        _several_classes("KLDivergence", np.asarray(y), output_shape)
        array = super().targets(y, output_shape, dtype)
        _within("KLDivergence", array, 0, np.inf, "targets of at least 0")
        return array


def _within(who: str, array: np.ndarray, low: float, high: float, expected: str) -> None:
    """Check the range of targets; NaN is outside every range."""
    if array.size and not (array.min() >= low and array.max() <= high):
        checks.fail(checks.DataError, who, "y_true", expected, f"{array.min()} to {array.max()}")


def _several_classes(who: str, y: np.ndarray, output_shape: tuple[int, ...]) -> None:
    """Check that the last dimension of predictions counts classes."""
    if not output_shape or output_shape[-1] < 2:
        shape = (*y.shape[:1], *output_shape)
        checks.fail(checks.ShapeError, who, "y_pred", "at least two classes", shape)


def _of_positions(weight: Any, y_pred: Any) -> Any:
    """Rows' weights for predictions (rows, ..., classes): each position has its row's."""
    if weight is None or len(y_pred.shape) <= 2:
        return weight
    rows, inner = y_pred.shape[0], prod(y_pred.shape[1:-1])
    return ops.reshape(ops.broadcast_to(ops.reshape(weight, (rows, 1)), (rows, inner)), rows * inner)


REGISTRY = registry.Registry(
    "loss",
    Loss,
    {
        "mean_squared_error": MeanSquaredError,
        "mean_absolute_error": MeanAbsoluteError,
        "huber": Huber,
        "log_cosh": LogCosh,
        "hinge": Hinge,
        "squared_hinge": SquaredHinge,
        "poisson": Poisson,
        "binary_cross_entropy": BinaryCrossEntropy,
        "cross_entropy": CrossEntropy,
        "kl_divergence": KLDivergence,
        "mse": MeanSquaredError,
        "mae": MeanAbsoluteError,
    },
    of_function=FunctionLoss,
)
