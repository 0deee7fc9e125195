"""Noise: its distribution, what it depends on, and its gradients."""

from math import erfc, sqrt

import numpy as np
import pytest

import fastnn as fn
from fastnn import ops

N = 100_000


def normal(backend, dtype="float64", **counter):
    return ops.gaussian_noise(np.zeros(N, dtype), backend=backend, **counter)


def test_moments(backend, dtype):
    """Mean, variance, skewness and kurtosis within five standard errors of 0, 1, 0 and 3."""
    z = normal(backend, dtype, seed=7).astype(np.float64)
    for power, moment, error in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - moment) < 5 * sqrt(error / N)
    assert 3.9 < np.abs(z).max() < sqrt(48 * np.log(2)) + 1e-6, "u is at least 2^-24"


def test_distribution(backend):
    """Kolmogorov and Smirnov's distance to the normal distribution exceeds 1.95 / sqrt(n) once in 1,000 times."""
    z = np.sort(normal(backend, seed=11))
    cdf = np.array([erfc(-v / sqrt(2)) / 2 for v in z])
    steps = np.arange(N + 1) / N
    assert max((steps[1:] - cdf).max(), (cdf - steps[:-1]).max()) < 1.95 / sqrt(N)


def test_neighbours_are_independent(backend):
    """Those that come from the same two words, and others: correlations of z and of z^2 within five standard errors."""
    z = normal(backend, seed=13)
    for lag in (1, 2, 3, 4):
        for a in (z, (z**2 - 1) / sqrt(2)):
            assert abs((a[lag:] * a[:-lag]).mean()) < 5 / sqrt(N)


def test_counters(backend):
    """The same numbers for the same counter, whatever the dtype and the size; others for others."""
    z = normal(backend, seed=3, stream=2, step=9)
    assert np.array_equal(z, normal(backend, seed=3, stream=2, step=9))
    single = normal(backend, "float32", seed=3, stream=2, step=9)
    np.testing.assert_allclose(single, z, rtol=0, atol=4e-6)
    short = ops.gaussian_noise(np.zeros(1001), seed=3, stream=2, step=9, backend=backend)
    np.testing.assert_allclose(short, z[:1001], rtol=1e-14, atol=1e-14)
    for counter in ({"seed": 4, "stream": 2, "step": 9}, {"seed": 3, "step": 9}, {"seed": 3, "stream": 2}):
        assert abs((z * normal(backend, **counter)).mean()) < 5 / sqrt(N)


@pytest.mark.parametrize("op", [ops.gaussian_noise, ops.gaussian_dropout])
def test_threads(op, backend, dtype, rng):
    x = rng.normal(size=300_001).astype(dtype)
    found = []
    for count in (1, 2, 3):
        with fn.threads(count):
            found.append(op(x, 0.5, seed=1, backend=backend).tobytes())
    assert found[0] == found[1] == found[2]


def test_gaussian_dropout(backend, rng):
    """The noise of gaussian_noise as a factor, in the gradient too."""
    x, dy = rng.normal(size=(40, 50)), rng.normal(size=(40, 50))
    with fn.use_backend(backend):
        factor = ops.gaussian_noise(np.ones(x.shape), 0.5, seed=2, step=4)
        np.testing.assert_allclose(ops.gaussian_dropout(x, 0.5, seed=2, step=4), x * factor, rtol=1e-12, atol=1e-14)
        slope = fn.grad(lambda x: fn.sum(ops.gaussian_dropout(x, 0.5, seed=2, step=4) * dy))(x)
        np.testing.assert_allclose(slope, dy * factor, rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(fn.grad(lambda x: fn.sum(ops.gaussian_noise(x) * dy))(x), dy)
        assert np.array_equal(ops.gaussian_dropout(x, 0.0), x)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_alpha_dropout(backend, rate):
    """Dropped elements go to selu's limit, then all are scaled; mean 0 and variance 1 stay."""
    x = normal(backend, seed=5)
    with fn.use_backend(backend):
        kept = ops.dropout(np.ones(N), rate, seed=6) != 0
        y = ops.alpha_dropout(x, rate, seed=6)
    limit = -1.0507009873554805 * 1.6732632423543772
    a = ((1 - rate) * (1 + rate * limit**2)) ** -0.5
    np.testing.assert_allclose(y, a * np.where(kept, x, limit) - a * rate * limit, rtol=1e-12, atol=1e-14)
    assert abs(y.mean()) < 5 / sqrt(N) and abs(y.var() - 1) < 0.03


def test_alpha_dropout_writes_into_out(backend, rng):
    x = rng.normal(size=(6, 7))
    out = np.empty_like(x)
    assert ops.alpha_dropout(x, 0.3, seed=6, out=out, backend=backend) is out
    assert np.array_equal(out, ops.alpha_dropout(x, 0.3, seed=6, backend=backend))
    np.testing.assert_allclose(ops.alpha_dropout(x, 0.0, backend=backend), x, rtol=1e-14, atol=1e-15)
