"""The training loop: batches, epochs, validation, callbacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import checks
from fastnn.callbacks import Callback, CallbackList, History, ProgressBar
from fastnn.initializers import generator

if TYPE_CHECKING:
    from fastnn.model import Sequential

#: Distinguishes the shuffling's random numbers from the parameters' in `generator(seed, ...)`.
_SHUFFLE = 2**32


class NonFiniteLoss(ArithmeticError):
    """The loss became infinite or NaN; the model was set back to the beginning of an epoch."""


def same_length(op: str, x: np.ndarray, y: np.ndarray) -> None:
    """Check that there are rows, and as many targets."""
    if len(x) == 0:
        checks.fail(checks.DataError, op, "X", "at least one row", "none")
    if y.shape[:1] != x.shape[:1]:
        checks.fail(checks.ShapeError, op, "y", f"{len(x)} rows", len(y) if y.ndim else "a number")


def weights(op: str, sample_weight: Any, rows: int, dtype: Any) -> np.ndarray | None:
    """Sample weights as an array, checked."""
    if sample_weight is None:
        return None
    w = checks.host_array(op, "sample_weight", sample_weight, np.dtype(dtype))
    if w.shape != (rows,):
        checks.fail(checks.ShapeError, op, "sample_weight", f"shape ({rows},)", w.shape)
    if not (np.isfinite(w).all() and (w >= 0).all()):
        checks.fail(checks.DataError, op, "sample_weight", "finite numbers of at least 0", "others")
    return w


def add(totals: Sequence[Any], values: Sequence[np.ndarray], rows: int) -> list[Any]:
    """Sums over rows of what programs measure, with those of a batch added: floats, and float64 arrays."""
    return [
        total + rows * (value.item() if value.size == 1 else value.astype(np.float64))
        for total, value in zip(totals, values, strict=True)
    ]


def _class_weights(class_weight: Any, y: np.ndarray, classes: int, dtype: Any) -> np.ndarray:
    """Weights of rows from the weights of their classes."""
    labels = y
    if y.ndim == 2 and y.dtype.kind == "f":
        labels = y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0]
    classes = max(classes, 2)
    known = np.isin(labels, np.arange(classes))
    if labels.ndim != 1 or not known.all():
        expected = f"one label from 0 to {classes - 1} a row with class_weight"
        checks.fail(checks.DataError, "fit", "y", expected, f"shape {y.shape}" if known.all() else labels[~known][0])
    labels = labels.astype(np.int64)
    if isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(labels, minlength=classes)
        table = len(y) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    elif isinstance(class_weight, dict):
        table = np.ones(classes)
        for label, w in class_weight.items():
            checks.option("fit", "class_weight label", label, range(classes))
            checks.interval("fit", "class_weight", w, 0, float("inf"), "left")
            table[int(label)] = w
    else:
        checks.fail(TypeError, "fit", "class_weight", "a dict of label to weight, or 'balanced'", repr(class_weight))
    return table[labels].astype(dtype)


def _finite(op: str, name: str, array: np.ndarray) -> None:
    """Refuse NaN and infinities, naming the first row that has one."""
    if array.dtype.kind == "f" and array.ndim and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0, 0])
        checks.fail(checks.DataError, op, name, "finite numbers", f"NaN or infinity in row {row}")


def _data(model: Sequential, op: str, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows and targets as arrays, checked."""
    _, loss = model._compiled()
    x = model._rows(X, op)
    _finite(op, "y", np.asarray(y))  # NaN would look like a label of the wrong type
    targets = loss.targets(y, model.output_shape, model.dtype)
    same_length(op, x, targets)
    _finite(op, "X", x)
    _finite(op, "y", targets)
    return x, targets


