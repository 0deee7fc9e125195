"""Matrix product by panels: C (m,n) = A (m,k) B (k,n), or C + A B; packing, register tiles and sizes.

The classic scheme (Goto and van de Geijn 2008, Anatomy of high-performance matrix multiplication): B is cut into panels
of two vectors' columns, A into blocks of BLOCK_ROWS x DEPTH, and a register tile accumulates along k. Each element of
C is the sum along k in order, in stretches of DEPTH, whatever the tile it falls into and whatever the number of
threads: results depend on neither.
"""

from __future__ import annotations

from typing import NamedTuple

from fastnn.kernels.numba_cpu.common import kernel, merged, share_rows
from fastnn.kernels.numba_cpu.microkernel import (
    PANEL_ROWS,
    TILE_ROWS,
    VECTOR_BYTES,
    copy_vector,
    lanes,
    multiply_tile,
    transpose_block,
)

#: A panel of B is DEPTH x 128 bytes = 32 KiB with AVX-512: it stays in the first-level cache while the rows of A pass
#: by. A block of A is 16 panels of DEPTH x 16 floats = 256 KiB and stays in the second-level cache.
DEPTH = 256
BLOCK_PANELS = 16
BLOCK_ROWS = BLOCK_PANELS * TILE_ROWS
#: With at most this many rows a panel of B is used too few times to be worth a copy (one in ten faster at 64 rows).
DIRECT_ROWS = 256


class Product(NamedTuple):
    """C (m,n) = A (m,k) B (k,n), or C + A B: sizes, flat arrays, and where the workspace holds what."""

    m: int
    n: int
    k: int
    a: object
    transpose_a: bool  # stored (k,m)
    b: object
    transpose_b: bool  # stored (n,k)
    c: object
    accumulate: bool
    workspace: object
    panels: int  # B packed into panels of (k, width), of which unpacked ones are unused
    scratch: int  # for each part a block of A packed into panels of (depth, PANEL_ROWS), and an edge tile


@merged
def panels_of(n, array):
    """Width of a panel of B (k,n), and how many there are."""
    width = 2 * lanes(array)
    return width, (n + width - 1) // width


@merged
def _packs_all(p):
    """Whether all of B is packed; else only a last, narrow panel is."""
    return p.transpose_b or p.m > DIRECT_ROWS


@kernel
def _pack(source, start, lane_step, depth_step, count, depth, target, target_start, width):
    """target[d * width + j] = source[j * lane_step + d * depth_step] for j < count, d < depth; one step is 1.

    Where count < width, whatever follows in the source is copied too, or 0: nobody looks at what becomes of it.
    """
    size = lanes(source)
    for j0 in range(0, count, size):
        for d0 in range(0, depth, 1 if lane_step == 1 else size):
            x = start + j0 * lane_step + d0 * depth_step
            y = target_start + d0 * width + j0
            if lane_step == 1 and x + size <= source.size:
                copy_vector(source, x, target, y)
            elif lane_step != 1 and d0 + size <= depth and x + (size - 1) * lane_step + size <= source.size:
                transpose_block(source, x, lane_step, target, y, width)
            else:
                for d in range(1 if lane_step == 1 else min(size, depth - d0)):
                    for j in range(size):
                        element = source[x + j * lane_step + d] if j < count - j0 else 0
                        target[y + d * width + j] = element


@kernel
def pack_b(p, part, parts):
    """Copy this part's panels of B."""
    width, count = panels_of(p.n, p.b)
    first = 0 if _packs_all(p) else p.n // width
    lane_step, depth_step = (p.k, 1) if p.transpose_b else (1, p.n)
    for panel in range(first + part, count, parts):
        start = panel * width * lane_step
        cols = min(width, p.n - panel * width)
        _pack(p.b, start, lane_step, depth_step, cols, p.k, p.workspace, p.panels + panel * width * p.k, width)


@merged
def _multiply_tile(rows, vectors, a, a_start, a_step, b, b_start, b_step, c, c_start, c_step, depth, add):
    """Choose the code of a register tile by its size."""
    if vectors == 2:
        if rows == TILE_ROWS:
            multiply_tile(TILE_ROWS, 2, a, a_start, a_step, b, b_start, b_step, c, c_start, c_step, depth, add)
        elif rows == 4:
            multiply_tile(4, 2, a, a_start, a_step, b, b_start, b_step, c, c_start, c_step, depth, add)
        else:
            multiply_tile(1, 2, a, a_start, a_step, b, b_start, b_step, c, c_start, c_step, depth, add)
    elif rows == TILE_ROWS:
        multiply_tile(TILE_ROWS, 1, a, a_start, a_step, b, b_start, b_step, c, c_start, c_step, depth, add)
    elif rows == 4:
        multiply_tile(4, 1, a, a_start, a_step, b, b_start, b_step, c, c_start, c_step, depth, add)
    else:
        multiply_tile(1, 1, a, a_start, a_step, b, b_start, b_step, c, c_start, c_step, depth, add)


