"""The learning rate range test: which learning rates a model bears, found in one short training run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import batches, checks
from fastnn.training import order_of

if TYPE_CHECKING:
    from fastnn.model import Sequential

#: The test ends when the loss exceeds the smallest one so far by this factor (if that is positive).
DIVERGED = 4.0


def learning_rate_range_test(
    model: Sequential,
    X: Any,
    y: Any,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    batch_size: int = 32,
    sample_weight: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Train with an ever larger learning rate and note the losses (Smith 2017, section 3.3).

    Step i of n takes the learning rate ``low (high / low)^(i / (n - 1))``. A good largest learning rate, for example
    that of `fastnn.schedules.OneCycle`, lies where the loss falls steeply, well before its minimum. The model is left
    exactly as it was: parameters, the optimizer's moments, step count and learning rate, random state.

    Parameters
    ----------
    model : Sequential
        Compiled.
    X : array_like of shape (rows, ...)
    y : array_like
        Memory-mapped arrays are read and converted batch by batch, as in `fit`.
    low, high : float
        First and last learning rate, ``0 < low < high``.
    steps : int
        At least 2. Batches are drawn as in `fit`, from as many passes over the data as it takes.
    batch_size : int
    sample_weight : array_like of shape (rows,), optional

    Returns
    -------
    rates, losses : array of shape (done,)
        Each learning rate, and the loss of its batch before the step with it. There are fewer than `steps` where the
        test ended early: after a loss of more than 4 times the smallest one, or before the first that was infinite or
        NaN.

    Raises
    ------
    DataError, ShapeError, DtypeError
        As in `fit`.
    """
    name = "learning_rate_range_test"
    checks.interval(name, "low", low, 0, float("inf"), "neither")
    checks.interval(name, "high", high, low, float("inf"), "neither")
    checks.integer(name, "steps", steps, 2)
    checks.integer(name, "batch_size", batch_size, 1)
    x, targets = batches.data(model, name, X, y)
    w = batches.weights(name, sample_weight, len(x), model.dtype)
    loader = batches.loader_of(model, x, targets, w, batch_size, order_of(model))
    optimizer, _ = model._compiled()
    snapshot, dropout_step, learning_rate = model._snapshot(), model._step.value, optimizer.learning_rate
    rates = low * (high / low) ** (np.arange(steps) / (steps - 1))
    losses: list[float] = []
    try:
        for rate, batch in zip(rates, _endless(loader), strict=False):
            optimizer.learning_rate = float(rate)
            loss = model._step_on(*batch)[0].item()
            if not np.isfinite(loss):
                break
            losses.append(loss)
            if 0 < DIVERGED * min(losses) < loss:
                break
    finally:
        model._restore(snapshot)
        model._step.value, optimizer.learning_rate = dropout_step, learning_rate
    return rates[: len(losses)], np.array(losses)


def _endless(loader: batches.ArrayBatches) -> Iterator[batches.Batch]:
    """Batches of one pass after the other."""
    while True:
        yield from loader.epoch()
