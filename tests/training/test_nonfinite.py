"""Losses that turn non-finite: where it began, what may help, and the model as it was before."""

import copy
import pickle

import numpy as np
import pytest
from small import bits, fit

import fastnn as fn

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")


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
    return model, seen, caught.value, x


def test_non_finite_loss_within_an_epoch(backend):
    """Back to the beginning of the epoch: parameters, moments and step count."""
    model, seen, error, x = explosive(backend, 1e10, rows=40, batch_size=4)
    assert len(seen) == 1
    where = f"fit: the loss became inf (the outputs of all layers were finite) in epoch 1, batch {error.batch + 1}; "
    assert str(error).startswith(where + "the model was set back to the beginning of epoch 1. A smaller learning rate")
    assert (error.epoch, error.layer, error.cause) == (0, None, "loss") and 0 < error.batch < 10
    assert (bits(model), model.optimizer.iterations) == (seen[0][0], 0)
    assert not any(m.any() for m in model._moments)
    model.optimizer.learning_rate = 0.01
    history = fit(model, x, x.sum(axis=1), epochs=30, batch_size=4).history["loss"]
    assert history[-1] < 1e-2 * history[0]


def test_non_finite_loss_in_an_epochs_first_batch(backend):
    """With one batch an epoch, what ruins the parameters is the epoch before: its beginning is what is kept."""
    model, seen, error, x = explosive(backend, 1e12, rows=8, batch_size=8)
    assert len(seen) > 1
    last = len(seen)
    assert f"in epoch {last}, batch 1; the model was set back to the beginning of epoch {last - 1}." in str(error)
    assert (error.epoch, error.batch) == (last - 1, 0)
    assert (bits(model), b"".join(m.tobytes() for m in model._moments), model.optimizer.iterations) == seen[-2]
    assert np.isfinite(model.evaluate(x, x.sum(axis=1))["loss"])


def test_parameters_ruined_by_the_last_step(backend):
    """No later loss would tell."""
    model, seen, error, x = explosive(backend, 1e39, rows=8, batch_size=8, epochs=1)
    assert str(error) == (
        "fit: parameters of layer 'dense_1' became infinite or NaN (the gradient was finite) in epoch 1, batch 1; "
        "the model was set back to the beginning of epoch 1. A smaller learning rate or clip_norm may help."
    )
    assert (error.epoch, error.batch, error.layer, error.cause) == (0, 0, "dense_1", "parameters")
    assert bits(model) == seen[0][0] and np.isfinite(model.predict(x)).all()


# --- where it began --------------------------------------------------------------------------------------


class Exp(fn.layers.Layer):
    def call(self, x, parameters, context):
        return fn.exp(x)


class LogLoss(fn.losses.Loss):
    """A mean of logarithms of what should be positive."""

    def record(self, y_pred, y_true, weight=None, *, gradient=False):
        return fn.mean(fn.log(y_pred)) + 0 * fn.mean(y_true)


class RootLoss(fn.losses.Loss):
    """A root, whose slope at 0 is infinite."""

    def record(self, y_pred, y_true, weight=None, *, gradient=False):
        return fn.mean(fn.sqrt(y_pred)) + 0 * fn.mean(y_true)


def ones(units, **options):
    return fn.Dense(units, kernel_initializer=fn.initializers.Constant(1.0), **options)


def batches(x, stream, batch_size=4):
    """The same rows as arrays, or as a stream."""
    if not stream:
        return {"X": x, "y": x, "batch_size": batch_size, "shuffle": False}
    return {"X": lambda: ((x[i : i + batch_size],) * 2 for i in range(0, len(x), batch_size))}


def failure(model, loss, x, stream, rate=1e-9, epochs=3):
    """The error of a training, which leaves the model as it was."""
    model.compile(fn.SGD(rate), loss)
    before = bits(model)
    with pytest.raises(fn.NonFiniteLoss) as caught:
        model.fit(**batches(x, stream), epochs=epochs, verbose=0)
    assert bits(model) == before and model.optimizer.iterations == 0
    return caught.value


#: The row that is different; its batch of four has the number below. Many batches, so that snapshots are taken.
ROW = 2401
BATCH = 600


