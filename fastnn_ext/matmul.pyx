"""Matrix products: matmul, dense and its gradients, bias_add. The scheme and its sizes are explained in gemm.pxd."""

from cython cimport floating
from libc.string cimport memcpy, memset

from fastnn_ext.activations cimport activate, activate_backward
from fastnn_ext.amx cimport (
    FASTNN_AMX, FASTNN_UNIT, SPLIT_ROWS, fits, multiply_split, split, split_bytes, splits, units,
)
from fastnn_ext.gemm cimport (
    ALIAS_BYTES, BLOCK_BYTES, BLOCK_DEPTH, DEPTH, FINISHED_PANELS, PACK_ALIASED_ROWS, PACK_DEPTH, PACK_PANELS,
    PACK_ROWS, PANEL_BYTES, SKINNY_ROWS, SLICE_BYTES, SWEEP_COLS, TILE_ROWS, VECTOR_BYTES, WHOLE_BYTES, Product, cut,
    dots, lanes_of, stretches_of, sweep, tiles, tiles_of,
)
from fastnn_ext.packing cimport pack
from fastnn_ext.share cimport first

include "multiply.pxi"


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


cdef inline void *behind_blocks(const Product *p, const Product *q, Py_ssize_t parts, floating *tag) noexcept nogil:
    """The workspace behind that of one product, or of two that share it."""
    cdef Py_ssize_t blocks = max(space_bytes(p.m, p.n, sizeof(floating)), space_bytes(q.m, q.n, sizeof(floating)))
    return <char *> p.workspace + blocks * parts


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
        may_split(&p, params[3], behind_blocks(&p, &p, parts, tag))
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
        may_split(&p, params[2], behind_blocks(&p, &p, parts, tag))
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
        may_split(&for_x, params[2], may_split(&for_w, params[2], behind_blocks(&for_w, &for_x, parts, tag)))
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


def _split(m: int, n: int, k: int, itemsize: int) -> int:
    """Bytes of both operands split, where the product may be computed from parts under one policy or another."""
    return max(split_bytes(m, n, k, precision) for precision in range(3)) if itemsize == 4 else 0


def _matmul_workspace(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    m, n, k = dims["m"], dims["n"], dims["k"]
    return parts * space_bytes(m, n, itemsize) + _split(m, n, k, itemsize)


def _dense_workspace(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    b, i, o = dims["b"], dims["i"], dims["o"]
    return parts * space_bytes(b, o, itemsize) + _split(b, o, i, itemsize)


def _dense_backward_workspace(dims: dict, params: dict, itemsize: int, parts: int) -> int:
    b, i, o = dims["b"], dims["i"], dims["o"]
    dz = (b * o + 15) // 16 * 16 * itemsize
    blocks = max(space_bytes(i, o, itemsize), space_bytes(b, i, itemsize))
    return dz + parts * blocks + _split(i, o, b, itemsize) + _split(b, i, o, itemsize)


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
