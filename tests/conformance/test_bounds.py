"""No kernel touches memory outside its arrays: each ends, or begins, at a page that nobody may read or write.

Guard values see only stray writes. Here a stray read ends the process too, which is why kernels run in a child of it.
"""

import ctypes
import mmap
import os
import signal
import sys

import numpy as np
import pytest
from cases import cases, shape_of

from fastnn import backends
from fastnn.backends.compiled import CompiledBackend

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork and mprotect")
PAGE = mmap.PAGESIZE


class Fenced:
    """An array in pages of its own between two forbidden ones.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    value : array or None
    at_end : bool
        Whether it ends at the forbidden page behind it, or begins at the one before.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, value: np.ndarray | None, at_end: bool) -> None:
        nbytes = int(np.prod(shape)) * dtype.itemsize
        room = -(-nbytes // PAGE) * PAGE
        self.block = mmap.mmap(-1, room + 2 * PAGE)
        start = PAGE + (room - nbytes if at_end else 0)
        self.array = np.frombuffer(self.block, dtype, int(np.prod(shape)), start).reshape(shape)
        if value is not None:
            self.array[...] = value
        address = np.frombuffer(self.block, np.uint8).ctypes.data
        for fence in (address, address + PAGE + room):
            assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(PAGE), 0) == 0


def run_fenced(kernels: CompiledBackend, name: str, dtype: str, progress: mmap.mmap) -> None:
    """Run all cases of an op; `progress` says how far it came."""
    for number, case in enumerate(cases(name, dtype)):
        progress[:4] = number.to_bytes(4, "little")
        for at_end in (True, False):
            fenced = []
            for argument, value in zip(case.op.arguments, (*case.inputs, *[None] * len(case.op.outputs)), strict=True):
                absent = argument.optional and argument.name not in case.want
                if value is None and (argument in case.op.inputs or absent):
                    fenced.append(None)
                    continue
                kind = np.dtype(np.int64 if argument.integer else dtype)
                value = case.start if argument in case.op.outputs else value
                fenced.append(Fenced(shape_of(argument, case.dims, case.params), kind, value, at_end))
            kernels.run(case.op, [f and f.array for f in fenced], case.dims, case.params)


def test_bounds(op, dtype, backend):
    kernels = backends.load(backend)
    if not isinstance(kernels, CompiledBackend):
        pytest.skip(f"backend {backend!r} has no kernels of its own in this memory")
    kernels.address(op, dtype)  # compiled before the fork
    progress = mmap.mmap(-1, 4)
    child = os.fork()
    if child == 0:
        signal.alarm(120)
        try:
            run_fenced(kernels, op, dtype, progress)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    case = cases(op, dtype)[int.from_bytes(progress[:4], "little")]
    assert not os.WIFSIGNALED(status), f"{case}: {signal.Signals(os.WTERMSIG(status)).name}, outside its arrays"
    assert status == 0, f"{case}: failed in the child"
