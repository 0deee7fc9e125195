"""Shapes: reshape, transpose, broadcast_to, and the broadcasting of two arguments."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from fastnn import checks
from fastnn.ops.dispatch import apply, remembered, reshape_any, shape_of
from fastnn.program import Tensor
from fastnn.table import MAX_RANK


def reshape(x: Any, shape: int | Sequence[int]) -> Any:
    """The elements of `x` under another shape, in C order; one dimension may be -1. Costs nothing.

    Raises
    ------
    ShapeError
        If the number of elements differs.
    """
    wanted = (shape,) if isinstance(shape, int) else tuple(shape)
    if isinstance(x, Tensor):
        return x.reshape(wanted)
    try:
        return reshape_any(x, wanted)
    except ValueError:
        checks.fail(checks.ShapeError, "reshape", "shape", f"{prod(shape_of(x))} elements", wanted)


def _copy(x: Any, shape: tuple[int, ...], strides: tuple[int, ...], op: str, backend: str | None) -> Any:
    """y[i...] = x[sum of i * strides], strides in elements of C-contiguous x."""
    if len(shape) > MAX_RANK:
        checks.fail(checks.ShapeError, op, "x", f"at most {MAX_RANK} dimensions", len(shape))
    front = MAX_RANK - len(shape)
    flat = reshape_any(x, (prod(shape_of(x)),))
    y = apply("copy", flat, shape=(1,) * front + shape, strides=(0,) * front + strides, backend=backend)
    return reshape_any(y, shape)


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides in elements of a C-contiguous array."""
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


@remembered
def transpose(x: Any, axes: Sequence[int] | None = None, *, backend: str | None = None) -> Any:
    """`x` with its axes permuted, by default reversed; a contiguous copy.

    Raises
    ------
    ShapeError
        If `axes` is not a permutation of the axes of `x`.
    """
    shape = shape_of(x)
    rank = len(shape)
    order = tuple(range(rank))[::-1] if axes is None else tuple(a + rank if a < 0 else a for a in axes)
    if sorted(order) != list(range(rank)):
        checks.fail(checks.ShapeError, "transpose", "axes", f"a permutation of 0 to {rank - 1}", axes)
    strides = _strides(shape)
    return _copy(x, tuple(shape[a] for a in order), tuple(strides[a] for a in order), "transpose", backend)


@remembered
def broadcast_to(x: Any, shape: Sequence[int], *, backend: str | None = None) -> Any:
    """`x` repeated to `shape` by NumPy's broadcasting rules; a contiguous copy, or `x` if it has that shape.

    Raises
    ------
    ShapeError
        If `x` cannot be broadcast to `shape`.
    """
    old, new = shape_of(x), tuple(shape)
    if old == new:
        return x
    padded = (1,) * (len(new) - len(old)) + old
    if len(padded) != len(new) or any(a not in (1, b) for a, b in zip(padded, new, strict=True)):
        checks.fail(checks.ShapeError, "broadcast_to", "x", f"a shape that broadcasts to {new}", old)
    strides = tuple(0 if n == 1 else s for n, s in zip(padded, _strides(padded), strict=True))
    return _copy(x, new, strides, "broadcast_to", backend)


def broadcast(op: str, a: Any, b: Any, backend: str | None) -> tuple[Any, Any, tuple[int, ...]]:
    """Two arguments brought to one shape."""
    try:
        shape = np.broadcast_shapes(shape_of(a), shape_of(b))
    except ValueError:
        checks.fail(checks.ShapeError, op, "b", f"a shape that broadcasts with {shape_of(a)}", shape_of(b))
    return _fit(op, "a", a, b, shape, backend), _fit(op, "b", b, a, shape, backend), shape


def _fit(op: str, name: str, x: Any, other: Any, shape: tuple[int, ...], backend: str | None) -> Any:
    """Broadcast one argument; a number becomes a constant of the other argument's dtype and program."""
    if shape_of(x) == shape:
        return x
    if not hasattr(x, "dtype") and hasattr(other, "dtype"):
        return np.broadcast_to(checks.host_array(op, name, x, other.dtype), shape)
    if isinstance(other, Tensor) and not isinstance(x, Tensor):
        return np.broadcast_to(x, shape)
    return broadcast_to(x, shape, backend=backend)
