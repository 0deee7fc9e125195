"""Callbacks that end training."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import checks
from fastnn.callbacks.base import Callback, Logs, Monitor


class EarlyStopping(Callback):
    """Ends training when a number has not improved for some epochs (Prechelt 1998); behaves as in Keras 3.

    Parameters
    ----------
    monitor : str
        Key in the logs: "loss", a metric, or one of them with "val_" in front.
    min_delta : float
        A change that is not larger is no improvement.
    patience : int
        Epochs without improvement after which training ends.
    mode : {"auto", "min", "max"}
        "auto" is "max" for names with acc, auc, f1, precision, recall or r2 in them, else "min".
    baseline : float, optional
        Until the number is better than this, epochs count as without improvement.
    restore_best_weights : bool
        At the end of training, for whatever reason it ends, go back to the parameters of the best epoch.
    start_from_epoch : int
        Epochs before this one are not judged.

    Attributes
    ----------
    best : float or None
        The best value.
    best_epoch : int
    wait : int
        Epochs since.
    stopped_epoch : int or None
        The epoch that ended training.

    Raises
    ------
    ValueError
        In `fit`, if the logs lack the number; the message names those that they have.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        self._monitor = Monitor("EarlyStopping", monitor, mode, min_delta)
        checks.integer("EarlyStopping", "patience", patience, 0)
        checks.integer("EarlyStopping", "start_from_epoch", start_from_epoch, 0)
        if baseline is not None:
            checks.interval("EarlyStopping", "baseline", baseline, -float("inf"), float("inf"))
        self.patience, self.start_from_epoch = int(patience), int(start_from_epoch)
        self.baseline, self.restore_best_weights = baseline, restore_best_weights
        self.on_train_begin()

    def on_train_begin(self) -> None:
        self.best: float | None = None
        self.best_epoch = self.wait = 0
        self.best_weights: list[np.ndarray] | None = None
        self.stopped_epoch: int | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        value = self._monitor.value(logs)
        if epoch < self.start_from_epoch:
            return
        improved = self._monitor.better(value, self.best)
        if self.restore_best_weights and (improved or self.best_weights is None):
            self.best_weights = self.model.get_weights()
        self.wait += 1
        if improved:
            self.best, self.best_epoch = value, epoch
            if self.baseline is None or self._monitor.better(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self) -> None:
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)

    def state(self) -> dict[str, Any]:
        weights = {f"weights.{i}": w for i, w in enumerate(self.best_weights or ())}
        numbers = ("best", "best_epoch", "wait", "stopped_epoch")
        return {**{name: getattr(self, name) for name in numbers}, **weights}

    def restore(self, state: dict[str, Any]) -> None:
        numbers = dict(state)
        weights = [numbers.pop(f"weights.{i}") for i in range(sum(name.startswith("weights.") for name in state))]
        self.best_weights = weights or None
        for name, value in numbers.items():
            setattr(self, name, value)
        if self.stopped_epoch is not None and self.wait >= self.patience:
            self.model.stop_training = True


class Convergence(Callback):
    """Ends training when an epoch hardly changes anything.

    An epoch e counts if, with ``on="loss"``, ``|loss_e - loss_{e-1}| <= tol``; with ``on="parameters"``,
    ``||p_e - p_{e-1}|| <= tol ||p_{e-1}||``, the Euclidean norms of all parameters together.

    Parameters
    ----------
    tol : float
    on : {"loss", "parameters"}
        The mean training loss of the epoch, or the parameters at its end.
    patience : int
        Epochs in a row that must count.

    Attributes
    ----------
    change : float or None
        What was compared to `tol` last.
    wait : int
        Epochs in a row that counted.
    """

    def __init__(self, tol: float = 1e-4, on: str = "loss", patience: int = 1) -> None:
        checks.interval("Convergence", "tol", tol, 0, float("inf"), "left")
        checks.option("Convergence", "on", on, ("loss", "parameters"))
        checks.integer("Convergence", "patience", patience, 1)
        self.tol, self.on, self.patience = tol, on, int(patience)

    def on_train_begin(self) -> None:
        self.wait = 0
        self.change: float | None = None
        self._loss: float | None = None
        # Those of a checkpoint are the model's own then.
        self._parameters = self._flat() if self.on == "parameters" else None

    def _flat(self) -> np.ndarray:
        """All parameters in one float64 array, in which their squares do not overflow."""
        return np.concatenate([np.zeros(0), *(np.ravel(w) for w in self.model.get_weights())])

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self._parameters is not None:
            now, before = self._flat(), self._parameters
            step, size = float(np.linalg.norm(now - before)), float(np.linalg.norm(before))
            self.change = step / size if size else float(step > 0)
            self._parameters = now
        else:
            self.change = None if self._loss is None else abs(logs["loss"] - self._loss)
            self._loss = logs["loss"]
        self.wait = self.wait + 1 if self.change is not None and self.change <= self.tol else 0
        self._judge()

    def _judge(self) -> None:
        if self.wait >= self.patience:
            self.model.stop_training = True

    def state(self) -> dict[str, Any]:
        return {"wait": self.wait, "change": self.change, "loss": self._loss}

    def restore(self, state: dict[str, Any]) -> None:
        self.wait, self.change, self._loss = state["wait"], state["change"], state["loss"]
        self._judge()
