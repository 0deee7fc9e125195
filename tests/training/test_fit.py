"""The training loop: history, validation, weights, callbacks, progress, interruption, bad data."""

import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from pathlib import Path

import numpy as np
import pytest

import fastnn as fn
from fastnn.datasets import load_digits


def data(rng, rows=50):
    """Three classes that a linear model tells apart, mostly."""
    x = rng.normal(size=(rows, 4))
    return x, (x @ rng.normal(size=(4, 3)) + 0.3 * rng.normal(size=(rows, 3))).argmax(axis=1)


def make(backend=None, optimizer="adam", loss="cross_entropy", outputs=3, metrics=(), **options):
    model = fn.Sequential([fn.Dense(8, "tanh"), fn.Dense(outputs)], dtype="float64", backend=backend)
    model.compile(optimizer, loss, metrics, **options)
    return model


def bits(model):
    return b"".join(w.tobytes() for w in model.get_weights())


def fit(model, x, y, **options):
    return model.fit(x, y, **{"verbose": 0, "batch_size": 16, **options})


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
    assert history.params == {"epochs": 4, "rows": 50, "batches": 4}


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
        step_on = self.model._step_on

        def noting(x, y, w):
            self.batches.append(x[:, 0].astype(int).tolist())
            assert np.array_equal(y[:, 0], 2 * x[:, 0]) and (w is None or np.array_equal(w, x[:, 0] + 1))
            return step_on(x, y, w)

        self.model._step_on = noting


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
    first, second = sum(batches[:3], []), sum(batches[3:], [])
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


# --- validation ------------------------------------------------------------------------------------------


def test_validation_split_takes_the_last_rows(backend, rng):
    x, y = data(rng)
    a, b = make(backend), make(backend)
    split = fit(a, x, y, epochs=3, validation_split=0.2)
    given = fit(b, x[:40], y[:40], epochs=3, validation_data=(x[40:], y[40:]))
    assert split.history == given.history and bits(a) == bits(b)
    assert split.params["rows"] == 40


def test_validation_split_and_weights(backend, rng):
    """Weights of the rows held out do not count; the validation loss is unweighted."""
    x, y = data(rng)
    w = rng.uniform(0, 2, 50)
    a, b = make(backend), make(backend)
    split = fit(a, x, y, validation_split=0.3, sample_weight=w)
    fit(b, x[:35], y[:35], sample_weight=w[:35])
    assert bits(a) == bits(b)
    assert split.history["val_loss"] == [b.evaluate(x[35:], y[35:])["loss"]]


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
        ({"validation_split": 0.999}, fn.DataError, r"fit: X: expected at least one row, got none$"),
        ({"validation_data": (np.ones((2, 3)), [0, 1])}, fn.ShapeError, r"fit: validation_data: X: expected rows of"),
        ({"validation_data": (np.ones((2, 4)), [0])}, fn.ShapeError, r"fit: validation_data: y: expected 2 rows, got 1"),
        ({"validation_data": (np.ones((2, 4)), [0, 3])}, fn.DataError, r"CrossEntropy: labels: expected integers from"),
        (
            {"validation_data": (np.full((2, 4), np.nan), [0, 1])},
            fn.DataError,
            r"fit: validation_data: X: expected finite numbers, got NaN or infinity in row 0$",
        ),
        ({"validation_data": np.ones((50, 4))}, ValueError, r"fit: validation_data: expected \(X, y\) or .* got ndarray"),
        ({"validation_data": ([1],)}, ValueError, r"fit: validation_data: expected \(X, y\) or "),
    ],
)
def test_bad_validation_data_are_refused_before_training(options, error, message, rng):
    x, y = data(rng)
    model = make()
    with pytest.raises(error, match="^" + message):
        fit(model, x, y, **options)
    assert model.optimizer.iterations == 0


# --- weights ---------------------------------------------------------------------------------------------


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
    with pytest.raises(fn.DataError, match=r"^fit: y: expected one label from 0 to 1 a row with class_weight, got 0.5$"):
        fit(model, x, np.full(50, 0.5), class_weight="balanced")
    sequences = fn.Sequential([fn.Dense(3)])
    sequences.compile("sgd", "cross_entropy")
    with pytest.raises(fn.DataError, match=r"^fit: y: expected one label .* a row with class_weight, got shape \(5, 2\)"):
        fit(sequences, np.ones((5, 2, 4)), np.zeros((5, 2), int), class_weight="balanced")


