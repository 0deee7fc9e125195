"""Callbacks that end training: early stopping as in Keras, convergence, and a user's own."""

import numpy as np
import pytest
from small import Recorder, Says, bits, data, fit, make

import fastnn as fn


def epochs(values, rng, name="val_loss", **options):
    """Epochs that early stopping lets run of those that these numbers are for, and the callback."""
    stopping = fn.EarlyStopping(name, **options)
    history = fit(make(), *data(rng), epochs=len(values), callbacks=[Says(name, values), stopping])
    return len(history.epoch), stopping


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([3, 2, 1, 1, 0], {}, 4),
        ([3, 2, 2.5, 1, 2, 3], {"patience": 2}, 6),
        ([3, 2, 2.5, 2.4, 2.3, 0], {"patience": 2}, 4),
        ([3, 2, 2.5, 2.4, 2.3, 0], {"patience": 3}, 5),
        ([3, 2, 1.5, 1.1, 0], {"min_delta": 0.5}, 3),
        ([3, 2, 1.4, 0.8, 0], {"min_delta": 0.5}, 5),
        ([1, 2, 3, 2, 5], {"mode": "max"}, 4),
        ([1, 2, 3, 2, 5], {"name": "val_accuracy"}, 4),
        ([1, 2, 3, 2, 5], {"name": "val_accuracy", "mode": "min"}, 2),
        ([3, 4, 5, 2, 1], {"start_from_epoch": 3}, 5),
        ([3, 4, 5, 2, 3], {"start_from_epoch": 2}, 5),
        ([3, 4, 5, 6, 3], {"start_from_epoch": 2}, 4),
        ([5, 4, 6, 1], {"baseline": 1.0, "patience": 2}, 3),
        ([np.nan, np.nan, 1.0], {"patience": 1}, 2),
        ([1.0], {}, 1),
    ],
)
def test_when_it_stops(values, options, expected, rng):
    assert epochs(values, rng, **options)[0] == expected


@pytest.mark.parametrize("name", ["accuracy", "val_auc", "f1_macro", "precision", "recall", "r2"])
def test_names_of_what_should_be_large(name, rng):
    assert epochs([1, 2, 1.5, 3], rng, name)[0] == 3
    assert epochs([1, 2, 1.5, 3], rng, name, mode="min")[0] == 2


def test_what_it_found(rng):
    found, stopping = epochs([3, 1, 2, 2, 0], rng, patience=2)
    assert found == 4
    assert (stopping.best, stopping.best_epoch, stopping.wait, stopping.stopped_epoch) == (1, 1, 2, 3)


class Weights(fn.Callback):
    """Notes the weights at the end of each epoch."""

    def on_train_begin(self):
        self.weights = []

    def on_epoch_end(self, epoch, logs):
        self.weights.append(bits(self.model))


@pytest.mark.parametrize(("values", "best"), [([3, 1, 2, 2], 1), ([3, 2, 1], 2), ([1], 0), ([np.nan, np.nan], 0)])
def test_best_weights_come_back(backend, values, best, rng):
    """However training ends, as in Keras 3."""
    weights, model = Weights(), make(backend)
    stopping = fn.EarlyStopping("score", patience=2, restore_best_weights=True)
    fit(model, *data(rng), epochs=len(values), callbacks=[Says("score", values), stopping, weights])
    assert bits(model) == weights.weights[best] and stopping.best_epoch == best


def test_best_weights_come_back_after_an_interruption(rng):
    class Interrupts(fn.Callback):
        def on_batch_end(self, batch, logs):
            if self.model.epochs_done == 2:
                raise KeyboardInterrupt

    weights, model = Weights(), make()
    stopping = fn.EarlyStopping("score", patience=5, restore_best_weights=True)
    callbacks = [Says("score", [1, 2, 3]), stopping, weights, Interrupts()]
    history = fit(model, *data(rng), epochs=9, callbacks=callbacks)
    assert history.interrupted and history.epoch == [0, 1]
    assert bits(model) == weights.weights[0] != weights.weights[1]


def test_a_second_fit_begins_anew(rng):
    stopping, model = fn.EarlyStopping("score"), make()
    for _ in range(2):
        history = fit(model, *data(rng), epochs=5, callbacks=[Says("score", [1, 0, 3, 4, 5]), stopping])
        assert history.epoch == [0, 1, 2] and model.stop_training
    assert len(fit(model, *data(rng), epochs=5).epoch) == 5 and not model.stop_training


