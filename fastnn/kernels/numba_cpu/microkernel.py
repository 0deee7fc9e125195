"""The register tile of the matrix product and the transposition of a block, written as LLVM vector instructions.

Numba leaves the choice of vectors and registers to LLVM's loop vectoriser, which does not find a register tile by
itself. These two functions emit explicit vectors as wide as the CPU's.
"""

from __future__ import annotations

import os

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
#: Rows of a packed panel of A: those of the tile and a few more, so that whole vectors are copied.
PANEL_ROWS = 16 if TILE_ROWS > 8 else 8

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
    return builder.inttoptr(builder.add(address, address.type(offset)), kind.as_pointer())


def _splat(builder, scalar, vector) -> ir.Value:
    """A vector whose lanes all equal a scalar."""
    one = builder.insert_element(vector(ir.Undefined), scalar, ir.IntType(32)(0))
    return builder.shuffle_vector(one, vector(ir.Undefined), ir.VectorType(ir.IntType(32), vector.count)(None))


@intrinsic
def lanes(typingctx, array):
    """Elements of an array in one vector."""

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, VECTOR_BYTES // _element(context, array)[1])

    return types.intp(array), codegen


@intrinsic(prefer_literal=True)
def multiply_tile(
    typingctx, rows, vectors, a, a_start, a_step, b, b_start, b_step, c, c_start, c_step, depth, add
):  # fmt: skip
    """C (rows, vectors) = A (rows, depth) B (depth, vectors), or C + A B where `add` is true.

    `rows` and `vectors` are constants. Element (i, l) of A is at ``a_start + i + l * a_step``, row l of B at
    ``b_start + l * b_step``, row i of C at ``c_start + i * c_step`` of their flat arrays. The accumulators are
    variables on the stack that LLVM promotes to registers.
    """
    if not (isinstance(rows, types.IntegerLiteral) and isinstance(vectors, types.IntegerLiteral)):
        return None
    height, width = rows.literal_value, vectors.literal_value

    def codegen(context, builder, signature, args):
        element, size = _element(context, a)
        vector = ir.VectorType(element, VECTOR_BYTES // size)
        integer = args[3].type
        a_next, b_next, c_row = (_address(context, builder, signature.args[i], args[i], args[i + 1]) for i in (2, 5, 8))
        a_step, b_step, c_step = (builder.mul(args[i], integer(size)) for i in (4, 7, 10))
        a_next, b_next = (cgutils.alloca_once_value(builder, value) for value in (a_next, b_next))
        tile = [[cgutils.alloca_once_value(builder, vector(None)) for _ in range(width)] for _ in range(height)]
        with cgutils.for_range(builder, args[11]):
            a_address, b_address = builder.load(a_next), builder.load(b_next)
            b_row = [builder.load(_at(builder, b_address, VECTOR_BYTES * j, vector), align=size) for j in range(width)]
            for i, accumulators in enumerate(tile):
                x = _splat(builder, builder.load(_at(builder, a_address, size * i, element)), vector)
                for y, accumulator in zip(b_row, accumulators, strict=True):
                    product = builder.fmul(x, y, flags=_CONTRACT)
                    builder.store(builder.fadd(product, builder.load(accumulator), flags=_CONTRACT), accumulator)
            builder.store(builder.add(a_address, a_step), a_next)
            builder.store(builder.add(b_address, b_step), b_next)
        targets = [
            (_at(builder, builder.add(c_row, builder.mul(c_step, integer(i))), VECTOR_BYTES * j, vector), accumulator)
            for i, accumulators in enumerate(tile)
            for j, accumulator in enumerate(accumulators)
        ]
        with builder.if_then(args[12]):
            for pointer, accumulator in targets:
                old = builder.load(pointer, align=size)
                builder.store(builder.fadd(old, builder.load(accumulator)), accumulator)
        for pointer, accumulator in targets:
            builder.store(builder.load(accumulator), pointer, align=size)
        return context.get_dummy_value()

    signature = types.void(rows, vectors, a, a_start, a_step, b, b_start, b_step, c, c_start, c_step, depth, add)
    return signature, codegen


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


@intrinsic
def transpose_block(typingctx, source, start, step, target, target_start, target_step):
    """Copy a square block of as many rows as a vector has lanes, transposed.

    Row i of the block is at ``start + i * step`` of `source`, its column j goes to ``target_start + j * target_step``
    of `target`. Each round swaps the off-diagonal quarters of all blocks of twice a width 1, 2, 4, ...
    """

    def codegen(context, builder, signature, args):
        element, size = _element(context, source)
        count = VECTOR_BYTES // size
        vector, mask = ir.VectorType(element, count), ir.VectorType(ir.IntType(32), count)
        integer = args[1].type
        from_, to = (_address(context, builder, signature.args[i], args[i], args[i + 1]) for i in (0, 3))
        step, target_step = (builder.mul(args[i], integer(size)) for i in (2, 5))

        def row(address, stride, i):
            return _at(builder, builder.add(address, builder.mul(stride, integer(i))), 0, vector)

        rows = [builder.load(row(from_, step, i), align=size) for i in range(count)]
        width = 1
        while width < count:
            upper = mask([j if not j & width else count + j - width for j in range(count)])
            lower = mask([j + width if not j & width else count + j for j in range(count)])
            for i in range(count):
                if not i & width:
                    x, y = rows[i], rows[i + width]
                    rows[i], rows[i + width] = builder.shuffle_vector(x, y, upper), builder.shuffle_vector(x, y, lower)
            width *= 2
        for i, value in enumerate(rows):
            builder.store(value, row(to, target_step, i), align=size)
        return context.get_dummy_value()

    return types.void(source, start, step, target, target_start, target_step), codegen
