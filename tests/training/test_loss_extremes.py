"""Losses where numbers are extreme: to the last digits, without overflow, infinite where they must be, never NaN."""

import numpy as np
import pytest
from mpmath import mp, mpf

import fastnn as fn

pytestmark = pytest.mark.usefixtures("on_backend")


def close(found, expected, dtype, ulp=4):
    """Whether a number is within so many epsilon of one of arbitrary precision; 0 is as good as a subnormal."""
    info = np.finfo(dtype)
    return abs(mpf(float(found)) - expected) <= max(ulp * info.eps * abs(expected), mpf(float(info.smallest_subnormal)))


def both(loss, x, t, dtype):
    """Value and gradient for one prediction."""
    x, t = np.array([[x]], dtype), np.array([[t]], dtype)
    return loss(x, t), float(loss.gradient(x, t)[0, 0])


@pytest.mark.parametrize("e", [1e-30, 1e-9, 1e-3, 0.1, 0.7, 0.999, 1.0, 1.001, 3.0, 19.0, 21.0, 500.0, 1e30])
def test_log_cosh_over_its_whole_range(backend, dtype, e):
    with mp.workdps(120):
        exact = mpf(float(np.dtype(dtype).type(e)))
        value = mp.log(mp.cosh(exact)) if exact < 1000 else exact - mp.log(2)
        for sign in (1, -1):
            found, slope = both(fn.LogCosh(), sign * e, 0.0, dtype)
            assert close(found, value, dtype) and close(slope, sign * mp.tanh(min(exact, 1000)), dtype)


@pytest.mark.parametrize("p", [1e-30, 1e-6, 0.2, 0.249, 0.251, 0.5, 0.9, 1 - 2**-20])
def test_binary_cross_entropy_of_probabilities(backend, dtype, p):
    with mp.workdps(60):
        exact = mpf(float(np.dtype(dtype).type(p)))
        for t, value, slope in ((1, -mp.log(exact), -1 / exact), (0, -mp.log1p(-exact), 1 / (1 - exact))):
            found = both(fn.BinaryCrossEntropy(from_logits=False), p, t, dtype)
            assert close(found[0], value, dtype) and close(found[1], slope, dtype)


@pytest.mark.parametrize("x", [-60.0, -1.0, 0.0, 1e-8, 3.0, 60.0])
def test_poisson_to_the_last_digits(backend, dtype, x):
    with mp.workdps(60):
        exact = mpf(float(np.dtype(dtype).type(x)))
        found, slope = both(fn.Poisson(), x, 3.0, dtype)
        size = mp.exp(exact) + abs(3 * exact)  # the loss is their difference
        assert abs(found - (mp.exp(exact) - 3 * exact)) <= 4 * np.finfo(dtype).eps * size
        assert close(slope, mp.exp(exact) - 3, dtype)


def test_cross_entropy_to_the_last_digits(backend, dtype):
    """Small losses: a probability close to 1 must not cancel."""
    x = np.array([[30.0, 0.0, -5.0], [0.5, 12.0, 0.25], [-3.0, -2.0, 9.5]], dtype)
    with mp.workdps(50):
        each = [mp.log(sum(mp.exp(mpf(float(v)) - mpf(float(row[k]))) for v in row)) for k, row in enumerate(x)]
        expected = float(sum(each) / 3)
    assert abs(fn.CrossEntropy()(x, np.arange(3)) - expected) <= 8 * np.finfo(dtype).eps * abs(x).max()


def test_large_logits(backend, dtype):
    """Logits of +-1e4: a naive exponential overflows."""
    x = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, -1e4, -1e4]], dtype)
    loss = fn.CrossEntropy()
    right = loss(x, [0, 1, 0])
    assert np.isclose(right, np.log(2) / 3, rtol=1e-6)
    assert loss(x, [1, 0, 2]) == pytest.approx((2e4 + 2e4 + np.log(2) + 1e4) / 3, rel=1e-6)
    assert np.allclose(loss.gradient(x, [0, 1, 0]) * 3, [[0, 0, 0], [0, -0.5, 0.5], [0, 0, 0]], atol=1e-7)
    binary = fn.BinaryCrossEntropy()
    logits = np.array([[1e4], [-1e4], [1e4], [-1e4]], dtype)
    targets = np.array([1, 0, 0, 1])
    assert binary(logits, targets) == pytest.approx(5e3, rel=1e-7)
    assert np.array_equal(binary.gradient(logits, targets) * 4, np.array([[0], [0], [1], [-1]], dtype))


