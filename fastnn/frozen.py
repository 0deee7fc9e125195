"""Inference for one batch size, as fast as it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import checks
from fastnn.table import TABLE

if TYPE_CHECKING:
    from fastnn.model import Sequential

#: How error messages describe an array for results.
RESULT = TABLE["linear"].outputs[0]


class Frozen:
    """A model's inference for one batch size.

    Calling it with an array of shape (batch_size, ...), or of one row's shape when the batch size is one, returns the
    output in the corresponding shape; `out` saves the allocation.
    """

    def __init__(self, model: Sequential, batch_size: int) -> None:
        self._model = model
        self._program = model._inference(batch_size)
        self._replay = self._program.compile()
        self._shape = self._program.outputs[0].shape
        self._rows = self._program.inputs[0].shape
        self._single = batch_size == 1

    def __call__(self, x: Any, out: np.ndarray | None = None) -> np.ndarray:
        y = None if self._model.backend.device else self._replay.infer(x, out)
        return self._checked(x, out) if y is None else y

    def _checked(self, x: Any, out: np.ndarray | None) -> np.ndarray:
        """The output for what is not just the arrays that a replay needs."""
        model = self._model
        row = self._single and np.shape(x) == self._rows[1:]
        expected = self._rows[1:] if row else self._rows
        if np.shape(x) != expected:
            checks.fail(checks.ShapeError, "freeze", "x", f"shape {self._rows}", np.shape(x))
        x = checks.host_array("freeze", "x", x, model.dtype)
        shape = self._shape[1:] if row else self._shape
        if out is None:
            out = np.empty(shape, model.dtype)
        else:
            checks.output("freeze", RESULT, out, shape, model.dtype, [x])
        if model.backend.device:
            out[...] = model._replay(self._program, x.reshape(self._rows))[0].reshape(shape)
        else:
            self._replay.run((x, out))
        return out
