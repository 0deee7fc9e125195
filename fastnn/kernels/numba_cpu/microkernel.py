"""The register tile of the matrix product and the transposition of a block, written as LLVM vector instructions.

Numba leaves the choice of vectors and registers to LLVM's loop vectoriser, which does not find a register tile by
itself. These functions emit explicit vectors as wide as the CPU's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _tile() -> tuple[int, int]:
    """Bytes of a vector and rows of the register tile, by what the CPU has and FASTNN_ISA allows.

    32 registers hold 14 x 2 accumulators, 2 vectors of B and 2 broadcasts of A; 16 registers hold 6 x 2, 2 and 2.
    """
    features = llvm.get_host_cpu_features()
    isa = os.environ.get("FASTNN_ISA", "avx512")
    if isa in ("avx512", "amx") and features.get("avx512f"):
        return 64, 14
    if isa != "baseline" and features.get("avx2") and features.get("fma"):
        return 32, 6
    return 16, 6


VECTOR_BYTES, TILE_ROWS = _tile()
_CONTRACT = ("contract",)


def _element(context, array) -> tuple[ir.Type, int]:
    """LLVM type of an array's elements and its size in bytes."""
    element = context.get_value_type(array.dtype)
    return element, context.get_abi_sizeof(element)


def _address(context, builder, array_type, array, start) -> ir.Value:
    """Address of element `start` of an array, as an integer."""
    data = context.make_array(array_type)(context, builder, array).data
    _, size = _element(context, array_type)
    base = builder.ptrtoint(data, start.type)
    return builder.add(base, builder.mul(start, start.type(size)))


def _at(builder, address, offset, kind) -> ir.Value:
    """Pointer to a value of a type at an address."""
    offset = address.type(offset) if isinstance(offset, int) else offset
    return builder.inttoptr(builder.add(address, offset), kind.as_pointer())


def _splat(builder, scalar, vector) -> ir.Value:
    """A vector whose lanes all equal a scalar."""
    one = builder.insert_element(vector(ir.Undefined), scalar, ir.IntType(32)(0))
    return builder.shuffle_vector(one, vector(ir.Undefined), ir.VectorType(ir.IntType(32), vector.count)(None))


def _existing(builder, rows, count) -> list[ir.Value]:
    """Indices of so many rows of which the first `count` exist: the last one stands for those that don't."""
    last = builder.sub(count, count.type(1))
    indices = map(count.type, range(rows))
    return [builder.select(builder.icmp_signed("<", last, i), last, i) for i in indices]


@intrinsic
def lanes(typingctx, array):
    """Elements of an array in one vector."""

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, VECTOR_BYTES // _element(context, array)[1])

    return types.intp(array), codegen


