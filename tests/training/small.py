"""Small models and data that several of these tests train."""

import numpy as np

import fastnn as fn


def network(backend=None, dtype="float64", seed=0, inputs=6, outputs=3, dropout=0.0):
    """A network for three classes, built."""
    hidden = [fn.Dense(8, "relu"), *([fn.Dropout(dropout)] if dropout else []), fn.Dense(5, "tanh")]
    return fn.Sequential([*hidden, fn.Dense(outputs)], dtype=dtype, backend=backend, seed=seed, input_shape=(inputs,))


def make(backend=None, optimizer="adam", loss="cross_entropy", metrics=(), clip_norm=None, **options):
    """The same, compiled."""
    model = network(backend, **options)
    model.compile(optimizer, loss, metrics, clip_norm=clip_norm)
    return model


def by_hand(model, x):
    """What the network computes outside training."""
    w1, b1, w2, b2, w3, b3 = model.get_weights()
    return np.tanh(np.maximum(x @ w1 + b1, 0) @ w2 + b2) @ w3 + b3


def data(rng, rows=50, inputs=6):
    """Rows and labels of three classes that a linear model tells apart, mostly."""
    x = rng.normal(size=(rows, inputs))
    return x, (x @ rng.normal(size=(inputs, 3)) + 0.3 * rng.normal(size=(rows, 3))).argmax(axis=1)


def fit(model, x, y, **options):
    """Train silently in batches of 16."""
    return model.fit(x, y, **{"verbose": 0, "batch_size": 16, **options})


def bits(model):
    """All weights as bytes, to be compared exactly."""
    return b"".join(w.tobytes() for w in model.get_weights())


class Recorder(fn.Callback):
    """Notes what it is called for, in a list that others may write to as well."""

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


class Says(fn.Callback):
    """Puts given numbers into the logs, one an epoch."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def on_epoch_end(self, epoch, logs):
        logs[self.name] = self.values[epoch]
