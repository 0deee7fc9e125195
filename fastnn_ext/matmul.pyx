"""Matrix products: matmul, dense and its gradients, bias_add. The scheme and its sizes are explained in gemm.pxd."""

from cython cimport floating
from libc.string cimport memcpy, memset

from fastnn_ext.activations cimport activate, activate_backward
from fastnn_ext.amx cimport (
    FASTNN_AMX, FASTNN_UNIT, SPLIT_ROWS, fits, multiply_split, split, split_bytes, splits, units,
)
from fastnn_ext.gemm cimport (
    ALIAS_BYTES, BLOCK_BYTES, BLOCK_DEPTH, DEPTH, FINISHED_PANELS, PACK_ALIASED_ROWS, PACK_PANELS, PACK_ROWS,
    PANEL_BYTES, SKINNY_ROWS, TILE_ROWS, VECTOR_BYTES, Product, dots, first_row, tile, tile_cols, tiles_of,
)
from fastnn_ext.packing cimport pack
from fastnn_ext.share cimport first


cdef struct Epilogue:
    # y = activation(c + bias), and what went into the activation to `pre`; either pointer may be NULL.
    const void *bias
    bint single  # one bias for all of a vector C
    void *pre
    int activation
    double alpha


cdef struct Block:
    # Rows and columns of A, which become TILE_ROWS or fewer neighbours for each column when packed.
    Py_ssize_t row0, rows, depth0, depth
    const void *a
    bint packed


cdef void pack_block(const Product *p, Block *block, floating *out) noexcept nogil:
    cdef Py_ssize_t tiles = tiles_of(block.rows)
    cdef Py_ssize_t number, row, rows
    cdef const floating *a = <const floating *> block.a
    block.a = out
    block.packed = True
    for number in range(tiles):
        row = first_row(block.rows, tiles, number)
        rows = first_row(block.rows, tiles, number + 1) - row
        pack(a + row * p.a_row, p.a_row, p.a_col, rows, block.depth, out + row * block.depth, rows, TILE_ROWS)


cdef void block_times_panel(
    const Product *p, const Block *block, const floating *b, Py_ssize_t b_row, Py_ssize_t vectors,
    Py_ssize_t col0, Py_ssize_t cols, Py_ssize_t skip,
) noexcept nogil:
    """A block of A times a panel of B, whose first columns are to be skipped."""
    cdef Py_ssize_t width = vectors * VECTOR_BYTES // <Py_ssize_t> sizeof(floating)
    cdef Py_ssize_t tiles = tiles_of(block.rows)
    cdef Py_ssize_t number, i, j, row, rows
    cdef Py_ssize_t a_row = p.a_row, a_col = p.a_col
    cdef bint add = p.accumulate or block.depth0 > 0
    cdef const floating *a
    cdef floating *c
    cdef floating edge[14 * 32]
    for number in range(tiles):
        row = first_row(block.rows, tiles, number)
        rows = first_row(block.rows, tiles, number + 1) - row
        c = <floating *> p.c + (block.row0 + row) * p.n + col0
        if block.packed:
            a = <const floating *> block.a + row * block.depth
            a_row = 1
            a_col = rows
        else:
            a = <const floating *> block.a + row * a_row
        if cols == width:
            tile(rows, vectors, block.depth, a, a_row, a_col, b, b_row, c, p.n, add)
        else:
            # The vectors of the panel reach past the columns that are wanted: write to a buffer, copy what belongs.
            tile(rows, vectors, block.depth, a, a_row, a_col, b, b_row, edge, width, False)
            for i in range(rows):
                for j in range(cols):
                    c[i * p.n + j] = edge[i * width + skip + j] + (c[i * p.n + j] if add else 0)


cdef void finish(
    const Product *p, const Epilogue *e, Py_ssize_t row0, Py_ssize_t rows, Py_ssize_t col0, Py_ssize_t cols,
    floating *tag,
) noexcept nogil:
    """Bias and activation of a block of C while it is in the cache."""
    cdef Py_ssize_t i, j
    cdef floating *c
    cdef const floating *bias = <const floating *> e.bias
    for i in range(row0, row0 + rows):
        c = <floating *> p.c + i * p.n + col0
        if bias and e.single:
            for j in range(cols):
                c[j] += bias[0]
        elif bias:
            for j in range(cols):
                c[j] += bias[col0 + j]
        if e.pre:
            memcpy(<floating *> e.pre + i * p.n + col0, c, cols * sizeof(floating))
        if e.activation:
            activate(e.activation, <floating> e.alpha, c, c, cols)


cdef inline Py_ssize_t vectors_of(const Product *p, const floating *tag) noexcept nogil:
    """Vectors across a panel."""
    cdef Py_ssize_t vectors = 2 if p.b_col != 1 or p.m > SKINNY_ROWS else 8 if p.m == 1 else 4
    while vectors > 2 and vectors * VECTOR_BYTES > p.n * <Py_ssize_t> sizeof(floating):
        vectors //= 2
    return vectors


