"""Matrix product by panels: C (m,n) = A (m,k) B (k,n), or C + A B; packing, register tiles and sizes.

The classic scheme (Goto and van de Geijn 2008, Anatomy of high-performance matrix multiplication): B is cut into panels
of a few vectors' columns, A into blocks of BLOCK_ROWS x DEPTH, and a register tile accumulates along k. Each element of
C is the sum along k in order, in stretches of DEPTH, whatever the tile it falls into and whatever the number of
threads: results depend on neither. Few rows by a B that is contiguous along k are dot products instead, each summed up
in the lanes of one vector.

A stretch of a panel is packed by the thread that needs it, right before the rows of a block of A pass by. Then it lies
in the first-level cache, and no thread waits for another one. It is packed again for every block: transposing a float32
takes 0.4 cycles with AVX2, its products with the rows of a whole block take 15.
"""

from __future__ import annotations

from typing import NamedTuple

from fastnn.kernels.numba_cpu.common import array_at, inlined, kernel, merged, share_rows
from fastnn.kernels.numba_cpu.microkernel import (
    TILE_ROWS,
    VECTOR_BYTES,
    copy_vector,
    lanes,
    multiply_dots,
    multiply_tile,
    transpose_block,
)

#: A stretch of a panel of two vectors is 256 x 128 bytes = 32 KiB with AVX-512, half of that with AVX2, and stays in
#: the first-level cache; a block of A is 224 x 256 floats = 224 KiB, or 240 x 256, and stays in the second-level cache.
DEPTH = 256
BLOCK_TILES = 16 if TILE_ROWS > 8 else 40
BLOCK_ROWS = BLOCK_TILES * TILE_ROWS
HALF_ROWS = TILE_ROWS // 2
#: With at most this many rows a panel of B is used too few times to be worth a copy: 32 rows are up to a fifth faster
#: without it, 64 rows a twentieth slower where a row of B has 4096 bytes.
DIRECT_ROWS = 40
#: With at most this many panels a block of A is used too few times to be worth a copy.
DIRECT_PANELS = 4
#: With at most this many rows a B that is contiguous along k is not worth transposing, and each element of C is a dot
#: product of its own: 1 row of 784 by 128 columns takes 7 us instead of 20, 3 rows take 15 instead of 21.
SKINNY_ROWS = 3
#: Dot products at a time.
DOTS = 4
#: Vectors of the widest panel.
MOST_VECTORS = 8


class Product(NamedTuple):
    """C (m,n) = A (m,k) B (k,n), or C + A B: sizes, flat arrays, and where the workspace is free."""

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
    scratch: int  # from here on `scratch_size` elements for each part


@inlined
def flat(array):
    """The elements of a C-contiguous array in a row; `ravel` calls into Numba's run time, for 0.1 us."""
    return array_at(array.ctypes.data, (array.size,), array.dtype)


@merged
def panels_of(p):
    """Vectors in a panel of B, its width, and how many panels there are.

    An FMA unit needs 4 or 5 independent sums to be busy, and there are two units: few rows need more vectors.
    """
    vectors = 2 if p.m > 3 else (3 if p.m > 1 else MOST_VECTORS)
    width = vectors * lanes(p.b)
    return vectors, width, (p.n + width - 1) // width


@inlined
def _pack_elements(source, start, lane_step, depth_step, count, depth, target, target_start, width):
    """What `_pack` does, element by element."""
    for d in range(depth):
        for j in range(count):
            target[target_start + d * width + j] = source[start + j * lane_step + d * depth_step]


