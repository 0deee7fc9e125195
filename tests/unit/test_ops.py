"""The public ops against NumPy: broadcasting, axes, vectors and matrices, numbers, properties that formulas promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, broadcastable_shapes, mutually_broadcastable_shapes

import fastnn as fn
from fastnn import ops

EXAMPLES = settings(max_examples=40, deadline=None)
SHAPES = array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)


def numbers(shape, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).uniform(0.5, 2, shape)


def same(got, want) -> None:
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-14)


@EXAMPLES
@given(shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=5, min_side=0, max_side=4))
def test_broadcasting(backend, shapes):
    a, b = (numbers(s, i) for i, s in enumerate(shapes.input_shapes))
    with fn.use_backend(backend):
        for mine, theirs in (
            (fn.add, np.add), (fn.subtract, np.subtract), (fn.multiply, np.multiply), (fn.divide, np.divide),
            (fn.maximum, np.maximum), (fn.power, np.power),
        ):  # fmt: skip
            same(mine(a, b), theirs(a, b))
            out = np.empty(shapes.result_shape)
            assert mine(a, b, out=out) is out
            same(out, theirs(a, b))


@EXAMPLES
@given(data=st.data(), shape=SHAPES)
def test_broadcast_to(backend, data, shape):
    target = data.draw(broadcastable_shapes(shape, max_dims=6, max_side=4))
    x = numbers(shape)
    try:
        want = np.broadcast_to(x, target)
    except ValueError:  # the strategy also draws shapes that x's dimensions would have to shrink to
        with pytest.raises(fn.ShapeError):
            fn.broadcast_to(x, target)
        return
    with fn.use_backend(backend):
        same(fn.broadcast_to(x, target), want)


@EXAMPLES
@given(data=st.data(), shape=SHAPES)
def test_transpose(backend, data, shape):
    axes = data.draw(st.none() | st.permutations(range(-len(shape), 0)) | st.permutations(range(len(shape))))
    x = numbers(shape)
    with fn.use_backend(backend):
        y = fn.transpose(x, axes)
    same(y, x.transpose(axes))
    assert y.flags.c_contiguous


@EXAMPLES
@given(data=st.data(), shape=SHAPES, keepdims=st.booleans())
def test_sum_and_mean(backend, data, shape, keepdims):
    axis = st.none()
    if shape:
        one = st.integers(-len(shape), len(shape) - 1)
        axis |= one | st.lists(one, max_size=len(shape), unique_by=lambda a: a % len(shape)).map(tuple)
    axis = data.draw(axis)
    x = numbers(shape)
    with fn.use_backend(backend):
        same(fn.sum(x, axis, keepdims=keepdims), np.asarray(x.sum(axis, keepdims=keepdims)))
        out = np.empty(np.shape(x.sum(axis, keepdims=keepdims)))
        assert fn.sum(x, axis, keepdims=keepdims, out=out) is out
        same(out, np.asarray(x.sum(axis, keepdims=keepdims)))
        if x.size:
            same(fn.mean(x, axis, keepdims=keepdims), np.asarray(x.mean(axis, keepdims=keepdims)))


@EXAMPLES
@given(data=st.data(), shape=SHAPES)
def test_reshape(data, shape):
    x = numbers(shape)
    parts = data.draw(st.permutations([*shape, 1, 1]))
    same(fn.reshape(x, parts), x.reshape(parts))
    if x.size:
        same(fn.reshape(x, (*parts[:-1], -1)), x.reshape((*parts[:-1], -1)))
        same(fn.reshape(x, -1), x.ravel())
    with pytest.raises(fn.ShapeError):
        fn.reshape(x, (x.size + 1,))


@EXAMPLES
@given(
    sizes=st.tuples(*[st.integers(0, 9)] * 3), flips=st.tuples(st.booleans(), st.booleans()),
    vectors=st.tuples(st.booleans(), st.booleans()),
)  # fmt: skip
def test_matmul_shapes(backend, sizes, flips, vectors):
    m, k, n = sizes
    a = numbers((k,)) if vectors[0] else numbers((k, m) if flips[0] else (m, k))
    b = numbers((k,), 1) if vectors[1] else numbers((n, k) if flips[1] else (k, n), 1)
    want = np.asarray((a.T if flips[0] else a) @ (b.T if flips[1] else b))
    with fn.use_backend(backend):
        same(fn.matmul(a, b, transpose_a=flips[0], transpose_b=flips[1]), want)
        out = np.ones(want.shape)
        fn.matmul(a, b, transpose_a=flips[0], transpose_b=flips[1], accumulate=True, out=out)
        same(out, want + 1)


def test_long_rows(backend, dtype):
    """Few rows by a transposed matrix, longer than what is added up at a time; integers leave nothing to round."""
    generator = np.random.default_rng(0)
    b = generator.integers(-3, 4, (6, 5003)).astype(dtype)
    for m in range(1, 5):
        a = generator.integers(-3, 4, (m, 5003)).astype(dtype)
        for transpose_a in (False, True):
            x, out = np.ascontiguousarray(a.T) if transpose_a else a, np.ones((m, 6), dtype)
            options = {"transpose_a": transpose_a, "transpose_b": True, "backend": backend}
            assert np.array_equal(fn.matmul(x, b, **options), a @ b.T)
            fn.matmul(x, b, accumulate=True, out=out, **options)
            assert np.array_equal(out, a @ b.T + 1)


@EXAMPLES
@given(
    rows=array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), inner=st.integers(0, 5), outer=st.integers(0, 5),
    bias=st.booleans(),
)  # fmt: skip
def test_dense_shapes(backend, rows, inner, outer, bias):
    x, w, b = numbers((*rows, inner)), numbers((inner, outer), 1), numbers((outer,), 2) if bias else None
    want = np.tanh(x @ w + (b if bias else 0))
    with fn.use_backend(backend):
        same(ops.dense(x, w, b, activation="tanh"), want)
        if bias:
            same(ops.bias_add(x @ w, b), x @ w + b)


@EXAMPLES
@given(data=st.data(), shape=array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
def test_axis_of_softmax(backend, data, shape):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = numbers(shape)
    e = np.exp(x)
    want = e / e.sum(axis, keepdims=True)
    with fn.use_backend(backend):
        same(ops.softmax(x, axis), want)
        same(ops.log_softmax(x, axis), np.log(want))
        dy = numbers(shape, 1)
        same(ops.softmax_backward(dy, want, axis), want * (dy - (dy * want).sum(axis, keepdims=True)))
        same(ops.log_softmax_backward(dy, np.log(want), axis), dy - want * dy.sum(axis, keepdims=True))
        np.testing.assert_array_equal(ops.argmax(x), x.argmax(-1))


def test_too_many_dimensions():
    x = np.ones((1,) * 9)
    with pytest.raises(fn.ShapeError, match="transpose: x: expected at most 8 dimensions, got 9"):
        fn.transpose(x)
    assert fn.exp(x).shape == x.shape, "only copies are limited"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers(backend, dtype):
    """A number beside an array takes its dtype."""
    x = np.array([1.0, 2.0, 4.0], dtype)
    with fn.use_backend(backend):
        for y, want in (
            (fn.add(x, 1), x + 1), (fn.add(1, x), x + 1), (fn.subtract(x, 1), x - 1), (fn.subtract(1, x), 1 - x),
            (fn.multiply(x, 3), 3 * x), (fn.multiply(3, x), 3 * x), (fn.divide(x, 2), x / 2), (fn.divide(2, x), 2 / x),
            (fn.power(x, 2), x**2), (fn.power(2, x), 2**x), (fn.maximum(x, 1.5), np.maximum(x, 1.5)),
            (fn.negative(x), -x), (ops.affine(x, 2, -1), 2 * x - 1),
        ):  # fmt: skip
            np.testing.assert_allclose(y, want, rtol=1e-6)
            assert y.dtype == dtype
        assert fn.exp(0.0).shape == () and fn.exp(0.0) == 1 and fn.exp(0.0).dtype == np.float64
        assert fn.add(1, 2) == 3 and fn.add([1, 2], [3, 4]).tolist() == [4, 6]
        assert fn.sqrt(4) == 2 and fn.add([[1], [2]], [3, 4]).tolist() == [[4, 5], [5, 6]]
        mixed = fn.multiply(x, [1, 2.5, 0])
        assert mixed.dtype == dtype and mixed.tolist() == [1, 5, 0]


def test_results_own_their_memory():
    """Even of ops that do nothing."""
    x = np.ones(3)
    for y in (ops.linear(x), fn.transpose(x), ops.dropout(x, 0.0), fn.add(x, 0), ops.relu(x)):
        assert not np.shares_memory(x, y)


def test_argmax_and_count(backend):
    x = np.array([[1.0, 3.0, 3.0], [np.nan, 9.0, np.nan], [-np.inf, -np.inf, -1.0]])
    with fn.use_backend(backend):
        found = ops.argmax(x)
        assert found.dtype == np.int64 and found.tolist() == [1, 0, 2]
        assert ops.count_equal(found, [1, 1, 2])[0] == 2
        out = np.empty(3, np.int64)
        ops.argmax(x, out=out)
        assert out.tolist() == [1, 0, 2]
        with pytest.raises(fn.ShapeError, match=r"count_equal: b: expected shape \(3,\), got \(2,\)"):
            ops.count_equal(found, [1, 1])


def test_norm_and_clip(backend):
    gradients = [np.array([3.0, 0.0]), np.array([[0.0], [4.0]])]
    with fn.use_backend(backend):
        assert ops.norm(gradients) == pytest.approx(5)
        assert ops.norm(gradients[0]) == pytest.approx(3)
        before = [g.copy() for g in gradients]
        assert ops.clip_by_global_norm(gradients, 10.0) == pytest.approx(5)
        assert all(np.array_equal(g, b) for g, b in zip(gradients, before, strict=True))
        assert ops.clip_by_global_norm(gradients, 1.0) == pytest.approx(5)
        assert ops.norm(gradients) == pytest.approx(1, rel=1e-6)
        np.testing.assert_allclose(gradients[0], [0.6, 0], rtol=1e-6)


def test_clip_of_both_dtypes(backend):
    """The norm is one number even where a list holds float32 and float64."""
    gradients = [np.full(4, 3e15, np.float32), np.ones(2)]
    with fn.use_backend(backend):
        norm = ops.clip_by_global_norm(gradients, 1.0)
        assert norm == pytest.approx(6e15, rel=1e-6)
        assert ops.norm(gradients) == pytest.approx(1, rel=1e-5)


def test_clip_needs_writable_gradients():
    frozen = np.ones(3)
    frozen.flags.writeable = False
    first = np.full(3, 100.0)
    with pytest.raises(fn.LayoutError, match="clip_by_global_norm: gradients: expected an array that can be written"):
        ops.clip_by_global_norm([first, frozen], 1.0)
    assert (first == 100).all(), "nothing is changed where one cannot be"


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_cross_entropies_are_stable(backend, dtype, scale):
    """Logits of +-1e4: values and gradients as in exact arithmetic."""
    logits = np.array([[scale, 0.0, -scale], [0.0, 0.0, scale]], dtype)
    labels = np.array([0, 2])
    with fn.use_backend(backend):
        loss, gradient = ops.sparse_softmax_cross_entropy(logits, labels, gradient=True)
        dense, same_gradient = ops.softmax_cross_entropy(logits, np.eye(3, dtype=dtype)[labels], gradient=True)
        binary, slope = ops.binary_cross_entropy(logits, np.ones_like(logits), gradient=True)
    want = 0.0 if scale > 0 else (2e4 + 1e4 + np.log(2)) / 2
    assert loss[0] == pytest.approx(want, abs=1e-6, rel=1e-6) and dense[0] == pytest.approx(loss[0])
    assert np.isfinite(gradient).all() and np.allclose(gradient.sum(1), 0)
    np.testing.assert_allclose(gradient, same_gradient)
    assert binary[0] == pytest.approx(((1e4 if scale > 0 else 2e4) + 3 * np.log(2)) / 6, rel=1e-6)
    assert np.isfinite(slope).all()


def test_weights_scale_rows(backend):
    rng = np.random.default_rng(0)
    x, t, w = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.uniform(0, 2, 5)
    with fn.use_backend(backend):
        rows = [ops.mean_squared_error(x[i : i + 1], t[i : i + 1])[0] for i in range(5)]
        assert ops.mean_squared_error(x, t, w)[0] == pytest.approx((w * rows).sum() / 5)
        assert ops.mean_squared_error(x, t, w * 0)[0] == 0


def test_dropout(backend):
    x = np.random.default_rng(0).normal(size=(100, 101))
    with fn.use_backend(backend):
        y = ops.dropout(x, 0.3, seed=5)
        kept = y != 0
        np.testing.assert_allclose(y[kept], x[kept] / 0.7, rtol=1e-14)
        assert abs(kept.mean() - 0.7) < 0.02
        assert np.array_equal(y, ops.dropout(x, 0.3, seed=5))
        for counter in ({"seed": 6}, {"seed": 5, "stream": 1}, {"seed": 5, "step": 1}):
            z = ops.dropout(x, 0.3, **counter)
            agree = ((z != 0) == kept).mean()
            assert abs(agree - (0.7**2 + 0.3**2)) < 0.03, "masks of other counters are independent"
        assert np.array_equal(ops.dropout(x, 0.0), x) and not ops.dropout(x, 1.0).any()
        single = ops.dropout(x.astype("f4"), 0.3, seed=5)
        assert np.array_equal(single != 0, kept), "the mask does not depend on the dtype"


def test_philox():
    """Known answers of Philox4x32-10, from the Random123 distribution (kat_vectors)."""
    from fastnn.backends.reference import philox4x32

    ones = 0xFFFFFFFF
    for counter, key, want in (
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ones,) * 4, (ones,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ):  # fmt: skip
        assert tuple(philox4x32(np.array(counter, np.uint64)[:, None], key)[:, 0]) == want


def test_dense_backward_is_the_gradient(backend):
    rng = np.random.default_rng(0)
    x, w, b, dy = rng.normal(size=(5, 3)), rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=(5, 4))
    with fn.use_backend(backend):
        y = ops.dense(x, w, b, activation="tanh")
        found = ops.dense_backward(dy, x, w, y, activation="tanh")
        want = fn.grad(lambda *a: fn.sum(ops.dense(*a, activation="tanh") * dy), (0, 1, 2))(x, w, b)
        for f, g in zip(found, want, strict=True):
            np.testing.assert_allclose(f, g, rtol=1e-13)
        assert len(ops.dense_backward(dy, x, w)) == 3
        with pytest.raises(fn.ShapeError, match="dense_backward: saved: expected an array of shape"):
            ops.dense_backward(dy, x, w, activation="tanh")
