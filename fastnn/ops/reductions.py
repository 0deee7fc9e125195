"""Sums, means, norms, and what accuracy needs."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from math import prod
from typing import Any

from fastnn import checks
from fastnn.ops.dispatch import apply, flat_out, remembered, reshape_any, shape_of
from fastnn.ops.elementwise import affine
from fastnn.ops.shapes import transpose
from fastnn.table import Argument

Axis = int | tuple[int, ...] | None
#: How error messages describe the arrays that are clipped.
_GRADIENTS = Argument("gradients", ("n",), updated=True)


def _axes(op: str, axis: Axis, rank: int) -> tuple[int, ...]:
    """Axes as sorted numbers from 0 on."""
    wanted = tuple(range(rank)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    axes = tuple(sorted(a + rank if a < 0 else a for a in wanted))
    if len(set(axes)) != len(axes) or builtins.any(not 0 <= a < rank for a in axes):
        checks.fail(checks.ShapeError, op, "axis", f"distinct axes of an array with {rank} dimensions", axis)
    return axes


@remembered
def sum(x: Any, axis: Axis = None, *, keepdims: bool = False, out: Any = None, backend: str | None = None) -> Any:
    """Sum over some axes, by default all.

    Partial sums of a few hundred elements are added up in float64; the order never depends on the threads.
    """
    shape = shape_of(x)
    axes = _axes("sum", axis, len(shape))
    kept = tuple(a for a in range(len(shape)) if a not in axes)
    result = tuple(1 if a in axes else n for a, n in enumerate(shape)) if keepdims else tuple(shape[a] for a in kept)
    outer, inner = prod(shape[a] for a in kept), prod(shape[a] for a in axes)
    flat = flat_out(out, result, (outer,), "sum")
    if kept and axes == tuple(range(len(axes))):
        y = apply("column_sum", reshape_any(x, (inner, outer)), out=flat, backend=backend)
    else:
        if axes != tuple(range(len(kept), len(shape))):
            x = transpose(x, kept + axes, backend=backend)
        y = apply("sum", reshape_any(x, (outer, inner)), out=flat, backend=backend)
    return reshape_any(y, result) if out is None else out


def mean(x: Any, axis: Axis = None, *, keepdims: bool = False, backend: str | None = None) -> Any:
    """Arithmetic mean over some axes, by default all; NaN where there is nothing to average."""
    shape = shape_of(x)
    count = prod(shape[a] for a in _axes("mean", axis, len(shape)))
    return affine(
        sum(x, axis, keepdims=keepdims, backend=backend), 1 / count if count else float("nan"), backend=backend
    )


@remembered
def argmax(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """Index of the first largest element along the last axis, int64; a NaN counts as the largest.

    Raises
    ------
    DataError
        If the last axis is empty.
    """
    shape = shape_of(x)
    if not shape:
        checks.fail(checks.ShapeError, "argmax", "x", "at least one dimension", shape)
    rows = prod(shape[:-1])
    flat = flat_out(out, shape[:-1], (rows,), "argmax")
    y = apply("argmax", reshape_any(x, (rows, shape[-1])), out=flat, backend=backend)
    return reshape_any(y, shape[:-1]) if out is None else out


@remembered
def count_equal(a: Any, b: Any, *, backend: str | None = None) -> Any:
    """How many elements of two integer arrays of the same shape are equal: a float64 array of shape (1,)."""
    if shape_of(a) != shape_of(b):
        checks.fail(checks.ShapeError, "count_equal", "b", f"shape {shape_of(a)}", shape_of(b))
    return apply("count_equal", reshape_any(a, (-1,)), reshape_any(b, (-1,)), backend=backend)


def norm(arrays: Any, *, backend: str | None = None) -> float:
    """Euclidean norm of an array, or of a list of arrays taken as one vector."""
    parts = arrays if isinstance(arrays, Sequence) else [arrays]
    squares = builtins.sum(
        float(apply("sum_of_squares", reshape_any(x, (-1,)), backend=backend)[0]) for x in parts
    )
    return squares**0.5


def clip_by_global_norm(gradients: Sequence[Any], max_norm: float, *, backend: str | None = None) -> float:
    """Scale a list of gradients in place so that their common norm is at most `max_norm`.

    ``g *= min(1, max_norm / (norm + 1e-6))`` (Pascanu, Mikolov and Bengio 2013; the small number is PyTorch's).

    Returns
    -------
    float
        The norm before.
    """
    checks.interval("clip_by_global_norm", "max_norm", max_norm, 0, float("inf"), "right")
    for g in gradients:
        dtype = checks.floating_dtype("clip_by_global_norm", [g], ["gradients"])
        checks.updated("clip_by_global_norm", _GRADIENTS, g, dtype)
    total = norm(list(gradients), backend=backend)
    for g in gradients:
        apply("clip_by_norm", g.reshape(-1), [total**2], max_norm=max_norm, backend=backend)
    return total
