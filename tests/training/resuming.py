"""A training with all that a checkpoint has to keep, for tests that interrupt it."""

import numpy as np
from small import bits, fit, make

import fastnn as fn


def everything(model):
    """All bits that training goes on from."""
    moments = b"".join(np.asarray(m).tobytes() for m in model._moments)
    return bits(model), moments, model.optimizer.iterations, model.optimizer.learning_rate, model.epochs_done


def watchers(folder):
    """Callbacks with states of all kinds, in an order in which the checkpoints come first and in between."""
    return [
        fn.ModelCheckpoint(folder / "latest"),
        fn.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=0.02),
        fn.ModelCheckpoint(folder / "best", "val_loss", save_best_only=True),
        fn.EarlyStopping("val_loss", patience=4, restore_best_weights=True),
        fn.ReduceLROnPlateau("loss", factor=0.9, patience=0),
        fn.Convergence(1e-9, patience=2),
        fn.CSVLogger(folder / "log.csv"),
    ]


def model_of(backend=None):
    return make(backend, fn.Adam(0.05), metrics=["accuracy"], dropout=0.3, seed=5)


def train(model, x, y, callbacks, epochs):
    """From where the model is on."""
    options = {"validation_data": (x[:20], y[:20]), "callbacks": callbacks, "initial_epoch": model.epochs_done}
    return fit(model, x[20:], y[20:], epochs=epochs, **options)
