"""The policy for the precision of float32 matrix products: who decides, and that it reaches every product.

Whether a product is computed less precisely shows in the reference backend, which always follows the policy.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastnn as fn
import fastnn_ext
from fastnn import ops
from fastnn.backends.split_products import PRODUCTS, split_product
from fastnn.table import PRECISIONS, TABLE

F4 = np.float32
LESS = tuple(p for p in PRECISIONS if p in PRODUCTS)


@pytest.fixture(autouse=True)
def as_found():
    """Leaves no policy behind."""
    yield
    fn.set_matmul_precision("float32")


@pytest.fixture
def a(rng):
    return rng.standard_normal((9, 40)).astype(F4)


@pytest.fixture
def b(rng):
    return rng.standard_normal((40, 7)).astype(F4)


def reference(a, b, **options):
    return ops.matmul(a, b, backend="reference", **options)


# --- who decides -----------------------------------------------------------------------------------------


def test_default_is_float32(a, b):
    assert fn.get_matmul_precision() == "float32"
    np.testing.assert_array_equal(reference(a, b), a @ b)
    assert all(row.params["precision"] == "float32" for row in TABLE.values() if "precision" in row.params)


def test_innermost_decides(a, b):
    found = {p: split_product(a, b, p) for p in LESS}
    fn.set_matmul_precision("bf16")
    np.testing.assert_array_equal(reference(a, b), found["bf16"])
    with fn.matmul_precision("bf16x3"):
        assert fn.get_matmul_precision() == "bf16x3"
        np.testing.assert_array_equal(reference(a, b), found["bf16x3"])
        with fn.matmul_precision("float32"):
            np.testing.assert_array_equal(reference(a, b), a @ b)
            np.testing.assert_array_equal(reference(a, b, precision="bf16"), found["bf16"])
        assert fn.get_matmul_precision() == "bf16x3"
    assert fn.get_matmul_precision() == "bf16"


def test_block_ends_with_an_error():
    with pytest.raises(ZeroDivisionError), fn.matmul_precision("bf16"):
        raise ZeroDivisionError
    assert fn.get_matmul_precision() == "float32"


def test_block_is_of_its_thread():
    with fn.matmul_precision("bf16"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(fn.get_matmul_precision).result() == "float32"


def test_unknown():
    x = np.ones((2, 2), F4)
    calls = {
        "set_matmul_precision": lambda p: fn.set_matmul_precision(p),
        "matmul_precision": lambda p: fn.matmul_precision(p).__enter__(),
        "matmul": lambda p: ops.matmul(x, x, precision=p),
        "dense": lambda p: ops.dense(x, x, precision=p),
        "dense_backward": lambda p: ops.dense_backward(x, x, x, precision=p),
        "compile": lambda p: fn.Sequential([fn.Dense(2)]).compile(precision=p),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=f"{name}: precision: expected one of .*'bf16x3'.* got 'bf17'"):
            call("bf17")


# --- what follows it -------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", LESS)
@pytest.mark.parametrize("ta", (False, True))
@pytest.mark.parametrize("tb", (False, True))
def test_matmul(precision, ta, tb, a, b, rng):
    out = rng.standard_normal((9, 7)).astype(F4)
    expected = split_product(a, b, precision, out.copy())
    left, right = a.T.copy() if ta else a, b.T.copy() if tb else b
    reference(left, right, transpose_a=ta, transpose_b=tb, accumulate=True, out=out, precision=precision)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("precision", LESS)
def test_dense(precision, a, b, rng):
    bias, dy = rng.standard_normal(7).astype(F4), rng.standard_normal((9, 7)).astype(F4)
    with fn.use_backend("reference"):
        y = ops.dense(a, b, bias, activation="relu", precision=precision)
        np.testing.assert_array_equal(y, np.maximum(split_product(a, b, precision) + bias, 0))
        dx, dw, db = ops.dense_backward(dy, a, b, y, activation="relu", precision=precision)
    dz = np.where(y > 0, dy, 0).astype(F4)
    np.testing.assert_array_equal(dx, split_product(dz, b.T, precision))
    np.testing.assert_array_equal(dw, split_product(a.T, dz, precision))
    np.testing.assert_allclose(db, dz.sum(0), rtol=1e-5)


@pytest.mark.parametrize("value", (np.nan, np.inf, 1e-40, 3e38))
def test_what_parts_cannot_hold(value, a, b):
    a[3, 5] = value
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(reference(a, b, precision="bf16"), a @ b)


def test_tf32_is_float32_without_a_device(a, b):
    np.testing.assert_array_equal(reference(a, b, precision="tf32"), a @ b)


def test_float64_is_never_less_precise(backend, a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    for precision in PRECISIONS:
        assert (ops.matmul(a, b, precision=precision) == ops.matmul(a, b)).all()


@pytest.mark.parametrize("precision", PRECISIONS[1:])
@pytest.mark.parametrize("backend", ("cython", "numba"))
def test_without_the_unit_nothing_is_lost(backend, on_backend, precision, rng):
    """The policy permits less precision: there is nothing to gain from it here."""
    if fastnn_ext.ISA == "amx" and backend == "cython":
        pytest.skip("this machine has the unit")
    x, w = rng.standard_normal((300, 300)).astype(F4), rng.standard_normal((300, 300)).astype(F4)
    expected = ops.matmul(x, w), ops.dense(x, w), *ops.dense_backward(x, x, w)
    with fn.matmul_precision(precision):
        found = ops.matmul(x, w), ops.dense(x, w), *ops.dense_backward(x, x, w)
    assert all(f.tobytes() == e.tobytes() for f, e in zip(found, expected, strict=True))


# --- programs and models ---------------------------------------------------------------------------------


def test_recorded_with_its_gradients(a, b):
    """What the program was recorded under holds, whatever is set when it is replayed."""

    def loss(x, w):
        return fn.sum(ops.dense(ops.matmul(x, w), w, activation="relu"))

    w = np.ascontiguousarray(b[:7])
    with fn.use_backend("reference"), fn.matmul_precision("bf16"):
        program = fn.trace(fn.grad(loss, argnums=1), a[:, :7], w)
    kinds = {c.op.name for c in program.calls if c.params.get("precision") == "bf16"}
    assert kinds == {"matmul", "dense", "dense_backward"}
    assert all(c.params.get("precision", "bf16") == "bf16" for c in program.calls)


def model(precision=None, backend="reference"):
    made = fn.Sequential([fn.Dense(8, "tanh"), fn.Dense(3)], backend=backend, seed=1, input_shape=(40,))
    made.compile("sgd", "cross_entropy", precision=precision)
    return made


def recorded(model):
    """The precision of all products that a model has recorded."""
    params = [c.params for p in model._programs.values() for c in p.calls]
    return {p["precision"] for p in params if "precision" in p}


def trained(model, a):
    model.train_step(a, np.arange(9) % 3)
    return model.predict(a)


def test_model(a):
    own, plain = model("bf16"), model()
    y = trained(own, a)
    assert recorded(own) == {"bf16"} and (y != trained(plain, a)).any() and recorded(plain) == {"float32"}
    with fn.matmul_precision("bf16"):
        assert (trained(model(), a) == y).all()
        assert recorded(plain) == {"float32"}
        plain.predict(a)
    assert recorded(plain) == {"float32", "bf16"}
    with fn.matmul_precision("float32"):
        assert (model("bf16").predict(a) == model("bf16").predict(a)).all()
        frozen = own.freeze(9)
    np.testing.assert_array_equal(frozen(a), y)


@pytest.mark.parametrize("precision", (None, *LESS))
def test_saved(precision, a, tmp_path):
    pytest.importorskip("safetensors")
    before = model(precision)
    before.save(tmp_path / "m.safetensors", include_optimizer=True)
    after = fn.load(tmp_path / "m.safetensors", backend="reference")
    assert after.precision == precision
    np.testing.assert_array_equal(trained(after, a), trained(before, a))
