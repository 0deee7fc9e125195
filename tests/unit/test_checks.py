"""Every op's arguments are checked, as its row in the table says: presence, shape, dtype, layout, overlap."""

import pickle

import numpy as np
import pytest
from odd_arrays import FakeDeviceArray, misaligned, read_only

import fastnn as fn
from fastnn import backends, checks, ops
from fastnn.table import TABLE

DataError, DtypeError, LayoutError, ShapeError = fn.DataError, fn.DtypeError, fn.LayoutError, fn.ShapeError
DIMS = {"n": 6, "m": 1, "o": 2, "r": 3, "b": 2, "i": 3, "c": 4, "k": 3, "one": 1}


def test_error_classes():
    assert issubclass(ShapeError, ValueError)
    assert issubclass(LayoutError, ValueError)
    assert issubclass(DataError, ValueError)
    assert issubclass(DtypeError, TypeError)
    assert issubclass(fn.UnsupportedOp, NotImplementedError)


def test_unsupported_op_reaches_other_processes():
    error = pickle.loads(pickle.dumps(fn.UnsupportedOp("exp", "cuda", "float64")))
    assert str(error) == "exp: backend 'cuda' has no kernel for float64"
    assert (error.op, error.backend, error.dtype) == ("exp", "cuda", "float64")


def arrays_for(name: str, dtype: str = "float32") -> list:
    """Plain inputs for an op, every optional one present."""
    op = TABLE[name]
    return [
        np.ones([DIMS[d] for d in a.stored_dims(op.params)], np.int64 if a.integer else dtype) for a in op.inputs
    ]  # fmt: skip


def apply(name: str, inputs: list, **kwargs):
    return ops.apply(name, *inputs, **kwargs)


def test_missing_argument(op, backend):
    """Required arguments must be there; optional ones need not."""
    with fn.use_backend(backend):
        for i, argument in enumerate(TABLE[op].inputs):
            inputs = arrays_for(op)
            inputs[i] = None
            if argument.optional:
                apply(op, inputs)
                continue
            with pytest.raises(ShapeError, match=f"^{op}: {argument.name}: expected an array, got None$"):
                apply(op, inputs)


def test_wrong_shape(op, backend):
    """One more dimension, and one more element, in every argument."""
    with fn.use_backend(backend):
        for i, argument in enumerate(TABLE[op].inputs):
            inputs = arrays_for(op)
            x = inputs[i]
            inputs[i] = np.ones((*x.shape, 1), x.dtype)
            with pytest.raises(ShapeError, match=rf"^{op}: {argument.name}: expected shape \(.*\), got \(.*\)$"):
                apply(op, inputs)
            for axis, d in enumerate(argument.dims):
                users = sum(d in a.dims for a in TABLE[op].inputs)
                if users > 1 or d == "one":
                    inputs[i] = np.ones([n + (a == axis) for a, n in enumerate(x.shape)], x.dtype)
                    with pytest.raises(ShapeError, match=rf"^{op}: \w+: expected shape \(.*\), got \(.*\)$"):
                        apply(op, inputs)


def test_wrong_dtype(op, backend):
    """Another floating dtype in one argument, floats for integers, integers for floats."""
    with fn.use_backend(backend):
        for i, argument in enumerate(TABLE[op].inputs):
            inputs = arrays_for(op)
            for dtype in (np.longdouble, np.complex64, bool, np.dtype("U1")):
                if argument.integer and dtype is bool:
                    continue
                inputs[i] = np.ones(inputs[i].shape).astype(dtype)
                with pytest.raises(DtypeError, match=f"^{op}: {argument.name}: expected .*, got .*$"):
                    apply(op, inputs)


def test_bad_out(op, backend):
    """Every output must fit in shape, dtype and layout, and overlap nothing."""
    row = TABLE[op]
    want = tuple(a.name for a in row.outputs if a.optional)
    with fn.use_backend(backend):
        result = apply(op, arrays_for(op), want=want)
        outputs = list(result) if isinstance(result, tuple) else [result] if row.outputs else []
        for i, good in enumerate(outputs):
            label = f"^{op}: out: expected .*, got .*$"
            other = np.float64 if good.dtype == np.float32 else np.float32
            double = np.empty((*good.shape[:-1], 2 * good.shape[-1]), good.dtype)
            for bad, error in (
                (np.empty((*good.shape, 1), good.dtype), ShapeError),
                (good.astype(other), DtypeError),
                (good.astype(good.dtype.newbyteorder()), DtypeError),
                (misaligned(good.shape, good.dtype), LayoutError),
                (read_only(good), LayoutError),
                (double[..., ::2], LayoutError if good.size > 1 else None),
            ):
                if error is None:
                    continue
                out = tuple(bad if j == i else np.empty_like(o) for j, o in enumerate(outputs))
                with pytest.raises(error, match=label):
                    apply(op, arrays_for(op), want=want, out=out)


def test_outputs_overlap_each_other():
    block = np.empty(6)
    with pytest.raises(LayoutError, match=r"^maximum_backward: out: expected memory of its own, got"):
        ops.apply("maximum_backward", np.ones(4), np.ones(4), np.ones(4), out=(block[:4], block[2:]))


def test_updated_overlaps():
    block = np.ones(8)
    with pytest.raises(LayoutError, match=r"^sgd_update: g: expected memory of its own, got"):
        ops.sgd_update(block[:5], block[3:])
    assert (block == 1).all()


def test_number_of_arrays():
    with pytest.raises(TypeError, match=r"^add\(\) takes 2 arrays, got 1$"):
        ops.apply("add", np.ones(3))


def test_places(backend):
    """Nothing is copied between host and device unasked."""
    kernels = backends.load(backend)
    array = np.ones(3) if kernels.device else FakeDeviceArray()
    with pytest.raises(LayoutError, match=f"^exp: arrays: expected .* for backend {backend!r} .*, got a .* array$"):
        ops.apply("exp", array, backend=backend)


def test_integers_of_any_kind_are_labels():
    for dtype in (np.uint8, np.int32, np.uint64, ">i4", bool):
        labels = np.array([0, 1, 1]).astype(dtype)
        ops.sparse_softmax_cross_entropy(np.ones((3, 4)), labels)


@pytest.mark.parametrize("closed", ["both", "left", "right", "neither"])
def test_interval(closed):
    def inside(value):
        try:
            checks.interval("op", "x", value, 0, 1, closed)
        except ValueError:
            return False
        return True

    assert inside(0.5) and not inside(-0.1) and not inside(1.1) and not inside(float("nan"))
    assert inside(0) == (closed in ("both", "left"))
    assert inside(1) == (closed in ("both", "right"))


def test_nothing_is_written_after_an_error():
    """An error comes before the first kernel runs."""
    p, m = np.ones(6), np.ones(6)
    with pytest.raises(ShapeError):
        ops.adam_update(p, np.ones(6), m, np.ones(7))
    assert (p == 1).all() and (m == 1).all()
