"""Reductions over groups of neighbouring threads of a block, and how work is cut into them.

A group is `lanes` threads, a power of two; a block holds BLOCK // lanes groups. Within a warp threads swap their
numbers (shuffles), in each step with threads twice as far away, so that all come to the same result; the results of
warps meet in shared memory. All threads of a block must call these functions together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy import float64, int64

from fastnn.kernels.numba_cuda.shim import SWAPPING, cuda, swapped
from fastnn.kernels.numba_cuda.sizes import BLOCK, COLUMNS, WAVE

#: Warps of a block.
WARPS = BLOCK // SWAPPING


@cuda.jit(device=True)
def added(a, b):
    """The sum of two numbers."""
    return a + b


@cuda.jit(device=True)
def larger(a, b):
    """The larger of two numbers; NaN where either is NaN."""
    return a if a >= b or a != a else b


def reduction(together: Any) -> Any:
    """The device function of (number, lanes) that gives what a group's float64 numbers come to, in each of its threads.

    `together` makes one of two numbers.
    """

    @cuda.jit(device=True)
    def reduce(value, lanes):
        step = 1
        while step < min(lanes, SWAPPING):
            value = together(value, swapped(value, step))
            step *= 2
        if lanes > SWAPPING:
            shared = cuda.shared.array(WARPS, float64)
            me = cuda.threadIdx.x
            first = me // lanes * (lanes // SWAPPING)
            if me % SWAPPING == 0:
                shared[me // SWAPPING] = value
            cuda.syncthreads()
            value = shared[first]
            for warp in range(first + 1, first + lanes // SWAPPING):
                value = together(value, shared[warp])
            cuda.syncthreads()  # the next reduction uses the same memory
        return value

    return reduce


#: Sum of the group's numbers, and the largest of them, NaN if there is one.
group_sum, group_max = reduction(added), reduction(larger)


@cuda.jit(device=True)
def column_sum(value, columns):
    """Sum of a float64 number over a block's threads of the same remainder by `columns`, in each of them."""
    shared = cuda.shared.array(BLOCK, float64)
    me = cuda.threadIdx.x
    shared[me] = value
    cuda.syncthreads()
    total = 0.0
    for other in range(me % columns, BLOCK, columns):
        total += shared[other]
    cuda.syncthreads()
    return total


@cuda.jit(device=True)
def precedes(a, i, b, j):
    """Whether element i of value a comes before element j of value b: larger first, NaN first of all, then by index."""
    if a == b or (a != a and b != b):
        return i < j
    return a > b or a != a


@cuda.jit(device=True)
def group_argmax(value, index, lanes):
    """Index of the element that precedes the group's others, in each of its threads."""
    step = 1
    while step < min(lanes, SWAPPING):
        other, place = swapped(value, step), swapped(index, step)
        if precedes(other, place, value, index):
            value, index = other, place
        step *= 2
    if lanes > SWAPPING:
        values = cuda.shared.array(WARPS, float64)
        indices = cuda.shared.array(WARPS, int64)
        me = cuda.threadIdx.x
        first = me // lanes * (lanes // SWAPPING)
        if me % SWAPPING == 0:
            values[me // SWAPPING] = value
            indices[me // SWAPPING] = index
        cuda.syncthreads()
        value, index = values[first], indices[first]
        for warp in range(first + 1, first + lanes // SWAPPING):
            if precedes(values[warp], indices[warp], value, index):
                value, index = values[warp], indices[warp]
        cuda.syncthreads()
    return index


def lanes_for(size: int) -> int:
    """Threads for a group that goes through `size` elements."""
    return min(1 << max(size - 1, 0).bit_length(), BLOCK)


def blocks_for(threads: int) -> int:
    """Blocks that hold so many threads."""
    return -(-threads // BLOCK)


def columns_for(size: int) -> int:
    """Columns that a block takes at a time: few where there are few, so that more blocks share them.

    A quarter of COLUMNS is a sector of 32 bytes in float32, the least that is read from memory at once.
    """
    return COLUMNS if size >= COLUMNS * WAVE else COLUMNS // 4


def rows(kernel: Any) -> Callable[..., None]:
    """Launcher of a kernel with a group of threads for each row of an (o,r) array; nothing to do where r is 0."""

    def launcher(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
        lanes = lanes_for(dims["r"])
        if dims["r"] > 0:
            launch(kernel, blocks_for(dims["o"] * lanes), BLOCK, *arrays, lanes)

    return launcher
