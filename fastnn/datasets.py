"""Readers of data sets: the digits that come with the package, IDX, npz and CSV files.

Each returns a `Dataset`. What is wrong with a file is a `DataError` of one line that names the file and the place.
"""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from os import PathLike, fspath

import numpy as np

from fastnn.checks import DataError
from fastnn.csv_table import CsvTable, parse_csv

__all__ = ["Column", "Dataset", "load", "load_csv", "load_digits", "load_idx", "load_npz", "read_idx"]

FilePath = str | PathLike
MISSING_POLICIES = ("error", "mean", "drop")


@dataclass(frozen=True)
class Column:
    """A feature column of a CSV file: numbers, or text with these categories (one-hot, in this order)."""

    name: str
    categories: tuple[str, ...] | None = None

    @property
    def feature_names(self) -> list[str]:
        """One name per feature that the column becomes."""
        return [self.name] if self.categories is None else [f"{self.name}={c}" for c in self.categories]


@dataclass(frozen=True)
class Dataset:
    """Features and target of a data set.

    Attributes
    ----------
    X : (rows, features) floating array
        float32, or float64 where the file holds more digits. Missing values that were kept are NaN.
    y : (rows,) array or None
        The target as the file has it: int64, float64, bool or text.
    shape : tuple of int
        The shape of one row in the file, e.g. (28, 28) for images: ``X.reshape(-1, *shape)``.
    columns : tuple of Column
        How the columns of a CSV file became features; empty for arrays.
    """

    X: np.ndarray
    y: np.ndarray | None
    shape: tuple[int, ...]
    columns: tuple[Column, ...] = ()

    @property
    def feature_names(self) -> list[str]:
        """Names of the features of a CSV file; empty for arrays."""
        return [name for column in self.columns for name in column.feature_names]


def load(
    path: FilePath,
    labels: FilePath | None = None,
    *,
    target: str | int | None = None,
    missing: str = "error",
    ignore: Sequence[str | int] = (),
    header: bool = True,
) -> Dataset:
    """Read ``"digits"``, an npz file, an IDX file (with its `labels`) or else a CSV file, told apart by content.

    `target`, `ignore` and `header` are for CSV files, see `load_csv`; `missing` for CSV and npz files.
    """
    if fspath(path) == "digits":
        return load_digits()
    kind = file_kind(path)
    if kind == "idx":
        return load_idx(path, labels)
    if labels is not None:
        raise DataError(f"{fspath(path)}: not an IDX file, so separate labels have no meaning")
    if kind == "npz":
        return load_npz(path, missing=missing)
    return load_csv(path, target, missing=missing, ignore=ignore, header=header)


def file_kind(path: FilePath) -> str:
    """Which of "npz", "idx" and "csv" a file is, by the first bytes of the file (after decompression)."""
    with open(path, "rb") as file:
        start = file.read(4)
    if start.startswith(b"PK"):
        return "npz"
    if start.startswith(b"\x1f\x8b"):
        start = read_bytes(path)[:4]
    return "idx" if start[:2] == b"\0\0" else "csv"


def read_bytes(path: FilePath) -> bytes:
    """The content of a file, decompressed if it is gzip (by content, not by name)."""
    with open(path, "rb") as file:
        content = file.read()
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{fspath(path)}: damaged gzip file: {error}") from error


# --- arrays ----------------------------------------------------------------------------------------------


def load_digits() -> Dataset:
    """The 1,797 handwritten digits of 8x8 pixels (0 to 16) that come with the package; see data/README.md."""
    folder = resources.files("fastnn.data")
    with (
        resources.as_file(folder / "digits-images-idx3-ubyte.gz") as images,
        resources.as_file(folder / "digits-labels-idx1-ubyte.gz") as labels,
    ):
        return load_idx(images, labels)