@kernel
def _pack(source, start, lane_step, depth_step, count, depth, target, target_start, width):
    """target[d * width + j] = source[j * lane_step + d * depth_step] for j < count, d < depth; one step is 1.

    Whole vectors are copied where the source has as many elements left, and what follows `count` with them: nobody
    looks at what becomes of it. Where `width` is no multiple of a vector's, a row's last vector reaches into the next
    row, which is written later; hence the last lanes come first.
    """
    size = lanes(source)
    for j0 in range((count - 1) // size * size, -1, -size):
        left = min(size, count - j0)
        x, y = start + j0 * lane_step, target_start + j0
        last = x + (left - 1) * lane_step + size  # behind the vector of the last row of lanes at depth 0
        whole = depth
        if lane_step == 1:
            while whole > 0 and x + (whole - 1) * depth_step + size > source.size:
                whole -= 1
            for d in range(whole):
                copy_vector(source, x + d * depth_step, target, y + d * width)
        else:
            whole = (depth + size - 1) // size * size
            while whole > 0 and last + whole - size > source.size:
                whole -= size
            for d in range(0, whole, size):
                transpose_block(source, x + d, lane_step, left, target, y + d * width, width)
        if whole < depth:
            start_left, depth_left = x + whole * depth_step, depth - whole
            _pack_elements(
                source, start_left, lane_step, depth_step, left, depth_left, target, y + whole * width, width
            )


@merged
def _multiply_rows(
    vectors, packed, a, a_start, a_row, a_step, b, b_start, b_step, c, c_start, c_step, depth, add, count
):  # fmt: skip
    """Choose the code of a register tile by its size."""
    if vectors == 2:
        if count == TILE_ROWS and packed:
            multiply_tile(
                TILE_ROWS, 2, a, a_start, 1, TILE_ROWS, b, b_start, b_step, c, c_start, c_step, depth, add, TILE_ROWS
            )
        elif count > HALF_ROWS:
            multiply_tile(
                TILE_ROWS, 2, a, a_start, a_row, a_step, b, b_start, b_step, c, c_start, c_step, depth, add, count
            )
        else:
            multiply_tile(
                HALF_ROWS, 2, a, a_start, a_row, a_step, b, b_start, b_step, c, c_start, c_step, depth, add, count
            )
    elif vectors == 1:
        if count > HALF_ROWS:
            multiply_tile(
                TILE_ROWS, 1, a, a_start, a_row, a_step, b, b_start, b_step, c, c_start, c_step, depth, add, count
            )
        else:
            multiply_tile(
                HALF_ROWS, 1, a, a_start, a_row, a_step, b, b_start, b_step, c, c_start, c_step, depth, add, count
            )
    elif vectors == 3:
        multiply_tile(3, 3, a, a_start, a_row, a_step, b, b_start, b_step, c, c_start, c_step, depth, add, count)
    else:
        multiply_tile(
            1, MOST_VECTORS, a, a_start, a_row, a_step, b, b_start, b_step, c, c_start, c_step, depth, add, count
        )


@merged
def own_share(p, part, parts):
    """This part's rows of C, or its panels of columns where there are more of these than tiles of rows."""
    tiles = (p.m + TILE_ROWS - 1) // TILE_ROWS
    _, _, panels = panels_of(p)
    if tiles >= panels:
        start, stop = share_rows(tiles, part, parts)
        return min(start * TILE_ROWS, p.m), min(stop * TILE_ROWS, p.m), 0, panels
    start, stop = share_rows(panels, part, parts)
    return 0, p.m if start < stop else 0, start, stop


@inlined
def block_height(rows):
    """Rows of a block where as few blocks as possible, all of about the same size, make up so many rows."""
    blocks = max((rows + BLOCK_ROWS - 1) // BLOCK_ROWS, 1)
    tiles = (rows + TILE_ROWS - 1) // TILE_ROWS
    return max((tiles + blocks - 1) // blocks, 1) * TILE_ROWS


@kernel
def multiply_block(p, row0, rows, panel0, panel1, part):
    """A block of rows of C, in a range of panels."""
    size = lanes(p.b)
    vectors, width, _ = panels_of(p)
    block = p.scratch + part * scratch_size(size)
    packed_panel = block + BLOCK_ROWS * DEPTH + size
    edge = packed_panel + MOST_VECTORS * size * DEPTH
    row_step, depth_step = (1, p.m) if p.transpose_a else (p.k, 1)
    lane_step, b_step = (p.k, 1) if p.transpose_b else (1, p.n)
    packs_a = panel1 - panel0 > DIRECT_PANELS and rows > HALF_ROWS
    packs_b = p.transpose_b or rows > DIRECT_ROWS
    for depth0 in range(0, max(p.k, 1), DEPTH):
        depth = min(DEPTH, p.k - depth0)
        add = p.accumulate or depth0 > 0
        a, a_start, a_row, a_step = p.a, row0 * row_step + depth0 * depth_step, row_step, depth_step
        if packs_a:
            for tile in range(0, rows, TILE_ROWS):
                count = min(TILE_ROWS, rows - tile)
                start = a_start + tile * row_step
                _pack(p.a, start, row_step, depth_step, count, depth, p.workspace, block + tile * depth, TILE_ROWS)
            a, a_start, a_row, a_step = p.workspace, block, 1, TILE_ROWS
        for panel in range(panel0, panel1):
            col = panel * width
            cols = min(width, p.n - col)
            whole = cols == width
            b, b_start, b_row = p.b, depth0 * b_step + col * lane_step, b_step
            if packs_b or not whole:
                _pack(p.b, b_start, lane_step, b_step, cols, depth, p.workspace, packed_panel, width)
                b, b_start, b_row = p.workspace, packed_panel, width
            used = 1 if vectors == 2 and cols <= size else vectors
            for row in range(0, rows, TILE_ROWS):
                count = min(TILE_ROWS, rows - row)
                tile_start = a_start + row * (depth if packs_a else row_step)
                # The vectors of the last panel reach past the row's end: write to a buffer, copy what belongs.
                c, c_start, c_step = p.workspace, edge, width
                if whole:
                    c, c_start, c_step = p.c, (row0 + row) * p.n + col, p.n
                _multiply_rows(
                    used, packs_a, a, tile_start, a_row, a_step, b, b_start, b_row, c, c_start, c_step,
                    depth, add and whole, count,
                )  # fmt: skip
                if not whole:
                    for i in range(count):
                        for j in range(cols):
                            product = p.workspace[edge + i * width + j]
                            at = (row0 + row + i) * p.n + col + j
                            p.c[at] = p.c[at] + product if add else product


@kernel
def multiply_skinny(p, part, parts):
    """This part's columns of C, of a few rows of A and a B that is contiguous along k: a dot product each.

    The sum along k is split among the lanes of vectors, each of which adds up DEPTH products at most in a stretch.
    """
    first, last = share_rows((p.n + DOTS - 1) // DOTS, part, parts)
    stretch = DEPTH * lanes(p.b)
    for depth0 in range(0, max(p.k, 1), stretch):
        depth = min(stretch, p.k - depth0)
        for col in range(first * DOTS, min(last * DOTS, p.n), DOTS):
            for row in range(p.m):
                multiply_dots(
                    DOTS, p.a, row * p.k + depth0, p.b, col * p.k + depth0, p.k, p.c, row * p.n + col, depth,
                    p.accumulate or depth0 > 0, p.n - col,
                )  # fmt: skip


@merged
def multiply(p, part, parts):
    """This part's share of the product."""
    if p.transpose_b and (p.m == 1 or (p.m <= SKINNY_ROWS and not p.transpose_a)):
        multiply_skinny(p, part, parts)
        return
    row0, row1, panel0, panel1 = own_share(p, part, parts)
    height = block_height(row1 - row0)
    for first in range(row0, row1, height):
        multiply_block(p, first, min(height, row1 - first), panel0, panel1, part)


@inlined
def scratch_size(lanes):
    """Elements of a part's scratch memory: a packed block of A, a packed stretch of a panel, a tile at the edge.

    The last vector of a packed block of A reaches beyond its end.
    """
    return BLOCK_ROWS * DEPTH + lanes + MOST_VECTORS * lanes * DEPTH + 2 * TILE_ROWS * lanes


def scratch_bytes(itemsize: int, parts: int) -> int:
    """Bytes of scratch memory for each part."""
    return scratch_size.py_func(VECTOR_BYTES // itemsize) * itemsize * parts
