"""Products of slices of matrices by the tensor cores: of float32 numbers rounded, and of float16 and bfloat16.

A slice holds words of 32 bits: a TF32 number, or two neighbours of the inner dimension of two bytes each. The
instructions multiply 16 rows by 8 columns along 8 words, which their lanes hold in the same places (PTX ISA, "Matrix
fragments for mma.m16n8k8" and "... mma.m16n8k16"): lane 4 g + t has words t and t + 4 of rows g and g + 8 of A and of
column g of B, and columns 2 t and 2 t + 1 of rows g and g + 8 of the sums. Which rows and columns of a tile these are
is free: a lane takes those that lie side by side in a slice, 16 bytes at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from fastnn.kernels.numba_cuda import shim
from fastnn.kernels.numba_cuda.formats import number
from fastnn.kernels.numba_cuda.shim import WARP, cuda, inlined, instruction, move
from fastnn.kernels.numba_cuda.units import Unit, reader

#: Words of a slice in the inner dimension, and of one instruction.
WORDS, DEEP = 16, 8
#: Columns of a thread's rows, in two groups for columns 2 t and 2 t + 1 of each of four instructions.
COLUMNS = 8
#: Bits of the mask that rounds to nearest even 8 bits, and to nearest, ties away from zero, 11 bits.
_UPPER, _TF32 = 0xFFFF0000, 0xFFFFE000


@instruction("cvt.rna.tf32.f32 $0, $1;", "r", "f")
def tf32(x):
    """x rounded to 11 bits of significand, ties away from zero."""
    return np.uint32(0x7FFFFFFF) if np.isnan(x) else (x.view(np.uint32) + np.uint32(0x1000)) & np.uint32(_TF32)


@instruction("cvt.rn.bf16x2.f32 $0, $2, $1;", "r", "ff")
def bf16x2(x, y):
    """x and y rounded to bfloat16, ties to even, x in the lower half."""
    halves = [np.uint32(0x7FFF) if np.isnan(v) else _to_even(v.view(np.uint32)) for v in (x, y)]
    return halves[0] | halves[1] << np.uint32(16)


def _to_even(bits: np.uint32) -> np.uint32:
    return (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)


_OPERANDS = "{$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};"


@instruction(f"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {_OPERANDS}", "ffff", "rrrrrrffff")
def mma_tf32(a0, a1, a2, a3, b0, b1, c0, c1, c2, c3):
    """A lane's part of A B + C, of TF32 numbers."""
    return shim.by_warp(((a0, a1, a2, a3, b0, b1), (c0, c1, c2, c3)), _mma_tf32)


@instruction(f"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {_OPERANDS}", "ffff", "rrrrrrffff")
def mma_bf16(a0, a1, a2, a3, b0, b1, c0, c1, c2, c3):
    """A lane's part of A B + C, of pairs of bfloat16 numbers."""
    return shim.by_warp(((a0, a1, a2, a3, b0, b1), (c0, c1, c2, c3)), _mma_bf16)


@instruction(f"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {_OPERANDS}", "ffff", "rrrrrrffff")
def mma_f16(a0, a1, a2, a3, b0, b1, c0, c1, c2, c3):
    """A lane's part of A B + C, of pairs of float16 numbers."""
    return shim.by_warp(((a0, a1, a2, a3, b0, b1), (c0, c1, c2, c3)), _mma_f16)


@instruction(
    "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {$0,$1,$2,$3}, {$4,$5}, {$6}, {$7,$8,$9,$10};", "ffff", "rrrffff"
)
def mma_f16_half(a0, a1, b0, c0, c1, c2, c3):
    """The same along the first four words."""
    zero = np.uint32(0)
    return mma_f16(a0, a1, zero, zero, b0, zero, c0, c1, c2, c3)


@inlined
def mma_f16_halves(a0, a1, a2, a3, b0, b1, c0, c1, c2, c3):
    """`mma_f16` where that instruction is not there yet."""
    c0, c1, c2, c3 = mma_f16_half(a0, a1, b0, c0, c1, c2, c3)
    return mma_f16_half(a2, a3, b1, c0, c1, c2, c3)


def _mma_tf32(warp: list[tuple]) -> np.ndarray:
    return _mma(warp, lambda words: words & np.uint32(_TF32))