#: IDX type codes (http://yann.lecun.com/exdb/mnist/): always big-endian.
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: FilePath) -> np.ndarray:
    """The array of an IDX file, plain or gzip: 0, 0, type, number of dimensions, sizes (big-endian int32), values."""
    content, name = read_bytes(path), fspath(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        known = ", ".join(f"{code:02x}" for code in _IDX_TYPES)
        raise DataError(
            f"{name}: not an IDX file: expected bytes 00 00, a type ({known}) and the number of dimensions, "
            f"got {content[:4].hex(' ') or 'an empty file'}"
        )
    rank, dtype = content[3], np.dtype(_IDX_TYPES[content[2]])
    start = 4 + 4 * rank
    if rank == 0 or len(content) < start:
        raise DataError(f"{name}: IDX header of {rank} dimensions needs {start} bytes, the file has {len(content)}")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", rank, 4))
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        sizes = "x".join(map(str, shape))
        raise DataError(f"{name}: IDX header says {sizes} values, so {expected} bytes, the file has {len(content)}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def load_idx(images: FilePath, labels: FilePath | None = None) -> Dataset:
    """Images (rows, ...) and labels (rows,) from two IDX files, as MNIST is published."""
    x, name = read_idx(images), fspath(images)
    if x.ndim < 2:
        raise DataError(f"{name}: expected images, with at least 2 dimensions, got shape {x.shape}: are these labels?")
    y = None if labels is None else read_idx(labels)
    if y is not None and (y.ndim != 1 or y.dtype.kind not in "iu"):
        raise DataError(f"{fspath(labels)}: expected labels, integers of 1 dimension, got {y.dtype} of shape {y.shape}")
    if y is not None and len(y) != len(x):
        raise DataError(f"{name} has {len(x)} images, but {fspath(labels)} has {len(y)} labels")
    return _dataset(x, y, name, "error")


_X_KEYS = ("X", "x", "images", "data", "features")
_Y_KEYS = ("Y", "y", "labels", "label", "target", "targets")


def load_npz(path: FilePath, *, missing: str = "error", need_target: bool = True) -> Dataset:
    """Features and target of an npz file, under the keys X, x, images, data or features and y, labels or target.

    `missing` is what happens to NaN: "error", "mean" (kept, for a `Standardizer` to fill) or "drop" (the rows).
    """
    name, arrays = fspath(path), {}
    try:
        with np.load(path, allow_pickle=False) as file:
            keys = list(file.keys())
            for role, candidates in (("X", _X_KEYS), ("y", _Y_KEYS)):
                arrays[role] = next((file[key] for key in candidates if key in keys), None)
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{name}: cannot read this npz file: {error}") from error
    for role, candidates in (("X", _X_KEYS), ("y", _Y_KEYS)):
        if arrays[role] is None and (role == "X" or need_target):
            raise DataError(f"{name}: has no array {' or '.join(candidates)}; its arrays: {', '.join(keys) or 'none'}")
    x, y = arrays["X"], arrays["y"]
    if x.ndim < 2 or x.dtype.kind not in "biuf":
        raise DataError(f"{name}: features must be numbers of at least 2 dimensions, got {x.dtype} of shape {x.shape}")
    if y is not None:
        y = y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y
        y = y.astype(str) if y.dtype.kind == "S" else y
        if y.shape != (len(x),) or y.dtype.kind not in "biufU":
            raise DataError(
                f"{name}: the target must be numbers or text of shape ({len(x)},), one per row of the features, "
                f"got {y.dtype} of shape {y.shape}"
            )
    return _dataset(x, y, name, missing)


def _dataset(x: np.ndarray, y: np.ndarray | None, name: str, missing: str) -> Dataset:
    """A `Dataset` of arrays, values checked."""
    features = np.ascontiguousarray(x.reshape(len(x), math.prod(x.shape[1:])), np.result_type(x.dtype, np.float32))
    if not features.size:
        raise DataError(f"{name}: no data: the array's shape is {x.shape}")

    def place(row: int, feature: int) -> str:
        return f"{name}: row {row}, feature {feature} (counted from 0)"

    infinite = np.argwhere(np.isinf(features))
    if len(infinite):
        raise DataError(f"{place(*infinite[0])}: infinite value")
    keep = rows_to_keep(np.isnan(features), missing, place)
    if y is not None and y.dtype.kind == "f":
        if np.isinf(y).any():
            raise DataError(f"{name}: row {np.flatnonzero(np.isinf(y))[0]} of the target: infinite value")
        unknown = np.isnan(y)[:, None]
        keep &= rows_to_keep(unknown, missing, lambda row, _: f"{name}: row {row} of the target", target=True)
    if y is not None:
        y = y.astype({"b": bool, "i": np.int64, "u": np.int64, "f": np.float64}.get(y.dtype.kind, y.dtype))[keep]
    return Dataset(features[keep], y, x.shape[1:])


# --- CSV -------------------------------------------------------------------------------------------------


def load_csv(
    path: FilePath,
    target: str | int | None = None,
    *,
    missing: str = "error",
    ignore: Sequence[str | int] = (),
    header: bool = True,
    columns: Sequence[Column] | None = None,
) -> Dataset:
    """Features and target of a CSV file (plain or gzip; separated by comma, semicolon or tab; quoted fields).

    Numeric columns become one feature, text columns one 0/1 feature per category.

    Parameters
    ----------
    target : str or int, optional
        The target's column, by name, or by number from 0 (from -1 backwards). None: no target.
    missing : {"error", "mean", "drop"}
        What happens where a field is empty, NA, N/A, nan, null or ``?``: an error that names row and column; NaN,
        which a `Standardizer` turns into the mean (for a category: its share of the rows); or the row is left out.
    ignore : sequence of str or int
        Columns to leave out.
    header : bool
        Whether the first line names the columns. Without, they are called "0", "1", ...
    columns : sequence of Column, optional
        The columns a model was trained with. Then only these are read, found by name (in a file without header
        that has just as many columns: in their order), and text that is not among their categories is an error.
    """
    table = parse_csv(read_bytes(path), fspath(path), header)
    target_number = None if target is None else table.find(target)
    if columns is None:
        left_out = {target_number, *map(table.find, ignore)}
        numbers = [i for i in range(len(table.header)) if i not in left_out]
    elif not header and len(columns) == len(table.header):
        numbers = list(range(len(columns)))
    else:
        absent = [column.name for column in columns if column.name not in table.header]
        if absent:
            raise DataError(f"{table.name}: lacks the columns {', '.join(map(repr, absent))} of the training data")
        numbers = [table.header.index(column.name) for column in columns]
    if not numbers:
        raise DataError(f"{table.name}: no columns left for features")
    known = columns or [None] * len(numbers)
    encoded = [_encode_column(table, i, column) for i, column in zip(numbers, known, strict=True)]
    blocks = [block for _, block in encoded]
    absent = np.stack([np.isnan(block[:, 0]) for block in blocks], axis=1)
    keep = rows_to_keep(absent, missing, lambda row, i: table.place(row, numbers[i]))
    y = None
    if target_number is not None:
        y = table.values(target_number)
        unknown = (np.isnan(y) if y.dtype.kind == "f" else y == "")[:, None]
        keep &= rows_to_keep(unknown, missing, lambda row, _: table.place(row, target_number), target=True)
        y = y[keep]
    if not keep.any():
        raise DataError(f"{table.name}: every row has a missing value")
    features = np.hstack(blocks)[keep]
    return Dataset(features, y, features.shape[1:], tuple(column for column, _ in encoded))


def _encode_column(table: CsvTable, number: int, column: Column | None) -> tuple[Column, np.ndarray]:
    """A column and its features (rows, k) float64; as numbers or categories as `column` says, if it is known."""
    if column is None:
        name = table.header[number]
        if not name:
            raise DataError(f"{table.name}: column {number} has no name; leave it out with --ignore {number}")
        values = table.values(number)
        column = Column(name, table.categories(number, values) if values.dtype.kind == "U" else None)
    else:
        values = table.numbers(number) if column.categories is None else table.text(number)
    if column.categories is None:
        return column, values[:, None]
    one_hot = (values[:, None] == np.array(column.categories)).astype(np.float64)
    unknown = np.flatnonzero((one_hot.sum(axis=1) == 0) & (values != ""))
    if len(unknown):
        raise DataError(
            f"{table.place(unknown[0], number)}: {str(values[unknown[0]])!r} is not among the categories of the "
            f"training data: {', '.join(column.categories)}"
        )
    one_hot[values == ""] = np.nan
    return column, one_hot


def rows_to_keep(
    absent: np.ndarray, policy: str, place: Callable[[int, int], str], *, target: bool = False
) -> np.ndarray:
    """Which rows (rows,) bool stay, given which values are missing (rows, columns) bool.

    `place` names a row and column for the error message. A missing `target` cannot be filled in.
    """
    if policy not in MISSING_POLICIES:
        raise ValueError(f"missing must be one of {', '.join(MISSING_POLICIES)}, got {policy!r}")
    if policy == "drop":
        return ~absent.any(axis=1)
    if absent.any() and (policy == "error" or target):
        row, column = (int(i) for i in np.argwhere(absent)[0])
        more = f" (and {absent.sum() - 1} more)" if absent.sum() > 1 else ""
        fill = "" if target else "--missing mean fills in the mean, "
        raise DataError(f"{place(row, column)}: missing value{more}; {fill}--missing drop leaves such rows out")
    return np.ones(len(absent), bool)
