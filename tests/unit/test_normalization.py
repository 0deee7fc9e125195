"""Normalisation and regularisation ops against PyTorch and NumPy, and where float32 alone would not do."""

import numpy as np
import pytest

import fastnn as fn
from fastnn import ops

SHAPES = ((7, 5), (64, 33), (3, 4, 65), (5, 1031))
EPSILON = 1e-5
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def data(shape: tuple[int, ...], dtype: str) -> list[np.ndarray]:
    """x, dy, gamma, beta, moving mean and moving variance."""
    rng = np.random.default_rng(shape[-1])
    x, dy = rng.normal(2, 3, shape), rng.standard_normal(shape)
    gamma, variance = rng.uniform(0.5, 2, (2, shape[-1]))
    beta, mean = rng.standard_normal((2, shape[-1]))
    return [a.astype(dtype) for a in (x, dy, gamma, beta, mean, variance)]


def differentiate(forward, dy, *arrays):
    """PyTorch's y and its gradients for a function of tensors."""
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = forward(torch.nn.functional, *tensors)
    y.backward(torch.tensor(dy))
    return [y.detach().numpy(), *(t.grad.numpy() for t in tensors)]


def assert_all_close(got, want, dtype):
    for g, w in zip(got, want, strict=True):
        assert g.shape == w.shape and g.dtype == dtype
        np.testing.assert_allclose(g, w, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * np.abs(w).max())


