"""The `cuda` backend: the kernels of `fastnn.kernels.numba_cuda` on one stream of the current device.

Device arrays are numba-cuda's; any other array with a ``__cuda_array_interface__`` (CuPy, PyTorch) is taken without a
copy. Calls are queued: only `to_host` waits for results. With ``NUMBA_ENABLE_CUDASIM=1`` Numba simulates the device.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import checks
from fastnn.backends.cuda_driver import device_count
from fastnn.backends.cuda_replay import CudaReplay
from fastnn.backends.cuda_update import CudaUpdate, is_update
from fastnn.backends.host import floating
from fastnn.table import TABLE, Op

if TYPE_CHECKING:
    from fastnn.program import Program

_PACKAGE = "fastnn.kernels.numba_cuda"
_FAMILIES = (
    "elementwise", "reductions", "activations", "matmul", "normalization", "losses", "optimizers", "regularization",
    "random",
)  # fmt: skip
_COMMAND = '`pip install "fastnn[cuda13]"` provides it, `"fastnn[cuda12]"` for drivers older than 580'


def available() -> str | None:
    """Why the backend cannot be used, with the command that provides it; None if it can."""
    simulated = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")
    if importlib.util.find_spec("numba" if simulated else "numba_cuda") is None:
        return f"{'Numba' if simulated else 'numba-cuda'} is not installed; {_COMMAND}"
    if not simulated and device_count() == 0:
        return "there is no CUDA device, or no driver for it (see `nvidia-smi`); NUMBA_ENABLE_CUDASIM=1 simulates one"
    try:
        shim = import_module(f"{_PACKAGE}.shim")
    except ImportError as error:
        return f"numba-cuda cannot be imported ({error}); {_COMMAND}"
    if not shim.is_available():
        return f"numba-cuda finds no NVVM, the compiler for the device; {_COMMAND}"
    return None


@cache
def _gathered(name: str) -> dict[str, Any]:
    """A dict that every family has, of all families together. Importing them imports Numba."""
    return {op: value for f in _FAMILIES for op, value in getattr(import_module(f"{_PACKAGE}.{f}"), name).items()}


def __getattr__(name: str) -> dict[str, Any]:
    """`KERNELS`: the launcher of every op, by name. Numba is imported when it is first looked at."""
    if name == "KERNELS":
        return _gathered(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def workspace_size(op: Op, arrays: Sequence[Any], dims: dict[str, int], params: dict[str, Any]) -> int:
    """Float64 numbers of scratch memory that a call needs."""
    size: Callable[[dict, dict, int], int] | None = _gathered("WORKSPACE").get(op.name)
    return -(-size(dims, params, floating(op, arrays).itemsize) // 8) if size else 0


class CudaBackend:
    """Kernels and memory of the current CUDA device."""

    name = "cuda"
    device = True

    def __init__(self) -> None:
        self.shim = import_module(f"{_PACKAGE}.shim")
        self.graphs = import_module(f"{_PACKAGE}.graphs")
        self.kernels = _gathered("KERNELS")
        #: Why programs are queued launch by launch, None where they are captured in graphs.
        self.plain = self.graphs.unavailable()
        self.stream = self.shim.new_stream()
        # Calls share a workspace: those of one must be queued before those of the next.
        self.lock = RLock()
        self.workspace = self.empty((1,), np.float64)

    def supports(self, op: str, dtype: str) -> bool:
        return op in self.kernels and dtype in TABLE[op].dtypes

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """An uninitialised device array; a MemoryError says how much memory is free."""
        return self.shim.allocate(tuple(shape), np.dtype(dtype), self.stream)

    def to_device(self, host: np.ndarray) -> Any:
        array = self.empty(host.shape, host.dtype)
        self.assign(array, host)
        return array

    def to_host(self, array: Any) -> np.ndarray:
        return self.shim.to_host(array, self.stream)

    def assign(self, array: Any, host: np.ndarray) -> None:
        self.shim.copy(np.ascontiguousarray(host).reshape(host.shape), array, self.stream)

    def copy(self, source: Any, target: Any) -> None:
        """Queue a copy between two arrays of the device."""
        self.shim.copy(source, target, self.stream)

    def synchronize(self) -> None:
        """Wait until everything queued is done."""
        self.stream.synchronize()

    def clock(self, function: Callable[[], Any], count: int) -> float:
        """Seconds between two events on the stream, with so many calls queued in between."""
        return self.shim.elapsed(function, count, self.stream)

    def accept(self, value: Any) -> Any:
        """An array on the device as numba-cuda's own kind, without a copy; whatever else there is as it is."""
        if not checks.is_device_array(value):
            return value
        array = self.shim.device_array(value, self.stream)
        if not array.is_c_contiguous():
            checks.fail(checks.LayoutError, "cuda", "array", "a C-contiguous array", f"strides {array.strides}")
        return array

    def present(self, op: Op, arrays: Sequence[Any]) -> list[Any]:
        """Arrays as kernels take them: numba-cuda's own kind, and without elements for the absent ones."""
        dtype = floating(op, arrays).name
        return [
            self.shim.absent("int64" if argument.integer else dtype, len(argument.dims))
            if array is None
            else self.accept(array)
            for argument, array in zip(op.arguments, arrays, strict=True)
        ]

    def launch(self, kernel: Any, blocks: int, threads: int, *arguments: Any) -> None:
        """Queue one launch."""
        self.shim.launch(kernel, blocks, threads, self.stream, arguments)

    def run(self, op: Op, arrays: Sequence[Any], dims: dict[str, int], params: dict[str, Any]) -> None:
        with self.lock:
            size = self.workspace_size(op, arrays, dims, params)
            if size > self.workspace.size:
                self.workspace = self.empty((size,), np.float64)
            self.kernels[op.name](self.launch, self.present(op, arrays), self.workspace, dims, params)

    def workspace_size(self, op: Op, arrays: Sequence[Any], dims: dict[str, int], params: dict[str, Any]) -> int:
        """Float64 numbers of scratch memory that a call needs."""
        return workspace_size(op, arrays, dims, params)

    def compile(self, program: Program) -> CudaReplay | CudaUpdate:
        return CudaUpdate(self, program) if is_update(program) else CudaReplay(self, program)


def make() -> CudaBackend:
    """The backend object."""
    return CudaBackend()
