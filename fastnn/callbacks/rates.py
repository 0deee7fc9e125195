"""Callbacks that change the learning rate."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastnn import checks
from fastnn.callbacks.base import Callback, Logs, Monitor


class LearningRateScheduler(Callback):
    """Sets the learning rate at the beginning of each epoch.

    Parameters
    ----------
    schedule : callable
        ``(epoch) -> rate`` or ``(epoch, current rate) -> rate``; epochs count from 0.
    """

    sets_rate = True

    def __init__(self, schedule: Callable[..., float]) -> None:
        if not callable(schedule):
            checks.fail(TypeError, "LearningRateScheduler", "schedule", "a function of the epoch", repr(schedule))
        self.schedule = schedule
        try:
            inspect.signature(schedule).bind(0, 0.0)
            self._with_rate = True
        except TypeError:
            self._with_rate = False

    def on_epoch_begin(self, epoch: int) -> None:
        rate = _rate(self, self.model.optimizer) if self._with_rate else None
        self.model.optimizer.learning_rate = self.schedule(epoch, rate) if self._with_rate else self.schedule(epoch)


class ReduceLROnPlateau(Callback):
    """Multiplies the learning rate by a factor when a number has not improved for some epochs; as in Keras 3.

    Parameters
    ----------
    monitor : str
        Key in the logs.
    factor : float in (0, 1)
    patience : int
        Epochs without improvement after which the rate falls.
    min_delta : float
        A change that is not larger is no improvement.
    cooldown : int
        Epochs after a fall that do not count.
    min_lr : float
        The rate falls no lower.
    mode : {"auto", "min", "max"}
        "auto" is "max" for names with acc, auc, f1, precision, recall or r2 in them, else "min".

    Raises
    ------
    ValueError
        In `fit`, if the logs lack the number; the message names those that they have.
    TypeError
        In `fit`, if the optimizer's learning rate follows a schedule.
    """

    sets_rate = True

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        mode: str = "auto",
    ) -> None:
        self._monitor = Monitor("ReduceLROnPlateau", monitor, mode, min_delta)
        checks.interval("ReduceLROnPlateau", "factor", factor, 0, 1, "neither")
        checks.integer("ReduceLROnPlateau", "patience", patience, 0)
        checks.integer("ReduceLROnPlateau", "cooldown", cooldown, 0)
        checks.interval("ReduceLROnPlateau", "min_lr", min_lr, 0, float("inf"), "left")
        self.factor, self.patience, self.cooldown, self.min_lr = factor, int(patience), int(cooldown), min_lr

    def on_train_begin(self) -> None:
        _rate(self, self.model.optimizer)
        self.best: float | None = None
        self.wait = self.cooling = 0

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        value = self._monitor.value(logs)
        if self.cooling:
            self.cooling -= 1
            self.wait = 0
        if self._monitor.better(value, self.best):
            self.best, self.wait = value, 0
        elif not self.cooling:
            self.wait += 1
            rate = _rate(self, self.model.optimizer)
            if self.wait >= self.patience and rate > self.min_lr:
                self.model.optimizer.learning_rate = max(rate * self.factor, self.min_lr)
                self.cooling, self.wait = self.cooldown, 0

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "wait": self.wait, "cooling": self.cooling}

    def restore(self, state: dict[str, Any]) -> None:
        self.best, self.wait, self.cooling = state["best"], state["wait"], state["cooling"]


def _rate(callback: Callback, optimizer: Any) -> float:
    """The learning rate, which must be a number."""
    rate = optimizer.learning_rate
    if callable(rate):
        checks.fail(TypeError, type(callback).__name__, "learning_rate", "a number", "a schedule")
    return rate
