"""The `numba` backend: the kernels of `fastnn.kernels.numba_cpu`, compiled when first used, behind the C signature.

A kernel takes arrays and numbers, the executor calls ``void(buffers, dims, params, phase, part, parts)``. The adapter
between the two is generated from the op's row in the table, and compiled together with the kernel for one dtype. The
machine code goes to Numba's disk cache (``NUMBA_CACHE_DIR``), so that a later process only loads it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastnn.table import TABLE, Argument, Op

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastnn.backends.compiled import CompiledBackend

_PACKAGE = "fastnn.kernels.numba_cpu"
_FAMILIES = ("elementwise", "reductions", "activations", "matmul", "losses", "optimizers", "random")


def available() -> str | None:
    """Why the backend cannot be used, with the command that provides it; None if it can."""
    if importlib.util.find_spec("numba") is None:
        return 'Numba is not installed; `pip install "fastnn[numba]"` provides it'
    return None


@cache
def _gathered(name: str) -> dict[str, Any]:
    """A dict that every family has, of all families together. Importing them imports Numba."""
    return {op: value for f in _FAMILIES for op, value in getattr(import_module(f"{_PACKAGE}.{f}"), name).items()}


def __getattr__(name: str) -> dict[str, Any]:
    """`KERNELS`: the dispatcher of every op, by name. Numba is imported when it is first looked at."""
    if name == "KERNELS":
        return _gathered(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def workspace(op: str, dims: dict[str, int], params: dict[str, Any], itemsize: int, parts: int) -> int:
    """Bytes of scratch memory that a call of the op needs."""
    size: Callable[..., int] | None = _gathered("WORKSPACE").get(op)
    return size(dims, params, itemsize, parts) if size else 0


@cache
def address(op: str, dtype: str) -> int:
    """Address of an op's kernel behind the C signature of docs/kernels.md.

    Parameters
    ----------
    op : str
    dtype : {"float32", "float64"}
    """
    return _adapter(op, dtype).address


@cache
def _adapter(op: str, dtype: str) -> Any:
    """The compiled adapter, which must live as long as its address is used."""
    import numba
    import numpy as np
    from numba import types

    from fastnn.kernels.numba_cpu.common import array_at

    namespace = {
        "__name__": __name__,
        "kernel": _gathered("KERNELS")[op],
        "array_at": array_at,
        "floating": getattr(np, dtype),
        "integer": np.int64,
        "number": np.float64,
    }
    # Numba keeps its cache beside the file that a function comes from; this file stands for the generated source.
    exec(compile(_source(TABLE[op], dtype), __file__, "exec"), namespace)
    addresses, sizes = types.CPointer(types.intp), types.CPointer(types.intp)
    signature = types.void(addresses, sizes, types.intp, types.intp, types.intp, types.intp)
    return numba.cfunc(signature, nopython=True, cache=True)(namespace["build"](_fingerprint()))


def _source(op: Op, dtype: str) -> str:
    """Source of an op's adapter, for example (with `x` absent when its address is 0)

        def relu_float32(buffers, dims, params, phase, part, parts):
            x = array_at(buffers[0], (dims[0] * (buffers[0] != 0),), floating)
            ...
            kernel(x, y, part, parts)
    """
    flags, count = {}, 0
    for name, value in op.params.items():
        flags[name] = f"numbers[{count}]"
        count += len(value) if isinstance(value, tuple) else 1
    lines = [f"numbers = array_at(params, ({count},), number)"]
    names = [a.name for a in op.arguments]
    for i, argument in enumerate(op.arguments):
        kind = "integer" if argument.integer else "floating"
        lines.append(f"{argument.name} = array_at(buffers[{i}], {_shape(op, argument, i, flags)}, {kind})")
    if op.name in _gathered("WORKSPACE"):
        # Kernels know how much they asked for: the array says nothing about its length.
        lines.append(f"workspace = array_at(buffers[{len(names)}], (1 << 40,), floating)")
        names.append("workspace")
    count = 0
    for value in op.params.values():
        width = len(value) if isinstance(value, tuple) else 1
        names.append(f"numbers[{count}:{count + width}]" if isinstance(value, tuple) else f"numbers[{count}]")
        count += width
    names += ["phase"] * (op.phases > 1) + ["part", "parts"]
    lines.append(f"kernel({', '.join(names)})")
    body = "\n        ".join(lines)
    return (
        "def build(fingerprint):\n"
        f"    def {op.name}_{dtype}(buffers, dims, params, phase, part, parts):\n"
        "        fingerprint\n"
        f"        {body}\n"
        f"    return {op.name}_{dtype}\n"
    )


def _shape(op: Op, argument: Argument, i: int, flags: dict[str, str]) -> str:
    """Expression of an argument's shape as stored: no elements when it is absent."""
    sizes = [f"dims[{op.dims.index(d)}]" for d in argument.dims]
    if argument.transposed_by:
        flag = flags[argument.transposed_by]
        sizes = [f"({b} if {flag} else {a})" for a, b in zip(sizes, reversed(sizes), strict=True)]
    if argument.optional:
        sizes[0] += f" * (buffers[{i}] != 0)"
    return f"({', '.join(sizes)},)"


@cache
def _fingerprint() -> int:
    """Changes with any source that an adapter's code comes from, and with the instruction set asked for.

    Numba looks only at the file of the function that it caches and at the values which that function closes over.
    Closing over this number makes the cache follow an edit in any file.
    """
    digest = hashlib.sha256(os.environ.get("FASTNN_ISA", "").encode())
    folder = Path(import_module(_PACKAGE).__file__).parent
    for path in (*sorted(folder.glob("*.py")), Path(__file__), Path(import_module("fastnn.table").__file__)):
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:7], "big")


def make() -> CompiledBackend:
    """The backend object."""
    from fastnn.backends.compiled import CompiledBackend

    return CompiledBackend("numba", address, workspace, tuple(_gathered("KERNELS")))
