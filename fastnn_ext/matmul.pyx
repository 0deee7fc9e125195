"""Matrix products: matmul, dense and its gradients, bias_add. The scheme and its sizes are explained in gemm.pxd."""

from cython cimport floating
from libc.string cimport memcpy

from fastnn_ext.activations cimport activate, activate_backward
from fastnn_ext.amx cimport (
    FASTNN_AMX, FASTNN_UNIT, SPLIT_ROWS, fits, multiply_split, split, split_bytes, splits, units,
)
from fastnn_ext.gemm cimport (
    DEPTH, PACK_COLS, TILE_ROWS, TILES_PER_BLOCK, VECTOR_BYTES, Product, pack_a, pack_all, pack_b, tile_cols, tile_of,
    vector, vf32, vf64,
)
from fastnn_ext.share cimport first


cdef struct Epilogue:
    # y = activation(c + bias), and what went into the activation to `pre`; either pointer may be NULL.
    const void *bias
    void *pre
    int activation
    double alpha


cdef void tile(
    Py_ssize_t rows, Py_ssize_t depth, const void *a, Py_ssize_t a_row, Py_ssize_t a_col,
    const void *b, Py_ssize_t b_row, void *c, Py_ssize_t c_row, bint add, vector *tag,
) noexcept nogil:
    """Choose the register tile for a number of rows from 1 to TILE_ROWS."""
    if rows == TILE_ROWS:
        tile_of(TILE_ROWS, depth, a, a_row, a_col, b, b_row, c, c_row, add, tag)
    elif rows == 1:
        tile_of(1, depth, a, a_row, a_col, b, b_row, c, c_row, add, tag)
    elif rows == 2:
        tile_of(2, depth, a, a_row, a_col, b, b_row, c, c_row, add, tag)
    elif rows == 3:
        tile_of(3, depth, a, a_row, a_col, b, b_row, c, c_row, add, tag)
    elif rows == 4:
        tile_of(4, depth, a, a_row, a_col, b, b_row, c, c_row, add, tag)
    elif rows == 5:
        tile_of(5, depth, a, a_row, a_col, b, b_row, c, c_row, add, tag)
    elif TILE_ROWS > 6:
        if rows == 6:
            tile_of(6, depth, a, a_row, a_col, b, b_row, c, c_row, add, tag)
        elif rows == 7:
            tile_of(7, depth, a, a_row, a_col, b, b_row, c, c_row, add, tag)
        elif rows == 8:
            tile_of(8, depth, a, a_row, a_col, b, b_row, c, c_row, add, tag)
        elif rows == 9:
            tile_of(9, depth, a, a_row, a_col, b, b_row, c, c_row, add, tag)
        elif rows == 10:
            tile_of(10, depth, a, a_row, a_col, b, b_row, c, c_row, add, tag)
        elif rows == 11:
            tile_of(11, depth, a, a_row, a_col, b, b_row, c, c_row, add, tag)
        elif rows == 12:
            tile_of(12, depth, a, a_row, a_col, b, b_row, c, c_row, add, tag)
        elif rows == 13:
            tile_of(13, depth, a, a_row, a_col, b, b_row, c, c_row, add, tag)


