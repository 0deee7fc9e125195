"""What is measured: kinds of work, the sizes, and how much each case computes and moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from fastnn.datasets import load_digits, load_idx
from fastnn.table import ACTIVATIONS, HALVES

#: Sizes (m, k, n) of matrix products.
PRODUCTS = (
    *((n, n, n) for n in (16, 32, 64, 128, 256, 512, 1024, 2048)),
    (1, 784, 128), (8, 64, 64), (32, 128, 128), (64, 784, 256), (256, 784, 1024), (4096, 32, 4096), (32, 4096, 32),
)  # fmt: skip
#: Sizes (batch, inputs, outputs) of dense layers.
DENSE = ((1, 784, 128), (32, 64, 100), (64, 784, 256), (256, 1024, 1024))
#: Elements of activations' arguments.
ELEMENTS = (1_000, 64_000, 1_000_000, 16_000_000)
#: Rows and columns of softmax and cross-entropy.
ROWS = ((64, 10), (256, 1000), (4096, 1000))
#: Number and size of the tensors that an optimizer updates.
TENSORS = ((1, 20_000_000), (200, 1_000))
#: Layer sizes and batch size of networks that are trained.
NETWORKS = (((64, 100, 10), 32), ((784, 256, 128, 10), 64), ((784, 1024, 1024, 10), 256))
#: Layer sizes of networks that answer one row at a time.
SMALL = ((20, 32, 2), (64, 100, 10), (784, 256, 128, 10))


@dataclass(frozen=True)
class Case:
    """One piece of work.

    Attributes
    ----------
    kind : str
        The peers' method that does it.
    label : str
        Its size, for people.
    dtype : str
    make : callable
        Makes the arguments of that method.
    flops, bytes : float
        What it computes, and the least it must move.
    floor : {"fma", "copy", "update"} or None
        What bounds it on any machine.
    rtol : float
        Largest difference between two libraries' first results that counts as equal, relative to the largest element.
    """

    kind: str
    label: str
    dtype: str
    make: Callable[[], tuple[Any, ...]]
    flops: float = 0.0
    bytes: float = 0.0
    floor: str | None = None
    rtol: float = 1e-5


def _normal(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def matmul(products: Sequence[tuple[int, int, int]] = PRODUCTS) -> Iterator[Case]:
    """Products of all sizes and, of two dimensions each, all transposes."""
    for dtype in ("float32", "float64"):
        for m, k, n in products:
            for transposes in ("nn", "tn", "nt", "tt"):

                def make(m: int = m, k: int = k, n: int = n, t: str = transposes, d: str = dtype) -> tuple[Any, ...]:
                    a = _normal(k, m, dtype=d).T if t[0] == "t" else _normal(m, k, dtype=d)
                    b = _normal(n, k, dtype=d, seed=1).T if t[1] == "t" else _normal(k, n, dtype=d, seed=1)
                    return a, b

                size = np.dtype(dtype).itemsize * (m * k + k * n + m * n)
                yield Case("matmul", f"{m}x{k}x{n} {transposes}", dtype, make, 2.0 * m * k * n, size, "fma", 1e-4)


def dense(layers: Sequence[tuple[int, int, int]] = DENSE) -> Iterator[Case]:
    """Layers forward and backward."""
    for b, i, o in layers:
        for activation in ("gelu", "relu", "tanh"):

            def make(b: int = b, i: int = i, o: int = o, activation: str = activation) -> tuple[Any, ...]:
                return _normal(b, i), _normal(i, o, seed=1) / np.float32(i**0.5), _normal(o), activation

            def make_backward(make: Callable[[], tuple[Any, ...]] = make, b: int = b, o: int = o) -> tuple[Any, ...]:
                return *make(), _normal(b, o, seed=2)

            label, moved = f"{b}x{i}x{o} {activation}", 4 * (b * i + i * o + b * o)
            yield Case("dense", label, "float32", make, 2.0 * b * i * o, moved, "fma", 1e-4)
            yield Case("dense_backward", label, "float32", make_backward, 4.0 * b * i * o, 2 * moved, "fma", 1e-4)


def lowered(products: Sequence[tuple[int, int, int]]) -> Iterator[Case]:
    """Products and layers with gelu by the cores that devices have for them.

    Of float32 arrays under the policies for less precision, and of arrays of two bytes an element.
    """
    for precision, rtol in (("tf32", 1e-2), ("bf16", 5e-2), ("bfloat16", 5e-2), ("float16", 1e-2)):
        dtype = precision if precision in HALVES else "float32"
        itemsize = 2 if precision in HALVES else 4
        for m, k, n in products:

            def make(m: int = m, k: int = k, n: int = n, precision: str = precision) -> tuple[Any, ...]:
                return precision, _normal(m, k), _normal(k, n, seed=1) / np.float32(k**0.5)

            def make_dense(make: Callable[[], tuple[Any, ...]] = make, n: int = n) -> tuple[Any, ...]:
                return *make(), _normal(n), "gelu"

            label, flops, moved = f"{m}x{k}x{n} {precision}", 2.0 * m * k * n, itemsize * (m * k + k * n + m * n)
            yield Case("lowered_matmul", label, dtype, make, flops, moved, "fma", rtol)
            yield Case("lowered_dense", f"{label} gelu", dtype, make_dense, flops, moved, "fma", rtol)


def activations(elements: Sequence[int] = ELEMENTS) -> Iterator[Case]:
    """Elementwise activations and their gradients."""
    for name in ACTIVATIONS[1:]:
        for n in elements:

            def make(name: str = name, n: int = n) -> tuple[Any, ...]:
                return name, _normal(n)

            def make_backward(name: str = name, n: int = n) -> tuple[Any, ...]:
                return name, _normal(n, seed=1), _normal(n)

            yield Case("activation", f"{name} {n}", "float32", make, 0, 8 * n, "copy")
            yield Case("activation_backward", f"{name} {n}", "float32", make_backward, 0, 12 * n, "copy")


def softmax(shapes: Sequence[tuple[int, int]] = ROWS) -> Iterator[Case]:
    """Softmax, log-softmax, and cross-entropy with its gradient."""
    for rows, columns in shapes:

        def make(rows: int = rows, columns: int = columns) -> tuple[Any, ...]:
            return (_normal(rows, columns),)

        def make_labelled(rows: int = rows, columns: int = columns) -> tuple[Any, ...]:
            return _normal(rows, columns), np.random.default_rng(0).integers(0, columns, rows)

        for kind in ("softmax", "log_softmax"):
            yield Case(kind, f"{rows}x{columns}", "float32", make, 0, 8 * rows * columns, "copy")
        yield Case("cross_entropy", f"{rows}x{columns}", "float32", make_labelled, 0, 8 * rows * columns, "copy")


def optimizers(tensors: Sequence[tuple[int, int]] = TENSORS) -> Iterator[Case]:
    """Adam's update: reads p, g, m and v, writes p, m and v."""
    for count, n in tensors:

        def make(count: int = count, n: int = n) -> tuple[Any, ...]:
            return [_normal(n, seed=i) for i in range(count)], [_normal(n, seed=i + count) for i in range(count)]

        yield Case("adam", f"{count} of {n}", "float32", make, 0, 28 * count * n, "update")


