"""The training loop: epochs, validation, callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import checks
from fastnn.batches import (
    ArrayBatches,
    Stream,
    class_weights,
    data,
    evaluated,
    loader_of,
    mapped,
    weights,
)
from fastnn.callbacks import Callback, CallbackList, History
from fastnn.callbacks.progress import shown
from fastnn.guard import Guard
from fastnn.initializers import generator

if TYPE_CHECKING:
    from fastnn.model import Sequential

#: Distinguishes the shuffling's random numbers from the parameters' in `generator(seed, ...)`.
_SHUFFLE = 2**32


def add(totals: Sequence[Any], values: Sequence[np.ndarray], rows: int) -> list[Any]:
    """Sums over rows of what programs measure, with those of a batch added: floats, and float64 arrays."""
    return [
        total + rows * (value.item() if value.size == 1 else value.astype(np.float64))
        for total, value in zip(totals, values, strict=True)
    ]


def fit(
    model: Sequential,
    X: Any,
    y: Any = None,
    *,
    epochs: int = 1,
    batch_size: int = 32,
    validation_data: Any = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    sample_weight: Any = None,
    class_weight: Any = None,
    callbacks: Sequence[Callback] | Callback | None = (),
    verbose: int = 1,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
) -> History:
    """Train a model.

    Parameters
    ----------
    model : Sequential
        Compiled.
    X : array_like of shape (rows, ...), or a stream of batches
        A memory-mapped array is read and converted batch by batch. Without `y`, a stream: an iterable of (x, y) or
        (x, y, sample_weight) batches, or a callable that returns such an iterable for each epoch.
    y : array_like, optional
        Targets, as the loss takes them.
    epochs : int
        Number of the last epoch: passes over the data if `initial_epoch` is 0.
    batch_size : int
        Rows a step; the last batch of an epoch may be smaller. 1 is stochastic, ``len(X)`` full-batch descent.
        Streams have batches of their own.
    validation_data : (X, y), (X, y, sample_weight) or callable, optional
        Evaluated after each epoch, reported as ``val_...``; a callable returns an iterable of batches.
    validation_split : float in [0, 1)
        Take this share of the rows, the last ones, as validation data instead, with their sample weights, as Keras
        does. Not for streams.
    shuffle : bool
        Visit the rows in a new order in each epoch; streams keep theirs.
    sample_weight : array_like of shape (rows,), optional
        Not for streams, whose batches bring theirs.
    class_weight : dict or "balanced", optional
        Weights by label, multiplied with `sample_weight`; "balanced" is inverse to the labels' frequencies, which
        nobody knows of a stream.
    callbacks : sequence of Callback, or one
    verbose : {0, 1, 2}
        0 is silent; 1 shows a progress bar when standard error is a terminal; 2 prints a line an epoch.
    initial_epoch : int
        Number of the first epoch. With ``model.epochs_done`` of a model loaded from a checkpoint training goes on bit
        for bit, and callbacks take over the states that the file holds for their classes.
    steps_per_epoch : int, optional
        Batches of a stream that make an epoch; by default, all until its end.

    Returns
    -------
    History
        Losses and metrics of each epoch. Ctrl-C ends training after the step under way and returns normally, with
        ``interrupted`` set; so does a callback that sets ``model.stop_training``, after the epoch.

    Raises
    ------
    DataError, ShapeError, DtypeError
        If the data cannot be trained on: empty, NaN or infinite, of the wrong shape, labels out of range, a stream that
        ends too early.
    NonFiniteLoss
        If the loss becomes infinite or NaN; the model goes back to the beginning of that epoch, or of the one before
        if the loss is not finite from the first batch on.
    """
    checks.integer("fit", "epochs", epochs, 0)
    checks.integer("fit", "initial_epoch", initial_epoch, 0)
    checks.integer("fit", "batch_size", batch_size, 1)
    checks.interval("fit", "validation_split", validation_split, 0, 1, "left")
    checks.option("fit", "verbose", verbose, (0, 1, 2))
    model._compiled()
    loader: ArrayBatches | Stream
    if y is None:
        absent = {"validation_split": validation_split or None, "sample_weight": sample_weight}
        loader = _stream(model, X, steps_per_epoch, epochs - initial_epoch, class_weight, absent)
    else:
        if steps_per_epoch is not None:
            checks.fail(ValueError, "fit", "steps_per_epoch", "None with arrays", steps_per_epoch)
        x, targets = data(model, "fit", X, y)
        w = weights("fit", sample_weight, len(x), model.dtype)
        if validation_split and validation_data is None:
            cut = len(x) - ceil(len(x) * validation_split)
            if cut == 0:
                expected = f"a share that leaves one of {len(x)} rows to train on"
                checks.fail(checks.DataError, "fit", "validation_split", expected, validation_split)
            validation_data = (x[cut:], targets[cut:], *(() if w is None else (w[cut:],)))
            x, targets, w = x[:cut], targets[:cut], None if w is None else w[:cut]
        if class_weight is not None:
            by_class = class_weights(class_weight, _labels(model, targets), model.output_shape[-1], model.dtype)
            w = by_class if w is None else w * by_class
        loader = loader_of(model, x, targets, w, batch_size, order_of(model) if shuffle else None)
    if validation_data is not None and not callable(validation_data):
        if not isinstance(validation_data, Sequence) or len(validation_data) not in (2, 3):
            expected = "(X, y) or (X, y, sample_weight), or a callable that returns batches"
            checks.fail(ValueError, "fit", "validation_data", expected, type(validation_data).__name__)
        held = data(model, "fit: validation_data", *validation_data[:2])
        w = validation_data[2] if len(validation_data) == 3 else None
        validation_data = (*held, weights("fit: validation_data", w, len(held[0]), model.dtype))
    history = History()
    params = {"epochs": epochs, "initial_epoch": initial_epoch, "rows": loader.rows, "batches": loader.batches}
    given = [callbacks] if isinstance(callbacks, Callback) else callbacks or ()
    watchers = CallbackList([history, *shown(verbose), *given], model, params)
    _run(model, loader, validation_data, range(initial_epoch, epochs), watchers, history)
    return history


def _stream(
    model: Sequential, X: Any, steps: int | None, epochs: int, class_weight: Any, absent: dict[str, Any]
) -> Stream:
    """The loader of a stream; options that need all rows at once must be absent."""
    if isinstance(X, np.ndarray) or not (callable(X) or isinstance(X, Iterable)):
        checks.fail(TypeError, "fit", "y", "targets, or an iterable of batches as X", "None")
    for name, value in absent.items():
        if value is not None:
            checks.fail(ValueError, "fit", name, "None for a stream of batches", type(value).__name__)
    if class_weight is not None and not isinstance(class_weight, dict):
        checks.fail(TypeError, "fit", "class_weight", "a dict of label to weight for a stream", repr(class_weight))
    if steps is not None:
        checks.integer("fit", "steps_per_epoch", steps, 1)
    elif isinstance(X, Iterator) and epochs > 1:
        expected = "a number with a generator and several epochs, or as X a callable that returns a generator"
        checks.fail(ValueError, "fit", "steps_per_epoch", expected, None)
    return Stream(model, X, steps, class_weight)


def _labels(model: Sequential, targets: np.ndarray) -> np.ndarray:
    """Targets in the form that the loss takes, those of a mapped file too."""
    _, loss = model._compiled()
    return loss.targets(targets, model.output_shape, model.dtype) if mapped(targets) else targets


def order_of(model: Sequential) -> Callable[[], np.random.Generator]:
    """A function to the generator of the next epoch's order: the seed and the steps done decide, as for dropout."""
    optimizer, _ = model._compiled()
    return lambda: generator(model.seed, _SHUFFLE, optimizer.iterations)


