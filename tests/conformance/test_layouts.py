"""Inputs of any layout give bitwise what plain ones give, through the public way into the backends."""

import numpy as np
import pytest
from cases import Case, make, parameters, presence, sensible, sizes

from fastnn import backends, ops
from fastnn.table import TABLE


def misaligned(x: np.ndarray) -> np.ndarray:
    block = np.empty(x.nbytes + 1, np.uint8)
    view = block[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    assert not view.flags.aligned or x.size == 0
    return view


def strided(x: np.ndarray) -> np.ndarray:
    """Every second column of an array twice as wide."""
    return np.repeat(x, 2, axis=-1)[..., ::2]


def read_only(x: np.ndarray) -> np.ndarray:
    view = x.copy()
    view.flags.writeable = False
    return view


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "every second column": strided,
    "reversed": lambda x: x[..., ::-1].copy()[..., ::-1],
    "swapped bytes": lambda x: x.astype(x.dtype.newbyteorder()),
    "misaligned": misaligned,
    "read-only": read_only,
    "all at once": lambda x: read_only(strided(x.astype(x.dtype.newbyteorder()))),
}


def some(name: str, dtype: str) -> list[Case]:
    """Cases of two sizes, with all and with no optional arguments."""
    op = TABLE[name]
    found = []
    for dims in list(sizes(op))[3:5]:
        params = parameters(op, dims)[-1] | ({"accumulate": False} if "accumulate" in op.params else {})
        options = [p for p in (presence(op)[0], presence(op)[-1]) if sensible(op, params, p)]
        found += [make(op, dims, params, present, dtype) for present in options]
    return found


def apply(case: Case, inputs: list, backend: str, out: tuple | None = None) -> list[np.ndarray]:
    """Call an op; returns its outputs, and the inputs that it updates."""
    result = ops.apply(case.op.name, *inputs, out=out, want=case.want, backend=backend, **case.params)
    outputs = result if isinstance(result, tuple) else (result,) * bool(case.op.outputs)
    updated = [x for a, x in zip(case.op.inputs, inputs, strict=True) if a.updated and x is not None]
    return [*outputs, *updated]


def plain(case: Case) -> list:
    """Fresh copies of a case's inputs."""
    return [None if x is None else x.copy() for x in case.inputs]


@pytest.fixture
def on_host(backend):
    if backends.load(backend).device:
        pytest.skip(f"backend {backend!r} takes device arrays only")


@pytest.mark.usefixtures("on_host")
def test_layouts(op, dtype, backend):
    for case in some(op, dtype):
        want = apply(case, plain(case), backend)
        for name, change in LAYOUTS.items():
            inputs = [
                x if x is None or a.updated else change(x) for a, x in zip(case.op.inputs, plain(case), strict=True)
            ]
            before = [None if x is None else x.tobytes() for x in inputs]
            got = apply(case, inputs, backend)
            for w, g in zip(want, got, strict=True):
                assert g.tobytes() == w.tobytes(), f"{case}: differs when inputs are {name}"
                assert g.flags.c_contiguous and g.dtype.isnative
            for argument, x, bytes_ in zip(case.op.inputs, inputs, before, strict=True):
                assert argument.updated or x is None or x.tobytes() == bytes_, f"{case}: {argument.name} was changed"


@pytest.mark.usefixtures("on_host")
def test_out(op, dtype, backend):
    """Results go into the arrays given as `out`, and these are what is returned."""
    if not TABLE[op].outputs:
        pytest.skip("the op has no output")
    for case in some(op, dtype):
        want = apply(case, plain(case), backend)
        count = sum(not a.optional or a.name in case.want for a in case.op.outputs)
        out = tuple(np.empty_like(w) for w in want[:count])
        got = apply(case, plain(case), backend, out)
        assert all(g is o for g, o in zip(got[:count], out, strict=True))
        for w, g in zip(want, got, strict=True):
            assert g.tobytes() == w.tobytes(), f"{case}: differs with out="
