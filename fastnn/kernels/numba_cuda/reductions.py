"""Sums, the norm of a gradient and clipping by it, argmax and counting. Sums are float64.

Long sums go in two launches: partial sums of a fixed number of elements into the workspace, then their total. With a
single partial sum the first launch writes the result.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from numpy import float64, inf

from fastnn.kernels.numba_cuda import shim
from fastnn.kernels.numba_cuda.groups import blocks_for, group_argmax, group_sum, lanes_for, precedes, rows
from fastnn.kernels.numba_cuda.shim import cuda
from fastnn.kernels.numba_cuda.sizes import BLOCK, CHUNK, COLUMNS, ROWS
from fastnn.kernels.numba_cuda.vectors import accesses, share_of


@cuda.jit
def row_sums(x, y, chunks, lanes):
    """x (o,r) -> y (o * chunks): sums of CHUNK elements, `chunks` a row, each by a group."""
    group, lane = cuda.grid(1) // lanes, cuda.threadIdx.x & (lanes - 1)
    row, start = group // chunks, group % chunks * CHUNK
    total = 0.0
    if row < x.shape[0]:
        for j in range(start + lane, min(start + CHUNK, x.shape[1]), lanes):
            total += float64(x[row, j])
    total = group_sum(total, lanes)
    if lane == 0 and row < x.shape[0]:
        y[group] = total


@cuda.jit
def column_sums(x, y, chunks):
    """x (r,o) -> y (o * chunks): sums of ROWS elements, `chunks` a column; a block takes COLUMNS columns at a time."""
    shared = cuda.shared.array(BLOCK, float64)
    me = cuda.threadIdx.x
    column = cuda.blockIdx.x // chunks * COLUMNS + me % COLUMNS
    chunk = cuda.blockIdx.x % chunks
    total = 0.0
    if column < x.shape[1]:
        for i in range(chunk * ROWS + me // COLUMNS, min((chunk + 1) * ROWS, x.shape[0]), BLOCK // COLUMNS):
            total += float64(x[i, column])
    shared[me] = total
    cuda.syncthreads()
    if me < COLUMNS and column < x.shape[1]:
        for other in range(me + COLUMNS, BLOCK, COLUMNS):
            total += shared[other]
        y[column * chunks + chunk] = total


@cuda.jit
def totals(partial, y, count, scale, lanes):
    """y[i] = scale * (sum of partial[i * count], ..., partial[(i + 1) * count - 1]), each by a group."""
    i, lane = cuda.grid(1) // lanes, cuda.threadIdx.x & (lanes - 1)
    total = 0.0
    if i < y.size:
        for j in range(lane, count, lanes):
            total += partial[i * count + j]
    total = group_sum(total, lanes)
    if lane == 0 and i < y.size:
        y[i] = total * scale


@cuda.jit
def squares(x, partial):
    """partial[i] = sum of the squares of elements CHUNK * i to CHUNK * (i + 1) - 1 of x (n), each by a block."""
    start = cuda.blockIdx.x * CHUNK
    total = 0.0
    for j in range(start + cuda.threadIdx.x, min(start + CHUNK, x.size), BLOCK):
        total += float64(x[j]) * float64(x[j])
    total = group_sum(total, BLOCK)
    if cuda.threadIdx.x == 0:
        partial[cuda.blockIdx.x] = total


@cuda.jit
def matches(a, b, partial):
    """partial[i] = number of equal elements among CHUNK of a (n) and b (n), each by a block."""
    start = cuda.blockIdx.x * CHUNK
    total = 0.0
    for j in range(start + cuda.threadIdx.x, min(start + CHUNK, a.size), BLOCK):
        if a[j] == b[j]:
            total += 1.0
    total = group_sum(total, BLOCK)
    if cuda.threadIdx.x == 0:
        partial[cuda.blockIdx.x] = total


@cache
def clip_by_norm(T: Any) -> Any:
    """The kernel that scales gradients, an access a thread as in `vectors.py`."""
    share = share_of(T)
    load, store = accesses(T, share)

    def kernel(g, squared_norm, max_norm):
        """g (n) *= min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_."""
        shared = cuda.shared.array(1, float64)
        if cuda.threadIdx.x == 0:  # the only one to take a root in float64
            shared[0] = max_norm / (shim.sqrt(float64(squared_norm[0])) + 1e-6)
        cuda.syncthreads()
        first = cuda.grid(1) * share
        if first < g.size and shared[0] < 1.0:
            held = cuda.local.array(share, T)
            load(held, g, first)
            for w in range(share):
                held[w] *= T(shared[0])
            store(g, first, held)

    kernel.__qualname__ = "clip_by_norm"  # profilers show it
    return cuda.jit(kernel)


@cuda.jit
def argmax(x, y, lanes):
    """x (o,r) -> y (o): the first largest element of each row; a NaN counts as the largest."""
    row, lane = cuda.grid(1) // lanes, cuda.threadIdx.x & (lanes - 1)
    best, index = x.dtype.type(-inf), x.shape[1]
    if row < x.shape[0]:
        for j in range(lane, x.shape[1], lanes):
            if precedes(x[row, j], j, best, index):
                best, index = x[row, j], j
    index = group_argmax(float64(best), index, lanes)
    if lane == 0 and row < x.shape[0]:
        y[row] = index


def chunks_of(n: int, chunk: int) -> int:
    """Partial sums of n elements; one even of none, which is 0."""
    return max(-(-n // chunk), 1)


def launch_totals(launch: Callable, partial: Any, y: Any, count: int, scale: float = 1.0) -> None:
    """Add up partial sums, `count` for each element of y."""
    lanes = lanes_for(count)
    launch(totals, blocks_for(y.size * lanes), BLOCK, partial, y, count, scale, lanes)


def launch_sum(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    x, y = arrays
    chunks, lanes = chunks_of(dims["r"], CHUNK), lanes_for(min(dims["r"], CHUNK))
    blocks = blocks_for(dims["o"] * chunks * lanes)
    if chunks == 1:
        launch(row_sums, blocks, BLOCK, x, y, chunks, lanes)
    else:
        launch(row_sums, blocks, BLOCK, x, workspace, chunks, lanes)
        launch_totals(launch, workspace, y, chunks)


def launch_column_sum(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    x, y = arrays
    chunks = chunks_of(dims["r"], ROWS)
    blocks = -(-dims["o"] // COLUMNS) * chunks
    if chunks == 1:
        launch(column_sums, blocks, BLOCK, x, y, chunks)
    else:
        launch(column_sums, blocks, BLOCK, x, workspace, chunks)
        launch_totals(launch, workspace, y, chunks)


def chunked(kernel: Any) -> Callable[..., None]:
    """Launcher of a kernel with a block for each CHUNK of flat arrays, and of the total."""

    def launcher(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
        chunks = chunks_of(dims["n"], CHUNK)
        launch(kernel, chunks, BLOCK, *arrays[:-1], workspace)
        launch_totals(launch, workspace, arrays[-1], chunks)

    return launcher


def launch_clip(launch: Callable, arrays: list, workspace: Any, dims: dict, params: dict) -> None:
    T = arrays[0].dtype.type
    launch(clip_by_norm(T), blocks_for(-(-dims["n"] // share_of(T))), BLOCK, *arrays, float(params["max_norm"]))


KERNELS = {
    "sum": launch_sum, "column_sum": launch_column_sum, "sum_of_squares": chunked(squares),
    "clip_by_norm": launch_clip, "argmax": rows(argmax), "count_equal": chunked(matches),
}  # fmt: skip
WORKSPACE: dict[str, Callable[[dict, dict, int], int]] = {
    "sum": lambda dims, params, itemsize: 8 * dims["o"] * chunks_of(dims["r"], CHUNK),
    "column_sum": lambda dims, params, itemsize: 8 * dims["o"] * chunks_of(dims["r"], ROWS),
    "sum_of_squares": lambda dims, params, itemsize: 8 * chunks_of(dims["n"], CHUNK),
    "count_equal": lambda dims, params, itemsize: 8 * chunks_of(dims["n"], CHUNK),
}
