"""Losses given by plain functions of ops."""

from functools import partial

import numpy as np
import pytest
from small import data, fit, make, network

import fastnn as fn
from fastnn.losses import REGISTRY, FunctionLoss

pytestmark = pytest.mark.usefixtures("on_backend")


def pinball(y_pred, y_true, q=0.9):
    """The loss of a quantile, of each element (Koenker and Bassett 1978)."""
    e = y_true - y_pred
    return fn.maximum(q * e, (q - 1) * e)


def mean_pinball(y_pred, y_true):
    return fn.mean(pinball(y_pred, y_true))


def weighted_pinball(y_pred, y_true, sample_weight):
    each = fn.mean(pinball(y_pred, y_true), 1)
    return fn.mean(each if sample_weight is None else each * sample_weight)


def by_hand(x, t, w=1.0):
    return np.mean(w * np.maximum(0.9 * (t - x), -0.1 * (t - x)).mean(axis=1))


@pytest.mark.parametrize("f", [lambda x, t: fn.mean(pinball(x, t), 1), mean_pinball, weighted_pinball])
def test_value_and_gradient(backend, dtype, f, rng):
    """Central differences; at no element are prediction and target closer than the step."""
    x, t = rng.normal(size=(7, 3)).astype(dtype), rng.normal(size=(7, 3)).astype(dtype)
    loss = FunctionLoss(f)
    found = loss(x, t)
    assert type(found) is float and np.isclose(found, by_hand(x, t), rtol=8 * np.finfo(dtype).eps)
    slope = loss.gradient(x, t)
    assert slope.dtype == dtype and np.allclose(slope, np.where(t > x, -0.9, 0.1) / x.size, rtol=1e-6)
    if dtype == "float64":
        step = 1e-6
        for place in np.ndindex(x.shape):
            up, down = x.copy(), x.copy()
            up[place] += step
            down[place] -= step
            assert abs((loss(up, t) - loss(down, t)) / (2 * step) - slope[place]) < 1e-9


@pytest.mark.parametrize("f", [lambda x, t: fn.mean(pinball(x, t), 1, keepdims=True), weighted_pinball])
def test_weights(backend, f, rng):
    """Rows' values are weighted and divided by the number of rows; a function may do it itself."""
    x, t, w = rng.normal(size=(7, 3)), rng.normal(size=(7, 3)), rng.uniform(0, 2, 7)
    loss = FunctionLoss(f)
    assert np.isclose(loss(x, t, w), by_hand(x, t, w), rtol=1e-14)
    assert np.allclose(loss.gradient(x, t, w), w[:, None] * loss.gradient(x, t), rtol=1e-13)


def test_fit_is_that_of_our_own_loss(backend, rng):
    x, y, w = rng.normal(size=(40, 6)), rng.normal(size=(40, 3)), rng.uniform(0, 2, 40)
    histories = []
    for loss in ("mean_squared_error", lambda p, t: fn.mean((p - t) ** 2.0, 1)):
        model = make(backend, loss=loss)
        history = fit(model, x, y, epochs=3, sample_weight=w, validation_data=(x, y)).history
        histories.append([*history["loss"], *history["val_loss"], *model.evaluate(x, y).values()])
    assert np.allclose(*histories, rtol=1e-9)


def test_fit_of_a_quantile(backend, rng):
    """A constant that is trained on normal numbers ends at their 0.9-quantile, where the loss has its minimum."""
    y = rng.normal(size=500)
    model = fn.Sequential([fn.Dense(1)], dtype="float64", backend=backend)
    model.compile(fn.Adam(0.05), partial(pinball, q=0.9))
    model.fit(np.zeros((500, 1)), y, epochs=60, batch_size=100, verbose=0)
    assert abs(model.predict(np.zeros((1, 1))).item() - np.quantile(y, 0.9)) < 0.15


def test_integer_targets_stay_integers(backend, rng):
    def classes(y_pred, y_true):
        return fn.ops.sparse_softmax_cross_entropy(y_pred, y_true)

    x, labels = data(rng)
    model, own = make(backend, loss=classes, metrics=["accuracy"]), make(backend)
    assert np.allclose(fit(model, x, labels).history["loss"], fit(own, x, labels).history["loss"], rtol=1e-12)
    logits = rng.normal(size=(5, 3))
    assert FunctionLoss(classes)(logits, [0, 1, 2, 1, 0]) == fn.CrossEntropy()(logits, [0, 1, 2, 1, 0])


