"""What every loss is, and losses given by plain functions of ops."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import autodiff, checks, ops, registry
from fastnn.program import Program, Tensor


class Loss(registry.Configured):
    """Base class. ``loss(y_pred, y_true, sample_weight) -> float`` and ``loss.gradient(...) -> array``.

    Attributes
    ----------
    threshold : float
        A single output above it predicts the positive class: 0 for logits and margins, 0.5 for probabilities.
    """

    threshold: float = 0.0

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


class FunctionLoss(Loss):
    """A loss given by a function of ops, recorded and differentiated like fastnn's own; what ``compile(loss=f)`` makes.

    Parameters
    ----------
    function : callable
        ``f(y_pred, y_true)`` returns one number, or one value a row, of which the mean is taken, each multiplied by the
        row's weight where there are weights. ``f(y_pred, y_true, sample_weight)`` deals with weights itself, None where
        there are none. The arguments are tensors, to be used by operators and ops. Floating targets have the model's
        dtype and, for an output of shape (1,), the shape (rows, 1); integer targets stay integers.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._name = getattr(function, "__name__", type(function).__name__)
        self._weighted = _takes_weights(function, self._name)

    def record(self, y_pred: Any, y_true: Any, weight: Any = None, *, gradient: bool = False) -> Any:
        if isinstance(y_pred, Tensor):
            return self._value(y_pred, y_true, weight)
        program = Program()
        given = {"y_pred": y_pred, "y_true": y_true, "sample_weight": weight}
        tensors = [None if a is None else program.input(name, a.shape, a.dtype) for name, a in given.items()]
        value = self._value(*tensors)
        program.output(value)
        if gradient:
            (slope,) = autodiff.gradients(value, [program.inputs[0]])
            program.output(program.constant(np.zeros_like(y_pred)) if slope is None else slope)
        return program(*(a for a in given.values() if a is not None))

    def _value(self, y_pred: Any, y_true: Any, weight: Any) -> Tensor:
        """Record the function's mean."""
        rows = y_pred.shape[0]
        if rows == 0:
            checks.fail(checks.DataError, self._name, "y_pred", "at least one row", "none")
        if y_true.shape[0] != rows:
            checks.fail(checks.ShapeError, self._name, "y_true", f"{rows} rows", y_true.shape)
        if weight is not None and weight.shape != (rows,):
            checks.fail(checks.ShapeError, self._name, "sample_weight", f"shape ({rows},)", weight.shape)
        value = self.function(y_pred, y_true, **{"sample_weight": weight} if self._weighted else {})
        if not isinstance(value, Tensor):
            checks.fail(TypeError, self._name, "value", "a tensor that ops have made", type(value).__name__)
        if value.size == rows and value.shape[:1] == (rows,):
            value = value.reshape(rows)
            return ops.mean(value if weight is None or self._weighted else value * weight)
        if value.size != 1:
            checks.fail(checks.ShapeError, self._name, "value", "one number, or one value a row", value.shape)
        if weight is not None and not self._weighted:
            expected = "one value a row, or an argument sample_weight, to be weighted"
            checks.fail(checks.ShapeError, self._name, "value", expected, value.shape)
        return value.reshape(())

    def targets(self, y: Any, output_shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        y = checks.numbers(self._name, "y_true", y)
        if y.ndim == 0:
            checks.fail(checks.ShapeError, self._name, "y_true", "at least one dimension", y.shape)
        if y.dtype.kind in "iu":
            return checks.host_array(self._name, "y_true", y, np.dtype(np.int64))
        array = checks.host_array(self._name, "y_true", y, np.dtype(dtype))
        column = array.ndim == len(output_shape) and output_shape[-1:] == (1,)
        return array[..., None] if column else array


def _takes_weights(function: Callable[..., Any], name: str) -> bool:
    """Whether a loss function has an argument `sample_weight`; an error if it is no loss function."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a compiled one does not tell
        return False
    weighted = "sample_weight" in signature.parameters
    try:
        signature.bind(None, None, **{"sample_weight": None} if weighted else {})
    except TypeError:
        expected = "f(y_pred, y_true) or f(y_pred, y_true, sample_weight)"
        checks.fail(TypeError, "loss", "function", expected, f"{name}{signature}")
    return weighted