def _run(
    model: Sequential,
    loader: ArrayBatches | Stream,
    validation_data: Any,
    epochs: range,
    watchers: CallbackList,
    history: History,
) -> None:
    """Train for these epochs."""
    optimizer, _ = model._compiled()
    goes_on = epochs.start > 0 and epochs.start == model.epochs_done
    model._callback_states = model._callback_states if goes_on else []
    model.stop_training = False
    model.epochs_done = epochs.start
    guard = Guard(model, loader)
    with watchers.training():
        try:
            watchers.restore(model._callback_states)
            for epoch in epochs:
                if model.stop_training:
                    break
                watchers.call("on_epoch_begin", epoch)
                logs = _epoch(model, loader, epoch, watchers, guard)
                if callable(validation_data):
                    logs |= {f"val_{name}": value for name, value in evaluated(model, validation_data).items()}
                elif validation_data is not None:
                    logs |= {f"val_{name}": value for name, value in model.evaluate(*validation_data).items()}
                if watchers.sets_rate or callable(optimizer.learning_rate):
                    logs["learning_rate"] = optimizer._rate.value
                watchers.call("on_epoch_end", epoch, logs)
                if watchers.saves:
                    model._callback_states = watchers.states()
                    watchers.call("after_epoch", epoch, logs)
        except KeyboardInterrupt:
            history.interrupted = True
        finally:
            model._callback_states = []


class _Measurements:
    """Sums over an epoch's rows of what its steps measure, read from where they were computed."""

    def __init__(self, model: Sequential, guard: Guard) -> None:
        self.model, self.guard = model, guard
        self.totals: list[Any] = [0.0] * len(model.metric_names(training=True))
        self.rows, self.loss = 0, 0.0
        self._queued: list[tuple[int, int, tuple[Any, ...]]] = []

    def queue(self, number: int, size: int, values: tuple[Any, ...]) -> None:
        """What a batch of so many rows gives."""
        self._queued.append((number, size, values))

    def read(self) -> None:
        """Add up all that is queued, and look at the losses."""
        for number, size, there in self._queued:
            values = self.model._read(there)
            self.loss = values[0].item()
            self.guard.check(self.loss, number)
            self.rows += size
            self.totals = add(self.totals, values, size)
        self._queued.clear()

    def results(self) -> dict[str, float]:
        """Means of what was read."""
        return self.model.results(self.totals, self.rows)


def _epoch(
    model: Sequential, loader: ArrayBatches | Stream, epoch: int, watchers: CallbackList, guard: Guard
) -> dict[str, float]:
    """One pass over the data; returns mean loss and metrics.

    What a device measures is read when a callback asks for it, and every `stride` steps: till then batches are prepared
    while it computes.
    """
    measured = _Measurements(model, guard)
    number, waits = -1, watchers.watches_batches or not model.backend.device
    guard.begin(epoch)
    for number, (x, y, w) in enumerate(loader.epoch()):
        if number % loader.stride == 0:
            guard.keep(number)
        measured.queue(number, len(x), model._queue_step(x, y, w))
        if waits or (number + 1) % loader.stride == 0:
            measured.read()
        if watchers.watches_batches:
            logs = {**measured.results(), "loss": measured.loss, "size": len(x)}
            watchers.call("on_batch_end", number, logs)
    measured.read()
    guard.end(number + 1)
    model.epochs_done += 1
    return measured.results()