def _weights(sizes: tuple[int, ...]) -> list[np.ndarray]:
    """He-initialised weights and zero biases."""
    weights = []
    for i, o in pairwise(sizes):
        weights += [_normal(i, o) * np.float32((2 / i) ** 0.5), np.zeros(o, np.float32)]
    return weights


def _products(sizes: tuple[int, ...]) -> float:
    return float(sum(i * o for i, o in pairwise(sizes)))


def training(networks: Sequence[tuple[tuple[int, ...], int]] = NETWORKS) -> Iterator[Case]:
    """Whole steps of Adam; the gradient by the data themselves is not needed."""
    for sizes, batch in networks:

        def make(sizes: tuple[int, ...] = sizes, batch: int = batch) -> tuple[Any, ...]:
            labels = np.random.default_rng(0).integers(0, sizes[-1], batch)
            return _weights(sizes), _normal(batch, sizes[0]), labels

        flops = batch * (6 * _products(sizes) - 2.0 * sizes[0] * sizes[1])
        label = f"{'-'.join(map(str, sizes))} batch {batch}"
        yield Case("training_step", label, "float32", make, flops, 0, "fma", 1e-3)


def inference() -> Iterator[Case]:
    """One row at a time."""
    for sizes in SMALL:

        def make(sizes: tuple[int, ...] = sizes) -> tuple[Any, ...]:
            return _weights(sizes), _normal(1, sizes[0])

        yield Case("inference", "-".join(map(str, sizes)), "float32", make, 2 * _products(sizes), 0, "fma", 1e-4)


def scaling() -> Iterator[Case]:
    """What more threads gain: one product, larger steps, and predictions of separate networks at the same time."""
    products = (case for case in matmul(((1024, 1024, 1024),)) if case.label.endswith("nn") and case.dtype == "float32")
    for case in (*products, *training(NETWORKS[1:])):
        yield replace(case, kind=f"scaled_{case.kind}")
    sizes, rows = SMALL[-1], 4096

    def make() -> tuple[Any, ...]:
        return _weights(sizes), _normal(rows, sizes[0])

    label, flops = f"{'-'.join(map(str, sizes))}, {rows} rows each", 2.0 * rows * _products(sizes)
    yield Case("scaled_predict", label, "float32", make, flops)


def fit(images: str | None = None, labels: str | None = None) -> Iterator[Case]:
    """A whole training of 12 epochs, on the digits inside or an IDX file's first 8,000 rows."""
    data = load_idx(images, labels) if images else load_digits()
    x = (data.X[:8000] / max(float(data.X.max()), 1.0)).astype(np.float32)
    y = np.asarray(data.y[:8000], np.int64)
    sizes = (x.shape[1], 256, 128, 10)
    label = f"{len(x)} rows, {'-'.join(map(str, sizes))}, batch 64, 12 epochs"
    flops = 12 * len(x) * (6 * _products(sizes) - 2.0 * sizes[0] * sizes[1])
    # Other random orders give other networks: their classes differ here and there.
    yield Case("fit", label, "float32", lambda: (_weights(sizes), x, y, 12, 64), flops, 0, "fma", np.inf)


#: Groups of cases by name, in the order of the report.
GROUPS: dict[str, Callable[[], Iterator[Case]]] = {
    "matmul": matmul,
    "dense": dense,
    "activations": activations,
    "softmax": softmax,
    "optimizers": optimizers,
    "training": training,
    "inference": inference,
    "fit": fit,
    "scaling": scaling,
}
