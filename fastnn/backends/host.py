"""What the backends that compute in main memory share: aligned arrays, and a program's buffers as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.table import Op
from fastnn_ext.arrays import empty

if TYPE_CHECKING:
    from fastnn.program import Buffer, Program


class HostBackend:
    """Memory of a CPU backend: NumPy arrays."""

    device = False

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An uninitialised array that begins at a multiple of 64 bytes."""
        return empty(shape, np.dtype(dtype))

    def to_device(self, host: np.ndarray) -> np.ndarray:
        array = self.empty(host.shape, host.dtype)
        array[...] = host
        return array

    def to_host(self, array: np.ndarray) -> np.ndarray:
        return array

    def assign(self, array: np.ndarray, host: np.ndarray) -> None:
        array[...] = host


def floating(op: Op, arrays: Sequence[Any]) -> np.dtype:
    """The floating dtype of a call's arrays; float64 where all are integers."""
    for argument, array in zip(op.arguments, arrays, strict=True):
        if array is not None and not argument.integer:
            return np.dtype(array.dtype)
    return np.dtype(np.float64)


def lay_out(program: Program, backend: HostBackend) -> dict[Buffer, np.ndarray]:
    """Flat arrays for all buffers of a program but its inputs and outputs, temporaries in one arena."""
    plan = program.plan()
    arena = backend.empty((plan.size,), np.uint8)
    arrays: dict[Buffer, np.ndarray] = {}
    for call in program.calls:
        for tensor in call.arguments:
            if tensor is None or tensor.buffer in arrays:
                continue
            buffer = tensor.buffer
            if buffer.parent is not None:
                arrays[buffer] = buffer.parent.data.reshape(-1)[buffer.offset : buffer.offset + buffer.size]
            elif buffer.data is not None:
                arrays[buffer] = buffer.data.reshape(-1)
            elif buffer.kind == "temporary":
                start = plan.offsets[buffer]
                arrays[buffer] = arena[start : start + buffer.size * buffer.dtype.itemsize].view(buffer.dtype)
    return arrays
