"""What multiplies slices of matrices, as the kernel of products sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastnn.kernels.numba_cuda.shim import inlined, move


@dataclass(frozen=True)
class Unit:
    """A way to lay a slice of `tile` rows and `step` products out in shared memory, and to multiply two of them.

    A thread has so many `columns` in each of its rows of a tile of the result. Rows and columns come in groups of 16
    bytes, which begin `apart` (rows, columns) from one another.
    """

    threads: int
    step: int
    columns: int
    apart: tuple[int, int]
    #: Elements of a row that share a word of the slice, the words' type, and how many there are in a slice.
    paired: int
    word: Any
    half: int
    #: ``put(shared, begin, staged, inner)`` writes a thread's share into the slice that begins at `begin`.
    put: Any
    #: ``corner()`` is a thread's first row and column.
    corner: Any
    #: ``multiply(partial, a_slices, b_slices, begin)`` adds the product of both slices at `begin` to a thread's sums.
    multiply: Any


def reader(count: int, width: int, apart: int) -> Any:
    """The device function that reads a thread's `count` words of a row of a slice."""

    @inlined
    def take(fragment, shared, begin):
        for g in range(count // width):
            move(fragment, g * width, shared, begin + g * apart)

    return take
