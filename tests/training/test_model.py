"""Sequential: building, running, freezing, weights, programs, threads, seeds."""

import threading

import numpy as np
import pytest

import fastnn as fn
from fastnn.backends import compiled
from fastnn.model import CHUNK, MOST_PROGRAMS


def make(backend=None, dtype="float64", seed=0, inputs=6, dropout=0.0, **options):
    """A small classifier, built."""
    layers = [fn.Dense(8, "relu"), *([fn.Dropout(dropout)] if dropout else []), fn.Dense(5, "tanh"), fn.Dense(3)]
    return fn.Sequential(layers, dtype=dtype, backend=backend, seed=seed, input_shape=(inputs,), **options)


def trainable(backend=None, optimizer="adam", **options):
    model = make(backend, **options)
    model.compile(optimizer, "cross_entropy", ["accuracy"])
    return model


def by_hand(model, x):
    w1, b1, w2, b2, w3, b3 = model.get_weights()
    return np.tanh(np.maximum(x @ w1 + b1, 0) @ w2 + b2) @ w3 + b3


def bits(model):
    return b"".join(w.tobytes() for w in model.get_weights())


# --- building --------------------------------------------------------------------------------------------


def test_summary():
    lines = []
    make(dtype="float32", inputs=784, dropout=0.5).summary(lines.append)
    (text,) = lines
    assert text.splitlines() == [
        "Layer                Output shape  Parameters",
        "---------------------------------------------",
        "dense_1 (Dense)      (batch, 8)         6,280",
        "dropout_1 (Dropout)  (batch, 8)             0",
        "dense_2 (Dense)      (batch, 5)            45",
        "dense_3 (Dense)      (batch, 3)            18",
        "---------------------------------------------",
        "Parameters: 6,343 (24.8 KiB of float32)",
    ]


def test_summary_prints(capsys):
    make().summary()
    assert "dense_2 (Dense)" in capsys.readouterr().out


def test_count_params():
    assert make().count_params() == 6 * 8 + 8 + 8 * 5 + 5 + 5 * 3 + 3


def test_first_data_build():
    model = fn.Sequential([fn.Flatten(), fn.Dense(4)])
    assert model.input_shape is None
    assert model.predict(np.zeros((2, 3, 5))).shape == (2, 4)
    assert model.input_shape == (3, 5) and model.output_shapes == [(15,), (4,)] and model.output_shape == (4,)


def test_a_failed_build_leaves_the_model_unbuilt():
    model = fn.Sequential([fn.Dense(4)])
    with pytest.raises(fn.ShapeError):
        model.predict(np.zeros(3))
    with pytest.raises(RuntimeError, match="not built"):
        model.count_params()
    assert model.predict(np.zeros((3, 2))).shape == (3, 4)


def test_backend_is_chosen_when_built(monkeypatch):
    monkeypatch.delenv("FASTNN_BACKEND", raising=False)
    model = fn.Sequential([fn.Dense(2)])
    with fn.use_backend("reference"):
        model.build((3,))
    assert model.backend.name == "reference"
    assert make().backend.name == "cython"
    assert make("reference").backend.name == "reference"


def test_layers_of_two_models_are_independent():
    """A layer is a description: another model that uses it too neither shares weights nor renames them."""
    first, second = fn.Dense(2), fn.Dense(2)
    model = fn.Sequential([first, second], input_shape=(2,))
    other = fn.Sequential([second], input_shape=(2,))
    assert model.parameter_names() == ["dense_1.kernel", "dense_1.bias", "dense_2.kernel", "dense_2.bias"]
    assert other.parameter_names() == ["dense_1.kernel", "dense_1.bias"]
    other.set_weights([np.ones((2, 2)), np.ones(2)])
    assert not np.array_equal(model.get_weights()[2], np.ones((2, 2)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"layers": []}, ValueError, r"layers: expected at least one layer, got none$"),
        ({"layers": [fn.Dense]}, TypeError, r"layers: expected layers, got <class"),
        ({"layers": ["dense"]}, TypeError, r"layers: expected layers, got 'dense'$"),
        ({"layers": [fn.Flatten()] * 2}, ValueError, r"layers: expected distinct layers, got Flatten twice$"),
        ({"dtype": "float16"}, ValueError, r"dtype: expected one of 'float32', 'float64', got 'float16'$"),
        ({"backend": "torch"}, ValueError, r"backend: expected one of 'cython', .*, got 'torch'$"),
        ({"seed": -1}, ValueError, r"seed: expected an integer of at least 0, got -1$"),
        ({"seed": 2**53}, ValueError, r"seed: expected a number in \[0, 9007199254740992\), got "),
        ({"seed": 0.5}, TypeError, r"seed: expected an integer, got 0.5$"),
        ({"seed": None}, TypeError, r"seed: expected an integer, got None$"),
    ],
)
def test_constructor_refuses(arguments, error, message):
    with pytest.raises(error, match="^Sequential: " + message):
        fn.Sequential(**{"layers": [fn.Dense(2)], **arguments})


