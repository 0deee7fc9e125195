"""What the compiled CPU backends share: kernels behind one C signature, run by the executor's team of threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import checks
from fastnn.backends.host import HostBackend, floating, lay_out
from fastnn.table import DTYPES, Op
from fastnn.threadcount import get_num_threads
from fastnn_ext import executor, remembered
from fastnn_ext.replay import CompiledReplay

if TYPE_CHECKING:
    from fastnn.program import Program

#: Work, in FLOPs or bytes, that makes one more thread worth waking. With a tenth of it a training step of 64-100-10,
#: batch 32, took 155 us on two threads where one takes 37; larger networks' steps are as fast with half or twice of it.
GRAIN = 2_000_000
#: Work that is done, a few microseconds, before another thread of Python's is let in: asking costs as much. Two threads
#: that each run a frozen 64-100-10 network, 1 us a row, get half as much done otherwise as one; of 784-256-128-10, at
#: 15 us a row, they do 1.7 times as many as one.
SMALL = 100_000


def work(op: Op, dims: dict[str, int], itemsize: int) -> float:
    """A call's FLOPs, or bytes where those are more."""
    return max(op.flop_count(dims), op.byte_count(dims, itemsize))


def threads_worth(work: float, most: int) -> int:
    """Threads, at most `most`, that so much work is worth."""
    return max(1, min(most, int(work // GRAIN)))


class CompiledBackend(HostBackend):
    """Kernels given by address.

    Parameters
    ----------
    name : str
    address : callable
        ``(op, dtype) -> int``, the kernel's address.
    workspace : callable
        ``(op, dims, params, itemsize, parts) -> int``, bytes of scratch memory that the kernel needs.
    ops : collection of str
        Ops that have a kernel.
    """

    def __init__(
        self,
        name: str,
        address: Callable[[str, str], int],
        workspace: Callable[[str, dict, dict, int, int], int],
        ops: Sequence[str],
    ) -> None:
        self.name = name
        self.address = address
        self.workspace = workspace
        self.ops = frozenset(ops)

    def supports(self, op: str, dtype: str) -> bool:
        return op in self.ops and dtype in DTYPES

    def run(self, op: Op, arrays: Sequence[Any], dims: dict[str, int], params: dict[str, Any]) -> None:
        dtype = floating(op, arrays)
        sizes, numbers = tuple(dims[d] for d in op.dims), tuple(op.encode(params))
        address = self.address(op.name, checks.FLOATING[dtype])
        amount = work(op, dims, dtype.itemsize)
        most = get_num_threads()
        threads = threads_worth(amount, most)
        scratch = self.workspace(op.name, dims, params, dtype.itemsize, threads)
        executor.call(address, tuple(arrays), sizes, numbers, op.phases, scratch, threads)
        shared = threads_worth(amount, 2) > 1
        remembered.report(op, address, arrays, sizes, numbers, scratch, threads, shared and most, amount < SMALL)

    def compile(self, program: Program) -> CompiledReplay:
        return prepared(self, program)


def prepared(backend: CompiledBackend, program: Program) -> CompiledReplay:
    """A program as an array of C structs."""
    # The workspace is made for this many threads; more will not be used, whatever is set later.
    most = max(get_num_threads(), os.cpu_count() or 1)
    arrays = lay_out(program, backend)
    needs = []
    amount = 0.0
    for call in program.calls:
        dtype = floating(call.op, call.arguments)
        own = work(call.op, call.dims, dtype.itemsize)
        worth = threads_worth(own, most)
        size = backend.workspace(call.op.name, call.dims, call.current_params(), dtype.itemsize, worth)
        needs.append((dtype, worth, size))
        amount += own
    # Calls run one after the other: one workspace serves all.
    scratch = backend.empty((max((size for _, _, size in needs), default=0),), np.uint8)
    external = {t.buffer: i for i, t in enumerate(program.inputs + program.outputs)}
    places: list[list[tuple[int, int]]] = [[] for _ in external]
    instructions, slots = [], []
    for i, (call, (dtype, worth, _)) in enumerate(zip(program.calls, needs, strict=True)):
        buffers = []
        for j, tensor in enumerate(call.arguments):
            if tensor is None:
                buffers.append(0)
            elif tensor.buffer in external:
                places[external[tensor.buffer]].append((i, j))
                buffers.append(0)
            else:
                buffers.append(arrays[tensor.buffer].ctypes.data)
        buffers.append(scratch.ctypes.data)
        address = backend.address(call.op.name, dtype.name)
        dims = tuple(call.dims[d] for d in call.op.dims)
        params = np.array(call.op.encode(call.current_params()), dtype=np.float64)
        instructions.append((address, buffers, dims, params, call.op.phases, worth))
        slots += [(i, number, slot) for number, slot in call.slots()]
    described = [
        (t.dtype.num, t.shape, place) for t, place in zip(program.inputs + program.outputs, places, strict=True)
    ]
    keep = (arrays, scratch, program)
    return CompiledReplay(instructions, described, len(program.inputs), slots, get_num_threads, amount < SMALL, keep)