def fit(
    model: Sequential,
    X: Any,
    y: Any,
    *,
    epochs: int = 1,
    batch_size: int = 32,
    validation_data: Sequence[Any] | None = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    sample_weight: Any = None,
    class_weight: Any = None,
    callbacks: Sequence[Callback] = (),
    verbose: int = 1,
) -> History:
    """Train a model.

    Parameters
    ----------
    model : Sequential
        Compiled.
    X : array_like of shape (rows, ...)
    y : array_like
        Targets, as the loss takes them.
    epochs : int
        Passes over the data.
    batch_size : int
        Rows a step; the last batch of an epoch may be smaller. 1 is stochastic, ``len(X)`` full-batch descent.
    validation_data : (X, y) or (X, y, sample_weight), optional
        Evaluated after each epoch, reported as ``val_...``.
    validation_split : float in [0, 1)
        Take this share of the rows, the last ones, as validation data instead.
    shuffle : bool
        Visit the rows in a new order in each epoch.
    sample_weight : array_like of shape (rows,), optional
    class_weight : dict or "balanced", optional
        Weights by label, multiplied with `sample_weight`; "balanced" is inverse to the labels' frequencies.
    callbacks : sequence of Callback
    verbose : int
        0 is silent; else there is a progress bar when standard error is a terminal.

    Returns
    -------
    History
        Losses and metrics of each epoch. Ctrl-C ends training after the step under way and returns normally, with
        ``interrupted`` set.

    Raises
    ------
    DataError, ShapeError, DtypeError
        If the data cannot be trained on: empty, NaN or infinite, of the wrong shape, labels out of range.
    NonFiniteLoss
        If the loss becomes infinite or NaN; the model goes back to the beginning of that epoch, or of the one before
        if the loss is not finite from the first batch on.
    """
    checks.integer("fit", "epochs", epochs, 0)
    checks.integer("fit", "batch_size", batch_size, 1)
    checks.interval("fit", "validation_split", validation_split, 0, 1, "left")
    x, targets = _data(model, "fit", X, y)
    w = weights("fit", sample_weight, len(x), model.dtype)
    if class_weight is not None:
        by_class = _class_weights(class_weight, targets, model.output_shape[-1], model.dtype)
        w = by_class if w is None else w * by_class
    if validation_data is not None:
        if not isinstance(validation_data, Sequence) or len(validation_data) not in (2, 3):
            expected = "(X, y) or (X, y, sample_weight)"
            checks.fail(ValueError, "fit", "validation_data", expected, type(validation_data).__name__)
        held = _data(model, "fit: validation_data", *validation_data[:2])
        validation_data = (*held, *validation_data[2:])
    elif validation_split:
        cut = len(x) - ceil(len(x) * validation_split)
        validation_data = (x[cut:], targets[cut:])
        x, targets, w = x[:cut], targets[:cut], None if w is None else w[:cut]
        same_length("fit", x, targets)
    history = History()
    batches = ceil(len(x) / batch_size)
    watchers = CallbackList(
        [history, *([ProgressBar()] if verbose else []), *callbacks],
        model,
        {"epochs": epochs, "rows": len(x), "batches": batches},
    )
    loader = _Batches(x, targets, w, batch_size)
    guard = _Guard(model)
    watchers.call("on_train_begin")
    try:
        for epoch in range(epochs):
            watchers.call("on_epoch_begin", epoch)
            logs = _epoch(model, loader, epoch, shuffle, watchers, guard)
            if validation_data is not None:
                scores = model.evaluate(*validation_data)
                logs |= {f"val_{name}": value for name, value in scores.items()}
            watchers.call("on_epoch_end", epoch, logs)
    except KeyboardInterrupt:
        history.interrupted = True
    finally:
        watchers.call("on_train_end")
    return history


class _Batches:
    """Batches of one epoch after the other, gathered into buffers that are used again and again."""

    def __init__(self, x: np.ndarray, y: np.ndarray, w: np.ndarray | None, batch_size: int) -> None:
        self.arrays = (x, y, w)
        self.batch_size = min(batch_size, len(x))
        self.buffers = tuple(
            None if a is None else np.empty((self.batch_size, *a.shape[1:]), a.dtype) for a in self.arrays
        )

    def __iter__(self) -> Iterator[tuple[Any, Any, Any]]:
        """In the rows' order, as views of the data."""
        for start in range(0, len(self.arrays[0]), self.batch_size):
            yield tuple(None if a is None else a[start : start + self.batch_size] for a in self.arrays)

    def shuffled(self, rng: np.random.Generator) -> Iterator[tuple[Any, Any, Any]]:
        """In a random order, as buffers that the next batch overwrites."""
        order = rng.permutation(len(self.arrays[0]))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            # mode="clip" lets take write straight into the buffer.
            yield tuple(
                None if a is None else np.take(a, rows, axis=0, out=b[: len(rows)], mode="clip")
                for a, b in zip(self.arrays, self.buffers, strict=True)
            )


class _Guard:
    """Keeps the model as it was at the beginning of an epoch, and goes back there when the loss turns non-finite.

    The step that ruins the parameters still has a finite loss, computed before. So a snapshot is good once a loss
    computed from it was finite; if it never was, the snapshot of the epoch before is the good one.
    """

    def __init__(self, model: Sequential) -> None:
        self.model = model
        self.good = self.latest = (0, model._snapshot())

    def begin(self, epoch: int) -> None:
        """Take the snapshot of an epoch."""
        self.latest = (epoch, self.model._snapshot())

    def check(self, loss: float, batch: int) -> None:
        """Look at a batch's loss."""
        if not np.isfinite(loss):
            self._fail(f"the loss became {loss} in epoch {self.latest[0] + 1}, batch {batch + 1}")
        self.good = self.latest

    def end(self) -> None:
        """Look at the parameters after an epoch: its last step may have ruined them."""
        if not all(np.isfinite(w).all() for w in self.model.get_weights()):
            self._fail(f"parameters became infinite or NaN at the end of epoch {self.latest[0] + 1}")

    def _fail(self, what: str) -> None:
        epoch, snapshot = self.good
        self.model._restore(snapshot)
        raise NonFiniteLoss(
            f"fit: {what}; the model was set back to the beginning of epoch {epoch + 1}. "
            "A smaller learning rate or clip_norm may help."
        )


def _epoch(
    model: Sequential, loader: _Batches, epoch: int, shuffle: bool, watchers: CallbackList, guard: _Guard
) -> dict[str, float]:
    """One pass over the data; returns mean loss and metrics."""
    totals: list[Any] = [0.0] * len(model.metric_names(training=True))
    rows = 0
    batches = loader.shuffled(generator(model.seed, _SHUFFLE, model.epochs_done)) if shuffle else loader
    guard.begin(epoch)
    for number, (x, y, w) in enumerate(batches):
        values = model._step_on(x, y, w)
        loss = values[0].item()
        guard.check(loss, number)
        size = len(x)
        rows += size
        totals = add(totals, values, size)
        if watchers.watches_batches:
            watchers.call("on_batch_end", number, {**model.results(totals, rows), "loss": loss, "size": size})
    guard.end()
    model.epochs_done += 1
    return model.results(totals, rows)