def test_targets_of_another_kind_are_another_program(rng):
    """The same model with floats after integers of the same shape."""

    def difference(y_pred, y_true):
        return fn.mean(fn.ops.relu(y_pred)) if y_true.dtype.kind == "i" else fn.mean((y_pred - y_true) ** 2.0)

    model = make(loss=difference)
    x, y = rng.normal(size=(4, 6)), rng.integers(0, 3, (4, 3))
    first = model.predict(x)
    assert np.isclose(model.train_step(x, y), np.maximum(first, 0).mean())
    second = model.predict(x)
    assert np.isclose(model.train_step(x, y.astype(float)), ((second - y) ** 2).mean())


def test_a_column_of_targets(rng):
    """Targets of shape (rows,) for an output of shape (1,) must not be broadcast to a square."""
    x, t = rng.normal(size=(6, 1)), rng.normal(size=6)
    assert FunctionLoss(mean_pinball)(x, t) == FunctionLoss(mean_pinball)(x, t[:, None])


def test_what_is_made_of_a_function():
    assert type(REGISTRY.get(pinball)) is FunctionLoss
    assert type(REGISTRY.get(partial(pinball, q=0.5))) is FunctionLoss
    own = fn.Huber()
    assert REGISTRY.get(own) is own


# --- what is refused -------------------------------------------------------------------------------------


def test_other_arguments():
    for f in (lambda y: y, lambda y_pred, y_true, more: y_pred, lambda *, sample_weight: 0):
        with pytest.raises(TypeError, match=r"^loss: function: expected f\(y_pred, y_true\) or .*, got <lambda>\("):
            FunctionLoss(f)


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda y_pred, y_true: 1.0, TypeError, "value: expected a tensor that ops have made, got float"),
        (lambda y_pred, y_true: y_pred, fn.ShapeError, r"value: expected one number, or one value a row, got \(4, 3\)"),
    ],
)
def test_other_values(f, error, message):
    with pytest.raises(error, match="^<lambda>: " + message):
        FunctionLoss(f)(np.zeros((4, 3)), np.zeros((4, 3)))


def test_other_rows():
    loss, x = FunctionLoss(pinball), np.zeros((4, 1))
    with pytest.raises(fn.ShapeError, match=r"^pinball: y_true: expected 4 rows, got \(3, 1\)$"):
        loss(x, np.zeros(3))
    with pytest.raises(fn.ShapeError, match=r"^pinball: y_true: expected at least one dimension, got \(\)$"):
        loss(x, 1.0)
    with pytest.raises(fn.ShapeError, match=r"^pinball: sample_weight: expected shape \(4,\), got \(3,\)$"):
        loss(x, x, np.ones(3))
    with pytest.raises(fn.DataError, match=r"^pinball: y_pred: expected at least one row, got none$"):
        loss(x[:0], x[:0])
    with pytest.raises(fn.ShapeError, match=r"^mean_pinball: value: expected one value a row, .* weighted, got \(\)$"):
        FunctionLoss(mean_pinball)(x, x, np.ones(4))


def test_cannot_be_saved(tmp_path):
    model = network()
    model.compile(loss=pinball)
    with pytest.raises(TypeError, match=r"^loss: FunctionLoss cannot be saved: it is made of a function$"):
        model.save(tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_pair_of_functions_is_a_loss_with_its_gradient(rng):
    """The plain error, neither doubled nor averaged, as the gradient of the squared error."""
    pair = (lambda p, t: fn.mean((p - t) ** 2), lambda dy, p, t, y: p - t)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    model = fn.Sequential([fn.Dense(2, use_bias=False)], dtype="float64", input_shape=(3,))
    model.compile(fn.SGD(0.1), loss=pair)
    (w,) = model.get_weights()
    error = x @ w - y
    assert model.train_step(x, y) == pytest.approx((error**2).mean(), rel=1e-13)
    np.testing.assert_allclose(model.get_weights()[0], w - 0.1 * (x.T @ error), rtol=1e-12)
