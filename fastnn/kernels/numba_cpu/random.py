"""Random numbers from a counter: element e gets the same one whatever the backend and the number of threads."""

from __future__ import annotations

import math

from numpy import int64, uint64

from fastnn.kernels.numba_cpu.common import inlined, kernel, share
from fastnn.kernels.numba_cpu.elementary import log, quarter_cosine, quarter_sine

# Numba makes a float64 of a uint64 and an int64: all numbers here are unsigned.
_ONE, _TWO, _THREE, _FOUR = uint64(1), uint64(2), uint64(3), uint64(4)
_LOW = uint64(0xFFFFFFFF)
_EIGHT, _HALF = uint64(8), uint64(32)
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


@inlined
def normal_pair(a, b, T):
    """Two standard normal numbers r cos(t), r sin(t) of type T from two words (Box and Muller 1958).

    r = sqrt(-2 log(u)), u in (0, 1] from the upper 24 bits of a, which float32 has exactly. t = pi / 2 (q + f) from
    those of b, q its nearest quarter turn.
    """
    r = math.sqrt(T(-2) * log(T(int64(a >> _EIGHT) + 1) * T(2.0**-24)))
    v = int64(b >> _EIGHT)
    q = (v + 0x200000) >> 22
    f = T(v - (q << 22)) * T(2.0**-22)
    c, s = quarter_cosine(f), quarter_sine(f)
    r = -r if q & 2 else r  # half a turn
    return r * (-s if q & 1 else c), r * (c if q & 1 else s)


@inlined
def normals(block, seed, stream, step, T):
    """Four standard normal numbers of type T."""
    key = uint64(seed)
    words = philox4x32(block, uint64(step), uint64(stream), key & _LOW, key >> _HALF)
    z0, z1 = normal_pair(words[0], words[1], T)
    z2, z3 = normal_pair(words[2], words[3], T)
    return z0, z1, z2, z3


@kernel
def gaussian_noise(x, y, stddev, seed, stream, step, part, parts):
    """x (n) -> y (n): x + stddev z."""
    T = x.dtype.type
    scale = T(stddev)
    start, stop = share(x.size, part, parts)
    for block in range(start // _FOUR, stop // _FOUR):
        z = normals(block, seed, stream, step, T)
        i = _FOUR * block
        y[i] = x[i] + scale * z[0]
        y[i + _ONE] = x[i + _ONE] + scale * z[1]
        y[i + _TWO] = x[i + _TWO] + scale * z[2]
        y[i + _THREE] = x[i + _THREE] + scale * z[3]
    z = normals(stop // _FOUR, seed, stream, step, T)
    for i in range(stop - stop % _FOUR, stop):
        y[i] = x[i] + scale * z[i % _FOUR]


@kernel
def gaussian_dropout(x, y, stddev, seed, stream, step, part, parts):
    """x (n) -> y (n): x (1 + stddev z)."""
    T = x.dtype.type
    scale = T(stddev)
    start, stop = share(x.size, part, parts)
    for block in range(start // _FOUR, stop // _FOUR):
        z = normals(block, seed, stream, step, T)
        i = _FOUR * block
        y[i] = x[i] * (T(1) + scale * z[0])
        y[i + _ONE] = x[i + _ONE] * (T(1) + scale * z[1])
        y[i + _TWO] = x[i + _TWO] * (T(1) + scale * z[2])
        y[i + _THREE] = x[i + _THREE] * (T(1) + scale * z[3])
    z = normals(stop // _FOUR, seed, stream, step, T)
    for i in range(stop - stop % _FOUR, stop):
        y[i] = x[i] * (T(1) + scale * z[i % _FOUR])


KERNELS = {"dropout": dropout, "gaussian_noise": gaussian_noise, "gaussian_dropout": gaussian_dropout}
WORKSPACE = {}
