"""Kernels made of the formula of one element.

A thread reads 16 bytes of every array by one access, applies the formula to each element, and writes 16 bytes by one
access. The last elements, and those of an array that does not begin at a multiple of 16 bytes, go one by one.

One access an array is enough: for 4.8 TB/s (an H200's), if a byte is on its way for a microsecond, 36 KB must be under
way in each of 132 multiprocessors. With at most 32 registers a thread, 2,048 threads share one, and have 32 KB of each
array under way, read or written; with 64, as optimizers in float64, 1,024 threads have 16 KB of each of 3 to 5 arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import accumulate, chain
from typing import Any

import numpy as np

from fastnn.kernels.numba_cuda.groups import blocks_for
from fastnn.kernels.numba_cuda.shim import aligned, array_at, cuda, inlined, move
from fastnn.kernels.numba_cuda.sizes import BLOCK
from fastnn.table import TABLE

#: Bytes of one access.
ACCESS = 16


def share_of(T: Any) -> int:
    """Elements of a type that one access reads or writes."""
    return ACCESS // np.dtype(T).itemsize


@cache
def accesses(T: Any, share: int) -> tuple[Any, Any]:
    """Device functions that load and store a thread's `share` elements, which are a number of whole accesses."""
    width = share_of(T)

    @inlined
    def load(held, x, first):
        """Elements of x from `first` on, 0 beyond its end."""
        if first + share <= x.size and aligned(x):
            for w in range(0, share, width):
                move(held, w, x, first + w)
        else:
            for w in range(share):
                held[w] = x[first + w] if first + w < x.size else T(0)

    @inlined
    def store(x, first, held):
        """Write elements of x from `first` on, none beyond its end."""
        if first + share <= x.size and aligned(x):
            for w in range(0, share, width):
                move(x, first + w, held, w)
        else:
            for w in range(share):
                if first + w < x.size:
                    x[first + w] = held[w]

    return load, store


@inlined
def row_of(table, block):
    """The last row of arrays, in column 0 of the table, whose first block is this one or before it."""
    low, high = 0, table.shape[1]
    while high - low > 1:
        middle = (low + high) // 2
        if table[0, middle] <= block:
            low = middle
        else:
            high = middle
    return low


@cache
def kernel_of(name: str, formula: Any, present: tuple[bool, ...], T: Any, count: int, many: bool = False) -> Any:
    """The kernel of an op's arrays that are present and, where there are any, an array or tuple of `count` numbers.

    Numba compiles no kernel with a variable number of arguments, so its source is put together from the op's row. Of
    `leaky_relu` it is

        def leaky_relu(x, y, numbers):
            first = cuda.grid(1) * share
            size = x.size
            if first < size:
                held_x = cuda.local.array(share, T)
                held_y = cuda.local.array(share, T)
                load(held_x, x, first)
                for w in range(share):
                    held_y[w] = formula(held_x[w], numbers[0])
                store(y, first, held_y)

    With `many` it takes a table of many such rows of arrays, as `Elementwise.rows` makes it, in place of one.
    """
    op, share = TABLE[name], share_of(T)
    there = [a.name for a, given in zip(op.arguments, present, strict=True) if given]
    reads, writes = [a.name for a in op.inputs], [*op.updates, *(a.name for a in op.outputs)]
    given = [f"held_{a}[w]" if a in there else "None" for a in reads] + [f"numbers[{i}]" for i in range(count)]
    results = [f"held_{a}[w]" if a in there else "_" for a in writes]
    place = ["    first = cuda.grid(1) * share", f"    size = {there[0]}.size"]
    if many:
        place = [
            "    row = row_of(table, cuda.blockIdx.x)",
            "    first = ((cuda.blockIdx.x - table[0, row]) * cuda.blockDim.x + cuda.threadIdx.x) * share",
            "    size = table[1, row]",
            *(f"    {a} = array_at(table[{2 + i}, row], size, T)" for i, a in enumerate(there)),
        ]
    lines = [
        f"def {name}({', '.join((['table'] if many else there) + ['numbers'] * (count > 0))}):",
        *place,
        "    if first < size:",
        *(f"        held_{a} = cuda.local.array(share, T)" for a in there),
        *(f"        load(held_{a}, {a}, first)" for a in there if a in reads),
        "        for w in range(share):",
        f"            {', '.join(results)} = formula({', '.join(given)})",
        *(f"        store({a}, first, held_{a})" for a in there if a in writes),
    ]
    load, store = accesses(T, share)
    scope = {"array_at": array_at, "cuda": cuda, "formula": formula, "load": load, "row_of": row_of, "store": store}
    scope |= {"share": share, "T": T}
    exec("\n".join(lines), scope)
    return cuda.jit(scope[name])


class Elementwise:
    """Launcher of an op whose arrays are all of one size.

    Parameters
    ----------
    name : str
    formula : device function
        Takes an element of each input (None of an absent one) and the numbers; returns those of the inputs that are
        updated and of the outputs, in the order of the table's row.
    numbers : callable, optional
        What the formula takes, computed from the op's parameters in float64; by default the parameters themselves.
    """

    def __init__(self, name: str, formula: Any, numbers: Callable[[dict], tuple] | None = None) -> None:
        self.name, self.formula = name, formula
        self.numbers = numbers or (lambda params: tuple(params.values()))

    def __call__(self, launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
        if dims["n"] == 0:
            return
        T = arrays[0].dtype.type
        numbers = tuple(map(T, self.numbers(params)))
        present = tuple(a.size > 0 for a in arrays)
        kernel = kernel_of(self.name, self.formula, present, T, len(numbers))
        there = (a for a in arrays if a.size > 0)
        launch(kernel, blocks_for(-(-dims["n"] // share_of(T))), BLOCK, *there, *([numbers] if numbers else []))

    def rows(self, sizes: list[int], addresses: list[list[int]], T: Any) -> tuple[tuple[int, ...], int]:
        """The numbers of a table of rows of arrays, each of one size but 0, and how many blocks they take.

        Its columns, one after the other, are the first block and the size of each row, and the addresses of its arrays:
        `addresses` has a list for each argument that is present.
        """
        first = [0, *accumulate(blocks_for(-(-size // share_of(T))) for size in sizes)]
        return (*first[:-1], *sizes, *chain.from_iterable(addresses)), first[-1]

    def many(self, launch: Callable, table: Any, blocks: int, present: tuple[bool, ...], T: Any, params: dict) -> None:
        """Queue one launch for all rows of a table on the device; `present` is the same for each."""
        numbers = tuple(map(T, self.numbers(params)))
        kernel = kernel_of(self.name, self.formula, present, T, len(numbers), many=True)
        launch(kernel, blocks, BLOCK, table, *([numbers] if numbers else []))


def elementwise(formulas: dict[str, Any]) -> dict[str, Elementwise]:
    """Launchers of ops that take their parameters as they are, by the formulas of one element."""
    return {name: Elementwise(name, formula) for name, formula in formulas.items()}
