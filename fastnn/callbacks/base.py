"""What every callback is, and how `fit` calls them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import isnan
from typing import TYPE_CHECKING, Any

from fastnn import checks

if TYPE_CHECKING:
    from fastnn.model import Sequential

Logs = dict[str, float]
#: A callback's class and what it wants to be kept: JSON-able values and arrays.
State = tuple[str, dict[str, Any]]

#: What `mode="auto"` takes for something to be made large.
_LARGE = ("acc", "auc", "f1", "precision", "recall", "r2")


class Callback:
    """Base class: override what is needed. A method that is not overridden costs nothing.

    Any method may set ``self.model.stop_training = True``: training ends after the epoch. The logs at a batch's end are
    its loss, the metrics of the epoch so far, and ``size``, the batch's rows.
    """

    model: Sequential
    #: What `fit` was called with: epochs, initial_epoch, rows and batches an epoch (None where no one knows).
    params: dict[str, Any]
    #: Whether it changes the learning rate, which then is in every epoch's logs.
    sets_rate = False

    def on_train_begin(self) -> None: ...
    def on_epoch_begin(self, epoch: int) -> None: ...
    def on_batch_end(self, batch: int, logs: Logs) -> None: ...
    def on_epoch_end(self, epoch: int, logs: Logs) -> None: ...

    def after_epoch(self, epoch: int, logs: Logs) -> None:
        """Called after the `on_epoch_end` of all callbacks: a model saved here contains all their states."""

    def on_train_end(self) -> None: ...

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to keep so that training goes on as if never interrupted: JSON-able values, arrays."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the state of a checkpoint; called after `on_train_begin`."""


class History(Callback):
    """What `fit` returns.

    Attributes
    ----------
    history : dict of list of float
        ``loss``, the metrics, and the same with ``val_`` in front, one number an epoch; ``learning_rate`` where a
        schedule or a callback changes it.
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


class LambdaCallback(Callback):
    """A callback of functions, with the arguments of `Callback`'s methods.

    Parameters
    ----------
    on_train_begin, on_epoch_begin, on_batch_end, on_epoch_end, on_train_end : callable, optional
    """

    def __init__(
        self,
        on_train_begin: Callable[[], Any] | None = None,
        on_epoch_begin: Callable[[int], Any] | None = None,
        on_batch_end: Callable[[int, Logs], Any] | None = None,
        on_epoch_end: Callable[[int, Logs], Any] | None = None,
        on_train_end: Callable[[], Any] | None = None,
    ) -> None:
        given = {
            "on_train_begin": on_train_begin,
            "on_epoch_begin": on_epoch_begin,
            "on_batch_end": on_batch_end,
            "on_epoch_end": on_epoch_end,
            "on_train_end": on_train_end,
        }
        for name, function in given.items():
            if function is not None:
                if not callable(function):
                    checks.fail(TypeError, "LambdaCallback", name, "a function", repr(function))
                setattr(self, name, function)


class Monitor:
    """Judges one number of the logs.

    Parameters
    ----------
    who : str
        The callback, for error messages.
    name : str
        Key in the logs.
    mode : {"auto", "min", "max"}
        "auto" is "max" for names with acc, auc, f1, precision, recall or r2 in them, else "min".
    min_delta : float
        A change that is not larger is no improvement.
    """

    def __init__(self, who: str, name: str, mode: str, min_delta: float = 0.0) -> None:
        checks.option(who, "mode", mode, ("auto", "min", "max"))
        checks.interval(who, "min_delta", min_delta, 0, float("inf"), "left")
        self.who, self.name, self.min_delta = who, name, min_delta
        self.large = mode == "max" or (mode == "auto" and any(part in name for part in _LARGE))

    def value(self, logs: Logs) -> float:
        """The number of an epoch."""
        if self.name not in logs:
            checks.fail(ValueError, self.who, "monitor", "one of " + ", ".join(map(repr, logs)), repr(self.name))
        return logs[self.name]

    def better(self, value: float, best: float | None) -> bool:
        """Whether a value improves on the best one so far; NaN never does, and is not what others have to beat."""
        if best is None:
            return not isnan(value)
        return value > best + self.min_delta if self.large else value < best - self.min_delta


class CallbackList:
    """Calls a list of callbacks, each only where it overrides the method."""

    def __init__(self, callbacks: Sequence[Callback], model: Sequential, params: dict[str, Any]) -> None:
        self._callbacks = callbacks
        for callback in callbacks:
            if not isinstance(callback, Callback):
                checks.fail(TypeError, "fit", "callbacks", "Callback objects", repr(callback))
            callback.model, callback.params = model, params
        self.watches_batches = bool(self._overriding("on_batch_end"))
        self.saves = bool(self._overriding("after_epoch"))
        self.sets_rate = any(c.sets_rate for c in callbacks)

    def _overriding(self, method: str) -> list[Any]:
        found = [getattr(c, method) for c in self._callbacks]
        return [bound for bound in found if getattr(bound, "__func__", bound) is not getattr(Callback, method)]

    def call(self, method: str, *args: Any) -> None:
        """Call a method of all callbacks that override it, in order."""
        for bound in self._overriding(method):
            bound(*args)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Begin and end: the end of each that has begun is called, even if another one's fails."""
        begun: list[Callback] = []
        try:
            for callback in self._callbacks:
                callback.on_train_begin()
                begun.append(callback)
            yield
        finally:
            with ExitStack() as stack:
                for callback in reversed(begun):
                    stack.callback(callback.on_train_end)

    def states(self) -> list[State]:
        """What a checkpoint keeps."""
        found = ((type(c).__name__, c.state()) for c in self._callbacks)
        return [(name, state) for name, state in found if state]

    def restore(self, states: Sequence[State]) -> None:
        """Hand states back: the first of a class gets the first of that class, and so on."""
        kept: dict[tuple[str, int], dict[str, Any]] = {}
        for name, state in states:
            kept[name, sum(known == name for known, _ in kept)] = state
        seen: Counter[str] = Counter()
        for callback in self._callbacks:
            name = type(callback).__name__
            if callback.state():
                state = kept.get((name, seen[name]))
                seen[name] += 1
                if state is not None:
                    callback.restore(state)
