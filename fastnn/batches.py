"""Where training gets its batches: arrays in memory, memory-mapped files, streams of batches."""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import checks

if TYPE_CHECKING:
    from fastnn.model import Sequential

#: Rows (x), targets (y) and sample weights or None (w) of a step.
Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None]
#: Elements checked together: in float64 1 MiB, which stays in the cache, and of a file larger than memory a part.
PIECE = 2**17


def same_length(op: str, x: np.ndarray, y: np.ndarray) -> None:
    """Check that there are rows, and as many targets."""
    if y.ndim and len(x) == len(y) > 0:
        return
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


def class_weights(class_weight: Any, y: np.ndarray, classes: int, dtype: Any) -> np.ndarray:
    """Weights of rows from the weights of their classes."""
    labels = y
    if y.ndim == 2 and y.dtype.kind == "f":
        labels = y.argmax(axis=1) if y.shape[1] > 1 else np.where(y[:, 0] == -1, 0, y[:, 0])  # hinge losses' -1 is 0
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


def mapped(array: Any) -> bool:
    """Whether an array lies in a memory-mapped file, which may be larger than memory."""
    while array is not None:
        if isinstance(array, (np.memmap, mmap.mmap)):
            return True
        array = getattr(array, "base", None)
    return False


def finite(op: str, name: str, array: np.ndarray, ready: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
    """Refuse NaN and infinities, in the array or in what `ready` makes of its rows, naming the first row with one."""
    if array.ndim == 0 or (ready is None and array.dtype.kind != "f"):
        return
    rows = max(1, PIECE * len(array) // max(array.size, 1))
    for start in range(0, len(array), rows):
        piece = array[start : start + rows] if ready is None else ready(array[start : start + rows])
        if piece.dtype.kind == "f" and not np.isfinite(piece).all():
            row = start + int(np.argwhere(~np.isfinite(piece.reshape(len(piece), -1)).all(axis=1))[0, 0])
            checks.fail(checks.DataError, op, name, "finite numbers", f"NaN or infinity in row {row}")


def data(model: Sequential, op: str, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows and targets, checked, and ready for a step unless they are memory-mapped."""
    _, loss = model._compiled()
    x, y = model._rows(X, op), checks.numbers(op, "y", y)
    if mapped(y):
        same_length(op, x, y)
        finite(op, "y", y)  # NaN would look like a label of the wrong type
        finite(op, "y", y, lambda piece: loss.targets(piece, model.output_shape, model.dtype))
    else:
        finite(op, "y", y)
        y = loss.targets(y, model.output_shape, model.dtype)
        same_length(op, x, y)
        finite(op, "y", y)
    if mapped(x):
        if x.dtype.kind == "f":
            finite(op, "X", x, lambda piece: checks.host_array(op, "X", piece, model.dtype))
    else:
        x = checks.host_array(op, "X", x, model.dtype)
        finite(op, "X", x)
    return x, y


class ArrayBatches:
    """Batches of arrays that are ready for a step, gathered into buffers that are used again and again.

    Attributes
    ----------
    rows, batches : int
        An epoch.
    stride : int
        So many batches, and those before them as often, can be had again.
    """

    stride = 256

    def __init__(
        self, x: np.ndarray, y: np.ndarray, w: np.ndarray | None, batch_size: int, rng: Callable[[], Any] | None
    ) -> None:
        self.arrays = (x, y, w)
        self.rows = len(x)
        self.batch_size = min(batch_size, self.rows)
        self.batches = ceil(self.rows / self.batch_size)
        self._rng = rng
        self._order: np.ndarray | None = None
        self._buffers = [
            None if a is None else np.empty((self.batch_size, *a.shape[1:]), a.dtype) for a in self._gathered()
        ]

    def _gathered(self) -> tuple[np.ndarray | None, ...]:
        """The arrays that need buffers."""
        return self.arrays

    def epoch(self) -> Iterator[Batch]:
        """All batches once, in a new order if there is a generator of random numbers."""
        self._order = None if self._rng is None else self._rng().permutation(self.rows)
        return self.again(0)

    def again(self, first: int) -> Iterator[Batch]:
        """The epoch's batches from number `first` on; the next batch overwrites the one before."""
        for start in range(first * self.batch_size, self.rows, self.batch_size):
            rows = slice(start, start + self.batch_size)
            yield self._pick(rows if self._order is None else self._order[rows])

    def _pick(self, rows: Any) -> Any:
        if isinstance(rows, slice):
            return tuple(None if a is None else a[rows] for a in self.arrays)
        # mode="clip" lets take write straight into the buffer.
        return tuple(
            None if a is None else a.take(rows, 0, b[: len(rows)], "clip")
            for a, b in zip(self.arrays, self._buffers, strict=True)
        )


class MappedBatches(ArrayBatches):
    """Batches of arrays some of which are memory-mapped: each batch is read and converted for itself."""

    def __init__(self, model: Sequential, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._model = model

    def _gathered(self) -> tuple[np.ndarray | None, ...]:
        return ()

    def _pick(self, rows: Any) -> Any:
        (x, y, w), model = self.arrays, self._model
        _, loss = model._compiled()
        return (
            checks.host_array("fit", "X", x[rows], model.dtype),
            loss.targets(y[rows], model.output_shape, model.dtype),
            None if w is None else w[rows],
        )


def loader_of(
    model: Sequential,
    x: np.ndarray,
    y: np.ndarray,
    w: np.ndarray | None,
    batch_size: int,
    rng: Callable[[], Any] | None,
) -> ArrayBatches:
    """Batches of rows and targets as `data` returns them."""
    if mapped(x) or mapped(y):
        return MappedBatches(model, x, y, w, batch_size, rng)
    return ArrayBatches(x, y, w, batch_size, rng)


class Stream:
    """Batches that come one after the other, (x, y) or (x, y, sample_weight) each.

    Parameters
    ----------
    model : Sequential
    source : iterable, or callable that returns one
        A callable is called for each epoch, an iterable that is no iterator is begun anew; an iterator goes on.
    steps : int, optional
        Batches an epoch.
    class_weight : dict, optional
    """

    #: Copies of these batches, and of as many before them, are kept.
    stride = 8
    rows: int | None = None

    def __init__(self, model: Sequential, source: Any, steps: int | None, class_weight: Any) -> None:
        self.batches = steps
        self._model, self._source, self._class_weight = model, source, class_weight
        self._recent: deque[tuple[int, Batch]] = deque(maxlen=2 * self.stride)
        self._begun: Iterator[Any] | None = None
        if model.input_shape is None:  # the first batch decides the shapes
            begun = self._begin()
            first = list(islice(begun, 1))
            self._check_number(len(first), 1)
            for number, batch in enumerate(first):
                checked(model, f"fit: batch {number + 1}", batch, class_weight)
            self._begun = chain(first, begun)
            if begun is source:
                self._source = self._begun

    def _begin(self) -> Iterator[Any]:
        if self._begun is not None:
            begun, self._begun = self._begun, None
            return begun
        return _iterator("X", self._source)

    def epoch(self) -> Iterator[Batch]:
        """The batches of the next epoch."""
        self._recent.clear()
        number = 0
        for batch in islice(self._begin(), self.batches):
            ready = checked(self._model, f"fit: batch {number + 1}", batch, self._class_weight)
            self._recent.append((number, tuple(None if a is None else a.copy() for a in ready)))
            number += 1
            yield ready
        self._check_number(number, self.batches or 1)

    def _check_number(self, number: int, least: int) -> None:
        """Fail if a stream ended too early."""
        if number < least:
            expected = f"{self.batches or 'at least 1'} batches in every epoch"
            checks.fail(checks.DataError, "fit", "X", expected, f"an iterable that ended after {number}")

    def again(self, first: int) -> Iterator[Batch]:
        """The epoch's batches from number `first` on, as far as they have come."""
        return (batch for number, batch in list(self._recent) if number >= first)


def _iterator(name: str, source: Any) -> Iterator[Any]:
    """An iterator over a source's batches."""
    found = source() if callable(source) else source
    if not isinstance(found, Iterable):
        checks.fail(TypeError, "fit", name, "a callable that returns an iterable of batches", type(found).__name__)
    return iter(found)


def checked(model: Sequential, op: str, batch: Any, class_weight: Any = None) -> Batch:
    """One batch of a stream, ready for a step."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        got = f"{len(batch)} parts" if isinstance(batch, (tuple, list)) else type(batch).__name__
        checks.fail(TypeError, op, "X", "(x, y) or (x, y, sample_weight)", got)
    x, y = data(model, op, batch[0], batch[1])
    w = weights(op, batch[2] if len(batch) == 3 else None, len(x), model.dtype)
    if class_weight is not None:
        by_class = class_weights(class_weight, y, model.output_shape[-1], model.dtype)
        w = by_class if w is None else w * by_class
    _, loss = model._compiled()
    return (
        checks.host_array(op, "X", x, model.dtype),
        loss.targets(y, model.output_shape, model.dtype) if mapped(y) else y,
        w,
    )


def evaluated(model: Sequential, source: Any) -> dict[str, float]:
    """Loss and metrics on all batches that a callable's iterable has, weighted by their rows."""
    totals = dict.fromkeys(model.metric_names(), 0.0)
    rows = 0
    for number, batch in enumerate(_iterator("validation_data", source)):
        x, y, w = checked(model, f"fit: validation_data: batch {number + 1}", batch)
        rows += len(x)
        for name, value in model.evaluate(x, y, w).items():
            totals[name] += len(x) * value
    if rows == 0:
        checks.fail(checks.DataError, "fit", "validation_data", "at least one batch", "none")
    return {name: total / rows for name, total in totals.items()}
