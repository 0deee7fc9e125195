"""The kernels of matrix products, one for each size of tile.

A block computes a tile of the result from slices of both matrices in shared memory, of which there are two: while the
products of one are added up, the next is on its way through registers. Memory is read 16 bytes at a time wherever a
matrix allows it, shared memory always.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from fastnn.kernels.numba_cuda import scalar
from fastnn.kernels.numba_cuda.shim import cuda, inlined, move
from fastnn.kernels.numba_cuda.sizes import FOLD, STEP

#: Lanes of a warp, along and down: a warp that reads 8 x 4 fragments reads few different addresses.
ALONG, DOWN = 8, 4


@cache
def product(tile: int, micro: int, itemsize: int) -> Any:
    """The kernel with tiles of `tile` x `tile` elements, `micro` x `micro` for each thread."""
    width = 16 // itemsize
    side = tile // micro
    threads = side * side
    along, down = min(ALONG, side), min(DOWN, side)
    stride = tile + width  # columns of a slice are written without bank conflicts, and rows begin at 16 bytes
    half = STEP * stride
    mine = tile * STEP // threads
    both, squared = 2 * half, micro * micro
    apart = side * width

    @inlined
    def fetch(staged, x, edge, start, size, stop, row, inner, aligned):
        """Read a thread's share of a slice: `tile` rows from `edge` on, STEP products from `start` on.

        x is (size, row) with `inner`, where neighbours are the next products, else (products, row). What lies outside
        is 0.
        """
        T = x.dtype.type
        for q in range(mine // width):
            e = (cuda.threadIdx.x & (threads - 1)) + q * threads
            if inner:
                i, p = edge + e // (STEP // width), start + e % (STEP // width) * width
                if aligned and i < size and p + width <= stop:
                    move(staged, q * width, x, i * row + p)
                else:
                    for w in range(width):
                        staged[q * width + w] = x[i * row + p + w] if i < size and p + w < stop else T(0)
            else:
                p, i = start + e // (tile // width), edge + e % (tile // width) * width
                if aligned and i < size and p < stop:
                    move(staged, q * width, x, p * row + i)
                else:
                    for w in range(width):
                        staged[q * width + w] = x[p * row + i + w] if i + w < size and p < stop else T(0)

    @inlined
    def put(shared, begin, staged, inner):
        """Write a thread's share into a slice (STEP, tile) that begins at `begin`."""
        for q in range(mine // width):
            e = (cuda.threadIdx.x & (threads - 1)) + q * threads
            if inner:
                i, p = e // (STEP // width), e % (STEP // width) * width
                for w in range(width):
                    shared[begin + (p + w) * stride + i] = staged[q * width + w]
            else:
                move(shared, begin + e // (tile // width) * stride + e % (tile // width) * width, staged, q * width)

    @inlined
    def take(fragment, shared, begin):
        """Read a thread's `micro` elements of a row of a slice."""
        for g in range(micro // width):
            move(fragment, g * width, shared, begin + g * apart)

    @inlined
    def place(i):
        """Row or column of a thread's i-th, from its first on."""
        return i // width * apart + i % width

    @inlined
    def multiply(partial, left, right):
        for i in range(micro):
            for j in range(micro):
                partial[i * micro + j] += left[i] * right[j]

    @inlined
    def write(y, begin, total, top, left, m, n, aligned):
        """Write a thread's share of the tile into y (m,n), which begins at `begin`."""
        if aligned:
            for i in range(micro):
                for j in range(0, micro, width):
                    row, column = top + place(i), left + place(j)
                    if row < m and column < n:
                        move(y, begin + row * n + column, total, i * micro + j)
        else:
            for i in range(micro):
                for j in range(micro):
                    row, column = top + place(i), left + place(j)
                    if row < m and column < n:
                        y[begin + row * n + column] = total[i * micro + j]

    @cuda.jit
    def kernel(
        a, b, y, bias, pre, m, n, k, length, aligned_a, aligned_b, aligned_y, transpose_a, transpose_b, accumulate,
        activation, alpha,
    ):  # fmt: skip
        """y (m,n) = f(a b + bias), and pre (m,n) = a b + bias where present; with `accumulate` y += a b. Flat arrays.

        a is (m,k), or (k,m) with `transpose_a`; b is (k,n), or (n,k) with `transpose_b`; bias is (n) or absent. f is
        the activation with this position in table.ACTIVATIONS. A matrix is aligned if all its rows begin at multiples
        of 16 bytes. Where `length` is less than k, y is (splits,m,n): the
        sums of `length` products each.
        """
        T = y.dtype.type
        a_slices = cuda.shared.array(both, y.dtype)
        b_slices = cuda.shared.array(both, y.dtype)
        a_staged = cuda.local.array(mine, y.dtype)
        b_staged = cuda.local.array(mine, y.dtype)
        a_even = cuda.local.array(micro, y.dtype)
        b_even = cuda.local.array(micro, y.dtype)
        a_odd = cuda.local.array(micro, y.dtype)
        b_odd = cuda.local.array(micro, y.dtype)
        partial = cuda.local.array(squared, y.dtype)
        total = cuda.local.array(squared, y.dtype)
        across = (n + tile - 1) // tile
        tiles = (m + tile - 1) // tile * across
        split, block = cuda.blockIdx.x // tiles, cuda.blockIdx.x % tiles
        top, left = block // across * tile, block % across * tile
        me = cuda.threadIdx.x & (threads - 1)  # shows the compiler that indices are not negative
        lane, warp = me % (along * down), me // (along * down)
        my_row = (warp // (side // along) * down + lane // along) * width
        my_column = (warp % (side // along) * along + lane % along) * width
        a_row, b_row = m if transpose_a else k, k if transpose_b else n
        first, stop = split * length, min((split + 1) * length, k)
        for e in range(squared):
            partial[e] = T(0)
            total[e] = T(0)

        slices = (stop - first + STEP - 1) // STEP
        fetch(a_staged, a, top, first, m, stop, a_row, not transpose_a, aligned_a)
        fetch(b_staged, b, left, first, n, stop, b_row, transpose_b, aligned_b)
        put(a_slices, 0, a_staged, not transpose_a)
        put(b_slices, 0, b_staged, transpose_b)
        cuda.syncthreads()
        for s in range(slices):
            if s + 1 < slices:
                start = first + (s + 1) * STEP
                fetch(a_staged, a, top, start, m, stop, a_row, not transpose_a, aligned_a)
                fetch(b_staged, b, left, start, n, stop, b_row, transpose_b, aligned_b)
            a_place, b_place = s % 2 * half + my_row, s % 2 * half + my_column
            take(a_even, a_slices, a_place)
            take(b_even, b_slices, b_place)
            for p in range(0, STEP, 2):
                # The fragments of the next product are read while those of the last are multiplied.
                take(a_odd, a_slices, a_place + (p + 1) * stride)
                take(b_odd, b_slices, b_place + (p + 1) * stride)
                multiply(partial, a_even, b_even)
                if p + 2 < STEP:
                    take(a_even, a_slices, a_place + (p + 2) * stride)
                    take(b_even, b_slices, b_place + (p + 2) * stride)
                multiply(partial, a_odd, b_odd)
            if s + 1 < slices:
                put(a_slices, (s + 1) % 2 * half, a_staged, not transpose_a)
                put(b_slices, (s + 1) % 2 * half, b_staged, transpose_b)
            if s % FOLD == FOLD - 1 or s + 1 == slices:
                for e in range(squared):
                    total[e] += partial[e]
                    partial[e] = T(0)
            cuda.syncthreads()

        begin = split * m * n
        if bias.size > 0:
            for j in range(micro):
                column = left + my_column + place(j)
                b_even[j] = bias[column] if column < n else T(0)
            for e in range(squared):
                total[e] += b_even[e % micro]
        if pre.size > 0:
            write(pre, begin, total, top + my_row, left + my_column, m, n, aligned_y)
        if accumulate:
            for i in range(micro):
                for j in range(micro):
                    row, column = top + my_row + place(i), left + my_column + place(j)
                    if row < m and column < n:
                        total[i * micro + j] += y[row * n + column]
        write(y, begin, total, top + my_row, left + my_column, m, n, aligned_y)

        # A loop that stays one: as many copies of all activations would not fit into the instruction cache.
        if activation != scalar.LINEAR:
            for e in range(squared):
                row, column = top + my_row + place(e // micro), left + my_column + place(e % micro)
                if row < m and column < n:
                    y[row * n + column] = scalar.activate(activation, y[row * n + column], alpha)

    return kernel


@cuda.jit
def combine(partial, y, bias, pre, n, splits, accumulate, activation, alpha):
    """y (m,n) = f(sum of partial (splits,m,n) + bias), in order; a thread for each element. Flat arrays."""
    e = cuda.grid(1)
    if e < y.size:
        z = partial[e]
        for split in range(1, splits):
            z += partial[split * y.size + e]
        if bias.size > 0:
            z += bias[e % n]
        if pre.size > 0:
            pre[e] = z
        y[e] = y[e] + z if accumulate else z
        if activation != scalar.LINEAR:
            y[e] = scalar.activate(activation, y[e], alpha)
