"""What happens inside a model: the outputs of its layers, and the gradients that reach them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import autodiff, batches, checks, ops, recording
from fastnn.program import Program
from fastnn.rules import zeros

if TYPE_CHECKING:
    from fastnn.model import Sequential


def layer_outputs(model: Sequential, X: Any) -> dict[str, np.ndarray]:
    """Each layer's output for rows X, as in `predict`.

    Parameters
    ----------
    model : Sequential
    X : array_like of shape (rows, ...)

    Returns
    -------
    dict of str to array of shape (rows, ...)
        By the layers' names, in their order.
    """
    x = checks.host_array("layer_outputs", "X", model._rows(X, "layer_outputs"), model.dtype)

    found = model._replay(model._program(_record_outputs, len(x)), x)
    return dict(zip(model.layer_names, found, strict=True))


def gradients(model: Sequential, X: Any, y: Any, of: str = "parameters") -> dict[str, np.ndarray]:
    """Gradients of the loss on rows X and targets y, without regularizers' penalties; nothing is changed.

    The layers behave as in the next training step: batch normalisation takes the batch's own statistics, and dropout
    that step's mask.

    Parameters
    ----------
    model : Sequential
        Compiled.
    X : array_like of shape (rows, ...)
    y : array_like
        Targets, as the loss takes them.
    of : {"parameters", "outputs"}
        Differentiate by the parameters, or by each layer's output.

    Returns
    -------
    dict of str to array
        By the trainable parameters' names, or the layers' names, in their order.
    """
    checks.option("gradients", "of", of, ("parameters", "outputs"))
    optimizer, loss = model._compiled()
    x = checks.host_array("gradients", "X", model._rows(X, "gradients"), model.dtype)
    targets = loss.targets(y, model.output_shape, model.dtype)
    batches.same_length("gradients", x, targets)

    trainable = [name for name, p in zip(model.parameter_names(), model._flat_parameters(), strict=True) if p.trainable]
    program = model._program(_record_gradients, of, targets.shape, targets.dtype)
    model._step.value = (optimizer.iterations + 1) % 2**32
    found = model._replay(program, x, targets)
    return dict(zip(trainable if of == "parameters" else model.layer_names, found, strict=True))


def _record_outputs(model: Sequential, program: Program, rows: int) -> None:
    """Record all layers' outputs."""
    x = program.input("x", (rows, *model._input()), model.dtype)
    for tensor in recording.forward(model, x, recording.parameters(model, program), training=False):
        program.output(tensor)


def _record_gradients(
    model: Sequential, program: Program, of: str, target_shape: tuple[int, ...], target_dtype: np.dtype
) -> None:
    """Record the loss's gradients by parameters or outputs."""
    _, loss = model._compiled()
    x = program.input("x", (target_shape[0], *model._input()), model.dtype)
    y = program.input("y", target_shape, target_dtype)
    # Layers update moving averages in training: copies of them.
    pairs = list(zip(model._flat_parameters(), recording.parameters(model, program), strict=True))
    parameters = [state if p.trainable else ops.linear(state) for p, state in pairs]
    outputs = recording.forward(model, x, parameters, training=True)
    wrt = [state for p, state in pairs if p.trainable] if of == "parameters" else outputs
    for tensor, gradient in zip(wrt, autodiff.gradients(loss.record(outputs[-1], y), wrt), strict=True):
        program.output(zeros(tensor) if gradient is None else gradient.reshape(tensor.shape))
