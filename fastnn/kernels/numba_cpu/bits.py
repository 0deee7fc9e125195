"""Operations on the binary representation of floating-point numbers, as LLVM instructions that vectorise."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic


class Layout(NamedTuple):
    """An IEEE binary format: bits of a number and of its fraction, exponent bias, sqrt(1/2) as an integer."""

    size: int
    digits: int
    bias: int
    sqrt_half: int

    @property
    def head(self) -> int:
        """Bits to cut for the product of two heads to be exact."""
        return self.digits // 2 + 1

    @property
    def top(self) -> int:
        """2^digits as an integer: or-ed with an integer n < 2^digits it is the number 2^digits + n."""
        return self.bias + self.digits << self.digits


_LAYOUTS = {
    types.float32: Layout(32, 23, 127, 0x3F3504F3),
    types.float64: Layout(64, 52, 1023, 0x3FE6A09E667F3BCD),
}
_Emit = Callable[[ir.IRBuilder, ir.Value, Layout, ir.Type], ir.Value]


def _operation(emit: _Emit) -> Callable:
    """A function of one number from what `emit` makes of its word (builder, word, layout, type of the number)."""

    @intrinsic
    def operation(typingctx, x):
        def codegen(context, builder, signature, args):
            layout = _LAYOUTS[x]
            word = builder.bitcast(args[0], ir.IntType(layout.size))
            return emit(builder, word, layout, args[0].type)

        return (x(x), codegen) if x in _LAYOUTS else None

    operation.__doc__ = emit.__doc__
    return operation


@_operation
def shifted_power_of_two(builder, word, layout, real):
    """2^n for x = n + 1.5 * 2^digits + bias, which has n + bias in its lowest bits."""
    return builder.bitcast(builder.shl(word, word.type(layout.digits)), real)


@_operation
def head(builder, word, layout, real):
    """x cut to the upper half of its digits: x - head(x) and the product of two heads are exact."""
    return builder.bitcast(builder.and_(word, word.type(-1 << layout.head)), real)


@_operation
def exponent(builder, word, layout, real):
    """For normal x > 0 the integer e with x = m 2^e and sqrt(1/2) <= m < sqrt(2)."""
    offset = (layout.bias + 1 << layout.digits) - layout.sqrt_half
    biased = builder.lshr(builder.add(word, word.type(offset)), word.type(layout.digits))
    number = builder.bitcast(builder.or_(biased, word.type(layout.top)), real)
    return builder.fsub(number, real(2.0**layout.digits + layout.bias + 1))


@_operation
def significand(builder, word, layout, real):
    """For normal x > 0 the m with x = m 2^e and sqrt(1/2) <= m < sqrt(2)."""
    fraction = builder.and_(builder.sub(word, word.type(layout.sqrt_half)), word.type((1 << layout.digits) - 1))
    return builder.bitcast(builder.add(fraction, word.type(layout.sqrt_half)), real)


@intrinsic
def order_key(typingctx, x):
    """An integer that orders as the numbers do: -0 equals +0, and a NaN is above infinity.

    LLVM vectorises the maximum of integers, and that of numbers only if it may assume that none is a NaN.
    """
    integer = {types.float32: types.int32, types.float64: types.int64}.get(x)

    def codegen(context, builder, signature, args):
        layout = _LAYOUTS[x]
        # Adding 0 makes +0 of -0. A negative number's other bits are inverted: a larger magnitude is a smaller key.
        word = builder.bitcast(builder.fadd(args[0], args[0].type(0.0)), ir.IntType(layout.size))
        inverted = builder.lshr(builder.ashr(word, word.type(layout.size - 1)), word.type(1))
        nan = builder.fcmp_unordered("uno", args[0], args[0])
        return builder.select(nan, word.type((1 << layout.size - 1) - 1), builder.xor(word, inverted))

    return (integer(x), codegen) if integer else None


@intrinsic
def from_order_key(typingctx, key):
    """The number of an `order_key`."""
    real = {types.int32: types.float32, types.int64: types.float64}[key]

    def codegen(context, builder, signature, args):
        word = args[0]
        size = _LAYOUTS[real].size
        inverted = builder.lshr(builder.ashr(word, word.type(size - 1)), word.type(1))
        return builder.bitcast(builder.xor(word, inverted), context.get_value_type(real))

    return real(key), codegen


@intrinsic
def is_single(typingctx, x):
    """Whether a number is a float32: a constant, so that only one branch of a condition is compiled."""

    def codegen(context, builder, signature, args):
        return ir.Constant(ir.IntType(1), x == types.float32)

    return types.boolean(x), codegen


@intrinsic
def has_fma(typingctx, x):
    """Whether the CPU has fused multiply-add, by x86's name for it: a constant, as `is_single`."""

    def codegen(context, builder, signature, args):
        return ir.Constant(ir.IntType(1), llvm.get_host_cpu_features().get("fma", False))

    return types.boolean(x), codegen


@intrinsic
def fused(typingctx, x, y, z):
    """x y + z, rounded once."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        function = builder.module.declare_intrinsic("llvm.fma", [kind], ir.FunctionType(kind, [kind] * 3))
        return builder.call(function, args)

    return x(x, x, x), codegen


@intrinsic
def with_sign(typingctx, x, sign):
    """|x| with the sign of `sign`."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        function = builder.module.declare_intrinsic("llvm.copysign", [kind], ir.FunctionType(kind, [kind, kind]))
        return builder.call(function, args)

    return x(x, x), codegen
