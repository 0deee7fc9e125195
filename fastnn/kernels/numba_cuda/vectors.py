"""Kernels made of the formula of one element.

A thread reads 16 bytes of every array by one access, applies the formula to each element, and writes 16 bytes by one
access. That keeps a large device's memory busy: at 4.8 TB/s and some 800 ns on the way, 3.8 MB must be under way, 29 KB
for each of 132 multiprocessors, whose 2,048 threads ask for 32 KB with one such access each, and for 96 KB where there
are three arrays. The last elements, and those of an array that does not begin at a multiple of 16 bytes, go one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fastnn.kernels.numba_cuda.groups import blocks_for
from fastnn.kernels.numba_cuda.shim import aligned, cuda, inlined, move
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


@cache
def kernel_of(name: str, formula: Any, present: tuple[bool, ...], T: Any, count: int) -> Any:
    """The kernel of an op's arrays that are present and, where there are any, an array or tuple of `count` numbers.

    Numba compiles no kernel with a variable number of arguments, so its source is put together from the op's row. Of
    `leaky_relu` it is

        def leaky_relu(x, y, numbers):
            first = cuda.grid(1) * share
            if first < x.size:
                held_x = cuda.local.array(share, T)
                held_y = cuda.local.array(share, T)
                load(held_x, x, first)
                for w in range(share):
                    held_y[w] = formula(held_x[w], numbers[0])
                store(y, first, held_y)
    """
    op, share = TABLE[name], share_of(T)
    there = [a.name for a, given in zip(op.arguments, present, strict=True) if given]
    reads, writes = [a.name for a in op.inputs], [*op.updates, *(a.name for a in op.outputs)]
    given = [f"held_{a}[w]" if a in there else "None" for a in reads] + [f"numbers[{i}]" for i in range(count)]
    results = [f"held_{a}[w]" if a in there else "_" for a in writes]
    lines = [
        f"def {name}({', '.join([*there, 'numbers'] if count else there)}):",
        "    first = cuda.grid(1) * share",
        f"    if first < {there[0]}.size:",
        *(f"        held_{a} = cuda.local.array(share, T)" for a in there),
        *(f"        load(held_{a}, {a}, first)" for a in there if a in reads),
        "        for w in range(share):",
        f"            {', '.join(results)} = formula({', '.join(given)})",
        *(f"        store({a}, first, held_{a})" for a in there if a in writes),
    ]
    load, store = accesses(T, share)
    scope = {"cuda": cuda, "formula": formula, "load": load, "share": share, "store": store, "T": T}
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


def elementwise(formulas: dict[str, Any]) -> dict[str, Elementwise]:
    """Launchers of ops that take their parameters as they are, by the formulas of one element."""
    return {name: Elementwise(name, formula) for name, formula in formulas.items()}
