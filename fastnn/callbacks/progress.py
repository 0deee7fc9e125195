"""What `fit` shows of itself: a bar, or a line an epoch."""

from __future__ import annotations

import sys
import time

from fastnn.callbacks.base import Callback, Logs

#: Seconds between two showings of the running loss.
INTERVAL = 0.25


class ProgressBar(Callback):
    """A tqdm bar with loss, metrics and samples per second; within the first epoch, the mean loss so far."""

    def on_train_begin(self) -> None:
        from tqdm import tqdm  # only those who look at a bar wait for its import

        epochs, rows = self.params["epochs"] - self.params["initial_epoch"], self.params["rows"]
        total = None if rows is None else max(epochs, 0) * rows
        self._bar = tqdm(total=total, unit=" samples", unit_scale=True)
        self._first = True
        self._loss, self._rows, self._shown = 0.0, 0, time.monotonic()

    def on_epoch_begin(self, epoch: int) -> None:
        self._bar.set_description(f"epoch {epoch + 1}/{self.params['epochs']}", refresh=False)

    def on_batch_end(self, batch: int, logs: Logs) -> None:
        size = int(logs["size"])
        if self._first:
            self._loss += size * logs["loss"]
            self._rows += size
            if time.monotonic() - self._shown >= INTERVAL:
                self._shown = time.monotonic()
                self._show({"loss": self._loss / self._rows})
        self._bar.update(size)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._first = False
        self._show(logs)

    def on_train_end(self) -> None:
        self._bar.close()

    def _show(self, logs: Logs) -> None:
        self._bar.set_postfix({k: f"{v:.4g}" for k, v in logs.items()}, refresh=False)


class EpochLines(Callback):
    """A line an epoch on standard output: seconds, loss, metrics."""

    def on_epoch_begin(self, epoch: int) -> None:
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        seconds = time.perf_counter() - self._begin
        numbers = "".join(f" - {name}: {value:.4g}" for name, value in logs.items())
        print(f"epoch {epoch + 1}/{self.params['epochs']} - {seconds:.1f} s{numbers}", flush=True)


def shown(verbose: int) -> list[Callback]:
    """The callbacks for a `verbose`; there is no bar where standard error is not a terminal."""
    if verbose == 2:
        return [EpochLines()]
    terminal = getattr(sys.stderr, "isatty", bool)()  # there may be no standard error
    return [ProgressBar()] if verbose and terminal else []
