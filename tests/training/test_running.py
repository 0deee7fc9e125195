"""Sequential: prediction, evaluation, single steps of training."""

import copy

import numpy as np
import pytest
from small import bits, by_hand, data, make, network

import fastnn as fn
from fastnn.model import CHUNK

# --- prediction ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 2, 17, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_predict(backend, dtype, rows, rng):
    model = network(backend, dtype)
    x = rng.normal(size=(rows, 6)).astype(dtype)
    out = np.full((rows, 3), np.nan, dtype)
    y = model.predict(x)
    assert y.shape == (rows, 3) and y.dtype == dtype
    assert np.allclose(y, by_hand(model, x), rtol=0, atol=100 * np.finfo(dtype).eps)
    assert model.predict(x, out=out) is out and np.array_equal(out, y)


def test_predict_takes_every_kind_of_rows(backend, rng):
    model = network(backend, "float32")
    x = rng.integers(0, 9, (4, 6))
    y = model.predict(x.astype(np.float32))
    wide = np.zeros((8, 12), np.float32)
    wide[::2, ::2] = x
    read_only = x.astype(np.float32)
    read_only.setflags(write=False)
    swapped = x.astype(np.dtype(np.float32).newbyteorder())
    for same in (x, x.tolist(), x.astype(float), x.astype(np.uint8), wide[::2, ::2], read_only, swapped):
        assert np.array_equal(model.predict(same), y)


def test_rows_do_not_influence_each_other(backend, rng):
    model = network(backend, "float32", inputs=40)
    x = rng.normal(size=(50, 40)).astype(np.float32)
    y = model.predict(x)
    assert np.allclose(y, np.concatenate([model.predict(x[i : i + 1]) for i in range(50)]), rtol=1e-5, atol=1e-6)


def test_nan_goes_its_way(backend):
    model, x = network(backend), np.zeros((3, 6))
    x[1, 2] = np.nan
    assert np.array_equal(np.isnan(model.predict(x)).any(axis=1), [False, True, False])


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((2, 7)), fn.ShapeError, r"X: expected rows of shape \(6,\), got \(2, 7\)$"),
        (np.zeros(6), fn.ShapeError, r"X: expected rows of shape \(6,\), got \(6,\)$"),
        (np.float64(1), fn.ShapeError, r"X: expected at least one dimension, got \(\)$"),
        ({"x": [1.0]}, TypeError, r"X: expected an array, got dict$"),
        (np.zeros((2, 6), complex), fn.DtypeError, r"X: expected float64 numbers, got complex128$"),
        ([["a"] * 6], fn.DtypeError, r"X: expected float64 numbers, got <U1$"),
        ([[None] * 6], fn.DtypeError, r"X: expected float64 numbers, got None at \(0, 0\)$"),
    ],
)
def test_predict_refuses(x, error, message):
    with pytest.raises(error, match="^predict: " + message):
        network().predict(x)


def test_predict_refuses_out():
    model, x = network(inputs=3), np.zeros((4, 3))
    read_only = np.zeros((4, 3))
    read_only.setflags(write=False)
    for out, error, message in (
        (np.zeros((3, 3)), fn.ShapeError, r"out: expected shape \(4, 3\), got \(3, 3\)$"),
        (np.zeros((4, 3), np.float32), fn.DtypeError, r"out: expected float64, got float32$"),
        (np.zeros((4, 6))[:, ::2], fn.LayoutError, r"out: expected a C-contiguous array"),
        (read_only, fn.LayoutError, r"out: expected an array that can be written"),
        (x, fn.LayoutError, r"out: expected memory that no input uses"),
        ([[0.0] * 3] * 4, fn.DtypeError, r"out: expected an array, got list$"),
    ):
        with pytest.raises(error, match="^predict: " + message):
            model.predict(x, out=out)


# --- evaluation and single steps -------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 37, CHUNK + 5])
def test_evaluate(backend, rows, rng):
    model = make(backend, metrics=["accuracy"])
    x, labels, w = rng.normal(size=(rows, 6)), rng.integers(0, 3, rows), rng.uniform(0, 2, rows)
    before = bits(model)
    scores, weighted = model.evaluate(x, labels), model.evaluate(x, labels, sample_weight=w)
    y = model.predict(x)
    each = np.log(np.exp(y).sum(axis=1)) - y[np.arange(rows), labels]
    assert list(scores) == ["loss", "accuracy"] and all(type(v) is float for v in scores.values())
    assert np.isclose(scores["loss"], each.mean(), rtol=1e-12)
    assert np.isclose(scores["accuracy"], np.mean(y.argmax(axis=1) == labels), rtol=1e-14)
    assert np.isclose(weighted["loss"], np.mean(w * each), rtol=1e-12)
    assert bits(model) == before and model.optimizer.iterations == 0


