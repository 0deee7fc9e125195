"""NaN, infinities, zeros of both signs, subnormal, largest and smallest numbers go where the reference puts them."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from cases import Case, make, output_of, parameters, presence, sensible
from expected import assert_close, expected, finfo, magnitude, tolerance
from running import run

from fastnn import backends
from fastnn.table import SAVED, TABLE, Op


def specials(dtype: str) -> np.ndarray:
    info = np.finfo(dtype)
    positive = [0.0, info.smallest_subnormal, 3.3 * info.smallest_normal / 10, info.smallest_normal, 0.5, 1.0, 2.5]
    positive += [30.0, 1e3, 1e30, info.max, np.inf]
    return np.array([np.nan, *positive, *(-x for x in positive)], dtype)


def elementwise(op: Op) -> bool:
    return op.dims == ("n",) and not op.updates and not any(a.integer for a in op.inputs)


def combined(op: Op, params: dict, dtype: str) -> Case:
    """All combinations of special values, each at several distances from the array's end."""
    values = specials(dtype)
    inputs = [x.ravel() for x in np.meshgrid(*[values] * len(op.inputs))]
    if op.inputs[0].name == "dy":
        # An infinite dy times a slope that underflows in one type and not in the next wider one tells nothing. Nor does
        # one times the slope that selu's limit, rounded to the type, leaves at minus infinity in the wider one.
        tail = (np.abs(inputs[1]) > 2.5) & (np.isfinite(inputs[1]) | (op.name == "selu_backward"))
        inputs = [x[~(np.isinf(inputs[0]) & tail)] for x in inputs]
    if op.inputs[-1].name == "y":  # a saved output
        inputs[1] = output_of(op.name.removesuffix("_backward"), inputs[1], params)
    inputs = [np.tile(x, 5) for x in inputs]
    return Case(op, {"n": inputs[0].size}, params, tuple(inputs), ())


def injected(op: Op, dims: dict, params: dict, dtype: str) -> Iterator[Case]:
    """Ordinary arrays with a few special values in one of them."""
    options = [p for p in (presence(op)[0], presence(op)[-1]) if sensible(op, params, p)]
    for present in options:
        case = make(op, dims, params, present, dtype)
        for i, x in enumerate(case.inputs):
            if x is None or x.dtype.kind == "i" or x.size == 0:
                continue
            name = op.inputs[i].name
            for value in (np.nan, np.inf, -np.inf, finfo(dtype).smallest_subnormal, 0.0):
                if name in ("squared_norm", "weight") and value < 0:
                    continue
                if name == "saved" and SAVED[params["activation"]] == "y":
                    value = output_of(params["activation"], np.array([value]), params)[0]
                changed = x.copy()
                changed.reshape(-1)[[0, x.size // 2, -1]] = value
                note = f" and {value} in {name}"
                yield replace(case, inputs=(*case.inputs[:i], changed, *case.inputs[i + 1 :]), note=note)


def special_cases(name: str, dtype: str) -> Iterator[Case]:
    op = TABLE[name]
    sizes = {1: (1021,), 2: (17, 33), 3: (17, 33, 19)}
    names = [d for d in op.dims if d != "one"]
    if name == "copy":
        values = specials(dtype)
        front = {"shape": (1,) * 6 + (3, values.size), "strides": (0,) * 7 + (1,)}
        yield Case(op, {"n": values.size, "m": 3 * values.size}, front, (values,), ())
        return
    dims = dict(zip(names, sizes[len(names)], strict=True)) | ({"one": 1} if "one" in op.dims else {})
    for params in parameters(op, dims):
        if elementwise(op):
            yield combined(op, params, dtype)
        else:
            yield from injected(op, dims, params, dtype)


def test_specials(op, dtype, backend):
    kernels = backends.load(backend)
    allowed = tolerance(TABLE[op], backend, dtype)
    for case in special_cases(op, dtype):
        written = run(kernels, case, dtype)
        for name, want in expected(case, dtype).items():
            assert_close(f"{case}: {name}", written[name], want, allowed, magnitude(case))
