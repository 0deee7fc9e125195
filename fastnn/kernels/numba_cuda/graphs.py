"""CUDA graphs: launches captured once and queued again by one call of the driver, through the bindings of NVIDIA's that
numba-cuda needs itself."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

from fastnn.kernels.numba_cuda import shim
from fastnn.kernels.numba_cuda.shim import cuda

#: Numbers that one launch of `store` carries.
STORED = 32


class CaptureError(RuntimeError):
    """The driver would not capture or instantiate a graph."""


@cuda.jit
def store(array, start, count, values):
    """array[start], ..., array[start + count - 1] = the first of STORED `values`.

    Numbers that travel with a launch reach the device in the order of the stream, without a copy that waits for it.
    """
    i = cuda.threadIdx.x
    if i < count:
        array[start + i] = values[i]


@cache
def bindings() -> Any:
    """NVIDIA's bindings of the driver."""
    from cuda.bindings import driver

    return driver


def unavailable() -> str | None:
    """Why programs are not captured in graphs; None if they are."""
    if os.environ.get("FASTNN_CUDA_GRAPHS", "1") == "0":
        return "FASTNN_CUDA_GRAPHS=0"
    if shim.SIMULATED:
        return "the simulator has none"
    try:
        bindings()
    except ImportError as error:
        return f"{error}"
    return None


def _checked(driver: Any, call: Callable[..., tuple], *arguments: Any) -> Any:
    """What a function of the driver returns besides its status."""
    status, *values = call(*arguments)
    if status != driver.CUresult.CUDA_SUCCESS:
        raise CaptureError(f"{call.__name__}: {status}")
    return values[0] if values else None


class Graph:
    """Launches captured on a stream.

    Parameters
    ----------
    stream : Stream
    queue : callable
        Queues the launches; kernels must be compiled already, and nothing allocated.

    Raises
    ------
    CaptureError
        If the driver refuses; nothing of what was to be captured has run.
    """

    def __init__(self, stream: Any, queue: Callable[[], None]) -> None:
        driver = bindings()
        self._driver, self._stream = driver, driver.CUstream(shim.handle(stream))
        # Other threads may allocate meanwhile; this one must not even free.
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        with shim.without_frees():
            _checked(driver, driver.cuStreamBeginCapture, self._stream, mode)
            try:
                queue()
            except Exception as error:
                driver.cuStreamEndCapture(self._stream)
                raise CaptureError(f"{type(error).__name__}: {error}") from error
            graph = _checked(driver, driver.cuStreamEndCapture, self._stream)
            try:
                self._executable = _checked(driver, driver.cuGraphInstantiate, graph, 0)
            finally:
                driver.cuGraphDestroy(graph)
        # At the interpreter's end the driver may be gone already.
        weakref.finalize(self, driver.cuGraphExecDestroy, self._executable).atexit = False

    def launch(self) -> None:
        """Queue all launches once more."""
        _checked(self._driver, self._driver.cuGraphLaunch, self._executable, self._stream)
