"""How the elements of matrices lie in memory, and what they are computed in.

Numbers of two bytes, float16 and bfloat16, are uint16 to kernels, and two of them make a word of 32 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.kernels.numba_cuda.shim import cuda, inlined, instruction, move


@instruction("mov.b32 $0, $1;", "f", "r")
def number(bits):
    """The float32 number with these bits."""
    return np.uint32(bits).view(np.float32)


@instruction("mov.b32 $0, $1;", "r", "f")
def bits(x):
    """The bits of a float32 number."""
    return np.float32(x).view(np.uint32)


@instruction("cvt.f32.f16 $0, $1;", "f", "h")
def _from_float16(half):
    return np.uint16(half).view(np.float16).astype(np.float32)


@instruction("cvt.rn.f16.f32 $0, $1;", "h", "f")
def _to_float16(x):
    return np.float16(x).view(np.uint16)


@inlined
def _from_bfloat16(half):
    return number(np.uint32(half) << 16)


@inlined
def _to_bfloat16(x):
    """Rounded to nearest even in integers: there is an instruction from compute capability 8.0 on only."""
    b = bits(x)
    return np.uint16((b + 0x7FFF + (b >> 16 & 1)) >> 16) if x == x else np.uint16(0x7FFF)


@inlined
def same(x):
    """x"""
    return x


@inlined
def _stage(staged, place, x):
    staged[place] = x


@inlined
def _stage_half(staged, place, x):
    if place % 2 == 0:
        staged[place // 2] = np.uint32(x)
    else:
        staged[place // 2] = np.uint32(staged[place // 2] | np.uint32(x) << 16)


@dataclass(frozen=True)
class Format:
    """Elements of one dtype."""

    #: The type that kernels see in memory, the type that a thread reads 16 bytes into, and how many elements share one.
    memory: Any
    staged: Any
    packed: int
    #: What sums of products have, and the way from memory to it and back.
    computed: Any
    widen: Any
    narrow: Any
    #: ``stage(staged, place, x)`` keeps the element x, read alone, as the one at `place`.
    stage: Any
    #: ``give(y, place, sums, first)`` writes 16 bytes of elements, from sums in registers on.
    give: Any


def _half(widen: Any, narrow: Any) -> Format:
    """A format of two bytes."""

    @inlined
    def give(y, place, sums, first):
        words = cuda.local.array(4, np.uint32)
        for w in range(4):
            low, high = narrow(sums[first + 2 * w]), narrow(sums[first + 2 * w + 1])
            words[w] = np.uint32(np.uint32(low) | np.uint32(high) << 16)
        move(y, place, words, 0)

    return Format(np.uint16, np.uint32, 2, np.float32, widen, narrow, _stage_half, give)


def _whole(dtype: Any) -> Format:
    """A format that is computed in as it is."""
    return Format(dtype, dtype, 1, dtype, same, same, _stage, move)


FORMATS = {
    "float32": _whole(np.float32),
    "float64": _whole(np.float64),
    "float16": _half(_from_float16, _to_float16),
    "bfloat16": _half(_from_bfloat16, _to_bfloat16),
}