@pytest.mark.parametrize(("shape", "error"), [((-1,), ValueError), ((2.5,), TypeError), (("a",), TypeError)])
def test_input_shape_refused(shape, error):
    with pytest.raises(error, match=r"^build: input_shape: expected an integer"):
        fn.Sequential([fn.Dense(2)], input_shape=shape)


def test_not_built():
    model = fn.Sequential([fn.Dense(2)])
    for call in (model.summary, model.count_params, model.get_weights, model.freeze, lambda: model.set_weights([])):
        with pytest.raises(RuntimeError, match="^the model is not built: give input_shape, call build, or fit it first"):
            call()


def test_not_compiled():
    model, x = make(), np.zeros((2, 6))
    for call in (model.fit, model.train_step, model.evaluate):
        with pytest.raises(RuntimeError, match="^the model is not compiled: call compile"):
            call(x, [0, 1])


@pytest.mark.parametrize("clip_norm", [0, -1.0, float("nan"), float("inf")])
def test_compile_refuses(clip_norm):
    with pytest.raises(ValueError, match=r"^compile: clip_norm: expected a number in \(0, inf\), got "):
        make().compile(clip_norm=clip_norm)
    with pytest.raises(ValueError, match=r"^metric: expected one of accuracy, .*, got 'f1'$"):
        make().compile(metrics=["f1"])


# --- prediction ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 2, 17, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_predict(backend, dtype, rows, rng):
    model = make(backend, dtype)
    x = rng.normal(size=(rows, 6)).astype(dtype)
    out = np.full((rows, 3), np.nan, dtype)
    y = model.predict(x)
    assert y.shape == (rows, 3) and y.dtype == dtype
    assert np.allclose(y, by_hand(model, x), rtol=0, atol=100 * np.finfo(dtype).eps)
    assert model.predict(x, out=out) is out and np.array_equal(out, y)


def test_predict_takes_every_kind_of_rows(backend, rng):
    model = make(backend, "float32")
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
    model = make(backend, "float32", inputs=40)
    x = rng.normal(size=(50, 40)).astype(np.float32)
    y = model.predict(x)
    assert np.allclose(y, np.concatenate([model.predict(x[i : i + 1]) for i in range(50)]), rtol=1e-5, atol=1e-6)


def test_nan_goes_its_way(backend):
    model, x = make(backend), np.zeros((3, 6))
    x[1, 2] = np.nan
    assert np.array_equal(np.isnan(model.predict(x)).any(axis=1), [False, True, False])


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((2, 7)), fn.ShapeError, r"X: expected rows of shape \(6,\), got \(2, 7\)$"),
        (np.zeros(6), fn.ShapeError, r"X: expected rows of shape \(6,\), got \(6,\)$"),
        (np.float64(1), fn.ShapeError, r"X: expected at least one dimension, got \(\)$"),
        (np.zeros((2, 6), complex), fn.DtypeError, r"X: expected float64 numbers, got complex128$"),
        ([["a"] * 6], fn.DtypeError, r"X: expected float64 numbers, got <U1$"),
        ([[None] * 6], fn.DtypeError, r"X: expected float64 numbers, got object$"),
    ],
)
def test_predict_refuses(x, error, message):
    with pytest.raises(error, match="^predict: " + message):
        make().predict(x)


