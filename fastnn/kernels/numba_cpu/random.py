"""Random numbers from a counter: element e gets the same one whatever the backend and the number of threads."""

from __future__ import annotations

from numpy import uint64

from fastnn.kernels.numba_cpu.common import BLOCK, inlined, kernel, share

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
    for i in range(start, stop - 3, 4):
        words = philox4x32(uint64(i >> 2), uint64(step), uint64(stream), low, high)
        y[i] = x[i] * scale if words[0] >= threshold else T(0)
        y[i + 1] = x[i + 1] * scale if words[1] >= threshold else T(0)
        y[i + 2] = x[i + 2] * scale if words[2] >= threshold else T(0)
        y[i + 3] = x[i + 3] * scale if words[3] >= threshold else T(0)
    if stop % 4 != 0:
        words = philox4x32(uint64(stop >> 2), uint64(step), uint64(stream), low, high)
        for i in range(stop // 4 * 4, stop):
            y[i] = x[i] * scale if words[i % 4] >= threshold else T(0)


KERNELS = {"dropout": dropout}
WORKSPACE = {}
