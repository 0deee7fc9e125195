"""Matrix products through the AMX unit: which ones, their workspace, and how the work is shared. See amx.h.

Both operands are split while they are packed, and looked at: afterwards all threads find for themselves, from the same
numbers, whether the product may be computed from parts. If not, it is left to the FMA kernel.

The tiles' configuration belongs to a thread. It is loaded when a thread begins its share of the units and released at
its end, so that nothing is kept from call to call: other libraries load their own, a signal handler's is apart, and a
forked child has neither tiles nor threads of its parent's, but its permission.
"""

from fastnn_ext.gemm cimport Product


cdef extern from "amx.h" nogil:
    enum:
        FASTNN_AMX
        FASTNN_UNIT
    ctypedef struct fastnn_extent:
        double filling
    bint fastnn_split_pays(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, int precision) noexcept
    Py_ssize_t fastnn_steps(Py_ssize_t k) noexcept
    Py_ssize_t fastnn_unit_bytes(Py_ssize_t k, int precision) noexcept
    void fastnn_split_unit(
        const float *x, Py_ssize_t line_stride, Py_ssize_t k_stride, Py_ssize_t lines, Py_ssize_t k, int precision,
        bint pairs, char *to, fastnn_extent *extent) noexcept
    bint fastnn_split_fits(
        const fastnn_extent *extents, Py_ssize_t a_units, Py_ssize_t b_units, Py_ssize_t k, int precision) noexcept
    void fastnn_split_multiply(
        const char *a, const char *b, Py_ssize_t steps, Py_ssize_t step0, Py_ssize_t count, int precision, float *sums
    ) noexcept
    void fastnn_split_store(
        const float *sums, float *c, Py_ssize_t c_row, Py_ssize_t rows, Py_ssize_t cols, bint add) noexcept
    void fastnn_tiles_configure() noexcept
    void fastnn_tiles_release() noexcept

cdef enum:
    # Rows of C, and of split A with up to 256 x 256 x 6 bytes a stretch in the second-level cache, computed at a time.
    SPLIT_ROWS = 256
    # Elements along k that are summed up before C is added to: the order that split_products.py emulates.
    SPLIT_DEPTH = 256


cdef inline Py_ssize_t units(Py_ssize_t lines) noexcept nogil:
    return (lines + FASTNN_UNIT - 1) // FASTNN_UNIT


cdef inline Py_ssize_t extents_bytes(Py_ssize_t m, Py_ssize_t n) noexcept nogil:
    return ((units(m) + units(n)) * <Py_ssize_t> sizeof(fastnn_extent) + 63) // 64 * 64


cdef inline Py_ssize_t split_bytes(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, int precision) noexcept nogil:
    """Workspace: what all units' numbers are like, the units of A, and those of B; the first byte is aligned to 64."""
    if not fastnn_split_pays(m, n, k, precision):
        return 0
    return 63 + extents_bytes(m, n) + (units(m) + units(n)) * fastnn_unit_bytes(k, precision)


cdef inline fastnn_extent *extents(const Product *p) noexcept nogil:
    return <fastnn_extent *> ((<size_t> p.split + 63) // 64 * 64)


cdef inline char *unit(const Product *p, Py_ssize_t number) noexcept nogil:
    """Where a unit of A, or behind all those a unit of B, lies."""
    return <char *> extents(p) + extents_bytes(p.m, p.n) + number * fastnn_unit_bytes(p.k, p.precision)


cdef inline bint splits(const Product *p) noexcept nogil:
    """Whether the operands are split, with a view to computing the product from their parts."""
    return FASTNN_AMX and p.split != NULL and fastnn_split_pays(p.m, p.n, p.k, p.precision)


cdef inline void split(const Product *p, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    """Split and pack this part's units."""
    cdef Py_ssize_t above = units(p.m), count = above + units(p.n)
    cdef Py_ssize_t number, line
    for number in range(count * part // parts, count * (part + 1) // parts):
        if number < above:
            line = number * FASTNN_UNIT
            fastnn_split_unit(
                <const float *> p.a + line * p.a_row, p.a_row, p.a_col, min(FASTNN_UNIT, p.m - line), p.k, p.precision,
                False, unit(p, number), extents(p) + number
            )
        else:
            line = (number - above) * FASTNN_UNIT
            fastnn_split_unit(
                <const float *> p.b + line * p.b_col, p.b_col, p.b_row, min(FASTNN_UNIT, p.n - line), p.k, p.precision,
                True, unit(p, number), extents(p) + number
            )


cdef inline bint fits(const Product *p) noexcept nogil:
    """Whether parts hold these numbers, after all have been split: the same for every thread."""
    return fastnn_split_fits(extents(p), units(p.m), units(p.n), p.k, p.precision)


cdef inline void multiply_split(
    const Product *p, Py_ssize_t row0, Py_ssize_t row1, Py_ssize_t col0, Py_ssize_t col1
) noexcept nogil:
    """These rows and columns of C, beginning at multiples of a unit, as sums over stretches of SPLIT_DEPTH."""
    cdef Py_ssize_t above = units(p.m), steps = fastnn_steps(p.k), step = 0, count
    cdef Py_ssize_t i, j, row, col
    cdef float sums[32 * 32]
    fastnn_tiles_configure()
    while True:
        count = min(SPLIT_DEPTH // FASTNN_UNIT, steps - step)
        for j in range(units(col1 - col0)):
            col = col0 + j * FASTNN_UNIT
            for i in range(units(row1 - row0)):
                row = row0 + i * FASTNN_UNIT
                fastnn_split_multiply(
                    unit(p, row // FASTNN_UNIT), unit(p, above + col // FASTNN_UNIT), steps, step, count, p.precision,
                    sums
                )
                fastnn_split_store(
                    sums, <float *> p.c + row * p.n + col, p.n, min(FASTNN_UNIT, row1 - row),
                    min(FASTNN_UNIT, col1 - col), p.accumulate or step > 0
                )
        step += count
        if step >= steps:
            break
    fastnn_tiles_release()