@pytest.mark.parametrize(
    "callback", [fn.EarlyStopping(), fn.ReduceLROnPlateau(), fn.ModelCheckpoint("x", "val_loss", save_best_only=True)]
)
def test_names_that_are_not_in_the_logs(callback, rng, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = rf"^{type(callback).__name__}: monitor: expected one of 'loss', 'accuracy'.*, got 'val_loss'$"
    with pytest.raises(ValueError, match=message):
        fit(make(metrics=["accuracy"]), *data(rng), callbacks=[callback])


# --- convergence -----------------------------------------------------------------------------------------


def flat(model):
    return np.concatenate([w.ravel() for w in model.get_weights()])


@pytest.mark.parametrize("patience", [1, 3])
def test_convergence_of_the_loss(backend, patience, rng):
    x, y = data(rng)
    model = make(backend, fn.SGD(0.1))
    losses = fit(model, x, y, epochs=2000, callbacks=[fn.Convergence(1e-3, patience=patience)]).history["loss"]
    small = np.abs(np.diff(losses)) <= 1e-3
    assert 1 + patience < len(losses) < 2000 and small[-patience:].all()
    assert not any(small[i : i + patience].all() for i in range(len(small) - patience))


def test_convergence_of_the_parameters(backend, rng):
    class Steps(fn.Callback):
        def on_train_begin(self):
            self.last, self.steps = flat(self.model), []

        def on_epoch_end(self, epoch, logs):
            now = flat(self.model)
            self.steps.append(np.sqrt(np.sum((now - self.last) ** 2) / np.sum(self.last**2)))
            self.last = now

    steps, convergence = Steps(), fn.Convergence(0.02, on="parameters")
    fit(make(backend, fn.SGD(0.1)), *data(rng), epochs=2000, callbacks=[steps, convergence])
    assert steps.steps[-1] <= 0.02 < min(steps.steps[:-1])
    assert convergence.change == pytest.approx(steps.steps[-1], rel=1e-12)


@pytest.mark.parametrize("on", ["loss", "parameters"])
def test_nothing_moves(on, rng):
    """A tolerance of zero means no change at all, with parameters of norm zero too."""
    zero = fn.Sequential([fn.Dense(3, kernel_initializer="zeros")])
    zero.compile(fn.SGD(0.0), "cross_entropy")
    for model in (make(optimizer=fn.SGD(0.0)), zero):
        convergence = fn.Convergence(0.0, on=on)
        history = fit(model, *data(rng), epochs=9, shuffle=False, callbacks=[convergence])
        assert len(history.epoch) == (2 if on == "loss" else 1) and convergence.change == 0


# --- a user's own ----------------------------------------------------------------------------------------


def test_stop_training_ends_after_the_epoch(backend, rng):
    """Whoever sets it; all callbacks still see the epoch."""

    class Stops(fn.Callback):
        def on_batch_end(self, batch, logs):
            self.model.stop_training = self.model.epochs_done == 1

    calls, model = [], make(backend, metrics=["accuracy"])
    model.stop_training = True
    history = fit(model, *data(rng), epochs=9, callbacks=[Stops(), Recorder(calls, "a")])
    assert history.epoch == [0, 1] and not history.interrupted and model.optimizer.iterations == 8
    assert calls[-2:] == [("a", "epoch 1 end"), ("a", "train end")]


@pytest.mark.parametrize(
    ("make_callback", "error", "message"),
    [
        (lambda: fn.EarlyStopping(mode="most"), ValueError, "EarlyStopping: mode: expected one of 'auto'"),
        (lambda: fn.EarlyStopping(patience=-1), ValueError, "EarlyStopping: patience: expected an integer of at least"),
        (lambda: fn.EarlyStopping(min_delta=-1), ValueError, "EarlyStopping: min_delta: expected a number in"),
        (lambda: fn.EarlyStopping(baseline="a"), TypeError, "EarlyStopping: baseline: expected a number, got 'a'"),
        (lambda: fn.Convergence(-1), ValueError, "Convergence: tol: expected a number in"),
        (lambda: fn.Convergence(on="weights"), ValueError, "Convergence: on: expected one of 'loss', 'parameters'"),
        (lambda: fn.Convergence(patience=0), ValueError, "Convergence: patience: expected an integer of at least 1"),
        (lambda: fn.LearningRateScheduler(0.1), TypeError, "LearningRateScheduler: schedule: expected a function"),
        (lambda: fn.ReduceLROnPlateau(factor=1.0), ValueError, r"ReduceLROnPlateau: factor: expected a number in \(0"),
        (lambda: fn.LambdaCallback(on_epoch_end=3), TypeError, "LambdaCallback: on_epoch_end: expected a function"),
        (lambda: fn.ModelCheckpoint("x", save_best_only=True), ValueError, "ModelCheckpoint: monitor: expected a name"),
        (lambda: fn.ModelCheckpoint("x", every=0), ValueError, "ModelCheckpoint: every: expected an integer of at"),
    ],
)
def test_wrong_arguments(make_callback, error, message):
    with pytest.raises(error, match="^" + message):
        make_callback()
