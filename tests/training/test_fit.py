"""The training loop: history, order of the rows, validation, and that it learns."""

import copy
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from small import bits, data, fit, make

import fastnn as fn
from fastnn.datasets import load_digits

# --- history ---------------------------------------------------------------------------------------------


def test_history(backend, rng):
    x, y = data(rng)
    model = make(backend, metrics=["accuracy"])
    history = fit(model, x, y, epochs=4, validation_data=(x[:20], y[:20]))
    assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert all(len(values) == 4 and all(type(v) is float for v in values) for values in history.history.values())
    assert history.epoch == [0, 1, 2, 3] and not history.interrupted and history.model is model
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert history.history["val_loss"][-1] == model.evaluate(x[:20], y[:20])["loss"]
    assert history.params == {"epochs": 4, "initial_epoch": 0, "rows": 50, "batches": 4}


def test_no_epochs(rng):
    x, y = data(rng)
    model = make()
    history = fit(model, x, y, epochs=0)
    assert history.history == {} and history.epoch == [] and model.optimizer.iterations == 0


def test_fit_goes_on_where_the_last_one_ended(backend, rng):
    """Twice two epochs are four: shuffling and dropout go on too."""
    x, y = data(rng)
    found = []
    for epochs in ([4], [2, 2], [1, 0, 3]):
        model = fn.Sequential([fn.Dense(8, "relu"), fn.Dropout(0.3), fn.Dense(3)], backend=backend)
        model.compile("adam", "cross_entropy")
        losses = [loss for n in epochs for loss in fit(model, x, y, epochs=n).history.get("loss", [])]
        found.append((losses, bits(model)))
    assert found[0] == found[1] == found[2]


# --- order of the rows -----------------------------------------------------------------------------------


class Seen(fn.Callback):
    """Notes the rows of each batch, which carry their number."""

    def on_train_begin(self):
        self.batches = []
        queue_step = self.model._queue_step

        def noting(x, y, w):
            self.batches.append(x[:, 0].astype(int).tolist())
            assert np.array_equal(y[:, 0], 2 * x[:, 0]) and (w is None or np.array_equal(w, x[:, 0] + 1))
            return queue_step(x, y, w)

        self.model._queue_step = noting


def visited(shuffle, weighted=False, seed=0, epochs=2):
    model = fn.Sequential([fn.Dense(1)], seed=seed)
    model.compile(fn.SGD(0.0), "mse")
    x, seen = np.arange(10.0)[:, None], Seen()
    w = np.arange(1.0, 11.0) if weighted else None
    fit(model, x, 2 * x, batch_size=4, epochs=epochs, shuffle=shuffle, sample_weight=w, callbacks=[seen])
    return seen.batches


@pytest.mark.parametrize("weighted", [False, True])
def test_without_shuffling_rows_keep_their_order(weighted):
    assert visited(False, weighted) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] * 2


@pytest.mark.parametrize("weighted", [False, True])
def test_shuffling_visits_each_row_once_an_epoch(weighted):
    batches = visited(True, weighted)
    first, second = ([row for batch in epoch for row in batch] for epoch in (batches[:3], batches[3:]))
    assert [len(b) for b in batches] == [4, 4, 2] * 2
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second and first != list(range(10))


def test_the_seed_decides_the_order():
    assert visited(True, seed=1) == visited(True, seed=1) != visited(True, seed=2)


def test_data_are_left_alone(rng):
    x, y = data(rng)
    kept = x.copy(), y.copy()
    x.setflags(write=False)
    y.setflags(write=False)
    fit(make(), x, y, epochs=2)
    assert np.array_equal(x, kept[0]) and np.array_equal(y, kept[1])


@pytest.mark.parametrize("labels", [int, float, object])
def test_objects_that_are_numbers(labels, rng):
    """Arrays of objects, as pandas makes of a frame with columns of several dtypes."""
    x, y = data(rng)
    x[:, :2] = x[:, :2] > 0
    mixed = np.array([[bool(row[0]), np.bool_(row[1]), float(row[2]), *row[3:]] for row in x], dtype=object)
    a, b = make(), make()
    assert fit(a, mixed, y.astype(labels).astype(object)).history == fit(b, x, y).history
    assert bits(a) == bits(b)
    assert np.array_equal(a.predict(mixed), a.predict(x))
    assert a.evaluate(mixed, y.astype(object)) == a.evaluate(x, y)


