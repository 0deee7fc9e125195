"""Rows to train on, to validate on and to test on.

Splits are stratified on request: rows are sorted by class, shuffled within each, and each part takes its rows at even
distances, so that every class gives its share to within one row, however few its rows are.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from numbers import Integral
from typing import Any

import numpy as np

from fastnn import checks


def train_test_split(
    *arrays: Any,
    test_size: float | None = None,
    train_size: float | None = None,
    seed: int | None = None,
    shuffle: bool = True,
    stratify: Any = None,
) -> list[Any]:
    """Rows to train on and to test on, of one array or of several with the same rows.

    Parameters
    ----------
    *arrays : array_like of shape (rows, ...)
    test_size, train_size : float in [0, 1) or int, optional
        Share or number of rows; shares are rounded up for the test and down for the training. One left out is what
        the other leaves; without both, a quarter of the rows is for the test.
    seed : int, optional
        The same seed gives the same split; by default every split is another.
    shuffle : bool
        Draw rows at random; else the first ones are for the training, those after them for the test.
    stratify : array_like of shape (rows,), optional
        Classes, of which each part takes the same share.

    Returns
    -------
    list
        For each array its rows to train on, then its rows to test on, as copies.

    Raises
    ------
    ValueError
        If sizes are out of range, nothing is left to train on, or `stratify` is given without `shuffle`.
    """
    who = "train_test_split"
    n = _length(who, arrays)
    if test_size is None and train_size is None:
        test_size = 0.25
    test = None if test_size is None else _size(who, "test_size", test_size, n, up=True)
    train = n - (test or 0) if train_size is None else _size(who, "train_size", train_size, n, up=False)
    test = n - train if test is None else test
    if train < 1 or train + test > n:
        expected = f"at least 1 row to train on and at most {n} in all"
        checks.fail(ValueError, who, "sizes", expected, f"{train} to train and {test} to test")
    if not shuffle:
        if stratify is not None:
            checks.fail(ValueError, who, "stratify", "None without shuffle", "classes")
        rows = np.arange(n)
        return _parts(arrays, [rows[:train], rows[train : train + test]])
    generator = _generator(who, seed)
    chosen, rest = _take(_order(who, n, generator, stratify), test)
    kept, _ = _take(rest, train)
    return _parts(arrays, [generator.permutation(kept), generator.permutation(chosen)])


def train_validation_test_split(
    *arrays: Any,
    validation_size: float = 0.2,
    test_size: float = 0.2,
    seed: int | None = None,
    stratify: Any = None,
) -> list[Any]:
    """Rows to train on, to validate on and to test on, drawn at random.

    Parameters
    ----------
    *arrays : array_like of shape (rows, ...)
    validation_size, test_size : float in [0, 1) or int
        Share of all rows, rounded up, or number of rows.
    seed : int, optional
        The same seed gives the same split; by default every split is another.
    stratify : array_like of shape (rows,), optional
        Classes, of which each part takes the same share.

    Returns
    -------
    list
        For each array its rows to train on, to validate on, and to test on, as copies.

    Raises
    ------
    ValueError
        If sizes are out of range or nothing is left to train on.
    """
    who = "train_validation_test_split"
    n = _length(who, arrays)
    test = _size(who, "test_size", test_size, n, up=True)
    validation = _size(who, "validation_size", validation_size, n, up=True)
    if validation + test >= n:
        checks.fail(ValueError, who, "sizes", f"less than {n} rows", f"{validation} to validate and {test} to test")
    generator = _generator(who, seed)
    tested, rest = _take(_order(who, n, generator, stratify), test)
    validated, rest = _take(rest, validation)
    return _parts(arrays, [generator.permutation(rows) for rows in (rest, validated, tested)])


def k_fold(
    rows: Any, n_splits: int = 5, *, shuffle: bool = False, seed: int | None = None, stratify: Any = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row numbers to train on and to test on, `n_splits` times; each row is tested on once (Stone 1974).

    Parameters
    ----------
    rows : int or array_like of shape (rows, ...)
    n_splits : int
        At least 2, at most the number of rows.
    shuffle : bool
        Draw the folds at random; else they are consecutive rows, with `stratify` consecutive rows of each class.
    seed : int, optional
        The same seed gives the same folds; by default they are others each time.
    stratify : array_like of shape (rows,), optional
        Classes, of which each fold takes the same share to within one row.

    Yields
    ------
    train, test : sorted int64 arrays
        Folds differ by at most one row in size.
    """
    n = int(rows) if isinstance(rows, Integral) else _length("k_fold", [rows])
    checks.integer("k_fold", "n_splits", n_splits, 2)
    if n_splits > n:
        checks.fail(ValueError, "k_fold", "n_splits", f"at most {n}, the number of rows", n_splits)
    generator = _generator("k_fold", seed) if shuffle else None
    order = _order("k_fold", n, generator, stratify)
    classes = np.zeros(n) if stratify is None else np.asarray(stratify)[order]
    dealt = np.arange(n) % n_splits  # like cards, to rows sorted by class
    folds = np.empty(n, np.int64)
    folds[order] = dealt[np.lexsort((dealt, classes))]  # and then in order within each class
    return ((np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(n_splits))


def _length(who: str, arrays: Any) -> int:
    """Number of rows of all arrays."""
    if not arrays:
        checks.fail(ValueError, who, "arrays", "at least one", "none")
    lengths = [np.shape(a)[:1] for a in arrays]
    if len(set(lengths)) > 1 or not lengths[0]:
        checks.fail(checks.ShapeError, who, "arrays", "the same number of rows", [np.shape(a) for a in arrays])
    return lengths[0][0]


def _size(who: str, name: str, size: float, n: int, *, up: bool) -> int:
    """A share or number of rows as a number."""
    if isinstance(size, Integral) and not isinstance(size, bool):
        checks.integer(who, name, size, 0)
        return int(size)
    checks.interval(who, name, size, 0, 1, "left")
    return ceil(n * size) if up else int(n * size)


def _generator(who: str, seed: int | None) -> np.random.Generator:
    """Random numbers that the seed decides, if there is one."""
    if seed is not None:
        checks.integer(who, "seed", seed, 0)
    return np.random.default_rng(seed)


def _order(who: str, n: int, generator: np.random.Generator | None, stratify: Any) -> np.ndarray:
    """Row numbers, in random order if there is a generator, sorted by class if there are classes."""
    rows = np.arange(n) if generator is None else generator.permutation(n)
    if stratify is None:
        return rows
    classes = np.asarray(stratify)
    if classes.shape != (n,):
        checks.fail(checks.ShapeError, who, "stratify", f"shape ({n},)", classes.shape)
    return rows[np.argsort(classes[rows], kind="stable")]


def _take(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` of the rows, at even distances, and the others, both in the order they have."""
    steps = np.arange(len(rows) + 1) * count // max(len(rows), 1)
    taken = steps[1:] > steps[:-1]
    return rows[taken], rows[~taken]


def _parts(arrays: Any, parts: list[np.ndarray]) -> list[Any]:
    return [np.asarray(array)[rows] for array in arrays for rows in parts]
