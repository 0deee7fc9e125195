"""Matrix product C (m,n) = A (m,k) B (k,n), optionally added to C: register tiles and sizes.

The classic scheme (Goto and van de Geijn 2008, Anatomy of high-performance matrix multiplication): B is cut into
panels of two vectors' width, A into blocks of up to DEPTH columns, and a register tile of up to TILE_ROWS rows times a
panel accumulates along k. The last panel has two or three vectors, the last of which overlaps the one before as far as
there are no columns: 32 x 100 x 10 takes 1.1 us, and 1.5 with B copied to a panel filled up with zeros. Each element of
C is the sum along k in order, in equal stretches of up to DEPTH, whatever the tile it falls into and whatever the number
of threads: results do not depend on either.
"""

from cython cimport floating


cdef extern from "gemm.h" nogil:
    const Py_ssize_t VECTOR_BYTES "FASTNN_VECTOR_BYTES"
    const Py_ssize_t TILE_ROWS "FASTNN_TILE_ROWS"
    const Py_ssize_t SWEEP_COLS "FASTNN_SWEEP_COLS"
    const Py_ssize_t DEPTH "FASTNN_DEPTH"
    const Py_ssize_t PANEL_BYTES "FASTNN_PANEL_BYTES"
    void fastnn_tiles_f32(
        Py_ssize_t rows, Py_ssize_t vectors, Py_ssize_t tiles, Py_ssize_t a_step, Py_ssize_t depth,
        const float *a, Py_ssize_t a_row, Py_ssize_t a_col, const float *b, Py_ssize_t b_row, Py_ssize_t b_last,
        float *c, Py_ssize_t c_row, Py_ssize_t c_last, Py_ssize_t c_step, bint add, const char *next,
        Py_ssize_t next_step, Py_ssize_t ahead,
    ) noexcept
    void fastnn_tiles_f64(
        Py_ssize_t rows, Py_ssize_t vectors, Py_ssize_t tiles, Py_ssize_t a_step, Py_ssize_t depth,
        const double *a, Py_ssize_t a_row, Py_ssize_t a_col, const double *b, Py_ssize_t b_row, Py_ssize_t b_last,
        double *c, Py_ssize_t c_row, Py_ssize_t c_last, Py_ssize_t c_step, bint add, const char *next,
        Py_ssize_t next_step, Py_ssize_t ahead,
    ) noexcept
    void fastnn_dots_f32(
        Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t depth, const float *a, Py_ssize_t a_row,
        const float *b, Py_ssize_t b_col, float *c, Py_ssize_t c_row, bint add,
    ) noexcept
    void fastnn_dots_f64(
        Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t depth, const double *a, Py_ssize_t a_row,
        const double *b, Py_ssize_t b_col, double *c, Py_ssize_t c_row, bint add,
    ) noexcept
    void fastnn_sweep_f32(
        Py_ssize_t cols, Py_ssize_t depth, const float *a, const float *b, Py_ssize_t b_row, float *c, bint add,
    ) noexcept
    void fastnn_sweep_f64(
        Py_ssize_t cols, Py_ssize_t depth, const double *a, const double *b, Py_ssize_t b_row, double *c, bint add,
    ) noexcept

