"""The `numba` backend: the kernels of `fastnn.kernels.numba_cpu`, compiled when first used, behind the C signature.

A kernel takes arrays and numbers, the executor calls ``void(buffers, dims, params, phase, part, parts)``. The adapter
between the two is generated from the op's row in the table, and compiled together with the kernel for one dtype. The
machine code goes to Numba's disk cache (``NUMBA_CACHE_DIR``), so that a later process only loads it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastnn.table import TABLE, Argument, Op

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastnn.backends.compiled import CompiledBackend

_PACKAGE = "fastnn.kernels.numba_cpu"
_FAMILIES = (
    "elementwise", "reductions", "activations", "matmul", "normalization", "losses", "optimizers", "regularization",
    "random",
)  # fmt: skip


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
    import numpy as np
    from numba import types

    from fastnn.kernels.numba_cpu.callback import Callback
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
    function = namespace["build"](_fingerprint())
    addresses, sizes = types.CPointer(types.intp), types.CPointer(types.intp)
    signature = types.void(addresses, sizes, types.intp, types.intp, types.intp, types.intp)
    adapter = Callback(function, (signature.args, signature.return_type), {}, {"nopython": True})
    with suppress(RuntimeError):  # No folder may be written to: compile in every process.
        adapter.enable_caching()
    adapter.compile()
    return adapter


def _source(op: Op, dtype: str) -> str:
    """Source of an op's adapter; for `relu` in float32, with the values of `array_at` and so on as globals,

    def build(fingerprint):
        def relu_float32(buffers, dims, params, phase, part, parts):
            fingerprint
            numbers = array_at(params, (0,), number)
            x = array_at(buffers[0], (dims[0],), floating)
            y = array_at(buffers[1], (dims[0],), floating)
            kernel(x, y, part, parts)
        return relu_float32
    """
    numbers, count = {}, 0
    for name, value in op.params.items():
        width = len(value) if isinstance(value, tuple) else 1
        numbers[name] = f"numbers[{count}:{count + width}]" if isinstance(value, tuple) else f"numbers[{count}]"
        count += width
    lines = ["fingerprint", f"numbers = array_at(params, ({count},), number)"]
    for i, argument in enumerate(op.arguments):
        kind = "integer" if argument.integer else "floating"
        lines.append(f"{argument.name} = array_at(buffers[{i}], {_shape(op, argument, i, numbers)}, {kind})")
    names = [argument.name for argument in op.arguments]
    if op.name in _gathered("WORKSPACE"):
        # Kernels know how much they asked for: this array's length says nothing.
        lines.append(f"workspace = array_at(buffers[{len(names)}], (1 << 40,), floating)")
        names.append("workspace")
    names += [*numbers.values(), *["phase"] * (op.phases > 1), "part", "parts"]
    lines.append(f"kernel({', '.join(names)})")
    name, body = f"{op.name}_{dtype}", "\n        ".join(lines)
    return (
        "def build(fingerprint):\n"
        f"    def {name}(buffers, dims, params, phase, part, parts):\n"
        f"        {body}\n"
        f"    return {name}\n"
    )


def _shape(op: Op, argument: Argument, i: int, numbers: dict[str, str]) -> str:
    """Expression of the shape in which argument `i` is stored: no elements when it is absent."""
    sizes = [f"dims[{op.dims.index(d)}]" for d in argument.dims]
    if argument.transposed_by:
        flag = numbers[argument.transposed_by]
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
