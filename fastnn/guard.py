"""What happens when training produces infinities or NaN: go back, and find out where they came from."""

from __future__ import annotations

from collections import deque
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from fastnn import recording
from fastnn.program import Program

if TYPE_CHECKING:
    from fastnn.batches import ArrayBatches, Stream
    from fastnn.model import Sequential

_SMALLER = "A smaller learning rate or clip_norm may help."
#: What turned non-finite first: how it is told, and what may help.
_CAUSES = {
    None: ("the loss became {loss}", _SMALLER),
    "gradient": ("the gradient of layer {layer!r} became infinite or NaN (the loss was finite)", _SMALLER),
    "parameters": ("parameters of layer {layer!r} became infinite or NaN (the gradient was finite)", _SMALLER),
    "activation": (
        "the loss became {loss} (so did the output of layer {layer!r})",
        "A smaller learning rate, clip_norm, scaled inputs or smaller initial weights may help.",
    ),
    "loss": (
        "the loss became {loss} (the outputs of all layers were finite)",
        "A smaller learning rate, clip_norm or scaled targets may help, "
        "unless the loss takes the logarithm of 0 or less, or divides by 0.",
    ),
}


class NonFiniteLoss(ArithmeticError):
    """The loss became infinite or NaN; the model was set back to the beginning of an epoch.

    Attributes
    ----------
    epoch, batch : int
        Where it began, counted from 0 as for callbacks.
    layer : str or None
        Name of the first layer concerned, in the model's order.
    cause : {"gradient", "parameters", "activation", "loss"} or None
        What turned non-finite first: the gradient of a step; the parameters, by a step whose gradient was finite; the
        output of a layer; or the loss of finite outputs. None if a callback changed the model within the epoch.
    """

    def __init__(self, message: str, epoch: int, batch: int, layer: str | None, cause: str | None) -> None:
        super().__init__(message)
        self.epoch, self.batch, self.layer, self.cause = epoch, batch, layer, cause

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.epoch, self.batch, self.layer, self.cause)


class _Finding(NamedTuple):
    batch: int
    layer: str | None
    cause: str | None


class Guard:
    """Keeps the model as it was at the beginning of an epoch, and goes back there when the loss turns non-finite.

    The step that ruins the parameters still has a finite loss, computed before. So a snapshot is good once a loss
    computed from it was finite; if it never was, the snapshot of the epoch before is the good one.

    What turned non-finite first is found by doing the last steps again from a snapshot at most two strides old, which
    gives the same bits. Nothing but those snapshots is done while all goes well.
    """

    def __init__(self, model: Sequential, loader: ArrayBatches | Stream) -> None:
        self.model, self.loader = model, loader
        self.good: tuple[int, Any] | None = None
        self._recent: deque[tuple[int, Any]] = deque(maxlen=2)

    def begin(self, epoch: int) -> None:
        """Take the snapshot of an epoch."""
        self.epoch = epoch
        self._latest = (epoch, self.model._snapshot())
        self._recent.clear()

    def keep(self, batch: int) -> None:
        """Take a snapshot before a batch; due before each whose number is a multiple of the loader's stride."""
        self._recent.append((batch, self._latest[1] if batch == 0 else self.model._snapshot()))

    def check(self, loss: float, batch: int) -> None:
        """Look at a batch's loss."""
        if not isfinite(loss):
            self._fail(batch, loss)
        self.good = self._latest

    def end(self, batches: int) -> None:
        """Look at the parameters after an epoch: its last step may have ruined them."""
        if not self._finite_parameters():
            self._fail(batches - 1, float("nan"))

    def _finite_parameters(self) -> bool:
        model = self.model
        return all(np.isfinite(w).all() for w in model._views_of(model.backend.to_host(model._flat)))

    def _fail(self, batch: int, loss: float) -> NoReturn:
        with np.errstate(all="ignore"):
            # A callback that changed the model within the epoch makes the steps come out differently.
            found = self._search(batch) or _Finding(batch, None, None)
        epoch, snapshot = self.good or self._latest
        self.model._restore(snapshot)
        what, remedy = _CAUSES[found.cause]
        what = what.format(layer=found.layer, loss=loss)
        raise NonFiniteLoss(
            f"fit: {what} in epoch {self.epoch + 1}, batch {found.batch + 1}; "
            f"the model was set back to the beginning of epoch {epoch + 1}. {remedy}",
            self.epoch,
            *found,
        )

    def _search(self, last: int) -> _Finding | None:
        """Do the steps again up to batch number `last`, until something is not finite."""
        model = self.model
        first, snapshot = self._recent[0]
        model._restore(snapshot)
        for number, (x, y, w) in enumerate(self.loader.again(first), first):
            before = model._snapshot()
            loss = model._step_on(x, y, w)[0].item()
            if not isfinite(loss):
                model._restore(before)
                layer = self._overflowing(x)
                return _Finding(number, layer, "loss" if layer is None else "activation")
            if not self._finite_parameters():
                slopes = np.isfinite(model.backend.to_host(model._grads)).all()
                return _Finding(number, self._ruined(), "parameters" if slopes else "gradient")
            if number == last:
                break
        return None

    def _ruined(self) -> str:
        """The first layer with non-finite parameters."""
        names = zip(self.model.parameter_names(), self.model.get_weights(), strict=True)
        return next(name.rpartition(".")[0] for name, w in names if not np.isfinite(w).all())

    def _overflowing(self, x: np.ndarray) -> str | None:
        """The first layer whose output for a training batch is not finite."""
        model = self.model
        program = Program(model.backend.name)
        rows = program.input("x", x.shape, x.dtype)
        for output in recording.forward(model, rows, recording.parameters(model, program), training=True):
            program.output(output)
        found = zip(model.layer_names, model._replay(program, x), strict=True)
        return next((name for name, output in found if not np.isfinite(output).all()), None)