cdef inline bint packs_b(const Product *p, Py_ssize_t width, const floating *tag) noexcept nogil:
    """Whether panels of B are copied."""
    cdef Py_ssize_t bytes_apart = p.b_row * <Py_ssize_t> sizeof(floating)
    return p.b_col != 1 or p.n < width or p.m > (PACK_ROWS if bytes_apart % ALIAS_BYTES else PACK_ALIASED_ROWS)


cdef void multiply_blocks(
    const Product *p, const Epilogue *e, Py_ssize_t part, Py_ssize_t parts, floating *tag
) noexcept nogil:
    """This part's rows of C (or its columns, where there are more panels of columns than tiles of rows)."""
    cdef Py_ssize_t vectors = vectors_of(p, tag)
    cdef Py_ssize_t width = vectors * VECTOR_BYTES // <Py_ssize_t> sizeof(floating)
    cdef Py_ssize_t panels = (p.n + width - 1) // width
    cdef Py_ssize_t row0 = 0, row1 = p.m, panel0 = 0, panel1 = panels, done
    cdef Py_ssize_t stretch, depth0, number, panel, blocks, block_rows, col, col0, b_row = p.b_row
    cdef bint pack_a = panels > PACK_PANELS
    cdef bint pack_b = packs_b(p, width, tag)
    cdef floating *block_space = <floating *> (<char *> p.workspace + part * (BLOCK_BYTES + PANEL_BYTES))
    cdef floating *panel_space = <floating *> (<char *> block_space + BLOCK_BYTES)
    cdef const floating *b
    cdef Block block
    if tiles_of(p.m) >= panels:
        row0 = p.m * part // parts
        row1 = p.m * (part + 1) // parts
    else:
        panel0 = panels * part // parts
        panel1 = panels * (part + 1) // parts
    for stretch in range(max(1, (p.k + DEPTH - 1) // DEPTH)):
        depth0 = stretch * DEPTH
        block.depth0 = depth0
        block.depth = min(DEPTH, p.k - depth0)
        block_rows = BLOCK_BYTES // (<Py_ssize_t> sizeof(floating) * max(block.depth, BLOCK_DEPTH))
        blocks = (row1 - row0 + block_rows - 1) // block_rows
        for number in range(blocks):
            block.row0 = row0 + (row1 - row0) * number // blocks
            block.rows = row0 + (row1 - row0) * (number + 1) // blocks - block.row0
            block.a = <const floating *> p.a + block.row0 * p.a_row + depth0 * p.a_col
            block.packed = False
            if pack_a:
                pack_block(p, &block, block_space)
            done = panel0
            for panel in range(panel0, panel1):
                # The last panel begins where a whole one fits, if there are so many columns.
                col0 = panel * width
                col = max(0, min(col0, p.n - width))
                b = <const floating *> p.b + depth0 * p.b_row + col * p.b_col
                if pack_b:
                    if p.n < width:
                        memset(panel_space, 0, block.depth * width * sizeof(floating))
                    pack(b, p.b_col, p.b_row, min(width, p.n), block.depth, panel_space, width, tile_cols(tag))
                    b = panel_space
                    b_row = width
                block_times_panel(p, &block, b, b_row, vectors, col0, min(width, p.n - col0), col0 - col)
                if e != NULL and depth0 + DEPTH >= p.k and (panel + 1 - done == FINISHED_PANELS or panel + 1 == panel1):
                    col = done * width
                    finish(p, e, block.row0, block.rows, col, min(p.n, (panel + 1) * width) - col, tag)
                    done = panel + 1


cdef void multiply_rows(
    const Product *p, const Epilogue *e, Py_ssize_t part, Py_ssize_t parts, floating *tag
) noexcept nogil:
    """This part's columns of C, of a few rows of A and a B that is contiguous along k: a dot product each.

    The sum along k is split among the lanes of vectors, each of which adds up DEPTH products at most in a stretch.
    """
    cdef Py_ssize_t col0 = first(p.n, 4, part, parts)
    cdef Py_ssize_t cols = first(p.n, 4, part + 1, parts) - col0
    cdef Py_ssize_t stretch = DEPTH * VECTOR_BYTES // <Py_ssize_t> sizeof(floating)
    cdef Py_ssize_t number, depth0
    for number in range(max(1, (p.k + stretch - 1) // stretch)):
        depth0 = number * stretch
        dots(
            p.m, cols, min(stretch, p.k - depth0), <const floating *> p.a + depth0, p.a_row,
            <const floating *> p.b + col0 * p.b_col + depth0, p.b_col, <floating *> p.c + col0, p.n,
            p.accumulate or depth0 > 0,
        )
    if e != NULL:
        finish(p, e, 0, p.m, col0, cols, tag)


cdef void multiply(
    const Product *given, const Epilogue *e, Py_ssize_t part, Py_ssize_t parts, floating *tag
) noexcept nogil:
    """This part of C. Which way is taken depends on sizes and strides alone."""
    cdef Product p = given[0]
    if p.n == 1:
        # C' = B' A': a vector is its own transpose, and one row is what there are tiles for.
        p.m, p.n = 1, given.m
        p.a, p.b = given.b, given.a
        p.b_row, p.b_col = given.a_col, given.a_row
    if p.m == 1:
        p.a_row = p.a_col = 1
    if 0 < p.m <= SKINNY_ROWS and p.b_col != 1 and p.a_col == 1:
        multiply_rows(&p, e, part, parts, tag)
    else:
        multiply_blocks(&p, e, part, parts, tag)


cdef void prepare(const Product *p, Py_ssize_t part, Py_ssize_t parts, floating *tag) noexcept nogil:
    """This part of what comes before multiplication: both operands split, where that may be used."""
    if floating is float and splits(p):
        split(p, part, parts)


cdef void compute(const Product *p, const Epilogue *e, Py_ssize_t part, Py_ssize_t parts, floating *tag) noexcept nogil:
    """This part of the product, from what `prepare` has made if parts can hold the operands."""
    cdef Py_ssize_t row0 = 0, row1 = p.m, col0 = 0, col1 = p.n, number, row, last
    if floating is float and splits(p) and fits(p):
        if units(p.m) >= units(p.n):
            row0 = first(p.m, FASTNN_UNIT, part, parts)
            row1 = first(p.m, FASTNN_UNIT, part + 1, parts)
        else:
            col0 = first(p.n, FASTNN_UNIT, part, parts)
            col1 = first(p.n, FASTNN_UNIT, part + 1, parts)
        for number in range((row1 - row0 + SPLIT_ROWS - 1) // SPLIT_ROWS):
            row = row0 + number * SPLIT_ROWS
            last = min(row + SPLIT_ROWS, row1)
            multiply_split(p, row, last, col0, col1)
            if e != NULL and col1 > col0:
                finish(p, e, row, last - row, col0, col1 - col0, tag)
    else:
        multiply(p, e, part, parts, tag)


cdef inline Product product(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, const void *a, bint a_transposed, const void *b, bint b_transposed,
    void *c, void *workspace,
) noexcept nogil:
    """Product of an A stored (m, k), or (k, m) if transposed, and a B stored (k, n), or (n, k)."""
    cdef Product p
    p.m, p.n, p.k = m, n, k
    p.a, p.b, p.c = a, b, c
    p.a_row = 1 if a_transposed else k
    p.a_col = m if a_transposed else 1
    p.b_row = 1 if b_transposed else n
    p.b_col = k if b_transposed else 1
    p.accumulate = False
    p.workspace = workspace
    p.precision = 0
    p.split = NULL
    return p


cdef inline void *may_split(Product *p, double precision, void *workspace) noexcept nogil:
    """Let a float32 product be computed from parts as a policy says; returns the workspace behind its own."""
    p.precision = <int> precision
    p.split = workspace
    return <char *> workspace + split_bytes(p.m, p.n, p.k, p.precision)


cdef inline void *behind_blocks(const Product *p, Py_ssize_t parts) noexcept nogil:
    return <char *> p.workspace + (BLOCK_BYTES + PANEL_BYTES) * parts


cdef void matmul(
    floating **buffers, const Py_ssize_t *dims, const double *params, Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """a (m,k), b (k,n) -> y (m,n), a and b stored transposed on request, y added to on request."""
    cdef floating *tag = NULL
    cdef Product p = product(
        dims[0], dims[2], dims[1], buffers[0], params[0] != 0, buffers[1], params[1] != 0, buffers[2], buffers[3]
    )
    p.accumulate = params[2] != 0
    if FASTNN_AMX and floating is float:
        may_split(&p, params[3], behind_blocks(&p, parts))
    if phase == 0:
        prepare(&p, part, parts, tag)
    else:
        compute(&p, NULL, part, parts, tag)


cdef void dense(
    floating **buffers, const Py_ssize_t *dims, const double *params, Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (b,i), w (i,o), bias (o)? -> y (b,o), pre (b,o)?"""
    cdef floating *tag = NULL
    cdef Product p = product(
        dims[0], dims[2], dims[1], buffers[0], False, buffers[1], False, buffers[3], buffers[5]
    )
    cdef Epilogue e
    if FASTNN_AMX and floating is float:
        may_split(&p, params[2], behind_blocks(&p, parts))
    if phase == 0:
        prepare(&p, part, parts, tag)
    else:
        e.bias = buffers[2]
        e.single = p.n == 1
        e.pre = buffers[4]
        e.activation = <int> params[0]
        e.alpha = params[1]
        compute(&p, &e, part, parts, tag)


cdef void column_sums(
    const floating *x, Py_ssize_t rows, Py_ssize_t cols, floating *y, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (rows, cols) -> y (cols): 64 columns at a time, 256 rows in the dtype, those sums in float64."""
    cdef double total[64]
    cdef floating partial[64]
    cdef Py_ssize_t strip, count, i, i0, j
    for strip in range(first(cols, 64, part, parts), first(cols, 64, part + 1, parts), 64):
        count = min(64, cols - strip)
        for j in range(64):
            total[j] = 0
        for i0 in range(0, rows, 256):
            for j in range(64):
                partial[j] = 0
            for i in range(i0, min(i0 + 256, rows)):
                for j in range(count):
                    partial[j] += x[i * cols + strip + j]
            for j in range(64):
                total[j] += partial[j]
        for j in range(count):
            y[strip + j] = <floating> total[j]


cdef void dense_backward(
    floating **buffers, const Py_ssize_t *dims, const double *params, Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """dy (b,o), x (b,i), w (i,o), saved (b,o)? -> dx (b,i)?, dw (i,o), dbias (o)?

    dz = dy * activation'(saved); dw = x' dz; dbias = column sums of dz; dx = dz w'.
    """
    cdef Py_ssize_t b = dims[0], o = dims[1], i = dims[2]
    cdef floating *tag = NULL
    cdef floating *workspace = buffers[7]
    cdef bint activated = buffers[3] != NULL
    cdef const floating *dz = workspace if activated else buffers[0]
    cdef Product for_w, for_x
    cdef Py_ssize_t start, stop
    if activated:
        workspace += (b * o + 15) // 16 * 16
    if phase == 0:
        if activated:
            start = first(b * o, 64, part, parts)
            stop = first(b * o, 64, part + 1, parts)
            activate_backward(
                <int> params[0], <floating> params[1], buffers[0] + start, buffers[3] + start, <floating *> dz + start,
                stop - start
            )
        return
    for_w = product(i, o, b, buffers[1], True, dz, False, buffers[5], workspace)
    for_x = product(b, i, o, dz, False, buffers[2], True, buffers[4], workspace)
    if FASTNN_AMX and floating is float:
        may_split(&for_x, params[2], may_split(&for_w, params[2], behind_blocks(&for_x, parts)))
    if phase == 1:
        prepare(&for_w, part, parts, tag)
        if buffers[4]:
            prepare(&for_x, part, parts, tag)
        if buffers[6]:
            column_sums(dz, b, o, buffers[6], part, parts)
    else:
        compute(&for_w, NULL, part, parts, tag)
        if buffers[4]:
            compute(&for_x, NULL, part, parts, tag)


cdef void bias_add(
    floating **buffers, const Py_ssize_t *dims, const double *params, Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (b,o), bias (o) -> y (b,o)"""
    cdef Py_ssize_t b = dims[0], o = dims[1]
    cdef Py_ssize_t i, j
    cdef const floating *x
    cdef const floating *bias = buffers[1]
    cdef floating *y
    for i in range(first(b, 1, part, parts), first(b, 1, part + 1, parts)):
        x = buffers[0] + i * o
        y = buffers[2] + i * o
        for j in range(o):
            y[j] = x[j] + bias[j]


def _blocks(parts: int) -> int:
    """Bytes of a block of A and a panel of B for each thread."""
    return (BLOCK_BYTES + PANEL_BYTES) * parts


def _split(m: int, n: int, k: int, itemsize: int) -> int:
    """Bytes of both operands split, where the product may be computed from parts under one policy or another."""
    return max(split_bytes(m, n, k, precision) for precision in range(3)) if itemsize == 4 else 0


def _matmul_workspace(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    return _blocks(parts) + _split(dims["m"], dims["n"], dims["k"], itemsize)


def _dense_workspace(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    return _blocks(parts) + _split(dims["b"], dims["o"], dims["i"], itemsize)


def _dense_backward_workspace(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    b, i, o = dims["b"], dims["i"], dims["o"]
    dz = (b * o + 15) // 16 * 16 * itemsize
    return dz + _blocks(parts) + _split(i, o, b, itemsize) + _split(b, i, o, itemsize)


KERNELS = {
    "matmul": (<size_t> &matmul[float], <size_t> &matmul[double]),
    "dense": (<size_t> &dense[float], <size_t> &dense[double]),
    "dense_backward": (<size_t> &dense_backward[float], <size_t> &dense_backward[double]),
    "bias_add": (<size_t> &bias_add[float], <size_t> &bias_add[double]),
}
WORKSPACE = {
    "matmul": _matmul_workspace,
    "dense": _dense_workspace,
    "dense_backward": _dense_backward_workspace,
}
