"""Matrix product by panels: C (m,n) = A (m,k) B (k,n), optionally added to C, register tile, packing and sizes.

The classic scheme (Goto and van de Geijn 2008, Anatomy of high-performance matrix multiplication): B is cut into
panels of TILE_COLS columns, A into blocks of ROW_BLOCK x DEPTH, and a register tile of TILE_ROWS x TILE_COLS
accumulates along k. Each element of C is the sum along k in order, in stretches of DEPTH, whatever the tile it falls
into and whatever the number of threads: results do not depend on either.
"""

from cython cimport floating
from libc.string cimport memset


cdef extern from "simd.h" nogil:
    const Py_ssize_t VECTOR_BYTES "FASTNN_VECTOR_BYTES"
    const Py_ssize_t TILE_ROWS "FASTNN_TILE_ROWS"
    ctypedef float vf32 "fastnn_vf32"
    ctypedef double vf64 "fastnn_vf64"
    vf32 fastnn_splat_f32(float x) noexcept
    vf64 fastnn_splat_f64(double x) noexcept

ctypedef fused vector:
    vf32
    vf64

cdef enum:
    # A panel of B is DEPTH x 128 bytes = 32 KiB (half of that for AVX2): it stays in the first-level cache while
    # the rows of A pass by; a block of A is 224 x 256 x 4 bytes = 224 KiB and stays in the second-level cache.
    DEPTH = 256
    TILES_PER_BLOCK = 16
    # Below this many rows a panel of B is used too few times to be worth a copy.
    PACK_ROWS = 96
    # Above this many columns a block of A is used often enough to be worth a copy.
    PACK_COLS = 64


cdef struct Product:
    Py_ssize_t m, n, k
    const void *a
    Py_ssize_t a_row, a_col  # strides in elements
    const void *b
    Py_ssize_t b_row, b_col
    void *c                  # (m, n), contiguous
    bint accumulate
    void *panels             # workspace: packed B, ceil(n / TILE_COLS) panels of k x TILE_COLS
    void *block              # workspace: one packed block of A per thread
    bint by_columns          # share columns among threads, of which each packs the panels that it reads
    int precision            # code of the policy, see table.py
    void *split              # workspace of amx.pxd, for float32; NULL otherwise


cdef inline Py_ssize_t tile_cols(const floating *tag) noexcept nogil:
    return 2 * VECTOR_BYTES // <Py_ssize_t> sizeof(floating)


cdef inline bint pack_all(const Product *p) noexcept nogil:
    """Whether all of B is packed; else only a last, narrow panel is."""
    return p.b_col != 1 or p.m > PACK_ROWS


cdef inline void pack_b(const Product *p, Py_ssize_t part, Py_ssize_t parts, floating *tag) noexcept nogil:
    """Copy this part's panels of B, the last one padded with zeros."""
    cdef Py_ssize_t width = tile_cols(tag)
    cdef Py_ssize_t count = (p.n + width - 1) // width
    cdef Py_ssize_t first = 0 if pack_all(p) else p.n // width
    cdef Py_ssize_t panel, row, col, cols
    cdef const floating *b
    cdef floating *out
    for panel in range((count - first) * part // parts + first, (count - first) * (part + 1) // parts + first):
        cols = min(width, p.n - panel * width)
        b = <const floating *> p.b + panel * width * p.b_col
        out = <floating *> p.panels + panel * width * p.k
        if cols < width:
            memset(out, 0, p.k * width * sizeof(floating))
        if p.b_col == 1:
            for row in range(p.k):
                for col in range(cols):
                    out[row * width + col] = b[row * p.b_row + col]
        else:
            for row in range(p.k):
                for col in range(cols):
                    out[row * width + col] = b[row * p.b_row + col * p.b_col]


cdef inline void pack_a(
    const Product *p, Py_ssize_t row0, Py_ssize_t rows, Py_ssize_t depth0, Py_ssize_t depth, floating *out
) noexcept nogil:
    """Copy a block of A: for each tile of rows, `depth` columns of TILE_ROWS elements (fewer in the last tile)."""
    cdef const floating *a
    cdef Py_ssize_t tile, i, l, count
    for tile in range((rows + TILE_ROWS - 1) // TILE_ROWS):
        count = min(TILE_ROWS, rows - tile * TILE_ROWS)
        a = <const floating *> p.a + (row0 + tile * TILE_ROWS) * p.a_row + depth0 * p.a_col
        for l in range(depth):
            for i in range(count):
                out[l * count + i] = a[i * p.a_row + l * p.a_col]
        out += depth * count


cdef inline vector splat(const void *a, Py_ssize_t offset, vector *tag) noexcept nogil:
    if vector is vf32:
        return fastnn_splat_f32((<const float *> a)[offset])
    else:
        return fastnn_splat_f64((<const double *> a)[offset])


cdef inline void tile_of(
    Py_ssize_t rows, Py_ssize_t depth, const void *a, Py_ssize_t a_row, Py_ssize_t a_col,
    const void *b, Py_ssize_t b_row, void *c, Py_ssize_t c_row, bint add, vector *tag,
) noexcept nogil:
    """C (rows, two vectors) = or += A (rows, depth) B (depth, two vectors); strides in elements.

    `rows` is a constant at each call, so that the loops over it unroll and the accumulators live in registers.
    """
    cdef vector accumulators[2 * 14]
    cdef vector left, right, x
    cdef Py_ssize_t i, l
    cdef Py_ssize_t size = 4 if vector is vf32 else 8
    cdef const char *a_next = <const char *> a
    cdef const char *b_next = <const char *> b
    cdef vector *c_next
    for i in range(rows):
        if vector is vf32:
            accumulators[2 * i] = fastnn_splat_f32(0)
            accumulators[2 * i + 1] = fastnn_splat_f32(0)
        else:
            accumulators[2 * i] = fastnn_splat_f64(0)
            accumulators[2 * i + 1] = fastnn_splat_f64(0)
    for l in range(depth):
        left = (<const vector *> b_next)[0]
        right = (<const vector *> b_next)[1]
        for i in range(rows):
            x = splat(a_next, i * a_row, tag)
            accumulators[2 * i] = accumulators[2 * i] + x * left
            accumulators[2 * i + 1] = accumulators[2 * i + 1] + x * right
        a_next += a_col * size
        b_next += b_row * size
    for i in range(rows):
        c_next = <vector *> (<char *> c + i * c_row * size)
        if add:
            c_next[0] = c_next[0] + accumulators[2 * i]
            c_next[1] = c_next[1] + accumulators[2 * i + 1]
        else:
            c_next[0] = accumulators[2 * i]
            c_next[1] = accumulators[2 * i + 1]