cdef enum:
    # A block of A stays in the second-level cache while the panels of B pass by, half of which it fills where that
    # has 512 KiB. An A that is not much larger is one block, so that each panel of B is packed right before use:
    # 256 x 1024 x 1024 gains 2% to 4%.
    BLOCK_BYTES = 256 * 1024
    WHOLE_BYTES = 384 * 1024
    # Of few columns there are more rows to a block, but no more than this: C stays in the cache for the epilogue.
    BLOCK_DEPTH = 128
    # Columns of B that are packed before the blocks of A pass by, if there are several: they stay in the third-level
    # cache. For a single block a panel is packed right before use, and not sent to the second level and back.
    SLICE_BYTES = 4 * 1024 * 1024
    # Up to so many rows of A a panel of B is read in place: 64 x 256 x 784 is 4% faster than with a copy. Rows of B at
    # multiples of ALIAS_BYTES share a sixteenth of the first-level cache: there a copy gains 5% to 15% for 48 and 64
    # rows, with n = 256, 512 and 1,024.
    PACK_ROWS = 96
    PACK_ALIASED_ROWS = 24
    ALIAS_BYTES = 1024
    # Up to so many panels of B a block of A is read in place: 48 and 128 x 128 x 128 (8 panels in AVX2) are 7% faster
    # than with a copy, at 16 panels there is no difference.
    PACK_PANELS = 12
    # Rows of a matrix that are packed at a time, into all tiles or panels, where those are side by side: to have each
    # in one go would fetch lines that two of them share twice, and touch as many pages as there are rows.
    PACK_DEPTH = 8
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
    void *workspace          # of each thread, one after the other: a block of A, packed columns of B
    int precision            # code of the policy, see table.py
    void *split              # workspace of amx.pxd, for float32; NULL otherwise


cdef inline Py_ssize_t lanes_of(const floating *tag) noexcept nogil:
    return VECTOR_BYTES // <Py_ssize_t> sizeof(floating)


cdef inline Py_ssize_t tiles_of(Py_ssize_t rows) noexcept nogil:
    return (rows + TILE_ROWS - 1) // TILE_ROWS


cdef inline Py_ssize_t stretches_of(Py_ssize_t k) noexcept nogil:
    return max(1, (k + DEPTH - 1) // DEPTH)


cdef inline Py_ssize_t cut(Py_ssize_t total, Py_ssize_t pieces, Py_ssize_t number) noexcept nogil:
    """Where a piece begins: tiles, or stretches, differ by one at most, since small ones are slow."""
    return total // pieces * number + min(number, total % pieces)


cdef inline void tiles(
    Py_ssize_t rows, Py_ssize_t vectors, Py_ssize_t count, Py_ssize_t a_step, Py_ssize_t depth,
    const floating *a, Py_ssize_t a_row, Py_ssize_t a_col, const floating *b, Py_ssize_t b_row, Py_ssize_t b_last,
    floating *c, Py_ssize_t c_row, Py_ssize_t c_last, bint add, const char *next, Py_ssize_t next_step,
    Py_ssize_t ahead,
) noexcept nogil:
    """C (count * rows, vectors) = or += A (count * rows, depth) B (depth, vectors), the last vectors b_last and c_last
    elements from the first."""
    if floating is float:
        fastnn_tiles_f32(
            rows, vectors, count, a_step, depth, a, a_row, a_col, b, b_row, b_last, c, c_row, c_last, rows * c_row,
            add, next, next_step, ahead
        )
    else:
        fastnn_tiles_f64(
            rows, vectors, count, a_step, depth, a, a_row, a_col, b, b_row, b_last, c, c_row, c_last, rows * c_row,
            add, next, next_step, ahead
        )


cdef inline void dots(
    Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t depth, const floating *a, Py_ssize_t a_row,
    const floating *b, Py_ssize_t b_col, floating *c, Py_ssize_t c_row, bint add,
) noexcept nogil:
    """C (rows, cols) = or += A (rows, depth) B' for B (cols, depth), for up to SKINNY_ROWS rows."""
    if floating is float:
        fastnn_dots_f32(rows, cols, depth, a, a_row, b, b_col, c, c_row, add)
    else:
        fastnn_dots_f64(rows, cols, depth, a, a_row, b, b_col, c, c_row, add)


cdef inline void sweep(
    Py_ssize_t cols, Py_ssize_t depth, const floating *a, const floating *b, Py_ssize_t b_row, floating *c, bint add,
) noexcept nogil:
    """C (cols) = or += a (depth) B (depth, cols), for up to SWEEP_COLS columns."""
    if floating is float:
        fastnn_sweep_f32(cols, depth, a, b, b_row, c, add)
    else:
        fastnn_sweep_f64(cols, depth, a, b, b_row, c, add)