def test_evaluate_refuses():
    model = make()
    with pytest.raises(fn.DataError, match=r"^evaluate: X: expected at least one row, got none$"):
        model.evaluate(np.zeros((0, 6)), [])
    with pytest.raises(fn.ShapeError, match=r"^evaluate: y: expected 3 rows, got 2$"):
        model.evaluate(np.zeros((3, 6)), [0, 1])


def test_train_step_returns_the_loss_before_the_step(backend, rng):
    model = make(backend)
    x, labels = rng.normal(size=(10, 6)), rng.integers(0, 3, 10)
    for step in range(1, 4):
        expected = model.evaluate(x, labels)["loss"]
        assert np.isclose(model.train_step(x, labels), expected, rtol=1e-12)
        assert model.optimizer.iterations == step
    assert model.evaluate(x, labels)["loss"] < expected


def test_train_step_is_one_step_of_the_optimizer(backend, rng):
    """Weights move by the learning rate times the gradient, here from central differences."""
    model = make(backend, fn.SGD(0.5))
    x, labels, w = rng.normal(size=(10, 6)), rng.integers(0, 3, 10), rng.uniform(0, 2, 10)
    start = model.get_weights()
    model.train_step(x, labels, w)
    moved = model.get_weights()
    for i in range(len(start)):
        for place in [tuple(rng.integers(0, n) for n in start[i].shape) for _ in range(4)]:
            values = []
            for step in (1e-5, -1e-5):
                changed = [v.copy() for v in start]
                changed[i][place] += step
                model.set_weights(changed)
                values.append(model.evaluate(x, labels, w)["loss"])
            slope = (values[0] - values[1]) / 2e-5
            assert np.isclose(start[i][place] - moved[i][place], 0.5 * slope, rtol=1e-6, atol=1e-9)


def test_train_step_refuses():
    model = make()
    with pytest.raises(fn.ShapeError, match=r"^train_step: y: expected 3 rows, got 2$"):
        model.train_step(np.zeros((3, 6)), [0, 1])
    with pytest.raises(fn.DataError, match=r"^CrossEntropy: labels: expected integers from 0 to 2, got 0 to 3$"):
        model.train_step(np.zeros((2, 6)), [0, 3])
    with pytest.raises(fn.ShapeError, match=r"^train_step: sample_weight: expected shape \(2,\), got \(3,\)$"):
        model.train_step(np.zeros((2, 6)), [0, 1], [1, 1, 1])
    for bad in ([1.0, -1.0], [1.0, np.nan]):
        with pytest.raises(fn.DataError, match=r"^train_step: sample_weight: expected finite numbers of at least 0"):
            model.train_step(np.zeros((2, 6)), [0, 1], bad)
    assert model.optimizer.iterations == 0


def test_one_logit(backend, rng):
    """Binary classification; accuracy counts the logit's sign, and targets may be of shape (rows,)."""
    x = rng.normal(size=(200, 3))
    labels = (x.sum(axis=1) > 0).astype(int)
    model = fn.Sequential([fn.Dense(8, "tanh"), fn.Dense(1)], dtype="float64", backend=backend)
    model.compile(fn.Adam(0.02), "binary_cross_entropy", ["accuracy"])
    model.fit(x, labels, epochs=30, batch_size=20, verbose=0)
    scores = model.evaluate(x, labels)
    assert np.isclose(scores["accuracy"], np.mean((model.predict(x)[:, 0] > 0) == labels))
    assert scores["accuracy"] > 0.95
    assert model.evaluate(x, labels[:, None].astype(bool)) == scores


