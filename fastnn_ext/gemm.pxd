"""Matrix product C (m,n) = A (m,k) B (k,n), optionally added to C: register tiles and sizes.

The classic scheme (Goto and van de Geijn 2008, Anatomy of high-performance matrix multiplication): B is cut into
panels of two vectors' width, A into blocks of DEPTH columns, and a register tile of up to TILE_ROWS rows times a panel
accumulates along k. Each element of C is the sum along k in order, in stretches of DEPTH, whatever the tile it falls
into and whatever the number of threads: results do not depend on either.
"""

from cython cimport floating


cdef extern from "gemm.h" nogil:
    const Py_ssize_t VECTOR_BYTES "FASTNN_VECTOR_BYTES"
    const Py_ssize_t TILE_ROWS "FASTNN_TILE_ROWS"
    void fastnn_tile_f32(
        Py_ssize_t rows, Py_ssize_t vectors, Py_ssize_t depth, const float *a, Py_ssize_t a_row, Py_ssize_t a_col,
        const float *b, Py_ssize_t b_row, float *c, Py_ssize_t c_row, bint add,
    ) noexcept
    void fastnn_tile_f64(
        Py_ssize_t rows, Py_ssize_t vectors, Py_ssize_t depth, const double *a, Py_ssize_t a_row, Py_ssize_t a_col,
        const double *b, Py_ssize_t b_row, double *c, Py_ssize_t c_row, bint add,
    ) noexcept
    void fastnn_dots_f32(
        Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t depth, const float *a, Py_ssize_t a_row,
        const float *b, Py_ssize_t b_col, float *c, Py_ssize_t c_row, bint add,
    ) noexcept
    void fastnn_dots_f64(
        Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t depth, const double *a, Py_ssize_t a_row,
        const double *b, Py_ssize_t b_col, double *c, Py_ssize_t c_row, bint add,
    ) noexcept

cdef enum:
    # A panel of B is DEPTH x 128 bytes = 32 KiB (half of that for AVX2): it stays in the first-level cache while
    # the rows of A pass by. It is packed just before, not with all of B, which would go to the second level and back.
    DEPTH = 256
    PANEL_BYTES = DEPTH * 128
    # A block of A stays in the second-level cache while the panels of B pass by, half of which it fills where that
    # has 512 KiB.
    BLOCK_BYTES = 256 * 1024
    # Of few columns there are more rows to a block, but no more than this: C stays in the cache for the epilogue.
    BLOCK_DEPTH = 128
    # Up to so many rows of A a panel of B is read in place: 64 x 256 x 784 is 4% faster than with a copy. Rows of B at
    # multiples of ALIAS_BYTES share a sixteenth of the first-level cache: there a copy gains 5% to 15% for 48 and 64
    # rows, with n = 256, 512 and 1,024.
    PACK_ROWS = 96
    PACK_ALIASED_ROWS = 24
    ALIAS_BYTES = 1024
    # Up to so many panels of B a block of A is read in place: 48 and 128 x 128 x 128 (8 panels in AVX2) are 7% faster
    # than with a copy, at 16 panels there is no difference.
    PACK_PANELS = 12
    # Rows up to which a tile is made wider, for want of independent sums: the products of 4 rows and two vectors
    # take as long as a fused multiply-add's 4 cycles of latency. If B is contiguous along k, they are dot products.
    SKINNY_ROWS = 3
    # Panels of C that are finished together, bias and activation, while they are in the second-level cache.
    FINISHED_PANELS = 8


cdef struct Product:
    Py_ssize_t m, n, k
    const void *a
    Py_ssize_t a_row, a_col  # strides in elements, one of them 1
    const void *b
    Py_ssize_t b_row, b_col
    void *c                  # (m, n), contiguous
    bint accumulate
    void *workspace          # of each thread, one after the other: a block of A, a panel of B
    int precision            # code of the policy, see table.py
    void *split              # workspace of amx.pxd, for float32; NULL otherwise


cdef inline Py_ssize_t tile_cols(const floating *tag) noexcept nogil:
    return 2 * VECTOR_BYTES // <Py_ssize_t> sizeof(floating)


cdef inline Py_ssize_t tiles_of(Py_ssize_t rows) noexcept nogil:
    return (rows + TILE_ROWS - 1) // TILE_ROWS


cdef inline Py_ssize_t first_row(Py_ssize_t rows, Py_ssize_t tiles, Py_ssize_t number) noexcept nogil:
    """Where a tile begins: the tiles of a block differ by one row at most, since small ones are slow."""
    return rows // tiles * number + min(number, rows % tiles)


cdef inline void tile(
    Py_ssize_t rows, Py_ssize_t vectors, Py_ssize_t depth, const floating *a, Py_ssize_t a_row, Py_ssize_t a_col,
    const floating *b, Py_ssize_t b_row, floating *c, Py_ssize_t c_row, bint add,
) noexcept nogil:
    """C (rows, vectors) = or += A (rows, depth) B (depth, vectors)."""
    if floating is float:
        fastnn_tile_f32(rows, vectors, depth, a, a_row, a_col, b, b_row, c, c_row, add)
    else:
        fastnn_tile_f64(rows, vectors, depth, a, a_row, a_col, b, b_row, c, c_row, add)


cdef inline void dots(
    Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t depth, const floating *a, Py_ssize_t a_row,
    const floating *b, Py_ssize_t b_col, floating *c, Py_ssize_t c_row, bint add,
) noexcept nogil:
    """C (rows, cols) = or += A (rows, depth) B' for B (cols, depth), for up to SKINNY_ROWS rows."""
    if floating is float:
        fastnn_dots_f32(rows, cols, depth, a, a_row, b, b_col, c, c_row, add)
    else:
        fastnn_dots_f64(rows, cols, depth, a, a_row, b, b_col, c, c_row, add)
