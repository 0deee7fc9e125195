"""The kernels of matrix products, one for each size of tile and each unit that multiplies.

A block computes a tile of the result from slices of both matrices in shared memory, of which there are two: while the
products of one are added up, the next is on its way through registers. Memory is read 16 bytes at a time wherever a
matrix allows it, shared memory always. How slices are laid out and multiplied is the unit's: `fma.py` or
`tensor_cores.py`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastnn.kernels.numba_cuda import fma, scalar, tensor_cores
from fastnn.kernels.numba_cuda.formats import FORMATS, bits, number, same
from fastnn.kernels.numba_cuda.shim import cuda, inlined, move
from fastnn.kernels.numba_cuda.sizes import DEPTH
from fastnn.kernels.numba_cuda.units import Unit
from fastnn.table import HALVES


def unit_for(tile: int, micro: int, dtype: str, multiplied: str) -> Unit:
    """What multiplies slices: multiply-adds where numbers are multiplied as they are computed in, or tensor cores."""
    itemsize = np.dtype(FORMATS[dtype].computed).itemsize
    return fma.unit(tile, micro, itemsize) if multiplied == "float32" else tensor_cores.unit(tile, micro, multiplied)


@cache
def product(tile: int, micro: int, dtype: str, multiplied: str, written: str) -> tuple[Any, int]:
    """The kernel with tiles of `tile` x `tile` elements, `micro` rows of them for each thread, and its threads.

    It reads matrices of one dtype and writes another, or the same.
    """
    form, result = FORMATS[dtype], FORMATS[written]
    unit = unit_for(tile, micro, dtype, multiplied)
    threads, step, paired, half, columns = unit.threads, unit.step, unit.paired, unit.half, unit.columns
    apart, aside = unit.apart
    word, put, corner, multiply = unit.word, unit.put, unit.corner, unit.multiply
    # What 16 bytes hold: elements read, words that they are read into, elements written, numbers computed with.
    sizes = (np.dtype(kind).itemsize for kind in (form.memory, form.staged, result.memory, form.computed))
    width, words, given, group = (16 // size for size in sizes)
    T, staged_type, stage, widen = form.computed, form.staged, form.stage, form.widen
    narrow, give, result_widen = result.narrow, result.give, result.widen
    mine = tile * step // threads
    read = mine // form.packed
    both, share = 2 * half, micro * columns
    fold = max(DEPTH // step, 1)
    rounded = multiplied != "float32" and dtype not in HALVES
    # Numbers that a thread keeps in a slice where it applies the activation, and how they are kept.
    parked = min(share, 1 << (both // threads).bit_length() - 1)
    park, unpark = (bits, number) if word is np.uint32 else (same, same)

    @inlined
    def fetch(staged, x, edge, start, size, stop, row, inner, aligned):
        """Read a thread's share of a slice: `tile` rows from `edge` on, `step` products from `start` on.

        x is (size, row) with `inner`, where neighbours are the next products, else (products, row). What lies outside
        is 0. Of rows of which the unit pairs the elements, a thread reads both.
        """
        nothing = x.dtype.type(0)
        me = cuda.threadIdx.x & (threads - 1)
        for q in range(mine // width):
            if inner:
                e = me + q * threads
                i, p = edge + e // (step // width), start + e % (step // width) * width
                if aligned and i < size and p + width <= stop:
                    move(staged, q * words, x, i * row + p)
                else:
                    for w in range(width):
                        inside = i < size and p + w < stop
                        stage(staged, q * width + w, x[i * row + p + w] if inside else nothing)
            else:
                e = me + q // paired * threads
                p, i = start + e // (tile // width) * paired + q % paired, edge + e % (tile // width) * width
                if aligned and i < size and p < stop:
                    move(staged, q * words, x, p * row + i)
                else:
                    for w in range(width):
                        inside = i + w < size and p < stop
                        stage(staged, q * width + w, x[p * row + i + w] if inside else nothing)

    @inlined
    def place(i, apart):
        """Row or column of a thread's i-th, from its first on: `group` side by side, the next `apart`."""
        return i // group * apart + i % group

    @inlined
    def write(y, begin, total, top, left, m, n, aligned):
        """Write a thread's share of the tile into y (m,n), which begins at `begin`."""
        if aligned:
            for i in range(micro):
                for j in range(0, columns, given):
                    row, column = top + place(i, apart), left + place(j, aside)
                    if row < m and column < n:
                        give(y, begin + row * n + column, total, i * columns + j)
        else:
            for i in range(micro):
                for j in range(columns):
                    row, column = top + place(i, apart), left + place(j, aside)
                    if row < m and column < n:
                        y[begin + row * n + column] = narrow(total[i * columns + j])

    @inlined
    def activate(total, slices, activation, alpha):
        """Replace a thread's sums by their activations.

        In a loop that stays one: as many copies of all activations would not fit into the instruction cache. Such a
        loop can take its numbers from memory only, and shared memory is free by now. There is not room for all at once.
        """
        me = cuda.threadIdx.x & (threads - 1)
        for _ in range(share // parked):
            for e in range(parked):
                slices[e * threads + me] = park(total[e])
            for e in range(parked):
                z = unpark(slices[e * threads + me])
                slices[e * threads + me] = park(scalar.activate(activation, z, alpha))
            for e in range(share - parked):
                total[e] = total[e + parked]
            for e in range(parked):
                total[share - parked + e] = unpark(slices[e * threads + me])

    @inlined
    def finite(total):
        """Whether all sums of a thread are finite numbers."""
        same = True
        for e in range(share):
            same = same and total[e] - total[e] == 0
        return same

    @inlined
    def term(a, b, i, j, p, m, n, k, transpose_a, transpose_b):
        """A product of two elements."""
        return widen(a[p * m + i if transpose_a else i * k + p]) * widen(b[j * k + p if transpose_b else p * n + j])

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
        a_slices = cuda.shared.array(both, word)
        b_slices = cuda.shared.array(both, word)
        a_staged = cuda.local.array(read, staged_type)
        b_staged = cuda.local.array(read, staged_type)
        added = cuda.local.array(columns, T)
        partial = cuda.local.array(share, T)
        total = cuda.local.array(share, T)
        across = (n + tile - 1) // tile
        tiles = (m + tile - 1) // tile * across
        split, block = cuda.blockIdx.x // tiles, cuda.blockIdx.x % tiles
        top, left = block // across * tile, block % across * tile
        my_row, my_column = corner()
        a_row, b_row = m if transpose_a else k, k if transpose_b else n
        first, stop = split * length, min((split + 1) * length, k)
        for e in range(share):
            partial[e] = T(0)
            total[e] = T(0)

        slices = (stop - first + step - 1) // step
        fetch(a_staged, a, top, first, m, stop, a_row, not transpose_a, aligned_a)
        fetch(b_staged, b, left, first, n, stop, b_row, transpose_b, aligned_b)
        put(a_slices, 0, a_staged, not transpose_a)
        put(b_slices, 0, b_staged, transpose_b)
        cuda.syncthreads()
        for s in range(slices):
            if s + 1 < slices:
                start = first + (s + 1) * step
                fetch(a_staged, a, top, start, m, stop, a_row, not transpose_a, aligned_a)
                fetch(b_staged, b, left, start, n, stop, b_row, transpose_b, aligned_b)
            multiply(partial, a_slices, b_slices, s % 2 * half)
            if s + 1 < slices:
                put(a_slices, (s + 1) % 2 * half, a_staged, not transpose_a)
                put(b_slices, (s + 1) % 2 * half, b_staged, transpose_b)
            if s % fold == fold - 1 or s + 1 == slices:
                for e in range(share):
                    total[e] += partial[e]
                    partial[e] = T(0)
            cuda.syncthreads()

        begin = split * m * n
        if not rounded or finite(total):
            if bias.size > 0:
                for j in range(columns):
                    column = left + my_column + place(j, aside)
                    added[j] = widen(bias[column]) if column < n else T(0)
                for e in range(share):
                    total[e] += added[e % columns]
            if pre.size > 0:
                write(pre, begin, total, top + my_row, left + my_column, m, n, aligned_y)
            if accumulate:
                for i in range(micro):
                    for j in range(columns):
                        row, column = top + my_row + place(i, apart), left + my_column + place(j, aside)
                        if row < m and column < n:
                            total[i * columns + j] += result_widen(y[row * n + column])
            if activation != scalar.LINEAR:
                activate(total, a_slices, activation, alpha)
            write(y, begin, total, top + my_row, left + my_column, m, n, aligned_y)
        else:
            # Numbers that are not finite, or that rounding made so: the thread's elements once more, in float32.
            for e in range(share):
                row = top + my_row + place(e // columns, apart)
                column = left + my_column + place(e % columns, aside)
                if row < m and column < n:
                    z = T(0)
                    for p in range(first, stop):
                        z += term(a, b, row, column, p, m, n, k, transpose_a, transpose_b)
                    if bias.size > 0:
                        z += widen(bias[column])
                    if pre.size > 0:
                        pre[begin + row * n + column] = narrow(z)
                    if accumulate:
                        z += result_widen(y[begin + row * n + column])
                    y[begin + row * n + column] = narrow(scalar.activate(activation, z, alpha))

    kernel.__qualname__ = f"product_{tile}_{multiplied}"  # profilers show it
    return cuda.jit(kernel), threads


@cache
def combine(dtype: str) -> Any:
    """The kernel that adds up the parts of a product."""
    widen, narrow = FORMATS[dtype].widen, FORMATS[dtype].narrow

    def kernel(partial, y, bias, pre, n, splits, accumulate, activation, alpha):
        """y (m,n) = f(sum of partial (splits,m,n) + bias), in order; a thread for each element. Flat arrays."""
        e = cuda.grid(1)
        if e < y.size:
            z = partial[e]
            for split in range(1, splits):
                z += partial[split * y.size + e]
            if bias.size > 0:
                z += widen(bias[e % n])
            if pre.size > 0:
                pre[e] = narrow(z)
            if accumulate:
                z += widen(y[e])
            y[e] = narrow(scalar.activate(activation, z, alpha))

    kernel.__qualname__ = f"combine_{dtype}"
    return cuda.jit(kernel)


@cache
def widening(dtype: str) -> Any:
    """The kernel that brings numbers to what is computed in."""
    widen = FORMATS[dtype].widen

    def kernel(x, y):
        """y (n) = x (n); a thread for each element."""
        e = cuda.grid(1)
        if e < y.size:
            y[e] = widen(x[e])

    kernel.__qualname__ = f"widening_{dtype}"
    return cuda.jit(kernel)