# --- callbacks -------------------------------------------------------------------------------------------


class Recorder(fn.Callback):
    def __init__(self, calls, name):
        self.calls, self.name = calls, name

    def on_train_begin(self):
        self.calls.append((self.name, "train begin"))

    def on_epoch_begin(self, epoch):
        self.calls.append((self.name, f"epoch {epoch} begin"))

    def on_epoch_end(self, epoch, logs):
        assert set(logs) == {"loss", "accuracy"}
        self.calls.append((self.name, f"epoch {epoch} end"))

    def on_train_end(self):
        self.calls.append((self.name, "train end"))


class BatchRecorder(Recorder):
    def on_batch_end(self, batch, logs):
        assert set(logs) == {"loss", "accuracy", "size"}
        self.calls.append((self.name, f"batch {batch} of {logs['size']}"))


def test_callbacks_are_called_in_order(rng):
    x, y = data(rng, 20)
    calls = []
    model = make(metrics=["accuracy"])
    fit(model, x, y, epochs=2, callbacks=[Recorder(calls, "a"), BatchRecorder(calls, "b")])
    epochs = []
    for epoch in (0, 1):
        epochs += [("a", f"epoch {epoch} begin"), ("b", f"epoch {epoch} begin")]
        epochs += [("b", "batch 0 of 16"), ("b", "batch 1 of 4")]
        epochs += [("a", f"epoch {epoch} end"), ("b", f"epoch {epoch} end")]
    begin, end = [("a", "train begin"), ("b", "train begin")], [("a", "train end"), ("b", "train end")]
    assert calls == begin + epochs + end


def test_batches_are_reported_only_to_those_who_look(rng, monkeypatch):
    called = []
    monkeypatch.setattr(fn.callbacks.CallbackList, "call", lambda self, method, *args: called.append(method))
    fit(make(metrics=["accuracy"]), *data(rng), callbacks=[Recorder([], "a")])
    assert "on_epoch_end" in called and "on_batch_end" not in called
    fit(make(metrics=["accuracy"]), *data(rng), callbacks=[BatchRecorder([], "b")])
    assert called.count("on_batch_end") == 4


def test_callbacks_know_model_and_history(rng):
    class Looks(fn.Callback):
        def on_epoch_end(self, epoch, logs):
            assert self.params["epochs"] == 2 and self.params["batches"] == 4
            self.model.optimizer.learning_rate = 0.0
            self.weights = bits(self.model)

    looks, model = Looks(), make()
    fit(model, *data(rng), epochs=2, callbacks=[looks])
    assert looks.weights == bits(model) and model.optimizer.learning_rate == 0.0


def test_an_error_in_a_callback_comes_out(rng):
    calls = []

    class Fails(fn.Callback):
        def on_epoch_end(self, epoch, logs):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fit(make(metrics=["accuracy"]), *data(rng), callbacks=[Recorder(calls, "a"), Fails()])
    assert calls[-1] == ("a", "train end")


@pytest.mark.parametrize("wrong", [fn.Callback, print, None])
def test_only_callbacks_are_callbacks(wrong, rng):
    with pytest.raises(TypeError, match=r"^fit: callbacks: expected Callback objects, got "):
        fit(make(), *data(rng), callbacks=[wrong])


# --- progress --------------------------------------------------------------------------------------------

SCRIPT = """
import numpy as np, fastnn as fn
model = fn.Sequential([fn.Dense(2)])
model.compile("sgd", "cross_entropy", ["accuracy"])
model.fit(np.ones((64, 3)), np.arange(64) % 2, epochs=3, verbose={verbose})
"""


def on_a_terminal(verbose):
    """What a fit writes to a terminal that is its standard error, and to its standard output."""
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 120))
    environment = {**os.environ, "PYTHONPATH": str(Path(fn.__file__).parents[1])}
    command = [sys.executable, "-c", SCRIPT.format(verbose=verbose)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=end, env=environment)
    os.close(end)
    written = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # Linux's way of saying that the other end is closed
            break
        if not piece:
            break
        written += piece
    output, _ = process.communicate()
    os.close(terminal)
    assert process.returncode == 0, written.decode()
    return written.decode(), output


