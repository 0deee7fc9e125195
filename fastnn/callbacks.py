"""What happens around training: history, the progress bar, and whatever a user adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn import checks

if TYPE_CHECKING:
    from fastnn.model import Sequential

Logs = dict[str, float]


class Callback:
    """Base class: override what is needed. A method that is not overridden costs nothing.

    The logs at a batch's end are its loss, the metrics of the epoch so far, and ``size``, the batch's rows.
    """

    model: Sequential
    #: What `fit` was called with: epochs, rows, batches (a epoch).
    params: dict[str, Any]

    def on_train_begin(self) -> None: ...
    def on_epoch_begin(self, epoch: int) -> None: ...
    def on_batch_end(self, batch: int, logs: Logs) -> None: ...
    def on_epoch_end(self, epoch: int, logs: Logs) -> None: ...
    def on_train_end(self) -> None: ...


class History(Callback):
    """What `fit` returns.

    Attributes
    ----------
    history : dict of list of float
        ``loss``, the metrics, and the same with ``val_`` in front, one number an epoch.
    epoch : list of int
    interrupted : bool
        Whether Ctrl-C ended training early.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.interrupted = False

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)


class ProgressBar(Callback):
    """A tqdm bar with loss, metrics and samples per second; silent when standard error is not a terminal."""

    def on_train_begin(self) -> None:
        from tqdm import tqdm  # only those who look at a bar wait for its import

        self._bar = tqdm(
            total=self.params["epochs"] * self.params["rows"], unit=" samples", unit_scale=True, disable=None
        )

    def on_epoch_begin(self, epoch: int) -> None:
        self._bar.set_description(f"epoch {epoch + 1}/{self.params['epochs']}", refresh=False)

    def on_batch_end(self, batch: int, logs: Logs) -> None:
        self._bar.update(int(logs["size"]))

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._bar.set_postfix({k: f"{v:.4g}" for k, v in logs.items()}, refresh=False)

    def on_train_end(self) -> None:
        self._bar.close()


class CallbackList:
    """Calls a list of callbacks, each only where it overrides the method."""

    def __init__(self, callbacks: list[Callback], model: Sequential, params: dict[str, Any]) -> None:
        self._callbacks = callbacks
        for callback in callbacks:
            if not isinstance(callback, Callback):
                checks.fail(TypeError, "fit", "callbacks", "Callback objects", repr(callback))
            callback.model, callback.params = model, params
        self.watches_batches = bool(self._overriding("on_batch_end"))

    def _overriding(self, method: str) -> list[Any]:
        return [
            getattr(c, method) for c in self._callbacks if getattr(type(c), method) is not getattr(Callback, method)
        ]

    def call(self, method: str, *args: Any) -> None:
        """Call a method of all callbacks that override it, in order."""
        for bound in self._overriding(method):
            bound(*args)
