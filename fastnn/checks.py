"""Every shape, dtype and layout error, with one voice: ``op: argument: expected ..., got ...``."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, NoReturn

import numpy as np

from fastnn.table import DTYPES, HALVES, Argument, Op
from fastnn_ext.arrays import class_numbers as class_numbers
from fastnn_ext.arrays import known_pairs as known_pairs
from fastnn_ext.arrays import ready, within
from fastnn_ext.arrays import ready_rows as ready_rows

#: The native floating dtypes with their names; ``dtype.name`` takes ten times as long as looking here.
FLOATING = {np.dtype(name): name for name in DTYPES}


#: kDLCUDA of DLPack's device types.
DLPACK_CUDA = 2


class ShapeError(ValueError):
    """An array's shape does not fit the op, the other arrays or the model."""


class LayoutError(ValueError):
    """An array lies in memory where the op cannot write it, or on the wrong device."""


class DtypeError(TypeError):
    """An array's dtype is not one that the op takes, or differs from the other arrays'."""


class DataError(ValueError):
    """Values that an op or a model cannot use: labels out of range, empty data, NaN."""


class UnsupportedOp(NotImplementedError):
    """A backend lacks an op for a dtype."""

    def __init__(self, op: str, backend: str, dtype: str) -> None:
        super().__init__(f"{op}: backend {backend!r} has no kernel for {dtype}")
        self.op, self.backend, self.dtype = op, backend, dtype

    def __reduce__(self) -> tuple[type[UnsupportedOp], tuple[str, str, str]]:
        return type(self), (self.op, self.backend, self.dtype)


def fail(kind: type[Exception], op: str, argument: str, expected: str, got: object) -> NoReturn:
    """Raise `kind` in the one voice."""
    raise kind(f"{op}: {argument}: expected {expected}, got {got}")


def is_device_array(value: object) -> bool:
    """Whether a value lives on a CUDA device: by its CUDA array interface, or by its device in the sense of DLPack."""
    if isinstance(value, np.ndarray):
        return False
    if hasattr(value, "__cuda_array_interface__"):
        return True
    return hasattr(value, "__dlpack_device__") and value.__dlpack_device__()[0] == DLPACK_CUDA


def floating_dtype(op: str, values: Sequence[Any], names: Sequence[str], halves: bool = False) -> np.dtype:
    """The one floating dtype of a call: that of its arrays; Python numbers and lists follow, alone they are float64.

    With `halves` it may be one of two bytes.
    """
    found: np.dtype | None = None
    for value, name in zip(values, names, strict=True):
        dtype = getattr(value, "dtype", None)
        if dtype is None:
            continue
        if dtype not in FLOATING:
            try:
                dtype = np.dtype(dtype).newbyteorder("=")
            except TypeError:  # one of another library's, such as torch.float32
                fail(DtypeError, op, name, "an array of NumPy's", type(value))
        if dtype not in FLOATING and not (halves and dtype.name in HALVES):
            fail(DtypeError, op, name, "float32 or float64", dtype)
        if found is None:
            found = dtype
        elif dtype != found:
            fail(DtypeError, op, name, f"{found} like the arrays before it", dtype)
    return found or np.dtype(np.float64)


#: What an array of objects may hold to be taken for numbers.
_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)


def numbers(op: str, name: str, value: Any, expected: str = "numbers") -> np.ndarray:
    """`value` as an array; objects that are all numbers, as in pandas' frames of several dtypes, take their dtype."""
    try:
        array = np.asarray(value)
    except ValueError:  # NumPy's words are those of arrays
        fail(ShapeError, op, name, "rows of one shape", "sequences of different lengths")
    if array.dtype != object or array.ndim == 0:
        return array
    for place, element in np.ndenumerate(array):
        if not isinstance(element, _NUMBERS):
            fail(DtypeError, op, name, expected, f"{element!r:.50} at {place}")
    return np.array(array.tolist()).reshape(array.shape)