@pytest.mark.parametrize("shape", SHAPES)
def test_layer_norm_against_torch(shape, dtype, backend):
    x, dy, gamma, beta, *_ = data(shape, dtype)
    want = differentiate(
        lambda functional, x, gamma, beta: functional.layer_norm(x, x.shape[-1:], gamma, beta, EPSILON),
        dy, x, gamma, beta,
    )  # fmt: skip
    y, mean, rstd = ops.layer_norm(x, gamma, beta, epsilon=EPSILON, statistics=True, backend=backend)
    got = [y, *ops.layer_norm_backward(dy, x, gamma, mean, rstd, backend=backend)]
    assert_all_close(got, want, dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_against_torch(shape, dtype, backend):
    """PyTorch's momentum is one minus ours, and its moving variance takes b / (b - 1) times the batch's."""
    torch = pytest.importorskip("torch")
    x, dy, gamma, beta, mean, variance = data(shape, dtype)
    rows = x.size // shape[-1]
    theirs = [torch.tensor(mean), torch.tensor(variance)]

    def forward(functional, x, gamma, beta):
        flat = x.reshape(-1, shape[-1])
        y = functional.batch_norm(flat, *theirs, gamma, beta, training=True, momentum=0.1, eps=EPSILON)
        return y.reshape(shape)

    want = differentiate(forward, dy, x, gamma, beta)
    before = variance.copy()
    y, *saved = ops.batch_norm(
        x, gamma, beta, mean, variance, momentum=0.9, epsilon=EPSILON, statistics=True, backend=backend
    )
    got = [y, *ops.batch_norm_backward(dy, x, gamma, *saved, backend=backend)]
    unbiased = 0.9 * before + (variance - 0.9 * before) * rows / (rows - 1)
    assert_all_close([*got, mean, unbiased.astype(dtype)], [*want, *(t.numpy() for t in theirs)], dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_inference_against_torch(shape, dtype, backend):
    torch = pytest.importorskip("torch")
    x, _, gamma, beta, mean, variance = data(shape, dtype)
    flat = torch.tensor(x).reshape(-1, shape[-1])
    want = torch.nn.functional.batch_norm(flat, *map(torch.tensor, (mean, variance, gamma, beta)), eps=EPSILON)
    got = ops.batch_norm_inference(x, gamma, beta, mean, variance, epsilon=EPSILON, backend=backend)
    assert_all_close([got], [want.reshape(shape).numpy()], dtype)


def test_moving_variance_is_biased(backend):
    """As in Keras: two rows one apart have a variance of 1/4, not 1/2."""
    mean, variance = np.zeros(3), np.ones(3)
    ops.batch_norm(np.array([[0.0], [1.0]]) + np.zeros(3), None, None, mean, variance, momentum=0.8, backend=backend)
    np.testing.assert_allclose(mean, 0.2 * 0.5)
    np.testing.assert_allclose(variance, 0.8 + 0.2 * 0.25)


def test_far_from_zero(backend):
    """A mean of 10^4 around which float32 has steps of 1/1024: sums in float32 would lose the spread of 1."""
    rng = np.random.default_rng(0)
    x = rng.normal(1e4, 1, (257, 130)).astype(np.float32)
    exact = x.astype(np.float64)
    y = ops.layer_norm(x, epsilon=EPSILON, backend=backend)
    want = exact - exact.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(y, want / np.sqrt(np.square(want).mean(axis=1, keepdims=True) + EPSILON), atol=1e-6)
    y = ops.batch_norm(
        x, None, None, np.zeros(130, np.float32), np.ones(130, np.float32), epsilon=EPSILON, backend=backend
    )
    want = exact - exact.mean(axis=0)
    np.testing.assert_allclose(y, want / np.sqrt(np.square(want).mean(axis=0) + EPSILON), atol=1e-6)


@pytest.mark.parametrize("name", ["layer_norm", "batch_norm"])
def test_constant_rows_and_columns(name, backend):
    """Without variance what is left is beta, and its gradient is finite."""
    x, beta = np.full((6, 4), 3.7, np.float32), np.arange(4, dtype=np.float32)
    moving = [np.zeros(4, np.float32), np.ones(4, np.float32)] if name == "batch_norm" else []
    y, mean, rstd = getattr(ops, name)(x, None, beta, *moving, statistics=True, backend=backend)
    np.testing.assert_array_equal(y, np.broadcast_to(beta, y.shape))
    dx, dgamma, _ = getattr(ops, f"{name}_backward")(x, x, None, mean, rstd, backend=backend)
    np.testing.assert_allclose(dx, 0, atol=1e-4)
    np.testing.assert_allclose(dgamma, 0, atol=1e-4)


@pytest.mark.parametrize("name", ["layer_norm", "batch_norm"])
def test_recorded(name, backend):
    """A recorded step gives what the ops give, updates the moving statistics, and keeps no more than is read."""
    x, dy, gamma, beta, mean, variance = data((9, 6), "float64")

    def f(x, gamma, beta):
        moving = [x.program.state("mean", mean), x.program.state("variance", variance)] * (name == "batch_norm")
        return ops.sum(getattr(ops, name)(x, gamma, beta, *moving) * dy)

    program = fn.trace(f, x, gamma, beta, backend=backend)
    program(x, gamma, beta)
    (call,) = (c for c in program.calls if c.op.name == name)
    assert call.outputs[1:] == (None, None)
    expected = [mean.copy(), variance.copy()] if name == "batch_norm" else []
    saved = getattr(ops, name)(x, gamma, beta, *expected, statistics=True, backend=backend)[1:]
    want = getattr(ops, f"{name}_backward")(dy, x, gamma, *saved, backend=backend)
    got = fn.grad(f, (0, 1, 2), backend=backend)(x, gamma, beta)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-12)
    if name == "batch_norm":
        np.testing.assert_allclose([mean, variance], expected)


def test_gradients_that_are_needed(backend):
    """Only these are recorded."""
    x, gamma, beta = np.ones((3, 4)) * np.arange(4), np.ones(4), np.zeros(4)
    program = fn.Program(backend)
    g = program.input("gamma", (4,), np.float64)
    loss = ops.sum(ops.layer_norm(program.constant(x), g, program.constant(beta)))
    (dgamma,) = fn.autodiff.gradients(loss, [g])
    program.output(dgamma)
    program(gamma)
    (call,) = (c for c in program.calls if c.op.name == "layer_norm_backward")
    assert [t is not None for t in call.outputs] == [False, True, False]


BAD = {
    "no columns": (lambda: ops.layer_norm(np.ones((3, 0))), "layer_norm: x: expected at least one column, got (3, 0)"),
    "no rows": (
        lambda: ops.batch_norm(np.ones((0, 2)), None, None, np.zeros(2), np.ones(2)),
        "batch_norm: x: expected at least one row, got (0, 2)",
    ),
    "a number": (lambda: ops.layer_norm(1.0), r"layer_norm: x: expected at least one dimension, got ()"),
    "gamma": (
        lambda: ops.layer_norm(np.ones((3, 2)), np.ones(3)), "layer_norm: gamma: expected shape (c=2,), got (3,)",
    ),
    "dy": (
        lambda: ops.layer_norm_backward(np.ones(3), np.ones((3, 2)), None, np.ones(3), np.ones(3)),
        "layer_norm_backward: dy: expected shape (3, 2), got (3,)",
    ),
    "epsilon": (
        lambda: ops.layer_norm(np.ones(3), epsilon=-1.0),
        "layer_norm: epsilon: expected a number in [0, inf), got -1.0",
    ),
    "momentum": (
        lambda: ops.batch_norm(np.ones((3, 2)), None, None, np.ones(2), np.ones(2), momentum=1.5),
        "batch_norm: momentum: expected a number in [0, 1], got 1.5",
    ),
    "penalty's gradient": (
        lambda: ops.penalty(np.ones((2, 3)), np.ones(6), l2=0.1), "penalty: g: expected shape (2, 3), got (6,)",
    ),
    "a strided gradient": (
        lambda: ops.clip_by_value(np.ones((4, 4))[:, ::2]),
        "clip_by_value: g: expected a C-contiguous array to write into, got strides (32, 16)",
    ),
    "a list": (
        lambda: ops.soft_threshold([1.0, 2.0]), "soft_threshold: p: expected an array to update in place, got list",
    ),
    "norm": (lambda: ops.max_norm(np.ones((2, 2)), 0.0), "max_norm: max_norm: expected a number in (0, inf], got 0.0"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    call, message = BAD[case]
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert str(caught.value) == message


# --- regularisation --------------------------------------------------------------------------------------


def test_penalty(dtype, backend, rng):
    p, g = (rng.standard_normal((70, 83)).astype(dtype) for _ in range(2))
    p[3, :5] = 0
    want = g + 0.1 * np.sign(p) + 2 * 0.2 * p
    value = ops.penalty(p, l1=0.1, l2=0.2, backend=backend)
    assert value.shape == (1,)
    np.testing.assert_allclose(value[0], 0.1 * np.abs(p).sum() + 0.2 * np.square(p).sum(), rtol=TOLERANCE[dtype])
    assert ops.penalty(p, g, l1=0.1, l2=0.2, backend=backend) == value
    np.testing.assert_allclose(g, want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_soft_threshold_minimises(dtype, backend, rng):
    """The proximal step minimises (q - p)^2 / 2 + t |q|: p - q is in t times the subgradient of |q|."""
    p = rng.standard_normal((33, 11)).astype(dtype)
    q, t = p.copy(), 0.05 * 8.0
    ops.soft_threshold(q, learning_rate=0.05, l1=8.0, backend=backend)
    assert 0.2 < np.mean(q == 0) < 0.5
    np.testing.assert_allclose((p - q)[q != 0], (t * np.sign(q))[q != 0], rtol=1e-5)
    assert (np.abs((p - q)[q == 0]) <= t * (1 + 1e-6)).all()


def test_soft_threshold_follows_a_slot(backend):
    rate = fn.program.Slot("learning_rate", 0.5)
    program, p = fn.Program(backend), np.array([3.0, -3.0])
    ops.soft_threshold(program.state("p", p), learning_rate=rate, l1=2.0)
    program()
    rate.value = 0.25
    program()
    np.testing.assert_array_equal(p, [1.5, -1.5])


def test_max_norm_against_torch(dtype, backend, rng):
    torch = pytest.importorskip("torch")
    w = rng.standard_normal((50, 70)).astype(dtype) * np.linspace(0, 2, 70).astype(dtype)
    want = torch.renorm(torch.tensor(w), p=2, dim=1, maxnorm=3.0).numpy()
    kept = np.linalg.norm(w, axis=0) <= 3
    assert 10 < kept.sum() < 60
    before = w.copy()
    ops.max_norm(w, 3.0, backend=backend)
    np.testing.assert_allclose(w, want, rtol=2e-6)  # PyTorch adds 1e-7 to the norm
    np.testing.assert_array_equal(w[:, kept], before[:, kept])


def test_clip_by_value(dtype, backend, rng):
    g = rng.standard_normal((9, 10)).astype(dtype)
    g[0, :3] = np.nan, np.inf, -np.inf
    want = np.clip(g, -0.5, 0.5)
    ops.clip_by_value(g, 0.5, backend=backend)
    np.testing.assert_array_equal(g, want)


def test_nan_stays(backend):
    p = np.array([np.nan, 2.0])
    ops.soft_threshold(p, learning_rate=1.0, l1=0.5, backend=backend)
    np.testing.assert_array_equal(p, [np.nan, 1.5])
    g = np.zeros(2)
    assert np.isnan(ops.penalty(np.array([np.nan, 1.0]), g, l1=1.0, backend=backend))
    np.testing.assert_array_equal(g, [np.nan, 1.0])
