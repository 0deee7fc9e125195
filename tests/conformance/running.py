"""Calling a backend's kernel on arrays that are watched."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from cases import Case, shape_of

from fastnn.backends import Backend
from fastnn.backends.compiled import CompiledBackend
from fastnn.table import Op

#: Elements before and after every array that a kernel writes: odd, so that such arrays are not aligned for vectors.
GUARD = 67
SENTINEL = 0xA5


class Watched:
    """An array inside a larger one, in the backend's memory, surrounded by values that must stay.

    Parameters
    ----------
    backend : Backend
    shape : tuple of int
    dtype : dtype
    value : array, optional
        What it holds at first. By default what no kernel may read: NaN, or a huge integer.
    """

    def __init__(self, backend: Backend, shape: tuple[int, ...], dtype: Any, value: np.ndarray | None = None) -> None:
        dtype = np.dtype(dtype)
        size = int(np.prod(shape))
        block = np.full((size + 2 * GUARD) * dtype.itemsize, SENTINEL, np.uint8).view(dtype)
        inner = block[GUARD : GUARD + size]
        inner[...] = (np.iinfo(dtype).min if dtype.kind == "i" else np.nan) if value is None else value.ravel()
        self.backend, self.block, self.shape, self.size = backend, backend.to_device(block), shape, size
        self.array = self.block[GUARD : GUARD + size].reshape(shape)

    def read(self, label: object) -> np.ndarray:
        """The array's contents, after a check of its surroundings."""
        block = self.backend.to_host(self.block)
        around = np.concatenate([block[:GUARD], block[GUARD + self.size :]]).view(np.uint8)
        assert (around == SENTINEL).all(), f"{label}: written outside the array"
        return np.array(block[GUARD : GUARD + self.size]).reshape(self.shape)


Call = Callable[[Op, list, dict, dict], None]


def run(backend: Backend, case: Case, dtype: str, call: Call | None = None) -> dict[str, np.ndarray]:
    """Call a kernel; returns what it wrote, by argument. Checks guard values, and that inputs stay as they are.

    `call` stands in for the backend's own way to call it.
    """
    op = case.op
    watched: dict[str, Watched] = {}
    read: list[tuple[str, np.ndarray, Any]] = []
    arrays: list[Any] = []
    for argument, value in zip(op.inputs, case.inputs, strict=True):
        if value is None:
            arrays.append(None)
        elif argument.updated:
            watched[argument.name] = Watched(backend, value.shape, value.dtype, value)
            arrays.append(watched[argument.name].array)
        else:
            # Exactly as large as it must be, so that a sanitizer sees any read beyond it.
            array = backend.to_device(value) if backend.device else value.copy()
            if not backend.device:
                array.flags.writeable = False
            read.append((argument.name, value, array))
            arrays.append(array)
    for argument in op.outputs:
        if argument.optional and argument.name not in case.want:
            arrays.append(None)
            continue
        shape = shape_of(argument, case.dims, case.params)
        watched[argument.name] = Watched(backend, shape, np.int64 if argument.integer else dtype, case.start)
        arrays.append(watched[argument.name].array)
    (call or backend.run)(op, arrays, case.dims, case.params)
    for name, before, array in read:
        assert backend.to_host(array).tobytes() == before.tobytes(), f"{case}: input {name} was changed"
    return {name: w.read(f"{case}: {name}") for name, w in watched.items()}


_KERNEL = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, *[ctypes.c_ssize_t] * 3)


def team(backend: CompiledBackend, dtype: str, parts: int, order: Iterable[int]) -> Call:
    """A call of a compiled kernel by a team whose threads take their turns in some order within each phase.

    The result must be that of one thread. The workspace holds NaN at first and has guard values around it.
    """

    def call(op: Op, arrays: list, dims: dict, params: dict) -> None:
        kernel = _KERNEL(backend.address(op.name, dtype))
        size = backend.workspace(op.name, dims, params, np.dtype(dtype).itemsize, parts)
        block = backend.empty((size + 128,), np.uint8)
        block[:] = SENTINEL
        block[64 : 64 + size] = 0xFF
        addresses = [0 if a is None else a.ctypes.data for a in arrays] + [block.ctypes.data + 64]
        buffers = (ctypes.c_void_p * len(addresses))(*addresses)
        sizes = (ctypes.c_ssize_t * len(op.dims))(*(dims[d] for d in op.dims))
        numbers = op.encode(params)
        encoded = (ctypes.c_double * len(numbers))(*numbers)
        for phase in range(op.phases):
            for part in order:
                kernel(buffers, sizes, encoded, phase, part, parts)
        around = np.concatenate([block[:64], block[64 + size :]])
        assert (around == SENTINEL).all(), f"{op.name}: written outside the workspace"

    return call
