"""Weights of rows and of classes in training."""

import numpy as np
import pytest
from small import bits, data, fit, make

import fastnn as fn


def test_whole_weights_are_repetitions(backend, rng):
    """In one full batch, a weight of two is the row twice, up to the division by the number of rows."""
    x, y = data(rng, 12)
    w = rng.integers(0, 4, 12)
    repeated = np.repeat(np.arange(12), w)
    a, b = make(backend, fn.SGD(0.1)), make(backend, fn.SGD(0.1 * len(repeated) / 12))
    found = fit(a, x, y, batch_size=1000, epochs=5, shuffle=False, sample_weight=w).history["loss"]
    expected = fit(b, x[repeated], y[repeated], batch_size=1000, epochs=5, shuffle=False).history["loss"]
    assert np.allclose(np.array(found) * 12 / len(repeated), expected, rtol=1e-12)
    assert all(np.allclose(p, q, rtol=1e-10, atol=1e-13) for p, q in zip(a.get_weights(), b.get_weights(), strict=True))


@pytest.mark.parametrize("form", ["labels", "one-hot", "column"])
def test_class_weights_are_sample_weights(backend, form, rng):
    x, y = data(rng)
    table = np.array([2.0, 0.5, 1.0])
    targets = {"labels": y, "one-hot": np.eye(3)[y], "column": y[:, None]}[form]
    w = rng.uniform(0, 2, 50)
    a, b = make(backend), make(backend)
    fit(a, x, targets, epochs=2, class_weight={0: 2.0, 1: 0.5}, sample_weight=w)
    fit(b, x, targets, epochs=2, sample_weight=table[y] * w)
    assert bits(a) == bits(b)


def test_balanced_class_weights(backend, rng):
    """As scikit-learn's: rows / (classes * rows of the class)."""
    x, y = data(rng)
    y[:30] = 0
    balanced = pytest.importorskip("sklearn.utils.class_weight").compute_sample_weight("balanced", y)
    a, b = make(backend), make(backend)
    fit(a, x, y, epochs=2, class_weight="balanced")
    fit(b, x, y, epochs=2, sample_weight=balanced)
    assert all(np.allclose(p, q, rtol=1e-12) for p, q in zip(a.get_weights(), b.get_weights(), strict=True))


def test_balanced_class_weights_of_the_rows_trained_on(rng):
    """The labels held out do not count."""
    x, y = data(rng)
    y[30:] = 0
    a, b = make(), make()
    fit(a, x, y, epochs=2, class_weight="balanced", validation_split=0.4)
    fit(b, x[:30], y[:30], epochs=2, class_weight="balanced")
    assert bits(a) == bits(b)


def test_class_weights_of_one_logit(backend, rng):
    x, y = data(rng)
    y = (y == 0).astype(int)
    a, b = (make(backend, loss="binary_cross_entropy", outputs=1) for _ in range(2))
    fit(a, x, y, class_weight={1: 3.0})
    fit(b, x, y, sample_weight=np.where(y == 1, 3.0, 1.0))
    assert bits(a) == bits(b)


@pytest.mark.parametrize(
    ("class_weight", "error", "message"),
    [
        ({3: 1.0}, ValueError, r"class_weight label: expected one of 0, 1, 2, got 3$"),
        ({"a": 1.0}, ValueError, r"class_weight label: expected one of 0, 1, 2, got 'a'$"),
        ({0: -1.0}, ValueError, r"class_weight: expected a number in \[0, inf\), got -1.0$"),
        ({0: np.nan}, ValueError, r"class_weight: expected a number in \[0, inf\), got nan$"),
        ("equal", TypeError, r"class_weight: expected a dict of label to weight, or 'balanced', got 'equal'$"),
        ([1.0, 2.0, 1.0], TypeError, r"class_weight: expected a dict of label to weight, or 'balanced', got \["),
    ],
)
def test_bad_class_weights(class_weight, error, message, rng):
    with pytest.raises(error, match="^fit: " + message):
        fit(make(), *data(rng), class_weight=class_weight)


def test_class_weights_need_classes(rng):
    """One label a row: not numbers to regress on, and not sequences of labels."""
    x, _ = data(rng)
    model = make(loss="mse", outputs=1)
    with pytest.raises(fn.DataError, match=r"^fit: y: expected one label from 0 to 1 a row with .* got 0.5$"):
        fit(model, x, np.full(50, 0.5), class_weight="balanced")
    sequences = fn.Sequential([fn.Dense(3)])
    sequences.compile("sgd", "cross_entropy")
    with pytest.raises(fn.DataError, match=r"^fit: y: expected one label .* a row .* got shape \(5, 2\)$"):
        fit(sequences, np.ones((5, 2, 4)), np.zeros((5, 2), int), class_weight="balanced")
