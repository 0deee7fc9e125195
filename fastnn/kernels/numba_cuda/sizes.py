"""Sizes of blocks and tiles. Kernels read them as constants when they are compiled.

The simulator runs every thread of a block as a Python thread: there blocks and tiles are small.
"""

from __future__ import annotations

from fastnn.kernels.numba_cuda.shim import SIMULATED

#: Threads of a block: a power of two, and a multiple of COLUMNS.
BLOCK = 8 if SIMULATED else 256
#: Elements of a partial sum along a row or a flat array.
CHUNK = 16 if SIMULATED else 4096
#: Columns that a block sums side by side, and rows of a partial sum.
COLUMNS, ROWS = (4, 4) if SIMULATED else (32, 512)
#: Matrix products, by the bytes of an element: a block computes a tile of so many rows and columns, a thread so many
#: rows and columns of it. Largest first; (tile / micro) squared threads.
TILES: dict[int, tuple[tuple[int, int], ...]] = {4: ((128, 8), (64, 4), (32, 4)), 8: ((64, 4), (32, 4))}
if SIMULATED:
    TILES = dict.fromkeys(TILES, ((8, 4), (4, 4)))
#: A slice of the inner dimension in shared memory, and slices whose products are added up before their sum is added to
#: the others: 256 products.
STEP, FOLD = (4, 2) if SIMULATED else (16, 16)
DEPTH = STEP * FOLD
#: As TILES, for the tensor cores: warps multiply, which have 32 threads in the simulator too.
TENSOR_TILES = ((128, 8), (64, 4), (32, 4))
#: Blocks that keep a large device busy: smaller products take smaller tiles, or are split along the inner dimension. A
#: constant, so that the order of summation is the same on every device.
WAVE = 2 if SIMULATED else 128