def _mma_bf16(warp: list[tuple]) -> np.ndarray:
    return _mma(warp, lambda words: words.view(np.uint16) * np.uint32(1 << 16))


def _mma_f16(warp: list[tuple]) -> np.ndarray:
    return _mma(warp, lambda words: words.view(np.float16).astype(np.float32))


def _mma(warp: list[tuple], numbers: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What the instructions compute, a row for each lane; `numbers` makes of words float32 numbers or their bits."""
    registers = np.array([operands for operands, _ in warp], np.uint32)
    # Of lane (g, t), register 2 s + h of A is word 4 s + t of row 8 h + g; register s of B that of column g.
    rows = registers[:, :4].reshape(8, 4, 2, 2).transpose(3, 0, 2, 1).reshape(16, DEEP)
    columns = registers[:, 4:].reshape(8, 4, 2).transpose(0, 2, 1).reshape(8, DEEP)
    a, b = (numbers(np.ascontiguousarray(x)).view(np.float32).astype(np.float64) for x in (rows, columns))
    # Register 2 h + i of the sums of lane (g, t) is that of row 8 h + g and column 2 t + i.
    found = (a @ b.T).reshape(2, 8, 4, 2).transpose(1, 2, 0, 3).reshape(WARP, 4)
    return (np.array([sums for _, sums in warp], np.float64) + found).astype(np.float32)


#: Instructions by what they multiply, with the compute capability that has them first: float32 numbers rounded, as
#: table.PRECISIONS names it, or numbers of two bytes.
_MMA = {
    "tf32": (mma_tf32, (8, 0)), "bf16": (mma_bf16, (8, 0)), "bf16x3": (mma_bf16, (8, 0)),
    "bfloat16": (mma_bf16, (8, 0)), "float16": (mma_f16, (8, 0)), "float16_k8": (mma_f16_halves, (7, 5)),
}  # fmt: skip
#: Those of numbers of two bytes.
HALF = ("bfloat16", "float16", "float16_k8")


def present(multiplied: str) -> bool:
    """Whether the device has an instruction that multiplies these."""
    return multiplied in _MMA and shim.capability() >= _MMA[multiplied][1]


def _put_rounded(multiplied: str, tile: int, threads: int, at: Callable) -> Callable:
    """Unit.put of float32 numbers."""
    parts, paired, step = _layout(multiplied)
    deep, word = WORDS // parts, np.uint32
    mine = tile * step // threads

    if multiplied == "tf32":

        @inlined
        def rounded(x, y):
            return tf32(x)
    else:

        @inlined
        def rounded(x, y):
            return bf16x2(x, y)

    @inlined
    def rest(x, y, high):
        """What `rounded` has left of two numbers, rounded."""
        return rounded(x - number(word((high & 0xFFFF) << 16)), y - number(word(high & _UPPER)))

    @inlined
    def put(shared, begin, staged, inner):
        me = cuda.threadIdx.x & (threads - 1)
        highs, lows = cuda.local.array(4, word), cuda.local.array(4, word)
        if inner:
            for q in range(mine // 4):
                e = me + q * threads
                i, first = e // (step // 4), e % (step // 4) * 4 // paired
                for w in range(4 // paired):
                    x, y = staged[q * 4 + w * paired], staged[q * 4 + w * paired + paired - 1]
                    high = rounded(x, y)
                    shared[begin + at(first + w, i)] = high
                    if parts == 2:
                        shared[begin + at(deep + first + w, i)] = rest(x, y, high)
        else:
            for q in range(0, mine // 4, paired):
                e = me + q // paired * threads
                w, i = e // (tile // 4), e % (tile // 4) * 4
                for c in range(4):
                    x, y = staged[q * 4 + c], staged[(q + paired - 1) * 4 + c]
                    highs[c] = rounded(x, y)
                    if parts == 2:
                        lows[c] = rest(x, y, highs[c])
                move(shared, begin + at(w, i), highs, 0)
                if parts == 2:
                    move(shared, begin + at(deep + w, i), lows, 0)

    return put


def _put_halves(multiplied: str, tile: int, threads: int, at: Callable) -> Callable:
    """Unit.put of numbers of two bytes, of which `staged` has words of two neighbours."""
    _, _, step = _layout(multiplied)
    word = np.uint32
    reads = tile * step // threads // 8

    @inlined
    def put(shared, begin, staged, inner):
        me = cuda.threadIdx.x & (threads - 1)
        pairs = cuda.local.array(8, word)
        if inner:
            for q in range(reads):
                e = me + q * threads
                for w in range(4):
                    shared[begin + at(e % (step // 8) * 4 + w, e // (step // 8))] = staged[q * 4 + w]
        else:
            for q in range(0, reads, 2):
                e = me + q // 2 * threads
                w, i = e // (tile // 8), e % (tile // 8) * 8
                for c in range(4):
                    x, y = staged[q * 4 + c], staged[q * 4 + 4 + c]
                    pairs[2 * c] = word(x & 0xFFFF | (y & 0xFFFF) << 16)
                    pairs[2 * c + 1] = word(x >> 16 | y & _UPPER)
                move(shared, begin + at(w, i), pairs, 0)
                move(shared, begin + at(w, i + 4), pairs, 4)

    return put


def _layout(multiplied: str) -> tuple[int, int, int]:
    """Of a slice: parts of each number, numbers in a word, and products."""
    # Of bf16x3 a slice holds hi, then mid.
    parts, paired = 2 if multiplied == "bf16x3" else 1, 1 if multiplied == "tf32" else 2
    return parts, paired, WORDS // parts * paired


@cache
def unit(tile: int, micro: int, multiplied: str) -> Unit:
    """The unit for tiles of `tile` x `tile` elements, `micro` rows of COLUMNS for each thread."""
    mma = _MMA[multiplied][0]
    parts, paired, step = _layout(multiplied)
    # Numbers q & 1 and q >> 1 of the parts make the q-th product, last first.
    deep, products = WORDS // parts, 3 if parts == 2 else 1
    threads = tile * tile // (micro * COLUMNS)
    across = tile // WARP  # warps side by side
    apart = tile // micro * 4
    # A quarter of a warp reads 16 bytes at two places of each of four words' rows: eight banks apart, they all differ.
    stride = tile + 8
    take_rows, take_columns = reader(micro, 4, apart), reader(4, 4, 0)
    word = np.uint32

    @inlined
    def at(w, i):
        """Place of word w of row or column i in a slice.

        Every four words the columns change places, so that lanes that write several words of the same few columns hit
        different banks too; every 32 columns halves of eight do, for lanes that write eight columns each.
        """
        return w * stride + (i ^ (w >> 2 & 3) << 3 ^ (i >> 5 & 1) << 2)

    put = (_put_halves if multiplied in HALF else _put_rounded)(multiplied, tile, threads, at)

    @inlined
    def corner():
        me = cuda.threadIdx.x & (threads - 1)
        lane, warp = me % WARP, me // WARP
        return (warp // across * 8 + lane // 4) * 4, (warp % across * 4 + lane % 4) * COLUMNS

    @inlined
    def multiply(partial, a_slices, b_slices, begin):
        a_first = cuda.local.array(micro, word)
        a_last = cuda.local.array(micro, word)
        b_first = cuda.local.array(4, word)
        b_last = cuda.local.array(4, word)
        me = cuda.threadIdx.x & (threads - 1)
        lane, warp = me % WARP, me // WARP
        row, column = (warp // across * 8 + lane // 4) * 4, (warp % across * 8 + lane // 4) * 4
        for depth in range(0, deep, DEEP):
            for r in range(products):
                q = products - 1 - r
                a_word, b_word = (q & 1) * deep + depth + lane % 4, (q >> 1) * deep + depth + lane % 4
                take_rows(a_first, a_slices, begin + at(a_word, row))
                take_rows(a_last, a_slices, begin + at(a_word + 4, row))
                take_columns(b_first, b_slices, begin + at(b_word, column))
                take_columns(b_last, b_slices, begin + at(b_word + 4, column))
                for i in range(0, micro, 2):
                    for j in range(4):
                        e = i * COLUMNS + j
                        f = e + COLUMNS
                        partial[e], partial[e + 4], partial[f], partial[f + 4] = mma(
                            a_first[i], a_first[i + 1], a_last[i], a_last[i + 1], b_first[j], b_last[j],
                            partial[e], partial[e + 4], partial[f], partial[f + 4],
                        )  # fmt: skip

    return Unit(threads, step, COLUMNS, (apart, 4), paired, word, WORDS * stride, put, corner, multiply)