def test_pandas_frame_with_columns_of_booleans(rng):
    pandas = pytest.importorskip("pandas")
    frame = pandas.get_dummies(pandas.DataFrame({"age": [1.0, 2, 3, 4], "colour": ["red", "blue", "red", "red"]}))
    assert set(frame.dtypes.astype(str)) == {"float64", "bool"}
    a, b = make(inputs=3), make(inputs=3)
    fit(a, frame, [0, 1, 2, 0])
    fit(b, frame.to_numpy(float), [0, 1, 2, 0])
    assert bits(a) == bits(b)


@pytest.mark.parametrize("wrong", ["red", None, 1j, [1.0]])
def test_objects_that_are_no_numbers(wrong, rng):
    x, y = data(rng)
    bad_x, bad_y = x.astype(object), y.astype(object)
    bad_x[7, 2] = bad_y[9] = wrong
    model = make()
    with pytest.raises(fn.DtypeError, match=re.escape(f"fit: X: expected float64 numbers, got {wrong!r} at (7, 2)")):
        fit(model, bad_x, y)
    with pytest.raises(fn.DtypeError, match=re.escape(f"fit: y: expected numbers, got {wrong!r} at (9,)")):
        fit(model, x, bad_y)
    assert model.optimizer.iterations == 0


def test_what_is_refused_decides_no_shape():
    """After a frame with a column of text comes one without."""
    model = fn.Sequential([fn.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(fn.DtypeError, match=r"^fit: X: expected float32 numbers, got 'red' at \(0, 1\)$"):
        fit(model, np.array([[1.0, "red"], [2.0, "blue"]], object), np.ones(2))
    fit(model, np.array([[1.0], [2.0]], object), np.ones(2))
    assert model.input_shape == (1,)


def test_an_optimizer_of_two_models(rng):
    """Steps of both would count in the bias correction of each."""
    x, y = data(rng)
    optimizer = fn.Adam()
    first = make(optimizer=optimizer)
    fit(first, x, y)
    second, alone = make(optimizer=optimizer), make()
    fit(second, x, y)
    fit(alone, x, y)
    assert bits(second) == bits(alone)
    with pytest.raises(RuntimeError, match=r"^another model was compiled with the same optimizer: give each one of it"):
        fit(first, x, y)
    assert optimizer.iterations == 4
    first.evaluate(x, y)
    first.compile(optimizer, "cross_entropy")
    fit(pickle.loads(pickle.dumps(first)), x, y)
    fit(copy.deepcopy(first), x, y)


# --- validation ------------------------------------------------------------------------------------------


def test_validation_split_takes_the_last_rows(backend, rng):
    x, y = data(rng)
    a, b = make(backend), make(backend)
    split = fit(a, x, y, epochs=3, validation_split=0.2)
    given = fit(b, x[:40], y[:40], epochs=3, validation_data=(x[40:], y[40:]))
    assert split.history == given.history and bits(a) == bits(b)
    assert split.params["rows"] == 40


def test_validation_split_and_weights(backend, rng):
    """Weights of the rows held out count in the validation loss alone, as in Keras."""
    x, y = data(rng)
    w = rng.uniform(0, 2, 50)
    a, b = make(backend), make(backend)
    split = fit(a, x, y, validation_split=0.3, sample_weight=w)
    fit(b, x[:35], y[:35], sample_weight=w[:35])
    assert bits(a) == bits(b)
    assert split.history["val_loss"] == [b.evaluate(x[35:], y[35:], w[35:])["loss"]]


def test_weighted_validation_data(backend, rng):
    x, y = data(rng)
    w = rng.uniform(0, 2, 50)
    model = make(backend)
    history = fit(model, x, y, validation_data=(x, y, w))
    assert history.history["val_loss"] == [model.evaluate(x, y, w)["loss"]]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"validation_split": 1.0}, ValueError, r"fit: validation_split: expected a number in \[0, 1\), got 1.0$"),
        (
            {"validation_split": 0.999},
            fn.DataError,
            r"fit: validation_split: expected a share that leaves one of 50 rows to train on, got 0.999$",
        ),
        ({"validation_data": (np.ones((2, 3)), [0, 1])}, fn.ShapeError, r"fit: validation_data: X: expected rows of"),
        ({"validation_data": (np.ones((2, 6)), [0])}, fn.ShapeError, r"fit: validation_data: y: expected 2 rows"),
        ({"validation_data": (np.ones((2, 6)), [0, 3])}, fn.DataError, r"CrossEntropy: labels: expected integers from"),
        (
            {"validation_data": (np.full((2, 6), np.nan), [0, 1])},
            fn.DataError,
            r"fit: validation_data: X: expected finite numbers, got NaN or infinity in row 0$",
        ),
        (
            {"validation_data": (np.ones((2, 6)), [0, 1], [1.0, 2, 3])},
            fn.ShapeError,
            r"fit: validation_data: sample_weight: expected shape \(2,\), got \(3,\)$",
        ),
        (
            {"validation_data": (np.ones((2, 6)), [0, 1], [1.0, -1])},
            fn.DataError,
            r"fit: validation_data: sample_weight: expected finite numbers of at least 0, got others$",
        ),
        ({"validation_data": np.ones((50, 6))}, ValueError, r"fit: validation_data: expected .* got ndarray"),
        ({"validation_data": ([1],)}, ValueError, r"fit: validation_data: expected \(X, y\) or "),
    ],
)
def test_bad_validation_data_are_refused_before_training(options, error, message, rng):
    x, y = data(rng)
    model = make()
    with pytest.raises(error, match="^" + message):
        fit(model, x, y, **options)
    assert model.optimizer.iterations == 0