def test_predict_refuses_out():
    model, x = make(inputs=3), np.zeros((4, 3))
    read_only = np.zeros((4, 3))
    read_only.setflags(write=False)
    for out, error, message in (
        (np.zeros((3, 3)), fn.ShapeError, r"y: expected shape \(4, 3\), got \(3, 3\)$"),
        (np.zeros((4, 3), np.float32), fn.DtypeError, r"y: expected float64, got float32$"),
        (np.zeros((4, 6))[:, ::2], fn.LayoutError, r"y: expected a C-contiguous array"),
        (read_only, fn.LayoutError, r"y: expected an array that can be written"),
        (x, fn.LayoutError, r"y: expected memory that no input uses"),
        ([[0.0] * 3] * 4, fn.DtypeError, r"y: expected an array, got list$"),
    ):
        with pytest.raises(error, match="^predict: " + message):
            model.predict(x, out=out)


# --- evaluation and single steps -------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 37, CHUNK + 5])
def test_evaluate(backend, rows, rng):
    model = trainable(backend)
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
    model = trainable()
    with pytest.raises(fn.DataError, match=r"^evaluate: X: expected at least one row, got none$"):
        model.evaluate(np.zeros((0, 6)), [])
    with pytest.raises(fn.ShapeError, match=r"^evaluate: y: expected 3 rows, got 2$"):
        model.evaluate(np.zeros((3, 6)), [0, 1])


def test_train_step_returns_the_loss_before_the_step(backend, rng):
    model = trainable(backend)
    x, labels = rng.normal(size=(10, 6)), rng.integers(0, 3, 10)
    for step in range(1, 4):
        expected = model.evaluate(x, labels)["loss"]
        assert np.isclose(model.train_step(x, labels), expected, rtol=1e-12)
        assert model.optimizer.iterations == step
    assert model.evaluate(x, labels)["loss"] < expected


def test_train_step_is_one_step_of_the_optimizer(backend, rng):
    """Weights move by the learning rate times the gradient, here from central differences."""
    model = trainable(backend, fn.SGD(0.5))
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
    model = trainable()
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

        def record(self, y_pred, y_true):
            return fn.ops.mean((y_pred - y_true) ** 4.0)

    x, y = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    model = fn.Sequential([fn.Activation("linear")], dtype="float64", backend=backend)
    model.compile("sgd", "mse", [Largest()])
    assert np.isclose(model.evaluate(x, y)["largest"], np.mean((x - y) ** 4))


# --- frozen inference ------------------------------------------------------------------------------------


def test_freeze_one_row(backend, dtype, rng):
    model = make(backend, dtype)
    f = model.freeze()
    x = rng.normal(size=6).astype(dtype)
    expected = model.predict(x[None])
    assert np.array_equal(f(x), expected[0]) and f(x).shape == (3,)
    assert np.array_equal(f(x[None]), expected) and f(x[None]).shape == (1, 3)
    out = np.full(3, np.nan, dtype)
    assert f(x, out=out) is out and np.array_equal(out, expected[0])
    batch_out = np.full((1, 3), np.nan, dtype)
    assert f(x[None], out=batch_out) is batch_out and np.array_equal(batch_out, expected)
    assert np.array_equal(f(x.tolist()), expected[0])


def test_freeze_a_batch(backend, rng):
    model = make(backend)
    f = model.freeze(batch_size=64)
    x = rng.normal(size=(64, 6))
    assert np.array_equal(f(x), model.predict(x))
    out = np.empty((64, 3))
    assert f(x, out) is out and np.array_equal(out, model.predict(x))


def test_freeze_images(backend, rng):
    model = fn.Sequential([fn.Flatten(), fn.Dense(2, "softmax")], dtype="float64", backend=backend)
    model.build((3, 4))
    f, x = model.freeze(), rng.normal(size=(3, 4))
    assert f(x).shape == (2,) and np.isclose(f(x).sum(), 1)
    assert np.array_equal(f(x[None])[0], f(x))


def test_freeze_leaves_dropout_out(backend, rng):
    model = make(backend, dropout=0.9)
    x = rng.normal(size=6)
    assert np.allclose(model.freeze()(x), by_hand(model, x), rtol=1e-13)