@pytest.mark.parametrize("stream", [False, True])
def test_an_activation_that_overflows(backend, stream):
    x = np.ones((4000, 1))
    x[ROW] = 500
    model = fn.Sequential([ones(4), Exp(), ones(1)], backend=backend, input_shape=(1,))
    error = failure(model, "mse", x, stream)
    assert (error.epoch, error.batch, error.layer, error.cause) == (0, BATCH, "exp_1", "activation")
    assert f"(so did the output of layer 'exp_1') in epoch 1, batch {BATCH + 1}; the model was set back" in str(error)
    assert str(error).endswith("scaled inputs or smaller initial weights may help.")


@pytest.mark.parametrize("stream", [False, True])
def test_a_logarithm_of_a_negative_number(backend, stream):
    x = np.ones((4000, 1))
    x[ROW] = -1
    model = fn.Sequential([ones(1)], backend=backend, input_shape=(1,))
    error = failure(model, LogLoss(), x, stream)
    assert (error.epoch, error.batch, error.layer, error.cause) == (0, BATCH, None, "loss")
    assert "the loss became nan (the outputs of all layers were finite)" in str(error)
    assert str(error).endswith("unless the loss takes the logarithm of 0 or less, or divides by 0.")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("row", [ROW, 3999])
def test_a_gradient_that_is_infinite(backend, stream, row):
    """The loss of that batch is finite; the batch after it, or the epoch's end, shows that something went wrong."""
    x = np.ones((4000, 1))
    x[row] = 0
    layers = [fn.Flatten(), ones(1, use_bias=False), ones(1, use_bias=False)]
    model = fn.Sequential(layers, backend=backend, input_shape=(1,))
    error = failure(model, RootLoss(), x, stream)
    assert (error.epoch, error.batch, error.layer, error.cause) == (0, row // 4, "dense_1", "gradient")
    assert "the gradient of layer 'dense_1' became infinite or NaN (the loss was finite) in epoch 1" in str(error)
    assert str(error).endswith("A smaller learning rate or clip_norm may help.")


@pytest.mark.parametrize("stream", [False, True])
def test_steps_that_are_too_large(backend, stream):
    model = fn.Sequential([fn.Dense(1, kernel_initializer="zeros")], backend=backend, input_shape=(1,))
    error = failure(model, "mse", np.linspace(1, 2, 40)[:, None], stream, rate=3e38)
    assert (error.epoch, error.batch, error.layer, error.cause) == (0, 0, "dense_1", "parameters")


def test_with_dropout_and_shuffling(backend):
    """Steps done again are the same steps."""
    x = np.ones((400, 3))
    x[123] = 300
    model = fn.Sequential([fn.Dropout(0.5), ones(4), Exp(), ones(1)], backend=backend, input_shape=(3,))
    model.compile(fn.SGD(1e-9), "mse")
    seen = []

    class Looks(fn.Callback):
        def on_batch_end(self, batch, logs):
            seen.append(batch)

    with pytest.raises(fn.NonFiniteLoss) as caught:
        fit(model, x, x[:, :1], epochs=9, batch_size=4, callbacks=[Looks()])
    assert (caught.value.batch, caught.value.layer) == (seen[-1] + 1 if seen[-1] < 99 else 0, "exp_1")


def test_a_model_changed_within_the_epoch(backend):
    """Steps done again do not show what a callback did: the message says what is known."""

    class Ruins(fn.Callback):
        def on_batch_end(self, batch, logs):
            if batch == 3:
                self.model.set_weights([np.full_like(w, np.nan) for w in self.model.get_weights()])

    model = fn.Sequential([ones(1)], backend=backend, input_shape=(1,))
    model.compile(fn.SGD(1e-9), "mse")
    before = bits(model)
    with pytest.raises(fn.NonFiniteLoss, match=r"the loss became nan in epoch 1, batch 5; the model") as caught:
        fit(model, np.ones((40, 1)), np.ones(40), batch_size=4, callbacks=[Ruins()])
    assert caught.value.layer is None and caught.value.cause is None and bits(model) == before


def test_the_error_can_be_copied():
    error = fn.NonFiniteLoss("message", 1, 2, "dense_1", "gradient")
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert str(again) == "message" and vars(again) == vars(error)
