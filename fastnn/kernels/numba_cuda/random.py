"""Random numbers from a counter: element e gets the same one whatever the grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy import uint64

from fastnn.kernels.numba_cuda.groups import blocks_for
from fastnn.kernels.numba_cuda.shim import cuda
from fastnn.kernels.numba_cuda.sizes import BLOCK

_LOW = uint64(0xFFFFFFFF)
_HALF = uint64(32)
_MULTIPLIER_0, _MULTIPLIER_1 = uint64(0xD2511F53), uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = uint64(0x9E3779B9), uint64(0xBB67AE85)


@cuda.jit(device=True)
def philox4x32(block, step, stream, key_low, key_high):
    """Four words of Philox4x32-10 for a block's number (Salmon et al., Parallel random numbers: as easy as 1, 2, 3).

    The counter is (block low, block high, step, stream). 32-bit words are kept in uint64.
    """
    c0, c1, c2, c3 = block & _LOW, block >> _HALF, step, stream
    k0, k1 = key_low, key_high
    for _ in range(10):
        p0 = _MULTIPLIER_0 * c0
        p1 = _MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
        k0 = (k0 + _WEYL_0) & _LOW
        k1 = (k1 + _WEYL_1) & _LOW
    return c0, c1, c2, c3


@cuda.jit
def dropout(x, y, threshold, scale, key_low, key_high, stream, step):
    """x (n) -> y (n): 0 where the element's word is below the threshold, elsewhere scale x; four elements a thread."""
    T = x.dtype.type
    first = 4 * cuda.grid(1)
    if first < y.size:
        words = philox4x32(uint64(cuda.grid(1)), step, stream, key_low, key_high)
        y[first] = x[first] * scale if words[0] >= threshold else T(0)
        if first + 1 < y.size:
            y[first + 1] = x[first + 1] * scale if words[1] >= threshold else T(0)
        if first + 2 < y.size:
            y[first + 2] = x[first + 2] * scale if words[2] >= threshold else T(0)
        if first + 3 < y.size:
            y[first + 3] = x[first + 3] * scale if words[3] >= threshold else T(0)


def launch_dropout(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    rate, seed = float(params["rate"]), int(params["seed"])
    scale = arrays[0].dtype.type(1 / (1 - rate) if rate < 1 else 0)
    numbers = (int(rate * 2**32), seed & 0xFFFFFFFF, seed >> 32, int(params["stream"]), int(params["step"]))
    threshold, *counter = (uint64(v) for v in numbers)
    launch(dropout, blocks_for(-(-dims["n"] // 4)), BLOCK, *arrays, threshold, scale, *counter)


KERNELS = {"dropout": launch_dropout}
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {}