def test_freeze_sees_later_weights(backend, rng):
    model = trainable(backend)
    f, x = model.freeze(), rng.normal(size=(8, 6))
    before = f(x[0])
    model.fit(x, rng.integers(0, 3, 8), epochs=2, verbose=0)
    trained = f(x[0])
    assert not np.array_equal(before, trained) and np.array_equal(trained, model.predict(x[:1])[0])
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    assert np.array_equal(f(x[0]), np.zeros(3))


def test_freeze_outlives_the_model(backend, rng):
    model = make(backend)
    f, x = model.freeze(), rng.normal(size=6)
    expected = model.predict(x[None])[0]
    del model
    assert np.array_equal(f(x), expected)


def test_freeze_refuses():
    one, many = make().freeze(), make().freeze(4)
    for f, x in ((one, np.zeros(7)), (one, np.zeros((2, 6))), (many, np.zeros(6)), (many, np.zeros((3, 6)))):
        with pytest.raises(fn.ShapeError, match=r"^freeze: x: expected shape \([14], 6\), got "):
            f(x)
    with pytest.raises(fn.DtypeError, match=r"^freeze: x: expected float64 numbers, got complex128$"):
        one(np.zeros(6, complex))
    with pytest.raises(fn.ShapeError, match=r"^freeze: y: expected shape \(3,\), got \(1, 3\)$"):
        one(np.zeros(6), out=np.zeros((1, 3)))
    with pytest.raises(fn.DtypeError, match=r"^freeze: y: expected float64, got float32$"):
        one(np.zeros(6), out=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"^freeze: batch_size: expected an integer of at least 1, got 0$"):
        make().freeze(0)


# --- weights ---------------------------------------------------------------------------------------------


def test_weights_come_in_the_order_of_layers(backend):
    model = make(backend, dropout=0.5)
    assert [w.shape for w in model.get_weights()] == [(6, 8), (8,), (8, 5), (5,), (5, 3), (3,)]
    assert model.parameter_names() == [f"dense_{i}.{p}" for i in (1, 2, 3) for p in ("kernel", "bias")]


def test_weights_are_copies(backend):
    model = make(backend)
    before = bits(model)
    for w in model.get_weights():
        w[...] = 0
    given = [w + 1 for w in model.get_weights()]
    assert bits(model) == before
    model.set_weights(given)
    kept = bits(model)
    given[0][...] = 0
    assert bits(model) == kept != before


def test_set_weights_takes_every_kind(backend):
    model = make(backend)
    given = [np.arange(w.size).reshape(w.shape) for w in model.get_weights()]
    model.set_weights([np.asfortranarray(w.astype(np.float32)) if w.ndim > 1 else w.tolist() for w in given])
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), given, strict=True))


def test_set_weights_refuses_and_changes_nothing(backend):
    model = make(backend)
    before, good = bits(model), [w + 1 for w in model.get_weights()]
    with pytest.raises(fn.ShapeError, match=r"^set_weights: weights: expected 6 arrays, got 5$"):
        model.set_weights(good[:-1])
    with pytest.raises(fn.ShapeError, match=r"^set_weights: weights\[4\]: expected shape \(5, 3\), got \(3, 5\)$"):
        model.set_weights([*good[:4], good[4].T, good[5]])
    with pytest.raises(fn.DtypeError, match=r"^set_weights: weights\[5\]: expected float64 numbers, got complex128$"):
        model.set_weights([*good[:5], good[5].astype(complex)])
    assert bits(model) == before


# --- programs --------------------------------------------------------------------------------------------


def test_programs_are_recorded_once_for_each_batch_shape(backend, rng):
    model = trainable(backend)
    x, labels = rng.normal(size=(25, 6)), rng.integers(0, 3, 25)
    model.fit(x, labels, epochs=3, batch_size=10, verbose=0)
    assert [key[:2] for key in model._programs] == [("train", 10), ("train", 5)]
    kept = list(model._programs.values())
    model.fit(x, labels, epochs=2, batch_size=10, verbose=0)
    assert list(model._programs.values()) == kept


