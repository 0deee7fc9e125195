"""What all kernels share: how they are compiled, how work is divided, how a workspace holds float64 numbers."""

from __future__ import annotations

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy import float64, uint64

#: Compiles a kernel. Products may be contracted to FMA; no other rule of IEEE arithmetic is given up, so that NaN,
#: infinities and subnormals keep their meaning. Division by zero gives an infinity instead of an exception.
kernel = numba.njit(error_model="numpy", fastmath={"contract"})
#: The same for small functions that must disappear in the loop around them.
inlined = numba.njit(error_model="numpy", fastmath={"contract"}, forceinline=True)
#: The same, merged before compilation: large functions in many small ones would be optimised once at each level.
merged = numba.njit(error_model="numpy", fastmath={"contract"}, inline="always")
#: For sums over a stretch of fixed length: lanes are added in the order that the vectorised code has.
summing = numba.njit(error_model="numpy", fastmath={"contract", "reassoc"}, forceinline=True)

#: Shares of elements begin at multiples of this: whole vectors, and whole cache lines of any dtype.
BLOCK = 64
#: Long sums go in chunks of this many elements.
CHUNK = 4096


@inlined
def share(n, part, parts):
    """Range of the elements 0..n-1 that belong to `part` of `parts`, starting at a multiple of BLOCK.

    They are unsigned, so that Numba leaves out what it does for negative indices, which count from the end: it would
    keep LLVM from vectorising the loop.
    """
    blocks = (n + BLOCK - 1) // BLOCK
    start = min(blocks * part // parts * BLOCK, n)
    stop = min(blocks * (part + 1) // parts * BLOCK, n)
    return uint64(start), uint64(stop)


@inlined
def share_rows(n, part, parts):
    """Range of the rows 0..n-1 that belong to `part` of `parts`."""
    return n * part // parts, n * (part + 1) // parts


@inlined
def doubles(workspace):
    """The workspace as float64 numbers, whatever the op's dtype."""
    return workspace.view(float64)


@intrinsic
def _pointer(typingctx, address):
    """An address as an untyped pointer."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(address), codegen


@intrinsic(prefer_literal=True)
def stack(typingctx, nbytes):
    """Memory for so many bytes, a constant, in the frame of the function that calls this."""
    if not isinstance(nbytes, types.IntegerLiteral):
        return None

    def codegen(context, builder, signature, args):
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(ir.IntType(8), nbytes.literal_value))
        memory.align = 64
        return builder.bitcast(memory, context.get_value_type(types.voidptr))

    return types.voidptr(nbytes), codegen


@inlined
def array_at(address, shape, dtype):
    """The C-contiguous array of this shape at an address."""
    return numba.carray(_pointer(address), shape, dtype)
