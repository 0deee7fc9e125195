"""The backends and their selection.

A backend is an object with

- ``name`` and ``device`` (whether its arrays live on a device);
- ``supports(op, dtype) -> bool``;
- ``run(op, arrays, dims, params)``: one op at once, on checked arrays (None for an absent one);
- ``compile(program) -> Replay``: a recorded program, whose ``run(arrays)`` takes the program's inputs and outputs;
- ``empty(shape, dtype)``, ``to_device(host)``, ``to_host(array)``, ``assign(array, host)``: memory where the backend
  computes; ``to_device`` copies;
- ``accept(value)`` of a device backend: any library's array on the device as its own kind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastnn import checks
from fastnn.table import Op

if TYPE_CHECKING:
    from fastnn.program import Program

#: Backend names and the modules that hold them.
MODULES = {
    "cython": "fastnn.backends.cython_cpu",
    "numba": "fastnn.backends.numba_cpu",
    "cuda": "fastnn.backends.numba_cuda",
    "reference": "fastnn.backends.reference",
}
#: The backend when nothing else is asked for.
DEFAULT = "cython"


class Replay(Protocol):
    """A program made ready by a backend."""

    def run(self, arrays: tuple[Any, ...]) -> None: ...


class Backend(Protocol):
    """What every backend offers."""

    name: str
    device: bool

    def supports(self, op: str, dtype: str) -> bool: ...
    def run(self, op: Op, arrays: Sequence[Any], dims: dict[str, int], params: dict[str, Any]) -> None: ...
    def compile(self, program: Program) -> Replay: ...
    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any: ...
    def to_device(self, host: np.ndarray) -> Any: ...
    def to_host(self, array: Any) -> np.ndarray: ...
    def assign(self, array: Any, host: np.ndarray) -> None: ...


#: What `use_backend` has chosen.
chosen: ContextVar[str | None] = ContextVar("fastnn_backend", default=None)


def missing(name: str) -> str | None:
    """Why a backend cannot be used, with the command that would provide it; None if it can."""
    checks.option("backend", "name", name, tuple(MODULES))
    return import_module(MODULES[name]).available()


def available_backends() -> tuple[str, ...]:
    """Names of the backends that can be used on this machine, as installed."""
    return tuple(name for name in MODULES if missing(name) is None)


@cache
def load(name: str) -> Backend:
    """The backend of this name.

    Raises
    ------
    ValueError
        If there is no backend of this name.
    RuntimeError
        If it cannot be used here; the message names the command that would provide it.
    """
    checks.option("backend", "name", name, tuple(MODULES))
    reason = missing(name)
    if reason is not None:
        raise RuntimeError(f"backend {name!r} is not available: {reason}")
    make: Callable[[], Backend] = import_module(MODULES[name]).make
    return make()


def requested() -> tuple[str | None, str]:
    """The backend asked for by no argument, and what asks for it; None by default."""
    if name := chosen.get():
        return name, "use_backend"
    if name := os.environ.get("FASTNN_BACKEND"):
        return name, "FASTNN_BACKEND"
    return None, "default"


def select(name: str | None = None, arrays: Sequence[Any] = ()) -> Backend:
    """The backend for a call: by name, `use_backend`, `FASTNN_BACKEND`, where the arrays live, or the default."""
    name = name or requested()[0]
    if name is None and any(checks.is_device_array(a) for a in arrays):
        name = "cuda"
    return load(name or DEFAULT)


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Use a backend within a ``with`` block of this thread or task.

    Parameters
    ----------
    name : {"cython", "numba", "cuda", "reference"}
    """
    load(name)
    token = chosen.set(name)
    try:
        yield
    finally:
        chosen.reset(token)


def to_device(array: Any) -> Any:
    """A copy of a host array on the CUDA device.

    Raises
    ------
    RuntimeError
        If the `cuda` backend cannot be used here.
    """
    return load("cuda").to_device(np.ascontiguousarray(array))


def to_host(array: Any) -> np.ndarray:
    """A device array as a NumPy array; one of NumPy's is returned as it is."""
    return load("cuda").to_host(array) if checks.is_device_array(array) else np.asarray(array)