# --- it learns -------------------------------------------------------------------------------------------


def test_digits(backend):
    """The handwritten digits of the package: at least 97.5% of the test rows are right."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.X))
    x, y = digits.X[order] / 16, digits.y[order]
    model = fn.Sequential([fn.Dense(128, "relu"), fn.Dropout(0.2), fn.Dense(10)], backend=backend)
    model.compile(fn.Adam(2e-3), "cross_entropy", ["accuracy"])
    history = model.fit(x[:-360], y[:-360], epochs=30, batch_size=32, verbose=0)
    assert model.evaluate(x[-360:], y[-360:])["accuracy"] >= 0.975
    assert history.history["accuracy"][-1] > 0.99


def test_clip_norm(backend, rng):
    """A step of plain descent is never longer than learning rate times clip_norm."""
    x, y = data(rng)
    model = make(backend, fn.SGD(2.0), clip_norm=0.01)
    for _ in range(5):
        before = model.get_weights()
        model.train_step(100 * x, y)
        moved = [b - a for a, b in zip(before, model.get_weights(), strict=True)]
        assert np.sqrt(sum(np.sum(m * m) for m in moved)) <= 2.0 * 0.01 * (1 + 1e-12)
    free, loose = make(backend), make(backend, clip_norm=1e9)
    for trained in (free, loose):
        fit(trained, x, y)
    assert bits(free) == bits(loose)


def test_mnist():
    """The first 2,000 images of the shared files, in four epochs."""
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mnist"
    images, labels = (sorted(folder.glob(f"*{kind}*")) for kind in ("images", "labels"))
    if not images or not labels:
        pytest.skip(f"the shared data folder does not hold {folder.name}")
    data_set = fn.datasets.load_idx(images[0], labels[0])
    x, y = data_set.X[:2500] / 255, data_set.y[:2500]
    model = fn.Sequential([fn.Dense(64, "gelu"), fn.Dense(10)])
    model.compile("adam", "cross_entropy", ["accuracy"])
    history = model.fit(x, y, epochs=4, batch_size=32, validation_split=0.2, verbose=0)
    assert history.history["val_accuracy"][-1] > 0.85
