"""CuPy on a CUDA device: cuBLAS for products, a kernel for each elementwise expression. TF32 is off by default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

Thunk = Callable[[], Any]
#: Activations that are one call or one fused kernel.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "relu": lambda x, out: cupy.maximum(x, 0, out=out),
    "tanh": lambda x, out: cupy.tanh(x, out=out),
}


class CuPy:
    name = "cupy"

    def clock(self, thunk: Thunk, count: int) -> float:
        """Seconds of so many calls, between two events on the current stream."""
        first, last = cupy.cuda.Event(), cupy.cuda.Event()
        first.record()
        for _ in range(count):
            thunk()
        last.record()
        last.synchronize()
        return cupy.cuda.get_elapsed_time(first, last) / 1e3

    def matmul(self, a: np.ndarray, b: np.ndarray) -> Thunk:
        """y = a b, where a or b may be a transposed view."""
        a, b = (cupy.asarray(x) if x.flags.c_contiguous else cupy.asarray(x.T).T for x in (a, b))
        out = cupy.empty((a.shape[0], b.shape[1]), a.dtype)
        return lambda: cupy.matmul(a, b, out=out)

    def lowered_matmul(self, precision: str, a: np.ndarray, b: np.ndarray) -> Thunk | None:
        """A product of arrays of two bytes; of the others CuPy has none without its environment."""
        if precision == "bfloat16" and int(cupy.__version__.split(".")[0]) >= 14:  # which brought it
            import ml_dtypes  # noqa: F401  (tells NumPy of bfloat16)
        elif precision != "float16":
            return None
        return self.matmul(a.astype(precision), b.astype(precision))

    def activation(self, name: str, x: np.ndarray) -> Thunk | None:
        if name not in _FUNCTIONS:
            return None
        f, x = _FUNCTIONS[name], cupy.asarray(x)
        out = cupy.empty_like(x)
        return lambda: f(x, out)


def competitors(threads: int) -> list[Any]:
    return [CuPy()]
