"""The `cython` backend: the compiled kernels of `fastnn_ext`."""

from __future__ import annotations

from fastnn.backends.compiled import CompiledBackend
from fastnn.table import DTYPES
from fastnn_ext import (
    activations,
    elementwise,
    losses,
    matmul,
    normalization,
    optimizers,
    random,
    reductions,
    regularization,
)  # fmt: skip

_MODULES = (
    elementwise, reductions, matmul, activations, normalization, random, losses, optimizers, regularization,
)  # fmt: skip

#: Addresses of the kernels for float32 and float64, by op.
KERNELS: dict[str, tuple[int, int]] = {name: pair for module in _MODULES for name, pair in module.KERNELS.items()}
_WORKSPACE = {name: size for module in _MODULES for name, size in module.WORKSPACE.items()}


def available() -> str | None:
    """None: the compiled modules are part of the package."""
    return None


def make() -> CompiledBackend:
    """The backend object."""

    def address(op: str, dtype: str) -> int:
        return KERNELS[op][DTYPES.index(dtype)]

    def workspace(op: str, dims: dict, params: dict, itemsize: int, parts: int) -> int:
        return _WORKSPACE[op](dims, params, itemsize, parts) if op in _WORKSPACE else 0

    return CompiledBackend("cython", address, workspace, tuple(KERNELS))
