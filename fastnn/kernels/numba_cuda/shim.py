"""The one place that knows numba-cuda, and whether it compiles or simulates (``NUMBA_ENABLE_CUDASIM=1``).

Kernels get from here ``cuda`` and the mathematical functions. Compiled, these are libdevice's, in the type of their
argument; simulated, they are NumPy's, which keep the type too, and give infinities and NaN where `math` raises.
"""

from __future__ import annotations

import ctypes
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import config
from numba import cuda as numba_cuda
from numba.cuda.cudadrv.driver import CudaAPIError

SIMULATED = bool(config.ENABLE_CUDASIM)
#: Threads of a warp, and of them those that swap numbers: all, but a part of the simulator's small blocks.
WARP = 32
SWAPPING = 4 if SIMULATED else WARP

if SIMULATED:
    import threading

    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
    from numba.cuda.simulator.kernel import _get_kernel_context
    from numpy import cos, exp, expm1, log, log1p, sin, sqrt, tanh
    from numpy import float_power as pow  # np.power of two scalars gives NaN for (-inf) ** 0.5

    #: Seconds that a thread waits for the others of its warp, which have failed if they do not come.
    PATIENCE = 60

    class _Shared:
        """Shared memory, one array for each line that asks for it.

        Two threads that reach a line at the same time get two arrays from the simulator.
        """

        @staticmethod
        def array(shape: Any, dtype: Any) -> np.ndarray:
            caller = sys._getframe(1)
            line = caller.f_code.co_filename, caller.f_lineno
            return _get_kernel_context().shared._allocations.setdefault(line, np.empty(shape, dtype))

    class _Simulated:
        """`numba.cuda`, in kernels the simulator's stand-in for it.

        The simulator puts its stand-in into the globals of the kernel's module, and for the time of a call into those
        of a device function's module, where in some releases one thread takes it away from the others.
        """

        shared = _Shared

        def __getattr__(self, name: str) -> Any:
            return getattr(_get_kernel_context() or numba_cuda, name)

        @staticmethod
        def fma(a: Any, b: Any, c: Any) -> Any:
            """a b + c, rounded once as on a device (in float64 nearly so: the simulator's own rounds twice)."""
            wide = np.float64 if isinstance(a, np.float32) else np.longdouble
            return type(a)(wide(a) * wide(b) + wide(c))

    # What tells device arrays from others; the simulator's lack it.
    FakeCUDAArray.__cuda_array_interface__ = property(lambda self: self._ary.__array_interface__)
    cuda: Any = _Simulated()

    def inlined(function: Any) -> Any:
        """A device function; the simulator's own way to call one takes it ten times as long."""
        return function

    def instruction(text: str, results: str, arguments: str) -> Callable[[Callable], Any]:
        """Decorator of what computes the same as an instruction."""
        return lambda emulation: emulation

    class _Meeting:
        """Where the threads of a warp meet."""

        def __init__(self, lanes: int) -> None:
            self.given: list[Any] = [None] * lanes
            self.found: Sequence[Any] = ()
            self.together: Any = None
            self.barrier = threading.Barrier(lanes, self._compute)

        def _compute(self) -> None:
            self.found = self.together(self.given)

    def by_warp(values: Any, together: Callable[[list[Any]], Sequence[Any]], lanes: int = WARP) -> Any:
        """A thread's item of what `together` makes of what all threads of its warp give; all of them must call."""
        thread: Any = threading.current_thread()
        warp, lane = divmod(thread.thread_id, lanes)
        # setdefault is atomic: threads of a warp agree on one.
        meeting = vars(thread._manager).setdefault(f"warp {warp} of {lanes}", _Meeting(lanes))
        meeting.given[lane], meeting.together = values, together
        meeting.barrier.wait(PATIENCE)
        return meeting.found[lane]

    def swapped(value: Any, step: int) -> Any:
        """What the thread of the warp gives whose number differs in the bit `step`."""
        return by_warp(value, lambda given: [given[lane ^ step] for lane in range(SWAPPING)], SWAPPING)

    def capability() -> tuple[int, int]:
        """The simulator has every instruction that kernels use."""
        return 9, 0

    def move(to: Any, i: int, source: Any, j: int) -> None:
        """Copy 16 bytes."""
        to[i : i + 16 // to.dtype.itemsize] = source[j : j + 16 // source.dtype.itemsize].view(to.dtype)

    def aligned(x: Any) -> bool:
        """Whether an array begins at a multiple of 16 bytes."""
        return x.__array_interface__["data"][0] % 16 == 0

    def array_at(address: int, size: int, T: Any) -> np.ndarray:
        """The array of `size` elements that begins at an address."""
        return np.frombuffer((ctypes.c_char * (int(size) * np.dtype(T).itemsize)).from_address(int(address)), T)

    def _configured(kernel: Any, blocks: int, threads: int, stream: Any) -> Any:
        return kernel[blocks, threads, stream]

    def _adopted(array: Any) -> Any:
        return FakeCUDAArray(np.asarray(SimpleNamespace(__array_interface__=array.__cuda_array_interface__)))
else:
    from math import cos, exp, expm1, log, log1p, pow, sin, sqrt, tanh

    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    cuda = numba_cuda

    def inlined(function: Any) -> Any:
        """A device function that becomes part of its callers, so that local arrays can be registers."""
        return cuda.jit(function, device=True, forceinline=True)

    @inlined
    def swapped(value, step):
        """What the thread of the warp gives whose number differs in the bit `step`; all threads must call."""
        return cuda.shfl_xor_sync(0xFFFFFFFF, value, step)

    _KINDS = {
        "f": (types.float32, ir.FloatType()), "r": (types.uint32, ir.IntType(32)), "h": (types.uint16, ir.IntType(16)),
    }  # fmt: skip

    def instruction(text: str, results: str, arguments: str) -> Callable[[Callable], Any]:
        """Decorator that replaces a function, which says what it computes, by one PTX instruction.

        `results` and `arguments` name registers' kinds: f is float32, r uint32, h uint16. Several results are a tuple.
        """
        kinds, outputs = [_KINDS[r][0] for r in results], [_KINDS[r][1] for r in results]
        single = len(results) == 1
        given = types.StarArgTuple.from_types([_KINDS[a][0] for a in arguments])
        shape = ir.FunctionType(
            outputs[0] if single else ir.LiteralStructType(outputs), [_KINDS[a][1] for a in arguments]
        )
        code = ir.InlineAsm(shape, text, ",".join([f"={r}" for r in results] + list(arguments)))

        def generate(context, builder, signature, values):
            operands = [builder.extract_value(values[0], i) for i in range(len(arguments))]
            # Convergent: instructions of a whole warp must not be moved into branches.
            result = builder.call(code, operands, attrs=("convergent",))
            if single:
                return result
            parts = [builder.extract_value(result, i) for i in range(len(results))]
            return context.make_tuple(builder, signature.return_type, parts)

        def instructed(typing_context, *operands):
            return (kinds[0] if single else types.Tuple(kinds))(given), generate

        return lambda emulation: intrinsic(instructed)

    @cache
    def capability() -> tuple[int, int]:
        """The current device's compute capability."""
        major, minor = numba_cuda.get_current_device().compute_capability
        return major, minor

    @intrinsic
    def move(typing_context, to, i, source, j):
        """Copy 16 bytes from element j of `source` on to element i of `to` on by one access each.

        Both places must be multiples of 16 bytes, or in registers. Elements may be of several bytes on one side, and of
        several times as many on the other.
        """

        def generate(context, builder, signature, arguments):
            wider = max(to.dtype, source.dtype, key=lambda dtype: dtype.bitwidth)
            vector = ir.VectorType(context.get_data_type(wider), 128 // wider.bitwidth).as_pointer()

            def place(kind, array, index):
                data = context.make_array(kind)(context, builder, array).data
                return builder.bitcast(builder.gep(data, [index]), vector)

            target, value, origin, start = arguments
            builder.store(builder.load(place(source, origin, start)), place(to, target, value))
            return context.get_dummy_value()

        return types.void(to, types.intp, source, types.intp), generate

    @intrinsic
    def aligned(typing_context, x):
        """Whether an array begins at a multiple of 16 bytes."""

        def generate(context, builder, signature, arguments):
            data = context.make_array(x)(context, builder, arguments[0]).data
            low = builder.and_(builder.ptrtoint(data, ir.IntType(64)), ir.Constant(ir.IntType(64), 15))
            return builder.icmp_unsigned("==", low, ir.Constant(ir.IntType(64), 0))

        return types.boolean(x), generate

    @intrinsic
    def array_at(typing_context, address, size, T):
        """The array of `size` elements that begins at an address in global memory."""
        kind = types.Array(T.dtype, 1, "C")

        def generate(context, builder, signature, arguments):
            array = context.make_array(kind)(context, builder)
            element = context.get_data_type(kind.dtype)
            itemsize = context.get_constant(types.intp, kind.dtype.bitwidth // 8)
            # Said to be global memory, it is read by the instructions for that.
            place = builder.inttoptr(arguments[0], ir.PointerType(element, 1))
            array.data = builder.addrspacecast(place, array.data.type)
            array.nitems, array.itemsize = arguments[1], itemsize
            array.shape = builder.insert_value(array.shape.type(ir.Undefined), arguments[1], 0)
            array.strides = builder.insert_value(array.strides.type(ir.Undefined), itemsize, 0)
            array.meminfo, array.parent = array.meminfo.type(None), array.parent.type(None)
            return array._getvalue()

        return kind(types.intp, types.intp, T), generate

    _adopted = numba_cuda.as_cuda_array

    @lru_cache(maxsize=4096)
    def _configured(kernel: Any, blocks: int, threads: int, stream: Any) -> Any:
        """A kernel with its grid. Small networks have small grids: no warning that they leave a device idle."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Grid size")
            return kernel[blocks, threads, stream]


__all__ = [
    "SIMULATED", "SWAPPING", "WARP", "absent", "address", "aligned", "allocate", "array_at", "capability", "copy",
    "cos", "cuda", "device_array", "elapsed", "exp", "expm1", "handle", "inlined", "instruction", "is_available",
    "launch", "log", "log1p", "move", "new_event", "new_stream", "pinned", "pow", "sin", "sqrt", "swapped", "tanh",
    "to_host", "without_frees",
]  # fmt: skip


def is_available() -> bool:
    """Whether there is a device with a driver, or the simulator."""
    return bool(numba_cuda.is_available())


def new_stream() -> Any:
    """A queue of launches and copies, executed in order."""
    return numba_cuda.stream()


def new_event() -> Any:
    """A moment in a stream, once it is recorded there."""
    return numba_cuda.event()


def pinned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Page-locked main memory, which a device reads while the host goes on; ordinary memory where there is no more.

    From ordinary memory the same copies are made, but the host waits for them.
    """
    try:
        return numba_cuda.pinned_array(shape, dtype)
    except (CudaAPIError, MemoryError) as error:
        warnings.warn(f"cuda: batches are copied from ordinary memory: {error}", stacklevel=2)
        return np.empty(shape, dtype)


def handle(stream: Any) -> int:
    """A stream's handle, as the driver knows it."""
    return int(stream.handle)


def elapsed(function: Callable[[], Any], count: int, stream: Any) -> float:
    """Seconds that `count` calls take on a stream, between two events; simulated, in main memory's time."""
    first, last = numba_cuda.event(), numba_cuda.event()
    first.record(stream)
    for _ in range(count):
        function()
    last.record(stream)
    last.synchronize()
    return float(numba_cuda.event_elapsed_time(first, last)) / 1e3


def without_frees() -> AbstractContextManager[None]:
    """A context in which memory that is no longer used is not given back yet."""
    return numba_cuda.defer_cleanup()


def launch(kernel: Any, blocks: int, threads: int, stream: Any, arguments: tuple[Any, ...]) -> None:
    """Queue one launch of a kernel on a one-dimensional grid."""
    if blocks > 0:
        _configured(kernel, blocks, threads, stream)(*arguments)


def allocate(shape: tuple[int, ...], dtype: Any, stream: Any) -> Any:
    """An uninitialised device array.

    Raises
    ------
    MemoryError
        If the device has not enough free memory.
    """
    try:
        return numba_cuda.device_array(shape, dtype, stream=stream)
    except CudaAPIError as error:
        if "OUT_OF_MEMORY" not in str(error):
            raise
        free, total = numba_cuda.current_context().get_memory_info()
        wanted = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        message = f"cuda: an array of {wanted:,} bytes does not fit: {free:,} of the device's {total:,} bytes are free"
        raise MemoryError(message) from error


@cache
def absent(dtype: str, ndim: int) -> Any:
    """An array without elements, which stands for an optional argument that is not there."""
    return numba_cuda.device_array((0,) * ndim, dtype)


def device_array(array: Any, stream: Any) -> Any:
    """Any array that lives on the device as numba-cuda's own kind, without a copy.

    What its library has queued already is done before what is queued on `stream` from now on. By DLPack the library is
    told of this stream, and has it wait; under the CUDA array interface alone for the stream that the array names, from
    version 3 on, else for the default stream.
    """
    if hasattr(array, "copy_to_host"):
        return array
    if hasattr(array, "__dlpack__"):
        exchanged = _Exchanged(array, stream)
        return _adopted(exchanged).view(exchanged.view.dtype)
    return _adopted(array)


class _Exchanged:
    """An array had by DLPack, under the CUDA array interface. Keeps the array alive."""

    def __init__(self, array: Any, stream: Any) -> None:
        from cuda.core.utils import StridedMemoryView

        self.view = StridedMemoryView.from_dlpack(array, stream_ptr=handle(stream))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        view, itemsize = self.view, self.view.dtype.itemsize
        strides = None if view.strides is None else tuple(s * itemsize for s in view.strides)
        return {
            "shape": tuple(view.shape), "typestr": view.dtype.str, "data": (view.ptr, view.readonly),
            "strides": strides, "version": 3, "stream": None,
        }  # fmt: skip


def address(array: Any) -> int:
    """Where an array begins."""
    interface = array.__array_interface__ if isinstance(array, np.ndarray) else array.__cuda_array_interface__
    return int(interface["data"][0])


def copy(source: Any, target: Any, stream: Any) -> None:
    """Queue a copy to an array of the device, from there or from main memory."""
    if source.dtype.name == "bfloat16":  # of which NumPy makes no buffers
        source, target = source.view(np.uint16), target.view(np.uint16)
    if source.size > 0:  # numba-cuda compares strides, which without elements mean nothing
        target.copy_to_device(source, stream=stream)


def to_host(array: Any, stream: Any) -> np.ndarray:
    """A copy in main memory, after everything queued before is done."""
    host = device_array(array, stream).copy_to_host(stream=stream)
    stream.synchronize()
    return host