@intrinsic(prefer_literal=True)
def multiply_tile(
    typingctx, rows, vectors, a, a_start, a_row, a_step, b, b_start, b_step, c, c_start, c_step, depth, add, count
):  # fmt: skip
    """The first `count` rows of C (rows, vectors) = A (count, depth) B (depth, vectors), or C + A B if `add` is true.

    `rows` and `vectors` are constants. Element (i, l) of A is at ``a_start + i * a_row + l * a_step``, row l of B at
    ``b_start + l * b_step``, row i of C at ``c_start + i * c_step`` of their flat arrays. Rows of the tile that A does
    not have repeat its last one, and are not stored. The accumulators are variables on the stack that LLVM promotes to
    registers; `a_row` and `count` that are constants become part of the instructions.
    """
    if not (isinstance(rows, types.IntegerLiteral) and isinstance(vectors, types.IntegerLiteral)):
        return None
    height, width = rows.literal_value, vectors.literal_value

    def codegen(context, builder, signature, args):
        element, size = _element(context, a)
        vector = ir.VectorType(element, VECTOR_BYTES // size)
        integer = args[3].type
        a_next, b_next, c_row = (_address(context, builder, signature.args[i], args[i], args[i + 1]) for i in (2, 6, 9))
        a_row, a_step, b_step, c_step = (builder.mul(args[i], integer(size)) for i in (4, 5, 8, 11))
        depth, add, count = args[12:]
        a_rows = [builder.mul(a_row, i) for i in _existing(builder, height, count)]
        a_next, b_next = (cgutils.alloca_once_value(builder, value) for value in (a_next, b_next))
        tile = [[cgutils.alloca_once_value(builder, vector(None)) for _ in range(width)] for _ in range(height)]
        with cgutils.for_range(builder, depth):
            a_address, b_address = builder.load(a_next), builder.load(b_next)
            b_row = [builder.load(_at(builder, b_address, VECTOR_BYTES * j, vector), align=size) for j in range(width)]
            for offset, accumulators in zip(a_rows, tile, strict=True):
                x = _splat(builder, builder.load(_at(builder, a_address, offset, element)), vector)
                for y, accumulator in zip(b_row, accumulators, strict=True):
                    product = builder.fmul(x, y, flags=_CONTRACT)
                    builder.store(builder.fadd(product, builder.load(accumulator), flags=_CONTRACT), accumulator)
            builder.store(builder.add(a_address, a_step), a_next)
            builder.store(builder.add(b_address, b_step), b_next)
        for i, accumulators in enumerate(tile):
            with builder.if_then(builder.icmp_signed("<", integer(i), count), likely=True):
                row = builder.add(c_row, builder.mul(c_step, integer(i)))
                targets = [_at(builder, row, VECTOR_BYTES * j, vector) for j in range(width)]
                with builder.if_then(add):
                    for pointer, accumulator in zip(targets, accumulators, strict=True):
                        old = builder.load(pointer, align=size)
                        builder.store(builder.fadd(old, builder.load(accumulator)), accumulator)
                for pointer, accumulator in zip(targets, accumulators, strict=True):
                    builder.store(builder.load(accumulator), pointer, align=size)
        return context.get_dummy_value()

    arguments = (a, a_start, a_row, a_step, b, b_start, b_step, c, c_start, c_step, depth, add, count)
    return types.void(rows, vectors, *(types.unliteral(t) for t in arguments)), codegen


def _lanes_sum(builder, value) -> ir.Value:
    """The lanes of a vector added up: halves, then halves of those."""
    while isinstance(value.type, ir.VectorType):
        half = value.type.count // 2
        parts = [ir.VectorType(ir.IntType(32), half)(list(range(start, start + half))) for start in (0, half)]
        value = builder.fadd(*(builder.shuffle_vector(value, value.type(ir.Undefined), part) for part in parts))
        if half == 1:
            value = builder.extract_element(value, ir.IntType(32)(0))
    return value


@intrinsic(prefer_literal=True)
def multiply_dots(typingctx, cols, a, a_start, b, b_start, b_step, c, c_start, depth, add, count):
    """The first `count` of `cols` elements of C: dot products of A (depth) with rows of B, or those added to C.

    `cols` is a constant. Row j of B is at ``b_start + j * b_step`` of its flat array; rows that B does not have repeat
    the last one, and are not stored. Each lane of a vector has a sum of its own; what is left of `depth` behind the
    last whole vector is added to the sum of the lanes.
    """
    if not isinstance(cols, types.IntegerLiteral):
        return None
    width = cols.literal_value

    def codegen(context, builder, signature, args):
        element, size = _element(context, a)
        vector = ir.VectorType(element, VECTOR_BYTES // size)
        integer = args[2].type
        left, right, target = (_address(context, builder, signature.args[i], args[i], args[i + 1]) for i in (1, 3, 6))
        b_step = builder.mul(args[5], integer(size))
        depth, add, count = args[8:]
        rows = [builder.add(right, builder.mul(b_step, j)) for j in _existing(builder, width, count)]
        whole = builder.and_(depth, integer(-vector.count))

        def summed(kind, start, stop, step, values):
            sums = [cgutils.alloca_once_value(builder, value) for value in values]
            with cgutils.for_range_slice(builder, start, stop, step, integer) as (index, _):
                offset = builder.mul(index, integer(size))
                x = builder.load(_at(builder, left, offset, kind), align=size)
                for row, total in zip(rows, sums, strict=True):
                    product = builder.fmul(x, builder.load(_at(builder, row, offset, kind), align=size), _CONTRACT)
                    builder.store(builder.fadd(builder.load(total), product, flags=_CONTRACT), total)
            return sums

        lanes = summed(vector, integer(0), whole, integer(vector.count), [vector(None)] * width)
        values = [_lanes_sum(builder, builder.load(total)) for total in lanes]
        for j, total in enumerate(summed(element, whole, depth, integer(1), values)):
            with builder.if_then(builder.icmp_signed("<", integer(j), count), likely=True):
                pointer = _at(builder, target, size * j, element)
                with builder.if_then(add):
                    builder.store(builder.fadd(builder.load(pointer), builder.load(total)), total)
                builder.store(builder.load(total), pointer)
        return context.get_dummy_value()

    arguments = (a, a_start, b, b_start, b_step, c, c_start, depth, add, count)
    return types.void(cols, *(types.unliteral(t) for t in arguments)), codegen


@intrinsic
def copy_vector(typingctx, source, start, target, target_start):
    """Copy as many elements as a vector has lanes."""

    def codegen(context, builder, signature, args):
        element, size = _element(context, source)
        vector = ir.VectorType(element, VECTOR_BYTES // size)
        from_, to = (_address(context, builder, signature.args[i], args[i], args[i + 1]) for i in (0, 2))
        builder.store(builder.load(_at(builder, from_, 0, vector), align=size), _at(builder, to, 0, vector), align=size)
        return context.get_dummy_value()

    return types.void(source, start, target, target_start), codegen


def _transposed(builder, rows, vector, size) -> Iterator[ir.Value]:
    """The columns of a square block as vectors, from the addresses of its rows.

    Vectors are put together from pieces of 16 bytes of rows that far apart, so that what is left is the transposition
    of small squares within the pieces, for which all CPUs have instructions: interleaving row i with row i + half,
    as often as that doubles to a piece.
    """
    lanes, piece, bits = vector.count, 16 // size, ir.IntType(32)
    half = piece // 2
    part = ir.VectorType(vector.element, piece)
    starts = range(0, lanes, piece)

    def indices(values):
        return ir.VectorType(bits, len(values))(values)

    def joined(values):
        while len(values) > 1:
            mask = indices(list(range(2 * values[0].type.count)))
            values = [builder.shuffle_vector(x, y, mask) for x, y in zip(values[::2], values[1::2], strict=True)]
        return values[0]

    lower = indices([j + t + side for j in starts for t in range(half) for side in (0, lanes)])
    upper = indices([j + t + side for j in starts for t in range(half, piece) for side in (0, lanes)])
    for column in starts:
        square = [
            joined([builder.load(_at(builder, rows[i + j], column * size, part), align=size) for j in starts])
            for i in range(piece)
        ]
        for _ in range(half.bit_length()):
            pairs = [(square[i], square[i + half]) for i in range(half)]
            square = [builder.shuffle_vector(x, y, mask) for x, y in pairs for mask in (lower, upper)]
        yield from square


@intrinsic
def transpose_block(typingctx, source, start, step, count, target, target_start, target_step):
    """Copy a square block of as many rows as a vector has lanes, transposed.

    Row i of the block is at ``start + i * step`` of `source`, its column j goes to ``target_start + j * target_step``
    of `target`. Rows from `count` on repeat the one before.
    """

    def codegen(context, builder, signature, args):
        element, size = _element(context, source)
        vector = ir.VectorType(element, VECTOR_BYTES // size)
        integer = args[1].type
        from_, to = (_address(context, builder, signature.args[i], args[i], args[i + 1]) for i in (0, 4))
        step, target_step = (builder.mul(args[i], integer(size)) for i in (2, 6))
        rows = [builder.add(from_, builder.mul(step, i)) for i in _existing(builder, vector.count, args[3])]
        for i, value in enumerate(_transposed(builder, rows, vector, size)):
            offset = builder.mul(target_step, integer(i))
            builder.store(value, _at(builder, to, offset, vector), align=size)
        return context.get_dummy_value()

    return types.void(source, start, step, count, target, target_start, target_step), codegen