# --- probabilities of 0 and 1 ----------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "value"), [(1.0, 0.0), (0.5, 0.6931471805599453), (0.0, np.inf)])
def test_cross_entropy_of_the_true_class_of_probability(backend, dtype, p, value):
    """0, log 2 and infinity; from logits as well, that of probability 0 being minus infinity."""
    rows = np.array([[p, 1 - p]], dtype)
    with np.errstate(divide="ignore"):
        logits = np.log(rows)
    for targets in ([0], [[1.0, 0.0]]):
        assert fn.CrossEntropy(from_logits=False)(rows, targets) == pytest.approx(value, rel=1e-7)
        assert fn.CrossEntropy()(logits, targets) == pytest.approx(value, rel=1e-7)
    expected = np.array([[-1 / p if p else -np.inf, 0.0]])
    assert np.array_equal(fn.CrossEntropy(from_logits=False).gradient(rows, [0]), expected)
    assert np.allclose(fn.CrossEntropy().gradient(logits, [0]), [[p - 1, 1 - p]], atol=1e-7)
    binary = fn.BinaryCrossEntropy(from_logits=False)
    assert binary(rows[:, :1], [1]) == binary(rows[:, 1:], [0]) == pytest.approx(value, rel=1e-7)


def test_softmax_of_a_textbook(backend, dtype):
    assert np.array_equal(fn.ops.softmax(np.array([7, -7.5, 10], dtype)).round(2), np.array([0.05, 0, 0.95], dtype))


def test_gradients_at_probabilities_of_0_and_1(backend, dtype):
    """(p - t) / (p (1 - p)), whose terms of weight zero are 0."""
    p, t = np.array([[0.0], [1.0], [0.0], [1.0]], dtype), np.array([0, 1, 1, 0])
    assert np.array_equal(fn.BinaryCrossEntropy(from_logits=False).gradient(p, t).ravel() * 4, [1, -1, -np.inf, np.inf])
    p, t = np.array([[0.0, 0.25, 0.75]], dtype), np.array([[0.0, 0.5, 0.5]])
    assert np.allclose(fn.CrossEntropy(from_logits=False).gradient(p, t), [[0, -2, -2 / 3]], rtol=1e-6)


@pytest.mark.parametrize("classes", [3, 10, 40, 200])
def test_logits_of_minus_infinity_as_in_pytorch(backend, dtype, classes, rng):
    """Classes that are ruled out: finite losses where the target is 0, infinite ones where it is not."""
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(6, classes)).astype(dtype)
    labels = rng.integers(1, classes, 6)
    x[:, 0] = -np.inf
    x[2, labels[2]] = -np.inf
    for rows, finite in (([0, 1, 3, 4, 5], True), (range(6), False)):
        for targets in (labels[rows], np.eye(classes, dtype=dtype)[labels[rows]]):
            leaf = torch.tensor(x[rows], requires_grad=True)
            theirs = torch.nn.functional.cross_entropy(leaf, torch.tensor(labels[rows]))
            theirs.backward()
            loss = fn.CrossEntropy()
            assert np.isfinite(theirs.item()) == finite
            assert loss(x[rows], targets) == pytest.approx(theirs.item(), rel=1e-5)
            assert np.allclose(loss.gradient(x[rows], targets), leaf.grad.numpy(), rtol=1e-4, atol=1e-7)


def test_divergence_of_equals_is_zero(backend, dtype, rng):
    t = rng.dirichlet(np.ones(7), 20).astype(dtype)
    t[3] = np.eye(7)[2]
    assert fn.KLDivergence(from_logits=False)(t, t) == 0
    with np.errstate(divide="ignore"):
        assert abs(fn.KLDivergence()(np.log(t), t)) < 8 * np.finfo(dtype).eps
    p = t[:1].copy()
    p[0, 0] = 0
    assert fn.KLDivergence(from_logits=False)(p, t[:1]) == np.inf


def test_poisson_of_nothing_expected_and_nothing_seen(backend, dtype):
    """0 log 0 is 0; a count where the rate is 0 is impossible."""
    for loss, none in ((fn.Poisson(), -np.inf), (fn.Poisson(log_input=False), 0.0)):
        assert both(loss, none, 0.0, dtype)[0] == 0
        assert both(loss, none, 2.0, dtype)[0] == np.inf
    assert both(fn.Poisson(log_input=False), 0.0, 0.0, dtype)[1] == 1


def test_nan_propagates(backend, dtype):
    x = np.array([[0.5, np.nan], [0.25, 0.75]], dtype)
    every = [fn.MeanSquaredError(), fn.MeanAbsoluteError(), fn.Huber(), fn.LogCosh(), fn.Hinge(), fn.SquaredHinge()]
    every += [f(flag) for f in (fn.Poisson, fn.BinaryCrossEntropy, fn.CrossEntropy, fn.KLDivergence) for flag in (0, 1)]
    for loss in every:
        assert np.isnan(loss(x, np.eye(2))), loss
        assert np.isnan(loss.gradient(x, np.eye(2))[0, 1]), loss