def test_progress_on_a_terminal():
    written, output = on_a_terminal(1)
    last = written.rstrip().split("\r")[-1]
    assert "epoch 3/3" in last and "100%" in last
    assert "loss=" in last and "accuracy=" in last and "samples/s" in last
    assert output == b""


def test_no_progress_when_not_asked_for():
    assert on_a_terminal(0) == ("", b"")


def test_no_progress_where_nobody_looks(rng, capfd):
    """Standard error is a file here."""
    make().fit(*data(rng), epochs=2, verbose=1)
    assert capfd.readouterr() == ("", "")


def test_the_bar_changes_no_result(rng, capfd):
    x, y = data(rng)
    a, b = make(), make()
    assert a.fit(x, y, epochs=2, verbose=1).history == b.fit(x, y, epochs=2, verbose=0).history
    assert bits(a) == bits(b)


# --- interruption ----------------------------------------------------------------------------------------


def test_interrupted_in_a_batch(backend, rng):
    """The model keeps what it has learned, the history what is complete."""

    class Interrupts(fn.Callback):
        def on_batch_end(self, batch, logs):
            if self.model.optimizer.iterations == 6:
                self.weights = bits(self.model)
                raise KeyboardInterrupt

    calls = []
    x, y = data(rng)
    model, interrupts = make(backend, metrics=["accuracy"]), Interrupts()
    history = fit(model, x, y, epochs=5, callbacks=[interrupts, Recorder(calls, "a")])
    assert history.interrupted and history.epoch == [0] and len(history.history["loss"]) == 1
    assert bits(model) == interrupts.weights and model.optimizer.iterations == 6
    assert calls[-1] == ("a", "train end")
    assert not fit(model, x, y).interrupted and model.optimizer.iterations == 10


