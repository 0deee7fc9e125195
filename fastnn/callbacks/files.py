"""Callbacks that write files: checkpoints and logs."""

from __future__ import annotations

import csv
import os
from itertools import takewhile
from pathlib import Path
from typing import Any

from fastnn import checks
from fastnn.callbacks.base import Callback, Logs, Monitor


class ModelCheckpoint(Callback):
    """Saves the model after epochs, each file whole or not at all.

    The file holds the optimizer's moments and the states of all callbacks: training goes on bit for bit after
    ``model = fn.load(path)`` with ``model.fit(..., epochs=N, initial_epoch=model.epochs_done, callbacks=[...])``.

    Parameters
    ----------
    path : path
        May contain ``{epoch}``, counted from 1, and names of the logs as fields of `str.format`, as in
        ``"model-{epoch:03d}-{val_loss:.3f}.safetensors"``. Folders are made. That the model can be saved, and that
        something can be written there, is tried before the first epoch.
    monitor : str, optional
        Key in the logs that decides which epoch is best.
    mode : {"auto", "min", "max"}
        "auto" is "max" for names with acc, auc, f1, precision, recall or r2 in them, else "min".
    save_best_only : bool
        Save only after epochs that are better than all saved before.
    every : int
        Save after each so many epochs.
    include_optimizer : bool
        Else the file holds the parameters only.
    """

    def __init__(
        self,
        path: str | Path,
        monitor: str | None = None,
        mode: str = "auto",
        save_best_only: bool = False,
        every: int = 1,
        include_optimizer: bool = True,
    ) -> None:
        if save_best_only and monitor is None:
            checks.fail(ValueError, "ModelCheckpoint", "monitor", "a name in the logs with save_best_only", None)
        checks.integer("ModelCheckpoint", "every", every, 1)
        self._monitor = Monitor("ModelCheckpoint", monitor or "", mode)
        self.path, self.save_best_only, self.every = os.fspath(path), save_best_only, int(every)
        self.include_optimizer = include_optimizer
        self.best: float | None = None
        self._fields: dict[str, Any] | None = None

    def on_train_begin(self) -> None:
        self.best = self._fields = None
        path = Path(self.path)
        fixed = list(takewhile(lambda part: "{" not in part, path.parts))
        self.model._check_save(path if len(fixed) == len(path.parts) else Path(*fixed, path.name))

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._fields = None
        if (epoch + 1) % self.every:
            return
        if self.save_best_only:
            value = self._monitor.value(logs)
            if not self._monitor.better(value, self.best):
                return
            self.best = value
        self._fields = {**logs, "epoch": epoch + 1}

    def after_epoch(self, epoch: int, logs: Logs) -> None:
        if self._fields is None:
            return
        try:
            path = Path(self.path.format(**self._fields))
        except (KeyError, IndexError, ValueError) as error:
            expected = "a text whose fields are among " + ", ".join(self._fields)
            checks.fail(ValueError, "ModelCheckpoint", "path", expected, f"{self.path!r} ({error})")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.model.save(path, include_optimizer=self.include_optimizer)

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "fields": self._fields}

    def restore(self, state: dict[str, Any]) -> None:
        self.best, self._fields = state["best"], state["fields"]
        # Of several checkpoints of an epoch, the run may have ended between this one's file and the other's.
        self.after_epoch(self.model.epochs_done - 1, {})


class CSVLogger(Callback):
    """Writes a line an epoch to a CSV file: ``epoch``, counted from 0, then the logs by name.

    The first epoch fixes the columns. A run resumed from a checkpoint cuts off the lines that were written after it,
    and goes on below the others.

    Parameters
    ----------
    path : path
        Folders are made.
    append : bool
        Write below what is there; the columns are those of its first line then.
    """

    def __init__(self, path: str | Path, append: bool = False) -> None:
        self.path, self.append = Path(path), append

    def on_train_begin(self) -> None:
        self._file: Any = None
        self._end: int | None = None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        open(self.path, "a").close()  # fails now rather than after the first epoch

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self._file is None:
            self._open(["epoch", *logs])
        row = {"epoch": epoch, **logs}
        csv.writer(self._file).writerow([row.get(name, "") for name in self._columns])
        self._file.flush()

    def _open(self, columns: list[str]) -> None:
        """Open the file, and write or read its first line."""
        goes_on = (self.append or self._end is not None) and self.path.is_file()
        mode = "r+" if goes_on else "w"
        self._file = open(self.path, mode, newline="", encoding="utf-8")  # noqa: SIM115 - closed in on_train_end
        first = next(csv.reader([self._file.readline()]), []) if goes_on else []
        self._columns = first or columns
        if self._end is not None and goes_on:
            self._file.truncate(min(self._end, self.path.stat().st_size))
        self._file.seek(0, os.SEEK_END)
        if not first:
            csv.writer(self._file).writerow(columns)

    def on_train_end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def state(self) -> dict[str, Any]:
        return {"end": self._file.tell() if self._file is not None else self._end}

    def restore(self, state: dict[str, Any]) -> None:
        self._end = state["end"]


class TensorBoard(Callback):
    """Writes the logs of each epoch as scalars for TensorBoard, through tensorboardX.

    Parameters
    ----------
    log_dir : path

    Raises
    ------
    ModuleNotFoundError
        In `fit`, if tensorboardX is missing.
    """

    def __init__(self, log_dir: str | Path) -> None:
        self.log_dir = os.fspath(log_dir)

    def on_train_begin(self) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "TensorBoard: tensorboardX is not installed; `pip install \"fastnn[tensorboard]\"` provides it"
            ) from error
        self._writer = SummaryWriter(self.log_dir)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        for name, value in logs.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def on_train_end(self) -> None:
        self._writer.close()
