"""What the command does between the file and the network: which task, which rows, and what is saved of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from fastnn import datasets
from fastnn.checks import DataError
from fastnn.datasets import Column
from fastnn.preprocessing import Standardizer

#: Integers are class labels up to this number of different values, when an array of integers holds the target.
MAX_CLASSES = 1000
#: Floats are class labels only when they are exactly 0, 1, ..., k-1 with k up to this.
MAX_NUMBERED_CLASSES = 20


def choose_task(y: np.ndarray) -> str:
    """Whether a target `y` (rows,) asks for "classification" or "regression".

    - text and booleans are classes;
    - integers (IDX and npz files) are classes, unless they have more than `MAX_CLASSES` different values or more
      than one for every two rows;
    - floats (every numeric CSV column) are a quantity, unless they are the numbers 0, 1, ..., k-1 by which classes
      are usually encoded: all of them present, 2 <= k <= `MAX_NUMBERED_CLASSES`, at most one for every two rows.
      A score from 3 to 8 is a quantity.
    """
    values = np.unique(y)
    if y.dtype.kind in "bU":
        return "classification"
    few = 2 <= len(values) <= len(y) / 2
    if y.dtype.kind in "iu":
        return "classification" if few and len(values) <= MAX_CLASSES else "regression"
    numbered = few and len(values) <= MAX_NUMBERED_CLASSES and np.array_equal(values, np.arange(len(values)))
    return "classification" if numbered else "regression"


def encode_classes(y: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Class indices (rows,) int64 and the classes' names, in sorted order; whole numbers lose their ``.0``."""
    values, indices = np.unique(y, return_inverse=True)
    names = [str(v) if y.dtype.kind in "biuU" else np.format_float_positional(v, trim="-") for v in values]
    return indices.astype(np.int64), names


def position_split(n: int, train_rows: int | None, test_rows: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The first `train_rows` to train on, the last `test_rows` to test on; one left out is all the other leaves."""
    counts = train_rows or 0, test_rows or 0
    if min(counts) < 0 or sum(counts) > n:
        asked = {"train": train_rows, "test": test_rows}
        rows = " and ".join(f"{count} rows to {use}" for use, count in asked.items() if count is not None)
        raise ValueError(f"cannot take {rows} from {n} rows")
    train_rows = n - counts[1] if train_rows is None else train_rows
    test_rows = n - train_rows if test_rows is None else test_rows
    return np.arange(train_rows), np.arange(n - test_rows, n)


@dataclass(frozen=True)
class Preparation:
    """How a file's values become a network's inputs, and its outputs predictions; saved with the model.

    `classes` are the classes' names (None for a regression), `inputs` and `outputs` the standardisation (of the
    target, for a regression), `columns`, `header` and `missing` say how to read a CSV file, as `load_csv` takes them.
    """

    classes: list[str] | None
    inputs: Standardizer
    outputs: Standardizer | None
    columns: tuple[Column, ...]
    header: bool
    missing: str

    def to_dict(self) -> dict:
        """As JSON-able values."""
        return {
            "classes": self.classes,
            "inputs": self.inputs.to_dict(),
            "outputs": self.outputs and self.outputs.to_dict(),
            "columns": [asdict(column) for column in self.columns],
            "header": self.header,
            "missing": self.missing,
        }

    @classmethod
    def from_dict(cls, values: dict) -> Preparation:
        """The inverse of `to_dict`."""
        return cls(
            values["classes"],
            Standardizer.from_dict(values["inputs"]),
            values["outputs"] and Standardizer.from_dict(values["outputs"]),
            tuple(Column(c["name"], c["categories"] and tuple(c["categories"])) for c in values["columns"]),
            values["header"],
            values["missing"],
        )

    def read(self, path: str) -> np.ndarray:
        """The features (rows, features) of a file to predict, as the file has them."""
        kind = "digits" if path == "digits" else datasets.file_kind(path)
        if (kind == "csv") != bool(self.columns):
            trained = "the columns of a CSV file" if self.columns else "arrays, as in digits, npz and IDX files"
            raise DataError(f"{path}: the model was trained on {trained}, this is a file of the other kind")
        missing = "mean" if self.missing == "mean" else "error"  # a dropped row would shift those below
        if kind == "csv":
            data = datasets.load_csv(path, columns=self.columns, header=self.header, missing=missing)
        elif kind == "npz":
            data = datasets.load_npz(path, missing=missing, need_target=False)
        else:
            data = datasets.load(path)
        expected = len(self.inputs.mean)
        if data.X.shape[1] != expected:
            raise DataError(f"{path}: {data.X.shape[1]} features in a row, but the model was trained on {expected}")
        return data.X
