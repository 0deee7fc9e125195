"""Random numbers from a counter: element e gets the same one whatever the grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy import int64, uint64

from fastnn.kernels.numba_cuda.groups import blocks_for
from fastnn.kernels.numba_cuda.scalar import is_single, quartic
from fastnn.kernels.numba_cuda.shim import cuda, log, sqrt
from fastnn.kernels.numba_cuda.sizes import BLOCK

_LOW = uint64(0xFFFFFFFF)
_EIGHT, _HALF = uint64(8), uint64(32)
_MULTIPLIER_0, _MULTIPLIER_1 = uint64(0xD2511F53), uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = uint64(0x9E3779B9), uint64(0xBB67AE85)


@cuda.jit(device=True)
def philox4x32(block, counter):
    """Four words of Philox4x32-10 for a block's number (Salmon et al., Parallel random numbers: as easy as 1, 2, 3).

    `counter` is key low, key high, stream, step; the counter proper (block low, block high, step, stream). 32-bit words
    are kept in uint64.
    """
    c0, c1, c2, c3 = block & _LOW, block >> _HALF, counter[3], counter[2]
    k0, k1 = counter[0], counter[1]
    for _ in range(10):
        p0 = _MULTIPLIER_0 * c0
        p1 = _MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
        k0 = (k0 + _WEYL_0) & _LOW
        k1 = (k1 + _WEYL_1) & _LOW
    return c0, c1, c2, c3


@cuda.jit
def dropout(x, y, threshold, scale, counter):
    """x (n) -> y (n): 0 where the element's word is below the threshold, elsewhere scale x; four elements a thread."""
    T = x.dtype.type
    first = 4 * cuda.grid(1)
    if first < y.size:
        words = philox4x32(uint64(cuda.grid(1)), counter)
        y[first] = x[first] * scale if words[0] >= threshold else T(0)
        if first + 1 < y.size:
            y[first + 1] = x[first + 1] * scale if words[1] >= threshold else T(0)
        if first + 2 < y.size:
            y[first + 2] = x[first + 2] * scale if words[2] >= threshold else T(0)
        if first + 3 < y.size:
            y[first + 3] = x[first + 3] * scale if words[3] >= threshold else T(0)


@cuda.jit(device=True)
def quarter_sine(f):
    """sin(pi f / 2) for |f| <= 1/2, with coefficients from tools/fit_polynomials.py."""
    T = type(f)
    z = f * f
    if is_single(f):
        return f * quartic(z, 1.570796327, -0.6459640961, 0.07969258273, -0.004681266257, 0.0001582063036)
    rest = T(0.000160441150742190911) + z * (T(-3.5986433529823097e-6) + z * T(5.63393378153785395e-8))
    return f * quartic(
        z, 1.57079632679489661, -0.645964097506244316, 0.0796926262460430031, -0.00468175413234097599, rest
    )


@cuda.jit(device=True)
def quarter_cosine(f):
    """cos(pi f / 2) for |f| <= 1/2."""
    T = type(f)
    z = f * f
    if is_single(f):
        rest = quartic(z, -1.23370055, 0.2536695077, -0.02086347506, 0.0009191963343, -2.49092287e-5)
    else:
        rest = T(-0.0000252020390280291761) + z * (T(4.71067840550522711e-7) + z * T(-6.32939634496742351e-9))
        rest = quartic(
            z, -1.23370055013616983, 0.253669507901047823, -0.0208634807633407725, 0.000919260274546844619, rest
        )
    return T(1) + z * rest


@cuda.jit(device=True)
def normal_pair(a, b, like):
    """Two standard normal numbers r cos(t), r sin(t) of the type of `like` from two words (Box and Muller 1958).

    r = sqrt(-2 log(u)), u in (0, 1] from the upper 24 bits of a, which float32 has exactly. t = pi / 2 (q + f) from
    those of b, q its nearest quarter turn.
    """
    T = type(like)
    r = sqrt(T(-2) * log(T(int64(a >> _EIGHT) + int64(1)) * T(2.0**-24)))
    v = int64(b >> _EIGHT)
    q = (v + 0x200000) >> 22
    f = T(v - (q << 22)) * T(2.0**-22)
    c, s = quarter_cosine(f), quarter_sine(f)
    r = -r if q & 2 else r  # half a turn
    return r * (-s if q & 1 else c), r * (c if q & 1 else s)


@cuda.jit(device=True)
def normals(block, counter, like):
    """Four standard normal numbers of the type of `like`."""
    words = philox4x32(block, counter)
    z0, z1 = normal_pair(words[0], words[1], like)
    z2, z3 = normal_pair(words[2], words[3], like)
    return z0, z1, z2, z3


@cuda.jit
def gaussian_noise(x, y, stddev, counter):
    """x (n) -> y (n): x + stddev z; four elements a thread."""
    first = 4 * cuda.grid(1)
    if first < y.size:
        z = normals(uint64(cuda.grid(1)), counter, stddev)
        y[first] = x[first] + stddev * z[0]
        if first + 1 < y.size:
            y[first + 1] = x[first + 1] + stddev * z[1]
        if first + 2 < y.size:
            y[first + 2] = x[first + 2] + stddev * z[2]
        if first + 3 < y.size:
            y[first + 3] = x[first + 3] + stddev * z[3]


@cuda.jit
def gaussian_dropout(x, y, stddev, counter):
    """x (n) -> y (n): x (1 + stddev z); four elements a thread."""
    one = x.dtype.type(1)
    first = 4 * cuda.grid(1)
    if first < y.size:
        z = normals(uint64(cuda.grid(1)), counter, stddev)
        y[first] = x[first] * (one + stddev * z[0])
        if first + 1 < y.size:
            y[first + 1] = x[first + 1] * (one + stddev * z[1])
        if first + 2 < y.size:
            y[first + 2] = x[first + 2] * (one + stddev * z[2])
        if first + 3 < y.size:
            y[first + 3] = x[first + 3] * (one + stddev * z[3])


def counter_of(params: dict) -> tuple[uint64, ...]:
    """Key (low, high), stream and step as 32-bit words."""
    seed = int(params["seed"])
    return tuple(map(uint64, (seed & 0xFFFFFFFF, seed >> 32, int(params["stream"]), int(params["step"]))))


def launch_dropout(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    rate = float(params["rate"])
    scale = arrays[0].dtype.type(1 / (1 - rate) if rate < 1 else 0)
    threshold = uint64(int(rate * 2**32))
    launch(dropout, blocks_for(-(-dims["n"] // 4)), BLOCK, *arrays, threshold, scale, counter_of(params))


def gaussian(kernel: Any) -> Callable[..., None]:
    """Launcher of a kernel with one thread for every four elements."""

    def launcher(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
        stddev = arrays[0].dtype.type(params["stddev"])
        launch(kernel, blocks_for(-(-dims["n"] // 4)), BLOCK, *arrays, stddev, counter_of(params))

    return launcher


KERNELS = {
    "dropout": launch_dropout,
    "gaussian_noise": gaussian(gaussian_noise),
    "gaussian_dropout": gaussian(gaussian_dropout),
}
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {}