cdef void row_of_tiles(
    const Product *p, const floating *a, Py_ssize_t a_row, Py_ssize_t a_col, bint packed,
    Py_ssize_t row0, Py_ssize_t rows, Py_ssize_t depth0, Py_ssize_t depth, Py_ssize_t panel, bint add,
) noexcept nogil:
    """One panel of B times a block of `rows` rows of A."""
    cdef Py_ssize_t width = tile_cols(a)
    cdef Py_ssize_t cols = min(width, p.n - panel * width)
    cdef bint whole = cols == width
    cdef const floating *b
    cdef Py_ssize_t b_row = width
    cdef floating *c = <floating *> p.c + row0 * p.n + panel * width
    cdef floating edge[14 * 32]
    cdef Py_ssize_t i, j, number, count
    if whole and not pack_all(p):
        b = <const floating *> p.b + depth0 * p.b_row + panel * width
        b_row = p.b_row
    else:
        b = <const floating *> p.panels + panel * width * p.k + depth0 * width
    for number in range((rows + TILE_ROWS - 1) // TILE_ROWS):
        count = min(TILE_ROWS, rows - number * TILE_ROWS)
        if packed:
            a_row = 1
            a_col = count
        if whole:
            if floating is float:
                tile(count, depth, a, a_row, a_col, b, b_row, c, p.n, add, <vf32 *> NULL)
            else:
                tile(count, depth, a, a_row, a_col, b, b_row, c, p.n, add, <vf64 *> NULL)
        else:
            # The vectors of the last panel reach past the row's end: write to a buffer, copy what belongs.
            if floating is float:
                tile(count, depth, a, a_row, a_col, b, b_row, edge, width, False, <vf32 *> NULL)
            else:
                tile(count, depth, a, a_row, a_col, b, b_row, edge, width, False, <vf64 *> NULL)
            for i in range(count):
                for j in range(cols):
                    c[i * p.n + j] = edge[i * width + j] + (c[i * p.n + j] if add else 0)
        a += count * depth if packed else TILE_ROWS * a_row
        c += TILE_ROWS * p.n


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
        if bias:
            for j in range(cols):
                c[j] += bias[col0 + j]
        if e.pre:
            memcpy(<floating *> e.pre + i * p.n + col0, c, cols * sizeof(floating))
        if e.activation:
            activate(e.activation, <floating> e.alpha, c, c, cols)


cdef void multiply(
    const Product *p, const Epilogue *e, Py_ssize_t part, Py_ssize_t parts, floating *tag
) noexcept nogil:
    """This part's rows of C (or its columns, where there are more panels of columns than tiles of rows)."""
    cdef Py_ssize_t width = tile_cols(tag)
    cdef Py_ssize_t tiles = (p.m + TILE_ROWS - 1) // TILE_ROWS
    cdef Py_ssize_t panels = (p.n + width - 1) // width
    cdef Py_ssize_t stretches = max(1, (p.k + DEPTH - 1) // DEPTH)
    cdef Py_ssize_t row0 = 0, row1 = p.m, panel0 = 0, panel1 = panels
    cdef Py_ssize_t number, stretch, first_row, rows, depth0, depth, panel, col1
    cdef Py_ssize_t block_rows = TILES_PER_BLOCK * TILE_ROWS
    cdef bint packed = p.n > PACK_COLS
    cdef floating *block = <floating *> p.block + part * block_rows * DEPTH
    cdef const floating *a
    if tiles >= panels and not p.by_columns:
        row0 = min(tiles * part // parts * TILE_ROWS, p.m)
        row1 = min(tiles * (part + 1) // parts * TILE_ROWS, p.m)
    else:
        panel0 = panels * part // parts
        panel1 = panels * (part + 1) // parts
    col1 = min(panel1 * width, p.n)
    for stretch in range(stretches):
        depth0 = stretch * DEPTH
        depth = min(DEPTH, p.k - depth0)
        for number in range((row1 - row0 + block_rows - 1) // block_rows):
            first_row = row0 + number * block_rows
            rows = min(block_rows, row1 - first_row)
            a = <const floating *> p.a + first_row * p.a_row + depth0 * p.a_col
            if packed:
                pack_a(p, first_row, rows, depth0, depth, block)
                a = block
            for panel in range(panel0, panel1):
                row_of_tiles(
                    p, a, p.a_row, p.a_col, packed, first_row, rows, depth0, depth, panel, p.accumulate or depth0 > 0
                )
            if e != NULL and stretch == stretches - 1 and panel1 > panel0:
                finish(p, e, first_row, rows, panel0 * width, col1 - panel0 * width, tag)


cdef void prepare(const Product *p, Py_ssize_t part, Py_ssize_t parts, floating *tag) noexcept nogil:
    """This part of what comes before multiplication: B packed, or both operands split."""
    if floating is float and splits(p):
        split(p, part, parts)
    else:
        pack_b(p, part, parts, tag)


cdef void compute(Product *p, const Epilogue *e, Py_ssize_t part, Py_ssize_t parts, floating *tag) noexcept nogil:
    """This part of the product, from what `prepare` has made. Operands that parts cannot hold are packed here."""
    cdef Py_ssize_t row0 = 0, row1 = p.m, col0 = 0, col1 = p.n, number, row, last
    if floating is float and splits(p):
        if fits(p):
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
            return
        p.by_columns = True
        pack_b(p, part, parts, tag)
    multiply(p, e, part, parts, tag)


cdef inline Product product(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, const void *a, bint a_transposed, const void *b, bint b_transposed,
    void *c, void *workspace, floating *tag,
) noexcept nogil:
    """Product of an A stored (m, k), or (k, m) if transposed, and a B stored (k, n), or (n, k)."""
    cdef Product p
    cdef Py_ssize_t width = tile_cols(tag)
    p.m, p.n, p.k = m, n, k
    p.a, p.b, p.c = a, b, c
    p.a_row = 1 if a_transposed else k
    p.a_col = m if a_transposed else 1
    p.b_row = 1 if b_transposed else n
    p.b_col = k if b_transposed else 1
    p.accumulate = p.by_columns = False
    p.precision = 0
    p.split = NULL
    p.panels = workspace
    p.block = <floating *> workspace + (n + width - 1) // width * width * k
    return p


cdef inline void *may_split(Product *p, double precision, void *workspace) noexcept nogil:
    """Let a float32 product be computed from parts as a policy says; returns the workspace behind its own."""
    p.precision = <int> precision
    p.split = workspace
    return <char *> workspace + split_bytes(p.m, p.n, p.k, p.precision)


cdef inline void *behind_blocks(const Product *p, Py_ssize_t parts, floating *tag) noexcept nogil:
    return <floating *> p.block + TILES_PER_BLOCK * TILE_ROWS * DEPTH * parts


cdef void matmul(
    floating **buffers, const Py_ssize_t *dims, const double *params, Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """a (m,k), b (k,n) -> y (m,n), a and b stored transposed on request, y added to on request."""
    cdef floating *tag = NULL
    cdef Product p = product(
        dims[0], dims[2], dims[1], buffers[0], params[0] != 0, buffers[1], params[1] != 0, buffers[2], buffers[3], tag
    )
    p.accumulate = params[2] != 0
    if FASTNN_AMX and floating is float:
        may_split(&p, params[3], behind_blocks(&p, parts, tag))
    if phase == 0:
        prepare(&p, part, parts, tag)
    else:
        compute(&p, NULL, part, parts, tag)


cdef void dense(
    floating **buffers, const Py_ssize_t *dims, const double *params, Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (b,i), w (i,o), bias (o)? -> y (b,o), pre (b,o)?"""
    cdef floating *tag = NULL
    cdef Product p = product(dims[0], dims[2], dims[1], buffers[0], False, buffers[1], False, buffers[3], buffers[5], tag)
    cdef Epilogue e
    if FASTNN_AMX and floating is float:
        may_split(&p, params[2], behind_blocks(&p, parts, tag))
    if phase == 0:
        prepare(&p, part, parts, tag)
    else:
        e.bias = buffers[2]
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
    cdef Py_ssize_t width = tile_cols(tag)
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
                <int> params[0], <floating> params[1], buffers[0] + start, buffers[3] + start, <floating *> dz + start, stop - start
            )
        return
    for_w = product(i, o, b, buffers[1], True, dz, False, buffers[5], workspace, tag)
    workspace += (o + width - 1) // width * width * b
    for_x = product(b, i, o, dz, False, buffers[2], True, buffers[4], workspace, tag)
    # One block for both, behind all panels.
    for_w.block = for_x.block
    if FASTNN_AMX and floating is float:
        may_split(&for_x, params[2], may_split(&for_w, params[2], behind_blocks(&for_x, parts, tag)))
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


def _panels(k: int, n: int, itemsize: int) -> int:
    """Bytes of B (k, n) packed into panels."""
    width = 2 * VECTOR_BYTES // itemsize
    return (n + width - 1) // width * width * k * itemsize


def _blocks(itemsize: int, parts: int) -> int:
    """Bytes of one block of A for each thread."""
    return TILES_PER_BLOCK * TILE_ROWS * DEPTH * itemsize * parts


def _split(m: int, n: int, k: int, itemsize: int) -> int:
    """Bytes of both operands split, where the product may be computed from parts under one policy or another."""
    return max(split_bytes(m, n, k, precision) for precision in range(3)) if itemsize == 4 else 0


def _matmul_workspace(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    m, n, k = dims["m"], dims["n"], dims["k"]
    return _panels(k, n, itemsize) + _blocks(itemsize, parts) + _split(m, n, k, itemsize)


def _dense_workspace(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    b, i, o = dims["b"], dims["i"], dims["o"]
    return _panels(i, o, itemsize) + _blocks(itemsize, parts) + _split(b, o, i, itemsize)


def _dense_backward_workspace(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    b, i, o = dims["b"], dims["i"], dims["o"]
    dz = (b * o + 15) // 16 * 16 * itemsize
    parted = _split(i, o, b, itemsize) + _split(b, i, o, itemsize)
    return dz + _panels(b, o, itemsize) + _panels(o, i, itemsize) + _blocks(itemsize, parts) + parted


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
