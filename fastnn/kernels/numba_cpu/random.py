"""Random numbers from a counter: element e gets the same one whatever the backend and the number of threads."""

from __future__ import annotations

from numpy import uint64

from fastnn.kernels.numba_cpu.common import inlined, kernel, share

# Numba makes a float64 of a uint64 and an int64: all numbers here are unsigned.
_ONE, _TWO, _THREE, _FOUR = uint64(1), uint64(2), uint64(3), uint64(4)
_LOW = uint64(0xFFFFFFFF)
_HALF = uint64(32)
_MULTIPLIERS = uint64(0xD2511F53), uint64(0xCD9E8D57)
_WEYL = uint64(0x9E3779B9), uint64(0xBB67AE85)


@inlined
def philox4x32(block, step, stream, key_low, key_high):
    """Four words of Philox4x32-10 for a block's number (Salmon et al., Parallel random numbers: as easy as 1, 2, 3).

    The counter is (block low, block high, step, stream). 32-bit words are kept in uint64.
    """
    c0, c1, c2, c3 = block & _LOW, block >> _HALF, step, stream
    k0, k1 = key_low, key_high
    for _ in range(10):
        p0 = _MULTIPLIERS[0] * c0
        p1 = _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
        k0 = (k0 + _WEYL[0]) & _LOW
        k1 = (k1 + _WEYL[1]) & _LOW
    return c0, c1, c2, c3


@kernel
def dropout(x, y, rate, seed, stream, step, part, parts):
    """x (n) -> y (n): 0 where the element's word is below floor(rate 2^32), elsewhere x / (1 - rate)."""
    T = x.dtype.type
    threshold = uint64(rate * 4294967296.0)
    scale = T(1 / (1 - rate)) if rate < 1 else T(0)
    key = uint64(seed)
    low, high = key & _LOW, key >> _HALF
    start, stop = share(x.size, part, parts)
    for block in range(start // _FOUR, stop // _FOUR):
        words = philox4x32(block, uint64(step), uint64(stream), low, high)
        i = _FOUR * block
        y[i] = x[i] * scale if words[0] >= threshold else T(0)
        y[i + _ONE] = x[i + _ONE] * scale if words[1] >= threshold else T(0)
        y[i + _TWO] = x[i + _TWO] * scale if words[2] >= threshold else T(0)
        y[i + _THREE] = x[i + _THREE] * scale if words[3] >= threshold else T(0)
    # A last block of fewer elements.
    words = philox4x32(stop // _FOUR, uint64(step), uint64(stream), low, high)
    for i in range(stop - stop % _FOUR, stop):
        y[i] = x[i] * scale if words[i % _FOUR] >= threshold else T(0)


KERNELS = {"dropout": dropout}
WORKSPACE = {}
