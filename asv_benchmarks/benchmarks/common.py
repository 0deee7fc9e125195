"""What the benchmarks share: parameters, inputs for every op, networks.

Parameters never depend on what is installed: a backend that is missing is skipped in ``setup``. Compiled modules are
imported there too, not at the top: the process that asv forks must not have them, or its children stay serial.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.table import MAX_RANK, TABLE, Op

BACKENDS = ("cython", "numba", "cuda", "reference")
CPU_BACKENDS = ("cython", "numba")
THREADS = (1, 2)
#: Layer sizes and batch size of the networks that are timed.
NETWORKS = {
    "64-100-10 batch 32": ((64, 100, 10), 32),
    "784-256-128-10 batch 64": ((784, 256, 128, 10), 64),
    "784-1024-1024-10 batch 256": ((784, 1024, 1024, 10), 256),
}
#: Size of each dimension in op benchmarks; a row of a dimension that is not named here has 64.
SIZES = {"n": 65_536, "m": 65_536, "o": 256, "r": 1000, "b": 64, "i": 784, "c": 10, "k": 256, "one": 1}


def require(backend: str) -> None:
    """Skip the benchmark where a backend is missing."""
    from fastnn import backends

    reason = backends.missing(backend)
    if reason is not None:
        raise NotImplementedError(f"backend {backend}: {reason}")


def use_threads(count: int) -> None:
    """Set the number of threads; skip where there are not as many."""
    import fastnn

    fastnn.set_num_threads(count)
    if fastnn.get_num_threads() < count:
        raise NotImplementedError(f"{count} threads are not available")


def arguments(op: Op, dtype: str = "float32") -> tuple[list[Any], dict[str, int], dict[str, Any]]:
    """Arrays (inputs and outputs, all optional ones present), dimensions and parameters for one op."""
    rng = np.random.default_rng(0)
    dims = {d: SIZES.get(d, 64) for d in op.dims}
    if op.name == "matmul":
        dims["n"] = 256
    params = dict(op.params)
    if op.name == "copy":
        rows = 256
        columns = dims["n"] // rows
        params["shape"] = (1,) * (MAX_RANK - 2) + (columns, rows)
        params["strides"] = (0,) * (MAX_RANK - 2) + (1, columns)
    if "activation" in params:
        params["activation"] = "gelu"
    arrays = []
    for argument in op.arguments:
        shape = tuple(dims[d] for d in argument.dims)
        if argument.integer:
            arrays.append(rng.integers(0, 10, shape))
        else:
            # Positive everywhere: second moments are, and logarithms want to be.
            arrays.append(rng.uniform(0.1, 1.0, shape).astype(dtype))
    return arrays, dims, params


def network(name: str, backend: str) -> tuple[Any, np.ndarray, np.ndarray]:
    """A compiled classifier, a batch and its labels."""
    import fastnn as fn

    sizes, batch = NETWORKS[name]
    rng = np.random.default_rng(0)
    hidden = [fn.Dense(size, activation="relu") for size in sizes[1:-1]]
    model = fn.Sequential([*hidden, fn.Dense(sizes[-1])], backend=backend)
    model.compile(optimizer=fn.Adam(1e-3), loss="cross_entropy")
    x = rng.standard_normal((batch, sizes[0]), dtype=np.float32)
    return model, x, rng.integers(0, sizes[-1], batch)


#: Every op of the table is timed.
OPS = tuple(TABLE)
