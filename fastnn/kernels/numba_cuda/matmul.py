"""Matrix products with fused bias and activation, and the gradient of a dense layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.kernels.numba_cuda import activations, reductions, shim, tensor_cores
from fastnn.kernels.numba_cuda.formats import FORMATS
from fastnn.kernels.numba_cuda.groups import blocks_for
from fastnn.kernels.numba_cuda.shim import cuda
from fastnn.kernels.numba_cuda.sizes import BLOCK, DEPTH, TENSOR_TILES, TILES, WAVE
from fastnn.kernels.numba_cuda.tiles import combine, product, widening
from fastnn.table import ACTIVATIONS, ALPHA, HALVES


@cuda.jit
def bias_add(x, bias, y):
    """x (b,o), bias (o) -> y (b,o)"""
    e = cuda.grid(1)
    if e < y.size:
        i, j = e // y.shape[1], e % y.shape[1]
        y[i, j] = x[i, j] + bias[j]


def multiplied(dtype: str, precision: str) -> str:
    """What the tensor cores multiply in a product when this precision is permitted to float32; "float32" if nothing."""
    ways = {"float32": (precision,), "float16": ("float16", "float16_k8"), "bfloat16": ("bfloat16",)}
    return next(filter(tensor_cores.present, ways.get(dtype, ())), "float32")


def plan(m: int, n: int, k: int, itemsize: int, way: str) -> tuple[tuple[int, int], int, int]:
    """Tile and micro-tile for a product, its number of tiles, and how many products each of them adds up.

    The largest tile that makes enough blocks, or that does when the inner dimension is split. `itemsize` is of what is
    computed in.
    """
    *larger, smallest = TILES[itemsize] if way == "float32" else TENSOR_TILES
    fitting = [size for size in larger if size[0] < 2 * min(m, n)]
    for most in (1, k // DEPTH):
        for size in fitting if most else ():
            blocks = -(-m // size[0]) * -(-n // size[0])
            if blocks * most >= WAVE:
                return size, blocks, split(k, -(-WAVE // blocks))
    blocks = -(-m // smallest[0]) * -(-n // smallest[0])
    return smallest, blocks, split(k, min(-(-WAVE // max(blocks, 1)), k // DEPTH))


def split(k: int, parts: int) -> int:
    """Length of at most so many parts of the inner dimension, each but the last of whole sums."""
    return k if parts < 2 else -(-k // (parts * DEPTH)) * DEPTH


def scratch_bytes(m: int, n: int, k: int, itemsize: int, precision: str) -> int:
    """Bytes of scratch memory for a product: parts of it, and both matrices where they are widened first."""
    sizes = []
    for dtype in (name for name in FORMATS if np.dtype(FORMATS[name].memory).itemsize == itemsize):
        way, item = multiplied(dtype, precision), np.dtype(FORMATS[dtype].computed).itemsize
        widened, length = way == "float32" and dtype in HALVES, plan(m, n, k, item, way)[2]
        parts = -(-k // length) if length < k else int(widened)
        sizes.append(item * (parts * m * n + widened * (m * k + k * n)))
    return max(sizes)


def aligned(array: Any, row: int) -> bool:
    """Whether all rows of this length begin at multiples of 16 bytes."""
    return shim.address(array) % 16 == 0 and row * array.dtype.itemsize % 16 == 0


def flat(array: Any, memory: Any) -> Any:
    """The elements of an array as kernels see them."""
    array = array.reshape(array.size)
    return array if array.dtype == memory else array.view(memory)


def launch_product(
    launch: Callable, workspace: Any, a: Any, b: Any, y: Any, bias: Any = None, pre: Any = None, *,
    transpose_a: bool = False, transpose_b: bool = False, accumulate: bool = False, activation: str = "linear",
    alpha: float = 0.0, precision: str = "float32",
) -> None:  # fmt: skip
    """Queue a product; its arguments are the kernel's. `precision` is what the policy permits."""
    (m, n), k, dtype = y.shape, a.shape[0 if transpose_a else 1], y.dtype.name
    form, way = FORMATS[dtype], multiplied(dtype, precision)
    scratch, none = workspace.view(form.computed), shim.absent(np.dtype(form.memory).name, 1)
    y, bias, pre = (none if x is None else flat(x, form.memory) for x in (y, bias, pre))
    rows, given = (a.shape[1], b.shape[1]), [flat(a, form.memory), flat(b, form.memory)]
    read = dtype
    if dtype in HALVES and way == "float32":
        read = "float32"
        for i, x in enumerate(given):
            given[i], scratch = scratch[: x.size], scratch[x.size :]
            launch(widening(dtype), blocks_for(x.size), BLOCK, x, given[i])
    (tile, micro), blocks, length = plan(m, n, k, np.dtype(form.computed).itemsize, way)
    whole, splits = length == k and read == dtype, max(-(-k // max(length, 1)), 1)
    written = dtype if whole else np.dtype(form.computed).name
    kernel, threads = product(tile, micro, read, way, written)
    sizes = m, n, k, length, *(aligned(x, row) for x, row in zip(given, rows, strict=True))
    transposes = bool(transpose_a), bool(transpose_b)
    rest = bool(accumulate), ACTIVATIONS.index(activation), form.computed(alpha)
    if whole:
        even = aligned(y, n) and (pre.size == 0 or aligned(pre, n))
        launch(kernel, blocks, threads, *given, y, bias, pre, *sizes, even, *transposes, *rest)
        return
    partial, absent = scratch[: splits * m * n], shim.absent(written, 1)
    plain = aligned(partial, n), *transposes, False, ACTIVATIONS.index("linear"), form.computed(0)
    launch(kernel, blocks * splits, threads, *given, partial, absent, absent, *sizes, *plain)
    launch(combine(dtype), blocks_for(m * n), BLOCK, partial, y, bias, pre, n, splits, *rest)


def launch_matmul(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    launch_product(launch, workspace, *arrays, **params)


def launch_bias_add(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    launch(bias_add, blocks_for(dims["b"] * dims["o"]), BLOCK, *arrays)


def launch_dense(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    x, w, bias, y, pre = arrays
    launch_product(launch, workspace, x, w, y, bias, pre, **params)


def launch_dense_backward(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    """dz = dy f'(saved), dbias = its column sums, dw = x^T dz, dx = dz w^T."""
    dy, x, w, saved, dx, dw, dbias = arrays
    dz = dy
    if saved.size > 0:
        activation, n = params["activation"], dy.size
        dz = workspace.view(dy.dtype)[:n]
        workspace = workspace[_apart(n * dy.dtype.itemsize) // 8 :]
        flat = [dy.reshape(n), saved.reshape(n), dz]
        alpha = {"alpha": params["alpha"]} if activation in ALPHA else {}
        activations.KERNELS[f"{activation}_backward"](launch, flat, workspace, {"n": n}, alpha)
        dz = dz.reshape(dy.shape)
    if dbias.size > 0:
        reductions.launch_column_sum(launch, [dz, dbias], workspace, {"r": dims["b"], "o": dims["o"]}, {})
    precision = params["precision"]
    launch_product(launch, workspace, x, dz, dw, transpose_a=True, precision=precision)
    if dx.size > 0:
        launch_product(launch, workspace, dz, w, dx, transpose_b=True, precision=precision)


def _matmul_bytes(dims: dict, params: dict, itemsize: int) -> int:
    return scratch_bytes(dims["m"], dims["n"], dims["k"], itemsize, params["precision"])


def _dense_bytes(dims: dict, params: dict, itemsize: int) -> int:
    return scratch_bytes(dims["b"], dims["o"], dims["i"], itemsize, params["precision"])


def _backward_bytes(dims: dict, params: dict, itemsize: int) -> int:
    b, i, o, precision = dims["b"], dims["i"], dims["o"], params["precision"]
    sums = reductions.WORKSPACE["column_sum"]({"r": b, "o": o}, {}, itemsize)
    products = scratch_bytes(i, o, b, itemsize, precision), scratch_bytes(b, i, o, itemsize, precision)
    return _apart(b * o * itemsize) + max(sums, *products)


def _apart(size: int) -> int:
    """Bytes of dz in the workspace, such that what follows is aligned too."""
    return -(-size // 16) * 16


KERNELS = {
    "matmul": launch_matmul, "bias_add": launch_bias_add, "dense": launch_dense,
    "dense_backward": launch_dense_backward,
}  # fmt: skip
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {
    "matmul": _matmul_bytes,
    "dense": _dense_bytes,
    "dense_backward": _backward_bytes,
}