def test_interrupted_by_a_signal(rng):
    """Ctrl-C at any moment of a fit that would not end otherwise."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals arrive in the main thread only")
    x, y = data(rng)
    model = make()

    class Starts(fn.Callback):
        def on_epoch_begin(self, epoch):
            if epoch == 1:
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    history = fit(model, x, y, epochs=10**9, callbacks=[Starts()])
    assert history.interrupted and len(history.epoch) > 1
    assert np.isfinite(model.predict(x)).all()
    assert history.history["loss"][-1] < history.history["loss"][0]


# --- data that cannot be trained on ----------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none(value, rng):
    x, y = data(rng)
    model = make()
    x[37, 2] = x[41, 0] = value
    with pytest.raises(fn.DataError, match=r"^fit: X: expected finite numbers, got NaN or infinity in row 37$"):
        fit(model, x, y)
    regression = make(loss="mse")
    targets = rng.normal(size=(50, 3))
    targets[21, 1] = value
    with pytest.raises(fn.DataError, match=r"^fit: y: expected finite numbers, got NaN or infinity in row 21$"):
        fit(regression, data(rng)[0], targets)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_labels_that_are_no_numbers(value, rng):
    x, y = data(rng)
    labels = y.astype(float)
    labels[5] = value
    with pytest.raises(fn.DataError, match=r"^fit: y: expected finite numbers, got NaN or infinity in row 5$"):
        fit(make(), x, labels)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_numbers_too_large_for_the_dtype(rng):
    x, y = data(rng)
    x[3, 1] = 1e300
    model = fn.Sequential([fn.Dense(3)], dtype="float32")
    model.compile("sgd", "cross_entropy")
    with pytest.raises(fn.DataError, match=r"^fit: X: expected finite numbers, got NaN or infinity in row 3$"):
        fit(model, x, y)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (np.zeros((0, 4)), [], fn.DataError, r"fit: X: expected at least one row, got none$"),
        (np.zeros((3, 4)), [0, 1], fn.ShapeError, r"fit: y: expected 3 rows, got 2$"),
        (np.zeros((3, 4)), [0, 1, 3], fn.DataError, r"CrossEntropy: labels: expected integers from 0 to 2, got 0 to 3$"),
        (np.zeros((3, 4)), [0, -1, 1], fn.DataError, r"CrossEntropy: labels: expected integers from 0 to 2, got -1 to 1"),
        (np.zeros((3, 4)), [0, 0.5, 1], fn.DtypeError, r"CrossEntropy: y_true: expected integers, got float64$"),
        (np.zeros((3, 4)), ["a", "b", "c"], fn.DtypeError, r"CrossEntropy: y_true: expected integers, got <U1$"),
        (np.zeros((3, 4)), 1, fn.ShapeError, r"fit: y: expected 3 rows, got a number$"),
        (np.zeros((3, 4, 2)), [0, 1, 2], fn.ShapeError, r"CrossEntropy: y_true: expected labels"),
        ([[1, 2], [3]], [0, 1], (ValueError, fn.DtypeError), r""),
    ],
)
def test_bad_data(x, y, error, message):
    model = make()
    with pytest.raises(error, match=("^" + message) if message else None):
        fit(model, x, y)
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": -1}, ValueError, r"epochs: expected an integer of at least 0, got -1$"),
        ({"epochs": 1.5}, TypeError, r"epochs: expected an integer, got 1.5$"),
        ({"batch_size": 0}, ValueError, r"batch_size: expected an integer of at least 1, got 0$"),
        ({"batch_size": 32.0}, TypeError, r"batch_size: expected an integer, got 32.0$"),
        ({"sample_weight": [1.0]}, fn.ShapeError, r"sample_weight: expected shape \(50,\), got \(1,\)$"),
        ({"sample_weight": -np.ones(50)}, fn.DataError, r"sample_weight: expected finite numbers of at least 0"),
        ({"sample_weight": np.full(50, np.nan)}, fn.DataError, r"sample_weight: expected finite numbers of at least 0"),
    ],
)
def test_bad_options(options, error, message, rng):
    with pytest.raises(error, match="^fit: " + message):
        fit(make(), *data(rng), **options)


# --- losses that turn non-finite -------------------------------------------------------------------------


def explosive(backend, rate, rows, batch_size, epochs=20):
    """A linear regression by too large steps; returns the model, the losses seen and the weights by epoch."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(rows, 3))
    model = fn.Sequential([fn.Dense(1)], backend=backend, input_shape=(3,))
    model.compile(fn.SGD(rate, momentum=0.5), "mse")
    seen = []

    class Looks(fn.Callback):
        def on_epoch_begin(self, epoch):
            seen.append((bits(self.model), b"".join(m.tobytes() for m in model._moments), model.optimizer.iterations))

    with np.errstate(all="ignore"), pytest.raises(fn.NonFiniteLoss) as caught:
        fit(model, x, x.sum(axis=1), epochs=epochs, batch_size=batch_size, callbacks=[Looks()])
    return model, seen, str(caught.value), x


def test_non_finite_loss_within_an_epoch(backend):
    """Back to the beginning of the epoch: parameters, moments and step count."""
    model, seen, message, x = explosive(backend, 1e10, rows=40, batch_size=4)
    assert len(seen) == 1
    assert message.startswith("fit: the loss became inf in epoch 1, batch ")
    assert "the model was set back to the beginning of epoch 1" in message
    assert (bits(model), model.optimizer.iterations) == (seen[0][0], 0)
    assert not any(m.any() for m in model._moments)
    model.optimizer.learning_rate = 0.01
    history = fit(model, x, x.sum(axis=1), epochs=30, batch_size=4).history["loss"]
    assert history[-1] < 1e-2 * history[0]


def test_non_finite_loss_in_an_epochs_first_batch(backend):
    """With one batch an epoch, what ruins the parameters is the epoch before: its beginning is what is kept."""
    model, seen, message, x = explosive(backend, 1e12, rows=8, batch_size=8)
    assert len(seen) > 1
    assert f"in epoch {len(seen)}, batch 1; the model was set back to the beginning of epoch {len(seen) - 1}." in message
    assert (bits(model), b"".join(m.tobytes() for m in model._moments), model.optimizer.iterations) == seen[-2]
    assert np.isfinite(model.evaluate(x, x.sum(axis=1))["loss"])


def test_parameters_ruined_by_the_last_step(backend):
    """No later loss would tell."""
    model, seen, message, x = explosive(backend, 1e39, rows=8, batch_size=8, epochs=1)
    assert message.startswith("fit: parameters became infinite or NaN at the end of epoch 1; the model was set back to ")
    assert bits(model) == seen[0][0] and np.isfinite(model.predict(x)).all()


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
    model.build((4,))
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