def host_array(op: str, name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """`value` as an aligned C-contiguous array of `dtype`; a copy only where it is not one already."""
    if ready(value, dtype):
        return value
    expected = "integers" if dtype.kind == "i" else f"{dtype} numbers"
    array = numbers(op, name, value, expected)
    allowed = "biu" if dtype.kind == "i" else "biuf"
    known = array.dtype.kind in allowed or array.dtype.newbyteorder("=") == dtype
    if not known or (dtype.kind == "i" and array.dtype.kind == "f"):
        fail(DtypeError, op, name, expected, array.dtype)
    if dtype.kind == "i" and array.dtype.kind == "u" and array.max(initial=0) > np.iinfo(dtype).max:
        fail(DataError, op, name, f"integers of at most {np.iinfo(dtype).max}", array.max())
    shape = array.shape
    return np.require(array, dtype, ("C", "A")).reshape(shape)


def whole(op: str, name: str, value: Any) -> np.ndarray:
    """Integers as `host_array` has them, whole numbers of a floating dtype too."""
    array = numbers(op, name, value, "integers")
    if array.dtype.kind == "f" and (np.abs(array) < 2**63).all() and np.array_equal(array, np.floor(array)):
        array = array.astype(np.int64)
    return host_array(op, name, array, np.dtype(np.int64))


def bind(op: Op, arrays: Sequence[Any], params: dict) -> dict[str, int]:
    """Match input shapes to the signature; returns the dimensions' sizes."""
    dims: dict[str, int] = {"one": 1}
    for argument, array in zip(op.inputs, arrays, strict=True):
        if array is None:
            if not argument.optional:
                fail(ShapeError, op.name, argument.name, "an array", None)
            continue
        names = argument.stored_dims(params)
        shape = tuple(array.shape)
        fits = len(shape) == len(names) and all(dims.setdefault(d, s) == s for d, s in zip(names, shape, strict=True))
        if not fits:
            fail(ShapeError, op.name, argument.name, f"shape {_describe(names, dims)}", shape)
    if "m" in op.dims and "shape" in params:
        dims["m"] = int(np.prod(params["shape"]))
        last = sum((n - 1) * s for n, s in zip(params["shape"], params["strides"], strict=True))
        if dims["m"] and (last >= dims["n"] or min(params["strides"]) < 0):
            fail(ShapeError, op.name, "strides", f"places within {dims['n']} elements", params["strides"])
    _nonempty(op, dims)
    return dims


def _describe(names: tuple[str, ...], dims: dict[str, int]) -> str:
    inner = ", ".join(f"{d}={dims[d]}" if d in dims else d for d in names)
    return f"({inner}{',' if len(names) == 1 else ''})"


#: Dimensions that must not be 0.
_NEEDED = {"argmax": "r", "layer_norm": "c", "batch_norm": "b"}


def _nonempty(op: Op, dims: dict[str, int]) -> None:
    """A mean over nothing and the largest of nothing do not exist."""
    if op.family == "losses" and 0 in (dims["b"], dims["c"]):
        fail(DataError, op.name, op.inputs[0].name, "at least one row and one column", (dims["b"], dims["c"]))
    if op.name in _NEEDED and dims[_NEEDED[op.name]] == 0:
        shape = tuple(dims[d] for d in op.inputs[0].dims)
        fail(DataError, op.name, "x", f"at least one {'row' if shape[0] == 0 else 'column'}", shape)


#: The caller's argument for an array to write into, whatever the signature calls the output.
OUT = Argument("out", ("n",))


def output(op: str, argument: Argument, array: Any, shape: tuple[int, ...], dtype: np.dtype, inputs: Sequence) -> None:
    """Check an array that the op is to write into."""
    name = argument.name
    if not (ready(array, dtype) and array.flags.writeable and array.shape == shape):
        if not isinstance(array, np.ndarray) and not is_device_array(array):
            fail(DtypeError, op, name, "an array", type(array).__name__)
        if tuple(array.shape) != shape:
            fail(ShapeError, op, name, f"shape {shape}", tuple(array.shape))
        if np.dtype(array.dtype) != dtype or not np.dtype(array.dtype).isnative:
            fail(DtypeError, op, name, str(dtype), array.dtype)
        if isinstance(array, np.ndarray):
            writable(op, name, array)
    shared = np.may_share_memory if isinstance(array, np.ndarray) else _shared_on_device
    for other in inputs:
        if other is not None and shared(array, other):
            fail(LayoutError, op, name, "memory that no input uses", "an array that overlaps an input")


def _shared_on_device(array: Any, other: Any) -> bool:
    """Whether two contiguous arrays overlap."""
    first, second = (x.__cuda_array_interface__["data"][0] for x in (array, other))
    return first < second + other.nbytes and second < first + array.nbytes


def writable(op: str, name: str, array: np.ndarray) -> None:
    """Check that an array can be written in place."""
    if not array.flags.c_contiguous:
        fail(LayoutError, op, name, "a C-contiguous array to write into", f"strides {array.strides}")
    if not array.flags.aligned:
        fail(LayoutError, op, name, "an aligned array to write into", "a misaligned one")
    if not array.flags.writeable:
        fail(LayoutError, op, name, "an array that can be written", "a read-only one")


def updated(op: str, argument: Argument, array: Any, dtype: np.dtype) -> None:
    """Check an array that the op updates in place."""
    if not isinstance(array, np.ndarray) and not is_device_array(array):
        fail(DtypeError, op, argument.name, "an array to update in place", type(array).__name__)
    if np.dtype(array.dtype) != dtype or not np.dtype(array.dtype).isnative:
        fail(DtypeError, op, argument.name, f"native {dtype}", array.dtype)
    if isinstance(array, np.ndarray):
        writable(op, argument.name, array)


def apart(op: str, arrays: Sequence[Any], names: Sequence[str]) -> None:
    """Check that an array updated in place overlaps none of the others."""
    for i, (array, name) in enumerate(zip(arrays, names, strict=True)):
        shared = np.may_share_memory if isinstance(array, np.ndarray) else _shared_on_device
        for other in arrays[:i]:
            if shared(array, other):
                fail(LayoutError, op, name, "memory of its own", "an array that overlaps another argument")


def labels(op: str, values: np.ndarray, classes: int) -> None:
    """Check that integer labels are class numbers."""
    if not within(values, classes):
        fail(
            DataError, op, "labels", f"integers from 0 to {classes - 1}", f"{int(values.min())} to {int(values.max())}"
        )


def same_place(op: str, values: Sequence[Any], device: bool, backend: str) -> None:
    """Check that all arrays live where the backend computes; nothing is copied between host and device unasked."""
    for value in values:
        if device and value is not None and not is_device_array(value):
            expected = f"device arrays for backend {backend!r} (fastnn.to_device)"
            fail(LayoutError, op, "arrays", expected, "a host array" if hasattr(value, "shape") else type(value))
        if not device and is_device_array(value):
            fail(LayoutError, op, "arrays", f"host arrays for backend {backend!r} (fastnn.to_host)", "a device array")


def option(op: str, name: str, value: object, allowed: Sequence[object]) -> None:
    """Check that a value is one of those allowed."""
    if value not in allowed:
        fail(ValueError, op, name, "one of " + ", ".join(map(repr, allowed)), repr(value))


def interval(op: str, name: str, value: float, low: float, high: float, closed: str = "both") -> None:
    """Check a number's range; `closed` is "both", "left", "right" or "neither". NaN is outside every range."""
    if not isinstance(value, Real):
        fail(TypeError, op, name, "a number", repr(value))
    inside = (low <= value if closed in ("both", "left") else low < value) and (
        value <= high if closed in ("both", "right") else value < high
    )
    if not inside:
        left, right = "[" if closed in ("both", "left") else "(", "]" if closed in ("both", "right") else ")"
        fail(ValueError, op, name, f"a number in {left}{low}, {high}{right}", repr(value))


def integer(op: str, name: str, value: int, low: int) -> None:
    """Check that a value is an integer of at least `low`."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        fail(TypeError, op, name, "an integer", repr(value))
    if value < low:
        fail(ValueError, op, name, f"an integer of at least {low}", repr(value))
