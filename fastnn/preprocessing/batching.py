"""Mini-batches of arrays, of files mapped into memory, and of rows that come one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from fastnn import checks


def batches(
    X: Any,
    y: Any = None,
    batch_size: int = 32,
    *,
    shuffle: bool | None = None,
    seed: int = 0,
    drop_last: bool = False,
) -> Iterator[Any]:
    """Mini-batches of the rows of X, and of y.

    Of an array mapped into memory (``np.load(path, mmap_mode="r")``, `numpy.memmap`) only a batch's rows are read.
    Anything that is iterated rather than indexed, such as a generator, gives single rows, or tuples such as
    ``(x, y)``, which are collected into batches; no more than one batch is held at a time.

    Parameters
    ----------
    X : array_like of shape (rows, ...), or iterable of rows
    y : array_like of shape (rows, ...), optional
        Not with an iterable, which gives its targets itself.
    batch_size : int
    shuffle : bool, optional
        Whether the rows come in random order: by default yes for arrays. An iterable's rows cannot be shuffled.
    seed : int
        Of the order. Another for each epoch gives each epoch its own.
    drop_last : bool
        Leave out a last batch of less than `batch_size` rows.

    Yields
    ------
    array, or tuple of arrays
        Copies of at most `batch_size` rows: of X, or of X and y.
    """
    checks.integer("batches", "batch_size", batch_size, 1)
    if not hasattr(X, "__getitem__"):
        if y is not None:
            checks.fail(TypeError, "batches", "y", "None with an iterable of rows: tuples (x, y) instead", "targets")
        if shuffle:
            checks.fail(ValueError, "batches", "shuffle", "False with an iterable of rows", True)
        return _collected(X, batch_size, drop_last)
    arrays = tuple(_indexable(a) for a in (X, y) if a is not None)
    rows = [a.shape[:1] for a in arrays]
    if rows[0] == () or rows[0] != rows[-1]:
        checks.fail(checks.ShapeError, "batches", "X and y", "the same number of rows", [a.shape for a in arrays])
    checks.integer("batches", "seed", seed, 0)
    n = rows[0][0]
    order = np.arange(n) if shuffle is False else np.random.default_rng(seed).permutation(n)
    return _gathered(arrays, order, batch_size, drop_last)


def _indexable(array: Any) -> Any:
    """An array, or what has a shape and is indexed like one."""
    return array if hasattr(array, "shape") else np.asarray(array)


def _gathered(arrays: tuple[Any, ...], order: np.ndarray, batch_size: int, drop_last: bool) -> Iterator[Any]:
    """Batches of arrays' rows in an order."""
    end = len(order) - len(order) % batch_size if drop_last else len(order)
    for start in range(0, end, batch_size):
        rows = order[start : start + batch_size]
        parts = tuple(np.asarray(a[rows]) for a in arrays)
        yield parts if len(parts) > 1 else parts[0]


def _collected(source: Iterable[Any], batch_size: int, drop_last: bool) -> Iterator[Any]:
    """Batches of rows, or of tuples of rows, that come one by one."""
    rows = iter(source)
    while batch := list(islice(rows, batch_size)):
        if len(batch) < batch_size and drop_last:
            return
        paired = isinstance(batch[0], tuple)
        yield tuple(np.stack(part) for part in zip(*batch, strict=True)) if paired else np.stack(batch)