def test_regression(backend, rng):
    x = rng.normal(size=(200, 3))
    y = x @ [1.0, -2.0, 0.5] + 3.0
    model = fn.Sequential([fn.Dense(1)], dtype="float64", backend=backend)
    model.compile(fn.Adam(0.05), "mse", ["mae", "mse"])
    history = model.fit(x, y, epochs=120, batch_size=50, verbose=0)
    assert np.allclose(model.get_weights()[0].ravel(), [1.0, -2.0, 0.5], atol=1e-2)
    scores = model.evaluate(x, y)
    error = model.predict(x)[:, 0] - y
    assert list(scores) == ["loss", "mae", "mse"] == list(history.history)
    assert np.isclose(scores["mae"], np.abs(error).mean()) and np.isclose(scores["mse"], np.mean(error**2))
    assert np.isclose(scores["loss"], scores["mse"])


def test_accuracy_of_one_hot_and_sequences(backend, rng):
    x, labels = rng.normal(size=(9, 4, 5)), rng.integers(0, 3, (9, 4))
    model = fn.Sequential([fn.Dense(3)], dtype="float64", backend=backend)
    model.compile("sgd", "cross_entropy", "accuracy")
    expected = np.mean(model.predict(x).argmax(axis=-1) == labels)
    assert np.isclose(model.evaluate(x, labels)["accuracy"], expected)
    assert np.isclose(model.evaluate(x, np.eye(3)[labels])["accuracy"], expected)


def test_own_metric(backend, rng):
    class Largest(fn.metrics.Metric):
        name = "largest"

        def record(self, y_pred, y_true, threshold):
            return fn.ops.mean((y_pred - y_true) ** 4.0)

    x, y = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    model = fn.Sequential([fn.Activation("linear")], dtype="float64", backend=backend)
    model.compile("sgd", "mse", [Largest()])
    assert np.isclose(model.evaluate(x, y)["largest"], np.mean((x - y) ** 4))


CHANGES = {
    "optimizer": lambda model: setattr(model.optimizer, "weight_decay", 9.0),
    "layer": lambda model: setattr(model.layers[1], "rate", 0.0),
    "regularizer": lambda model: setattr(model.layers[0].kernel_regularizer, "l2", 3.0),
    "constraint": lambda model: setattr(model.layers[0].kernel_constraint, "max_value", 0.1),
    "loss": lambda model: setattr(model.loss, "delta", 0.01),
}


@pytest.mark.parametrize("change", CHANGES)
def test_settings_changed_after_a_step_take_effect(backend, change, rng):
    """On a program that has been recorded as on one that has not."""
    x, y = rng.normal(size=(8, 6)), rng.normal(size=(8, 3))
    hidden = fn.Dense(8, kernel_regularizer=fn.regularizers.L2(0.1), kernel_constraint=fn.constraints.MaxNorm(5.0))
    recorded = fn.Sequential([hidden, fn.Dropout(0.5), fn.Dense(3)], "float64", backend, input_shape=(6,))
    recorded.compile(fn.SGD(0.1), fn.losses.Huber(1.0))
    recorded.train_step(x, y)
    new, plain = copy.deepcopy(recorded), copy.deepcopy(recorded)
    for model in (recorded, new):
        CHANGES[change](model)
    assert recorded.train_step(x, y) == new.train_step(x, y) and plain.train_step(x, y)
    assert bits(recorded) == bits(new) != bits(plain)


def test_programs_outlive_what_is_no_change(backend, rng):
    """Steps, learning rates and other models' settings; and what a layer notes while it is recorded."""

    class Noting(fn.layers.Layer):
        calls = 0

        def call(self, x, parameters, context):
            self.calls += 1
            return x

    layer, x, y = Noting(), rng.normal(size=(8, 6)), rng.normal(size=(8, 3))
    model = fn.Sequential([fn.Dense(3), layer], "float64", backend, input_shape=(6,))
    model.compile(fn.NAdam(0.1), "mse")
    for rows in (8, 7, 8, 7):
        model.train_step(x[:rows], y[:rows])
        model.optimizer.learning_rate = 0.1 / rows
        fn.SGD().weight_decay = 0.5
    assert layer.calls == 2


def test_settings_that_need_other_moments(rng):
    model = make(optimizer=fn.Adam())
    x, y = data(rng)
    model.train_step(x, y)
    model.optimizer.amsgrad = True
    with pytest.raises(RuntimeError, match=r"need other moments than it has kept: compile the model again$"):
        model.train_step(x, y)
    model.compile(model.optimizer, model.loss)
    model.train_step(x, y)