@merged
def _multiply_panel(p, block, edge, row0, rows, depth0, depth, panel):
    """One panel of B times a block of `rows` packed rows of A."""
    width, _ = panels_of(p.n, p.b)
    cols = min(width, p.n - panel * width)
    whole = cols == width
    vectors = 1 if cols <= lanes(p.b) else 2
    add = p.accumulate or depth0 > 0
    b, b_start, b_step = p.workspace, p.panels + panel * width * p.k + depth0 * width, width
    if whole and not _packs_all(p):
        b, b_start, b_step = p.b, depth0 * p.n + panel * width, p.n
    row = 0
    while row < rows:
        left = rows - row
        count = TILE_ROWS if left >= TILE_ROWS else (4 if left >= 4 else 1)
        a, a_start = p.workspace, block + row // TILE_ROWS * PANEL_ROWS * depth + row % TILE_ROWS
        target = (row0 + row) * p.n + panel * width
        c, c_start, c_step = p.c, target, p.n
        if not whole:
            # The vectors of the last panel reach past the row's end: write to a buffer, copy what belongs.
            c, c_start, c_step = p.workspace, edge, width
        _multiply_tile(
            count, vectors, a, a_start, PANEL_ROWS, b, b_start, b_step, c, c_start, c_step, depth, add and whole
        )
        if not whole:
            for i in range(count):
                for j in range(cols):
                    product = p.workspace[edge + i * width + j]
                    at = target + i * p.n + j
                    p.c[at] = p.c[at] + product if add else product
        row += count


@merged
def own_share(p, part, parts):
    """This part's rows of C, or its panels of columns where there are more of these than tiles of rows."""
    tiles = (p.m + TILE_ROWS - 1) // TILE_ROWS
    _, panels = panels_of(p.n, p.b)
    if tiles >= panels:
        start, stop = share_rows(tiles, part, parts)
        return min(start * TILE_ROWS, p.m), min(stop * TILE_ROWS, p.m), 0, panels
    start, stop = share_rows(panels, part, parts)
    return 0, p.m if start < stop else 0, start, stop


@kernel
def multiply_block(p, row0, rows, panel0, panel1, part):
    """A block of rows of C, in a range of panels."""
    edge_size = TILE_ROWS * 2 * lanes(p.b)
    block = p.scratch + part * (BLOCK_PANELS * PANEL_ROWS * DEPTH + edge_size)
    edge = block + BLOCK_PANELS * PANEL_ROWS * DEPTH
    lane_step, depth_step = (1, p.m) if p.transpose_a else (p.k, 1)
    for depth0 in range(0, max(p.k, 1), DEPTH):
        depth = min(DEPTH, p.k - depth0)
        for tile in range(0, rows, TILE_ROWS):
            start = (row0 + tile) * lane_step + depth0 * depth_step
            count = min(PANEL_ROWS, p.m - row0 - tile)
            target = block + tile // TILE_ROWS * PANEL_ROWS * depth
            _pack(p.a, start, lane_step, depth_step, count, depth, p.workspace, target, PANEL_ROWS)
        for panel in range(panel0, panel1):
            _multiply_panel(p, block, edge, row0, rows, depth0, depth, panel)


@merged
def multiply(p, part, parts):
    """This part's share of the product; B must have been packed."""
    row0, row1, panel0, panel1 = own_share(p, part, parts)
    for first in range(row0, row1, BLOCK_ROWS):
        multiply_block(p, first, min(BLOCK_ROWS, row1 - first), panel0, panel1, part)


@merged
def panels_size(k, n, array):
    """Elements of the packed panels of B (k,n)."""
    width, count = panels_of(n, array)
    return width * count * k


def panels_bytes(k: int, n: int, itemsize: int) -> int:
    """Bytes of B (k,n) packed into panels."""
    width = 2 * VECTOR_BYTES // itemsize
    return (n + width - 1) // width * width * k * itemsize


def scratch_bytes(itemsize: int, parts: int) -> int:
    """Bytes of one block of A and one edge tile for each part."""
    return (BLOCK_PANELS * PANEL_ROWS * DEPTH * itemsize + TILE_ROWS * 2 * VECTOR_BYTES) * parts
