"""What all optimizers share: learning rate, steps done, and the arrays kept between steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from operator import add, is_not
from typing import Any, NamedTuple

import numpy as np

from fastnn import backends, checks, registry, schedules
from fastnn.ops.dispatch import apply, shape_of
from fastnn.program import Program, Slot, Tensor
from fastnn.table import Argument

#: A number, or a function of the number of steps done.
LearningRate = float | Callable[[int], float]
#: How error messages describe the arrays that an optimizer updates.
_PARAMS = Argument("params", ("n",), updated=True)


class _Held(NamedTuple):
    """The arrays that an optimizer used alone updates, and the program that does it."""

    backend: str
    numbers: dict[str, Any]
    params: tuple[np.ndarray, ...]
    spans: np.ndarray
    replay: backends.Replay


class Optimizer(registry.Configured):
    """Base class.

    A subclass names its op, the op's state arrays it uses and the parameters it fixes; `update` and `record` do the
    rest. Optimizers can be pickled and copied: the copy goes on with the same bits.

    Attributes
    ----------
    initial_state : float
        What the state arrays hold before the first step.
    owner : object
        Changes when a model begins to count its steps here.
    """

    op: str
    initial_state = 0.0

    def __init__(self, learning_rate: LearningRate | dict[str, Any], weight_decay: float) -> None:
        self._check(weight_decay=weight_decay)
        self._rate = Slot("learning_rate", 0)
        self._step = Slot("step", 0)
        self.weight_decay = weight_decay
        self.owner: object = None
        self._alone: list[list[np.ndarray | None]] | None = None
        self._held: _Held | None = None
        self.learning_rate = learning_rate

    def _check(self, high: float = float("inf"), **numbers: float) -> None:
        """Check that arguments lie in [0, high)."""
        for argument, value in numbers.items():
            checks.interval(type(self).__name__, argument, value, 0, high, "left")

    @property
    def iterations(self) -> int:
        """Steps done. It may be set; what depends on the step follows."""
        return int(self._step.value)

    @iterations.setter
    def iterations(self, value: int) -> None:
        checks.integer(type(self).__name__, "iterations", value, 0)
        self._step.value = value

    @property
    def learning_rate(self) -> LearningRate:
        """A number or schedule (or a schedule's configuration); setting it takes effect at the next step."""
        return self._rate.value if self._schedule is None else self._schedule

    @learning_rate.setter
    def learning_rate(self, value: LearningRate | dict[str, Any]) -> None:
        if isinstance(value, dict):
            value = schedules.REGISTRY.get(value)
        self._set_rate(value(self.iterations) if callable(value) else value)
        self._schedule = value if callable(value) else None

    def _set_rate(self, value: float) -> None:
        self._check(learning_rate=value)
        self._rate.value = value

    def config(self) -> dict[str, Any]:
        config = super().config()
        if isinstance(self._schedule, schedules.Schedule):
            config["learning_rate"] = schedules.REGISTRY.describe(self._schedule)
        return config

    def __copy__(self) -> Optimizer:
        return deepcopy(self)  # two that share slots and moments would disturb each other

    def states(self) -> tuple[bool, ...]:
        """For each state argument of the op, whether this optimizer keeps it."""
        raise NotImplementedError

    def numbers(self) -> dict[str, Any]:
        """The op's parameters other than the learning rate and the step."""
        raise NotImplementedError

    def advance(self) -> None:
        """Go to the next step: count it, and set the slots that programs read."""
        if self._schedule is not None:
            self._set_rate(self._schedule(self.iterations))
        self._step.value += 1

    def record(self, p: Tensor, g: Tensor, states: Sequence[Tensor | None]) -> None:
        """Record the update of flat parameters in a program."""
        apply(self.op, p, g, *states, **self._params())

    def _params(self) -> dict[str, Any]:
        return {"learning_rate": self._rate, "weight_decay": self.weight_decay, **self.numbers()}

    def update(self, params: Sequence[np.ndarray], grads: Sequence[Any]) -> None:
        """One step, in place, on lists of arrays of the same shapes.

        The arrays must be the same ones at every step: their moments are kept by position.

        Parameters
        ----------
        params : sequence of array
            C-contiguous float32 or float64 arrays, updated.
        grads : sequence of array_like

        Raises
        ------
        ShapeError
            If the lists differ in length or shape.
        DtypeError
            If a parameter is neither float32 nor float64, or its gradient is of another dtype.
        LayoutError
            If a parameter cannot be written in place, or another one or a gradient overlaps it.

        Nothing is changed then.
        """
        own = arrays = tuple(params)
        slopes, held = tuple(grads), self._held
        known = held is not None and checks.known_pairs(arrays, slopes, held.params, held.spans)
        backend, numbers = backends.select(None, () if known else arrays[:1]), self._params()
        if not known:
            own, slopes = self._checked(arrays, slopes, backend)
        stale = held is None or (held.backend, held.numbers) != (backend.name, numbers)
        stale = stale or any(map(is_not, arrays, held.params))
        if stale:
            assert self._alone is not None
            moments = [s for kept in self._alone for s in kept]
            checks.same_place(type(self).__name__, (*own, *moments), backend.device, backend.name)
        self.advance()
        if stale:  # with the numbers of a step: before the first one some are infinite
            held = self._held = _Held(backend.name, numbers, arrays, _spans(own), self._recorded(own, backend))
        held.replay.run(slopes)

    def _checked(
        self, params: tuple[Any, ...], grads: tuple[Any, ...], backend: backends.Backend
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Parameters and gradients as contiguous arrays, all checked; makes the state arrays at the first step."""
        name = type(self).__name__
        checks.same_place(name, (*params, *grads), backend.device, backend.name)
        if backend.device:
            params, grads = (tuple(map(backend.accept, arrays)) for arrays in (params, grads))
        if len(params) != len(grads):
            checks.fail(checks.ShapeError, name, "grads", f"{len(params)} arrays", len(grads))
        slopes = tuple(_checked_pair(name, p, g) for p, g in zip(params, grads, strict=True))
        _check_apart(name, _spans(params), _spans(slopes))
        if self._alone is None:
            place = backend.to_device if backend.device else np.asarray
            self._alone = [
                [place(np.full(p.size, self.initial_state, p.dtype)) if kept else None for kept in self.states()]
                for p in params
            ]
        self._check_known(params)
        return params, slopes

    def _recorded(self, params: tuple[np.ndarray, ...], backend: backends.Backend) -> backends.Replay:
        """The updates of all arrays as one program, whose inputs are the gradients."""
        assert self._alone is not None
        program = Program(backend.name)
        for p, kept in zip(params, self._alone, strict=True):
            g = program.input("gradient", (p.size,), p.dtype)
            states = [None if s is None else program.state("moment", s) for s in kept]
            self.record(program.state("parameter", p.reshape(-1)), g, states)
        return program.compile()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the program, which copies record anew."""
        return {**self.__dict__, "_held": None}

    def _check_known(self, params: Sequence[np.ndarray]) -> None:
        """The arrays must fit the moments kept from earlier steps."""
        assert self._alone is not None
        if len(params) != len(self._alone):
            checks.fail(checks.ShapeError, type(self).__name__, "params", f"{len(self._alone)} arrays", len(params))
        for p, row in zip(params, self._alone, strict=True):
            kept = next((s for s in row if s is not None), None)
            if kept is not None and (kept.size != p.size or kept.dtype != p.dtype):
                expected = f"{kept.size} elements of {kept.dtype} as in earlier steps"
                checks.fail(checks.ShapeError, type(self).__name__, "params", expected, f"{p.size} of {p.dtype}")


def _checked_pair(name: str, p: Any, g: Any) -> np.ndarray:
    """The gradient of one parameter as a contiguous array, both checked."""
    dtype = checks.floating_dtype(name, [p], ["params"])
    checks.updated(name, _PARAMS, p, dtype)
    checks.floating_dtype(name, [p, g], ["params", "grads"])
    if shape_of(g) != p.shape:
        checks.fail(checks.ShapeError, name, "grads", f"shape {p.shape}", shape_of(g))
    return g.reshape(p.size) if checks.is_device_array(p) else checks.host_array(name, "grads", g, dtype)


def _spans(arrays: Sequence[Any]) -> np.ndarray:
    """Where contiguous arrays begin and end in memory, in order, without empty ones."""
    starts = [
        a.__cuda_array_interface__["data"][0] if checks.is_device_array(a) else a.ctypes.data for a in arrays if a.size
    ]
    sizes = [a.nbytes for a in arrays if a.size]
    return np.array(sorted(zip(starts, map(add, starts, sizes), strict=True)), np.int64).reshape(-1, 2)


def _check_apart(name: str, params: np.ndarray, grads: np.ndarray) -> None:
    """Each parameter has memory of its own; gradients may share theirs."""
    if (params[1:, 0] < params[:-1, 1]).any():
        checks.fail(checks.LayoutError, name, "params", "memory of its own", "an array that overlaps another")
    following = np.searchsorted(params[:, 1], grads[:, 0], side="right")  # parameters that end behind the start
    near = following < len(params)
    if (params[following[near], 0] < grads[near, 1]).any():
        checks.fail(checks.LayoutError, name, "grads", "memory of its own", "an array that overlaps a parameter")
