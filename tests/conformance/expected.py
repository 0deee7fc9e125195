"""What an op must compute, and how far from it a kernel may be."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from functools import lru_cache
from types import ModuleType

import ml_dtypes
import numpy as np
from cases import Case, cases, shape_of
from formulas import FORMULAS, exact

from fastnn.backends import reference
from fastnn.table import HALVES, TABLE, Op, Tolerance

#: Parameters that kernels use in the arrays' dtype: rounded before they are compared.
ROUNDED = ("alpha", "scale", "shift", "stddev")
#: How much more error the reference may make in float64, where it computes in float64 throughout: the rounding of an
#: exponential's argument z costs z/2 epsilon, in the tail of `gelu` hundreds. In float32 it is held to the table.
REFERENCE_SLACK = 256
#: The same for normalisation on the other backends: float32 is computed in float64, for float64 nothing wider is there,
#: and the differences from a mean ten times as large as the spread lose a digit, as a sum of both signs does.
NORMALIZATION_SLACK = 8
#: The next wider type; two of numbers of two bytes, which are computed in float32.
WIDER = dict.fromkeys((*HALVES, "float32"), np.dtype(np.float64)) | {"float64": np.dtype(np.longdouble)}


class _WideNumPy:
    """NumPy with its longest float under the name of float64."""

    float64 = np.longdouble

    def __getattr__(self, name: str):
        return getattr(np, name)


def _wide_reference() -> ModuleType:
    """The reference backend's module once more, with its float64 sums and intermediates in the longest float."""
    spec = importlib.util.spec_from_file_location("wide_reference", reference.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.np = _WideNumPy()
    return module


_WIDE = _wide_reference()


def expected(case: Case, dtype: str) -> dict[str, np.ndarray]:
    """What an op writes, by argument: the reference in the next wider type, or the formula in arbitrary precision."""
    op, wide = case.op, WIDER[dtype]
    own = np.float64 if dtype == "float64" else np.float32
    params = {k: float(own(v)) if k in ROUNDED else v for k, v in case.params.items()}
    inputs = [x.astype(wide) if x is not None and x.dtype.kind != "i" else x for x in case.inputs]
    outputs = []
    for argument in op.outputs:
        there = not argument.optional or argument.name in case.want
        shape = shape_of(argument, case.dims, case.params)
        outputs.append(np.zeros(shape, np.int64 if argument.integer else wide) if there else None)
    if case.start is not None:
        outputs[0][...] = case.start
    module = _WIDE if dtype == "float64" else reference
    with np.errstate(all="ignore"):
        module.KERNELS[op.name](*inputs, *outputs, **params)
        if dtype == "float64" and op.name in FORMULAS:
            finite = np.isfinite(outputs[0]) & (outputs[0] != 0)
            finite &= np.logical_and.reduce([np.isfinite(x) for x in case.inputs])
            outputs[0][finite] = exact(op.name, [x[finite] for x in case.inputs], params)
    found = zip(op.arguments, inputs + outputs, strict=True)
    return {a.name: x for a, x in found if x is not None and (a.updated or a in op.outputs)}


@lru_cache(maxsize=2)
def cases_with_expected(name: str, dtype: str) -> tuple[tuple[Case, dict[str, np.ndarray]], ...]:
    """All cases of an op and what it must write (kept while the backends take their turns)."""
    return tuple((case, expected(case, dtype)) for case in cases(name, dtype))


def tolerance(op: Op, backend: str, dtype: str) -> Tolerance:
    """Error that the table allows."""
    if (backend, dtype) == ("reference", "float64"):
        return replace(op.tolerance, ulp=op.tolerance.ulp * REFERENCE_SLACK)
    if (op.family, dtype) == ("normalization", "float64"):
        return replace(op.tolerance, ulp=op.tolerance.ulp * NORMALIZATION_SLACK)
    return op.tolerance


def magnitude(case: Case) -> float:
    """Largest magnitude of what an op adds up, where its results alone do not tell.

    An update is a sum with what was there, and may cancel. An activation can make a large sum's error stand out. One
    or two long sums, as the dx of `dense_backward` may be, can all cancel: their size is then the norm of their terms,
    which the largest of many sums exceeds anyway.
    """
    sums: list[np.ndarray] = [x for x in case.inputs if x is not None] if case.op.updates else []
    if case.op.name == "dense":
        with np.errstate(all="ignore"):
            sums.append(case.inputs[0].astype(np.float64) @ case.inputs[1].astype(np.float64))
    if case.op.name == "dense_backward":
        dy, _, w, saved = case.inputs
        dz = dy.copy()
        with np.errstate(all="ignore"):
            if saved is not None:
                params = {k: case.params[k] for k in TABLE[case.params["activation"]].params}
                reference.KERNELS[f"{case.params['activation']}_backward"](dy, saved, dz, **params)
            sums.append(np.sqrt(np.square(dz) @ np.square(w).T))
    return max((float(np.abs(x[np.isfinite(x)]).max(initial=0)) for x in sums), default=0.0)


def errors(got: np.ndarray, want: np.ndarray, per: str, floor: float = 0.0) -> np.ndarray:
    """Errors in units of the dtype's epsilon, as the table counts them; subnormal ones in units of the smallest.

    An error per array is relative to its largest expected element, or to `floor` where that is larger. What is rounded
    once to two bytes may be half a unit in the last place further away.
    """
    halves = got.dtype.name in HALVES
    info = np.finfo(np.float32 if halves else got.dtype)
    size = np.abs(want)
    off = np.abs(got.astype(want.dtype) - want)
    if halves:
        off = np.maximum(off - half_units(got.dtype, want), 0)
    if per == "array":
        size = size.max(initial=floor)
    unit = np.maximum(size * want.dtype.type(info.eps), want.dtype.type(info.smallest_subnormal))
    return off / unit


def finfo(dtype: np.dtype | str) -> np.finfo:
    """Properties of a floating dtype, of bfloat16 too, which NumPy does not know."""
    return (ml_dtypes if np.dtype(dtype).name == "bfloat16" else np).finfo(dtype)


def half_units(dtype: np.dtype, want: np.ndarray) -> np.ndarray:
    """Half the distance between two numbers of a dtype around those wanted."""
    info = finfo(dtype)
    exponent = np.frexp(want)[1] - 1
    return np.ldexp(0.5, np.maximum(exponent, info.minexp) - info.nmant)


def assert_close(label: object, got: np.ndarray, want: np.ndarray, allowed: Tolerance, floor: float = 0.0) -> None:
    """Check that NaN and infinities stand in the same places and all else is within the tolerance."""
    if got.dtype.kind == "i":
        np.testing.assert_array_equal(got, want, err_msg=str(label))
        return
    with np.errstate(over="ignore"):
        rounded = want.astype(got.dtype)  # what is too large for the dtype must be infinite
    special = ~np.isfinite(rounded) | ~np.isfinite(got)
    wrong = special & (got != rounded) & ~(np.isnan(got) & np.isnan(rounded))
    assert not wrong.any(), f"{label}: {_first(wrong, got, rounded)}"
    found = errors(got[~special], want[~special], allowed.per, floor)
    # The expected value is rounded too, to eleven bits more at least.
    if found.size and not found.max() <= allowed.ulp * (1 + 2**-9):
        units = np.zeros(got.shape)
        units[~special] = found
        worst = units == units.max()
        raise AssertionError(
            f"{label}: error of {units.max():.2f} epsilon per {allowed.per}, allowed {allowed.ulp}: "
            f"{_first(worst, got, want)}"
        )


def _first(places: np.ndarray, got: np.ndarray, want: np.ndarray) -> str:
    index = tuple(int(i) for i in np.argwhere(places)[0])
    return f"at {index} of {got.shape}: got {got[index]!r}, expected {want[index]!r} ({places.sum()} such places)"
