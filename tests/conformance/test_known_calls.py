"""A remembered call gives the bits of the kernel's own, for every op, and every public function's first call does."""

import inspect

import numpy as np
import pytest
from cases import cases
from running import run
from test_layouts import plain, some

from fastnn import backends, ops
from fastnn.backends.compiled import CompiledBackend
from fastnn.ops.dispatch import remembered
from fastnn.table import TABLE

#: Families whose ops are given other numbers in every call: a step, a learning rate.
NUMBERED = ("optimizers", "random")
#: What asks a public function for the optional outputs of its row.
WANTED = {"gradient": True, "statistics": True}


@pytest.fixture(autouse=True)
def on_compiled(backend):
    if not isinstance(backends.load(backend), CompiledBackend):
        pytest.skip(f"backend {backend!r} runs Python in every call")


def test_values(op, dtype, backend, known_only):
    """All cases, with guard values around all that is written."""
    if dtype == "float32" and all(a.integer for a in TABLE[op].inputs):
        pytest.skip("results of integers are float64 in public")
    kernels, apply = backends.load(backend), remembered(ops.apply)
    for case in cases(op, dtype):

        def call(row, arrays, dims, params, case=case):
            count = len(row.inputs)
            out = tuple(x for x in arrays[count:] if x is not None)
            apply(row.name, *arrays[:count], out=out or None, want=case.want, backend=backend, **params)

        want = run(kernels, case, dtype)
        run(kernels, case, dtype, call)
        with known_only():
            got = run(kernels, case, dtype, call)
        for name, w in want.items():
            assert got[name].tobytes() == w.tobytes(), f"{case}: {name} differs when the call is remembered"


def arrays_of(result) -> list[np.ndarray]:
    return list(result) if isinstance(result, tuple) else [] if result is None else [result]


def test_public(op, dtype, backend, known_only):
    """Every public function of the table's ops, without and with `out`, on new arrays each time."""
    function = getattr(ops, op, None)
    if function is None or TABLE[op].family in NUMBERED:
        assert not hasattr(function, "__wrapped__")
        pytest.skip("not a public op that is remembered")
    taken = inspect.signature(function).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in taken.values())
    for case in some(op, dtype):
        options = {k: v for k, v in (case.params | WANTED).items() if k in taken or (open_ended and k in case.params)}
        options["backend"] = backend

        def call(case=case, options=options, **more):
            inputs = plain(case)
            result = arrays_of(function(*inputs, **options, **more))
            return result + [x for a, x in zip(case.op.inputs, inputs, strict=True) if a.updated and x is not None]

        want = call()
        with known_only():
            got = call()
        assert [g.tobytes() for g in got] == [w.tobytes() for w in want], f"{case}: differs when remembered"
        assert [(g.shape, g.dtype) for g in got] == [(w.shape, w.dtype) for w in want]
        if "out" in taken:
            call(out=np.empty_like(want[0]))
            out = np.empty_like(want[0])
            with known_only():
                got = call(out=out)
            assert got[0] is out
            assert [g.tobytes() for g in got] == [w.tobytes() for w in want], f"{case}: differs with out="
