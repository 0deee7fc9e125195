"""Random numbers from a counter: element e gets the same one whatever the grid."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from numpy import int64, uint64

from fastnn.kernels.numba_cuda.groups import blocks_for
from fastnn.kernels.numba_cuda.scalar import is_single, quartic
from fastnn.kernels.numba_cuda.shim import cuda, inlined, log, sqrt
from fastnn.kernels.numba_cuda.sizes import BLOCK
from fastnn.kernels.numba_cuda.vectors import accesses

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


@cuda.jit(device=True)
def words(block, counter, like):
    """Four random words."""
    return philox4x32(block, counter)


@inlined
def dropout(x, word, factor, threshold):
    """0 where the element's word is below the threshold, elsewhere x times the factor."""
    return x * factor if word >= threshold else type(x)(0)


@inlined
def gaussian_noise(x, z, stddev, _):
    """x + stddev z"""
    return x + stddev * z


@inlined
def gaussian_dropout(x, z, stddev, _):
    """x (1 + stddev z)"""
    return x * (type(x)(1) + stddev * z)


@cache
def kernel_of(draw: Any, formula: Any, T: Any) -> Any:
    """The kernel that draws four numbers a thread, one for each of its elements."""
    load, store = accesses(T, 4)

    def kernel(x, y, factor, threshold, counter):
        """x (n) -> y (n) = formula(x, number drawn, factor, threshold)"""
        first = 4 * cuda.grid(1)
        if first < y.size:
            held = cuda.local.array(4, T)
            load(held, x, first)
            drawn = draw(uint64(cuda.grid(1)), counter, T(0))
            for w in range(4):
                held[w] = formula(held[w], drawn[w], factor, threshold)
            store(y, first, held)

    kernel.__qualname__ = formula.__name__  # profilers show it
    return cuda.jit(kernel)


def counter_of(params: dict) -> tuple[uint64, ...]:
    """Key (low, high), stream and step as 32-bit words."""
    seed = int(params["seed"])
    return tuple(map(uint64, (seed & 0xFFFFFFFF, seed >> 32, int(params["stream"]), int(params["step"]))))


def launcher(draw: Any, formula: Any, numbers: Callable[[dict], tuple[float, int]]) -> Callable[..., None]:
    """Launcher of a kernel with the factor and the threshold that follow from an op's parameters."""

    def launch_drawn(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
        T, blocks = arrays[0].dtype.type, blocks_for(-(-dims["n"] // 4))
        factor, threshold = numbers(params)
        launch(kernel_of(draw, formula, T), blocks, BLOCK, *arrays, T(factor), uint64(threshold), counter_of(params))

    return launch_drawn


def dropout_numbers(params: dict) -> tuple[float, int]:
    rate = float(params["rate"])
    return 1 / (1 - rate) if rate < 1 else 0, int(rate * 2**32)


def gaussian_numbers(params: dict) -> tuple[float, int]:
    return params["stddev"], 0


KERNELS = {
    "dropout": launcher(words, dropout, dropout_numbers),
    "gaussian_noise": launcher(normals, gaussian_noise, gaussian_numbers),
    "gaussian_dropout": launcher(normals, gaussian_dropout, gaussian_numbers),
}
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {}
