"""Matrix products with fused bias and activation, and the gradient of a dense layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.kernels.numba_cuda import activations, reductions, scalar, shim
from fastnn.kernels.numba_cuda.groups import blocks_for
from fastnn.kernels.numba_cuda.shim import cuda
from fastnn.kernels.numba_cuda.sizes import BLOCK, FOLD, MICRO, STEP, TILE
from fastnn.table import ACTIVATIONS, ALPHA

#: Threads along each side of a tile, and in all.
SIDE = TILE // MICRO
THREADS = SIDE * SIDE
#: Slices in shared memory. The odd width lets a warp write a column of one without bank conflicts.
SLICE = (STEP, TILE + 1)
FRAGMENT = (MICRO, MICRO)


@cuda.jit
def product(a, b, y, bias, pre, transpose_a, transpose_b, accumulate, activation, alpha):
    """y (m,n) = f(a b + bias), and pre (m,n) = a b + bias where present; with `accumulate` y += a b.

    a is (m,k), or (k,m) with `transpose_a`; b is (k,n), or (n,k) with `transpose_b`; bias is (n) or absent. f is the
    activation with this position in table.ACTIVATIONS.

    Each block computes a tile of y from slices of a and b in shared memory, each thread every SIDE-th row and column
    of it. FOLD slices are added up in the arrays' type; what adding those sums together loses is kept and added last.
    """
    T = y.dtype.type
    m, n = y.shape
    k = a.shape[0] if transpose_a else a.shape[1]
    a_slice = cuda.shared.array(SLICE, y.dtype)
    b_slice = cuda.shared.array(SLICE, y.dtype)
    partial = cuda.local.array(FRAGMENT, y.dtype)
    total = cuda.local.array(FRAGMENT, y.dtype)
    lost = cuda.local.array(FRAGMENT, y.dtype)
    tiles = (n + TILE - 1) // TILE
    top, left = cuda.blockIdx.x // tiles * TILE, cuda.blockIdx.x % tiles * TILE
    me = cuda.threadIdx.x & (THREADS - 1)  # shows the compiler that indices are not negative
    my_row, my_column = me // SIDE, me % SIDE
    for i in range(MICRO):
        for j in range(MICRO):
            partial[i, j] = T(0)
            total[i, j] = T(0)
            lost[i, j] = T(0)

    for start in range(0, k, STEP):
        # Neighbouring threads read neighbouring elements, whichever way a matrix is stored.
        for e in range(me, TILE * STEP, THREADS):
            if transpose_a:
                p, i = e // TILE, e % TILE
                inside = start + p < k and top + i < m
                a_slice[p, i] = a[start + p, top + i] if inside else T(0)
            else:
                p, i = e % STEP, e // STEP
                inside = start + p < k and top + i < m
                a_slice[p, i] = a[top + i, start + p] if inside else T(0)
            if transpose_b:
                p, j = e % STEP, e // STEP
                inside = start + p < k and left + j < n
                b_slice[p, j] = b[left + j, start + p] if inside else T(0)
            else:
                p, j = e // TILE, e % TILE
                inside = start + p < k and left + j < n
                b_slice[p, j] = b[start + p, left + j] if inside else T(0)
        cuda.syncthreads()
        p = 0
        while p < STEP:  # unlike `range`, seen by the compiler to count from 0 to STEP
            for i in range(MICRO):
                for j in range(MICRO):
                    partial[i, j] += a_slice[p, my_row + SIDE * i] * b_slice[p, my_column + SIDE * j]
            p += 1
        cuda.syncthreads()
        if start // STEP % FOLD == FOLD - 1 or start + STEP >= k:
            for i in range(MICRO):
                for j in range(MICRO):
                    total[i, j], rest = scalar.two_sum(total[i, j], partial[i, j])
                    lost[i, j] += rest
                    partial[i, j] = T(0)

    for i in range(MICRO):
        for j in range(MICRO):
            row, column = top + my_row + SIDE * i, left + my_column + SIDE * j
            if row < m and column < n:
                rest = lost[i, j]
                z = total[i, j] + rest if rest == rest else total[i, j]  # the rest of an infinite sum is NaN
                if bias.size > 0:
                    z += bias[column]
                y[row, column] = y[row, column] + z if accumulate else z

    # A loop that stays one: 16 copies of all activations would not fit into the instruction cache.
    if activation != scalar.LINEAR or pre.size > 0:
        for e in range(MICRO * MICRO):
            row, column = top + my_row + SIDE * (e // MICRO), left + my_column + SIDE * (e % MICRO)
            if row < m and column < n:
                z = y[row, column]
                if pre.size > 0:
                    pre[row, column] = z
                y[row, column] = scalar.activate(activation, z, alpha)


@cuda.jit
def bias_add(x, bias, y):
    """x (b,o), bias (o) -> y (b,o)"""
    e = cuda.grid(1)
    if e < y.size:
        i, j = e // y.shape[1], e % y.shape[1]
        y[i, j] = x[i, j] + bias[j]


def launch_product(
    launch: Callable, a: Any, b: Any, y: Any, bias: Any = None, pre: Any = None, *, transpose_a: bool = False,
    transpose_b: bool = False, accumulate: bool = False, activation: str = "linear", alpha: float = 0.0,
    precision: str = "float32",
) -> None:  # fmt: skip
    """Queue a product; its arguments are the kernel's, but for the precision, of which there is one."""
    m, n = y.shape
    dtype = y.dtype
    bias = shim.absent(dtype.name, 1) if bias is None else bias
    pre = shim.absent(dtype.name, 2) if pre is None else pre
    launch(
        product, -(-m // TILE) * -(-n // TILE), THREADS, a, b, y, bias, pre, bool(transpose_a), bool(transpose_b),
        bool(accumulate), ACTIVATIONS.index(activation), dtype.type(alpha),
    )  # fmt: skip


def launch_matmul(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    launch_product(launch, *arrays, **params)


def launch_bias_add(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    launch(bias_add, blocks_for(dims["b"] * dims["o"]), BLOCK, *arrays)


def launch_dense(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    x, w, bias, y, pre = arrays
    launch_product(launch, x, w, y, bias, pre, **params)


def launch_dense_backward(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    """dz = dy f'(saved), dbias = its column sums, dw = x^T dz, dx = dz w^T."""
    dy, x, w, saved, dx, dw, dbias = arrays
    dz = dy
    if saved.size > 0:
        activation, n = params["activation"], dy.size
        dz = workspace.view(dy.dtype)[:n]
        workspace = workspace[-(-n * dy.dtype.itemsize // 8) :]
        flat = [dy.reshape(n), saved.reshape(n), dz]
        alpha = {"alpha": params["alpha"]} if activation in ALPHA else {}
        activations.KERNELS[f"{activation}_backward"](launch, flat, workspace, {"n": n}, alpha)
        dz = dz.reshape(dy.shape)
    if dbias.size > 0:
        reductions.launch_column_sum(launch, [dz, dbias], workspace, {"r": dims["b"], "o": dims["o"]}, {})
    launch_product(launch, x, dz, dw, transpose_a=True)
    if dx.size > 0:
        launch_product(launch, dz, w, dx, transpose_b=True)


def _backward_bytes(dims: dict, params: dict, itemsize: int) -> int:
    sums = reductions.WORKSPACE["column_sum"]({"r": dims["b"], "o": dims["o"]}, {}, itemsize)
    return -(-dims["b"] * dims["o"] * itemsize // 8) * 8 + sums


KERNELS = {
    "matmul": launch_matmul, "bias_add": launch_bias_add, "dense": launch_dense,
    "dense_backward": launch_dense_backward,
}  # fmt: skip
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {"dense_backward": _backward_bytes}