def test_programs_are_bounded(backend, rng):
    """With many batch sizes the programs used longest ago are forgotten, and results stay right."""
    model = trainable(backend)
    model.train_step(rng.normal(size=(4, 6)), [0, 1, 2, 0])
    for rows in [*range(1, 40), 1, 2]:
        x = rng.normal(size=(rows, 6))
        assert np.allclose(model.predict(x), by_hand(model, x), rtol=1e-12, atol=1e-14)
    assert len(model._programs) == MOST_PROGRAMS
    assert np.isfinite(model.train_step(rng.normal(size=(4, 6)), [0, 1, 2, 0]))


def test_short_last_batch(backend, rng):
    """Its rows count as much as the others: an epoch's loss is the mean over rows."""
    model = trainable(backend, fn.SGD(0.0))
    x, labels = rng.normal(size=(23, 6)), rng.integers(0, 3, 23)
    history = model.fit(x, labels, batch_size=10, verbose=0).history
    scores = model.evaluate(x, labels)
    assert np.isclose(history["loss"][0], scores["loss"], rtol=1e-12)
    assert np.isclose(history["accuracy"][0], scores["accuracy"], rtol=1e-12)


def test_batch_larger_than_the_data(backend, rng):
    x, labels = rng.normal(size=(7, 6)), rng.integers(0, 3, 7)
    found = []
    for size in (7, 1000):
        model = trainable(backend)
        model.fit(x, labels, epochs=2, batch_size=size, verbose=0)
        found.append(bits(model))
    assert found[0] == found[1]


def test_compile_again_starts_the_optimizer_anew(backend, rng):
    x, labels = rng.normal(size=(8, 6)), rng.integers(0, 3, 8)
    model = trainable(backend)
    start = model.get_weights()
    first = [model.train_step(x, labels) for _ in range(5)]
    model.set_weights(start)
    model.compile("adam", "cross_entropy")
    assert [model.train_step(x, labels) for _ in range(5)] == first


# --- determinism -----------------------------------------------------------------------------------------


def trained(backend, seed=0, rows=150):
    """Bits of the weights and losses after a fit with everything that is random, on work for several threads."""
    rng = np.random.default_rng(8)
    x, labels = rng.normal(size=(rows, 300)).astype(np.float32), rng.integers(0, 10, rows)
    layers = [fn.Dense(130, "gelu"), fn.Dropout(0.3), fn.Dense(70, "relu"), fn.Dropout(0.2), fn.Dense(10)]
    model = fn.Sequential(layers, backend=backend, seed=seed)
    model.compile("adamw", "cross_entropy", ["accuracy"], clip_norm=1.0)
    options = {"epochs": 3, "batch_size": 64, "validation_split": 0.1, "class_weight": "balanced", "verbose": 0}
    return bits(model.fit(x, labels, **options).model), model.predict(x).tobytes()


def test_threads_do_not_change_a_bit(backend, monkeypatch):
    """Of a whole fit; three threads even where the machine has fewer CPUs."""
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(compiled, "get_num_threads", lambda threads=threads: threads)
        found.append(trained(backend))
    assert found[0] == found[1] == found[2]


def test_public_thread_settings_do_not_change_a_bit(backend):
    found = []
    for n in (1, 2, 3):
        with fn.threads(n):
            found.append(trained(backend))
    assert found[0] == found[1] == found[2]


def test_seeds(backend):
    first = trained(backend, seed=1)
    assert trained(backend, seed=1) == first
    assert trained(backend, seed=2)[0] != first[0]


def test_two_models_in_two_threads(backend):
    """Concurrently they compute what they compute one after the other."""
    expected = [trained(backend, seed) for seed in (0, 1)]
    found, barrier = {}, threading.Barrier(2)

    def work(seed):
        barrier.wait()
        found[seed] = trained(backend, seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [found.get(0), found.get(1)] == expected


def test_one_frozen_function_in_two_threads(backend, rng):
    model = make(backend, inputs=300)
    f, x = model.freeze(), rng.normal(size=(200, 300))
    expected, wrong = model.predict(x), []

    def work(rows):
        wrong.extend(i for i in rows if not np.allclose(f(x[i]), expected[i], rtol=1e-12, atol=1e-13))

    workers = [threading.Thread(target=work, args=(range(start, 200, 2),)) for start in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
