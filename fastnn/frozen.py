"""Inference for one batch size, as fast as it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import checks, recording
from fastnn_ext.replay import Inference

if TYPE_CHECKING:
    from fastnn.model import Sequential


class Frozen(Inference):
    """A model's inference for one batch size.

    Calling it with an array of shape (batch_size, ...), or of one row's shape when the batch size is one, returns the
    output in the corresponding shape; `out` saves the allocation.
    """

    def __init__(self, model: Sequential, batch_size: int) -> None:
        self._model = model
        self._program = model._program(recording.inference, batch_size)
        replay = self._program.compile()
        self._run = replay.run
        self._shape = self._program.outputs[0].shape
        self._rows = self._program.inputs[0].shape
        self._single = batch_size == 1
        super().__init__(replay)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is made of the model, or of its copy."""
        return type(self), (self._model, self._rows[0])

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
            checks.output("freeze", checks.OUT, out, shape, model.dtype, [x])
        if model.backend.device:
            out[...] = model._replay(self._program, x.reshape(self._rows))[0].reshape(shape)
        else:
            self._run((x, out))
        return out
