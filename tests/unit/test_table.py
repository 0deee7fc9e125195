"""The op table is complete: every op has kernels, a public name, a gradient rule where it says so."""

import inspect
from importlib import import_module

import numpy as np
import pytest

from fastnn import autodiff, backends, ops
from fastnn.backends import reference
from fastnn.table import ACTIVATIONS, ALPHA, DTYPES, HALVES, MAX_RANK, PRECISIONS, SAVED, TABLE, Op, Tolerance

#: Ops that other ops are made of: reached through the names on the right.
INTERNAL = {
    "maximum_backward": "gradient of maximum",
    "prelu_backward": "gradient of prelu",
    "clip_by_norm": "clip_by_global_norm",
    "sum_of_squares": "norm",
    "column_sum": "sum",
    "copy": "transpose",
}


def test_kernels(op, backend):
    kernels = backends.load(backend)
    assert all(kernels.supports(op, dtype) for dtype in DTYPES)
    assert not any(kernels.supports(op, dtype) for dtype in {*HALVES, "float80"} - {*TABLE[op].dtypes})
    assert not kernels.supports("no_such_op", "float32")


@pytest.mark.parametrize("name", backends.MODULES)
def test_kernels_are_the_table(name):
    """A backend's dict holds the table's ops and nothing else, whether the backend can run here or not."""
    package = {"numba": "numba", "cuda": "numba_cuda"}.get(name)
    if package:
        pytest.importorskip(package)
    assert set(import_module(backends.MODULES[name]).KERNELS) == set(TABLE)


def test_public_name(op):
    if op in INTERNAL:
        assert not hasattr(ops, op)
        return
    function = getattr(ops, op)
    assert op in ops.__all__
    assert function.__doc__
    names = inspect.signature(function).parameters
    assert "backend" in names


def test_no_stale_internal_ops():
    assert set(INTERNAL) <= set(TABLE)


def test_gradient_rule(op):
    assert (op in autodiff.RULES) == TABLE[op].differentiable
    backward = f"{op}_backward"
    assert not TABLE[backward].differentiable if backward in TABLE else True


def test_row(op):
    row = TABLE[op]
    assert row.name == op
    assert isinstance(row.tolerance, Tolerance) and row.tolerance.per in ("element", "array")
    assert row.phases >= 1
    assert row.inputs
    assert row.outputs or row.updates, "an op that writes nothing"
    assert len({a.name for a in row.arguments}) == len(row.arguments)
    dims = dict.fromkeys(row.dims, 10)
    assert row.flop_count(dims) > 0
    assert row.byte_count(dims, 8) > row.byte_count(dims, 4)


def test_reference_takes_the_signature(op):
    """The reference's kernel has the row's arguments and parameters, in this order."""
    row = TABLE[op]
    parameters = inspect.signature(reference.KERNELS[op]).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert len(positional) == len(row.arguments)
    assert keywords == list(row.params)


def test_encode(op):
    row = TABLE[op]
    numbers = row.encode(row.params)
    assert all(isinstance(x, float) for x in numbers)
    assert len(numbers) == sum(len(v) if isinstance(v, tuple) else 1 for v in row.params.values())


def test_encode_order():
    row = TABLE["dense"]
    assert row.encode({"alpha": 0.5, "activation": "gelu"}) == [ACTIVATIONS.index("gelu"), 0.5, 0.0]
    row = TABLE["matmul"]
    given = {"transpose_a": True, "accumulate": False, "transpose_b": True}
    assert row.encode(given) == [1.0, 1.0, 0.0, 0.0]
    assert row.encode({**given, "precision": "bf16"}) == [1.0, 1.0, 0.0, PRECISIONS.index("bf16")]
    assert row.encode({**given, "precision": "tf32"}) == row.encode(given)
    numbers = TABLE["copy"].encode(TABLE["copy"].params)
    assert numbers == [1.0] * MAX_RANK + [0.0] * MAX_RANK


def test_parse():
    signature = "dy(b,o), w(i,o)~flip, saved(b,o)?, m(n)?!, labels(b):int -> dx(b,i)?, y(one)"
    row = Op("example", "family", signature, {"flip": False})
    dy, w, saved, m, labels = row.inputs
    assert dy.dims == ("b", "o") and not (dy.optional or dy.updated or dy.integer)
    assert w.transposed_by == "flip"
    assert w.stored_dims({"flip": True}) == ("o", "i") and w.stored_dims({"flip": False}) == ("i", "o")
    assert saved.optional and not saved.updated
    assert m.optional and m.updated
    assert labels.integer
    assert [a.name for a in row.outputs] == ["dx", "y"] and row.outputs[0].optional
    assert row.dims == ("b", "o", "i", "n", "one")
    assert row.updates == ("m",)


def test_cost():
    dims = {"m": 3, "k": 5, "n": 7}
    assert TABLE["matmul"].flop_count(dims) == 2 * 3 * 5 * 7
    assert TABLE["matmul"].byte_count(dims, 4) == 4 * (15 + 35 + 21)
    assert TABLE["sgd_update"].byte_count({"n": 10}, 8) == 80 * (2 + 1 + 2)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation):
    assert TABLE[activation].family == "activations"
    assert f"{SAVED[activation]}(n)" in TABLE[f"{activation}_backward"].signature
    assert TABLE[activation].params == ({"alpha": ALPHA[activation]} if activation in ALPHA else {})


def test_dtypes():
    assert [np.dtype(d).itemsize for d in DTYPES] == [4, 8]
