"""Products of slices by multiply-adds in the arrays' own type."""

from __future__ import annotations

from functools import cache

import numpy as np

from fastnn.kernels.numba_cuda.shim import cuda, inlined, move
from fastnn.kernels.numba_cuda.sizes import STEP
from fastnn.kernels.numba_cuda.units import Unit, reader

#: Lanes of a warp, along and down: a warp that reads 8 x 4 fragments reads few different addresses.
ALONG, DOWN = 8, 4


@cache
def unit(tile: int, micro: int, itemsize: int) -> Unit:
    """The unit for tiles of `tile` x `tile` elements, `micro` x `micro` for each thread."""
    width = 16 // itemsize
    side = tile // micro
    threads = side * side
    along, down = min(ALONG, side), min(DOWN, side)
    stride = tile + width  # columns of a slice are written without bank conflicts, and rows begin at 16 bytes
    mine = tile * STEP // threads
    apart = side * width
    dtype = np.float32 if itemsize == 4 else np.float64
    take = reader(micro, width, apart)

    @inlined
    def put(shared, begin, staged, inner):
        for q in range(mine // width):
            e = (cuda.threadIdx.x & (threads - 1)) + q * threads
            if inner:
                i, p = e // (STEP // width), e % (STEP // width) * width
                for w in range(width):
                    shared[begin + (p + w) * stride + i] = staged[q * width + w]
            else:
                move(shared, begin + e // (tile // width) * stride + e % (tile // width) * width, staged, q * width)

    @inlined
    def corner():
        me = cuda.threadIdx.x & (threads - 1)  # shows the compiler that indices are not negative
        lane, warp = me % (along * down), me // (along * down)
        row = (warp // (side // along) * down + lane // along) * width
        return row, (warp % (side // along) * along + lane % along) * width

    @inlined
    def add(partial, left, right):
        for i in range(micro):
            for j in range(micro):
                partial[i * micro + j] += left[i] * right[j]

    @inlined
    def multiply(partial, a_slices, b_slices, begin):
        a_even = cuda.local.array(micro, dtype)
        b_even = cuda.local.array(micro, dtype)
        a_odd = cuda.local.array(micro, dtype)
        b_odd = cuda.local.array(micro, dtype)
        row, column = corner()
        a_place, b_place = begin + row, begin + column
        take(a_even, a_slices, a_place)
        take(b_even, b_slices, b_place)
        for p in range(0, STEP, 2):
            # The fragments of the next product are read while those of the last are multiplied.
            take(a_odd, a_slices, a_place + (p + 1) * stride)
            take(b_odd, b_slices, b_place + (p + 1) * stride)
            add(partial, a_even, b_even)
            if p + 2 < STEP:
                take(a_even, a_slices, a_place + (p + 2) * stride)
                take(b_even, b_slices, b_place + (p + 2) * stride)
            add(partial, a_odd, b_odd)

    return Unit(threads, STEP, micro, (apart, apart), 1, dtype, STEP * stride, put, corner, multiply)
