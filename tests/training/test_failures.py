"""What ends a training early: Ctrl-C, data that cannot be trained on, losses that turn non-finite."""

import os
import signal
import threading

import numpy as np
import pytest
from small import Recorder, bits, data, fit, make

import fastnn as fn

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
        (np.zeros((0, 6)), [], fn.DataError, r"fit: X: expected at least one row, got none$"),
        (np.zeros((3, 6)), [0, 1], fn.ShapeError, r"fit: y: expected 3 rows, got 2$"),
        (np.zeros((3, 6)), [0, 1, 3], fn.DataError, r"CrossEntropy: labels: expected integers .* got 0 to 3$"),
        (np.zeros((3, 6)), [0, -1, 1], fn.DataError, r"CrossEntropy: labels: expected integers .* got -1 to 1$"),
        (np.zeros((3, 6)), [0, 0.5, 1], fn.DtypeError, r"CrossEntropy: y_true: expected integers, got float64$"),
        (np.zeros((3, 6)), ["a", "b", "c"], fn.DtypeError, r"CrossEntropy: y_true: expected integers, got <U1$"),
        (np.zeros((3, 6)), 1, fn.ShapeError, r"fit: y: expected 3 rows, got a number$"),
        (np.zeros((3, 6, 2)), [0, 1, 2], fn.ShapeError, r"fit: X: expected rows of shape \(6,\), got \(3, 6, 2\)$"),
        ([[1, 2], [3]], [0, 1], fn.ShapeError, r"fit: X: expected rows of one shape, got sequences of different"),
        (np.zeros((2, 6)), [[1, 2], [3]], fn.ShapeError, r"fit: y: expected rows of one shape, got sequences of"),
    ],
)
def test_bad_data(x, y, error, message):
    model = make()
    with pytest.raises(error, match="^" + message):
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
