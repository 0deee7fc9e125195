"""Registers, shared memory and spills of every CUDA kernel, as NVIDIA's assembler reports them. Needs no GPU.

    python tools/ptxas_report.py [--capability 9.0] [--dtype float32] [OP ...]

Kernels are compiled to PTX by NVVM (`pip install "fastnn[cuda13]"`) and assembled by `ptxas`, which comes with the
CUDA toolkit and with `pip install nvidia-cuda-nvcc`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import ceil
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numba
import numpy as np
from numba.cuda import compiler, dispatcher

from fastnn.backends import numba_cuda
from fastnn.kernels.numba_cuda import shim, sizes
from fastnn.kernels.numba_cuda.formats import FORMATS
from fastnn.table import ACTIVATIONS, PRECISIONS, TABLE, Argument, Op

#: Compute capabilities that every kernel must compile for.
CAPABILITIES = ((7, 5), (8, 0), (9, 0))


@cache
def lowered(kernel: Callable, types: tuple[Any, ...]) -> Any:
    """A kernel before NVVM, which takes a fifth of the time. None of Numba's code asks for capabilities beyond 7.5."""
    library, _ = compiler._compile_pyfunc_with_fixup(kernel, types, device=False, abi="numba", cc=CAPABILITIES[0])
    return library


@cache
def assembly(kernel: Callable, types: tuple[Any, ...], capability: tuple[int, int]) -> str:
    """What NVVM makes of a kernel for a compute capability."""
    (found,) = lowered(kernel, types).get_asm_strs(cc=capability)
    return found


def compiled(name: str, dtype: str, capability: tuple[int, int]) -> dict[tuple, str]:
    """PTX of all kernels that an op may launch, by kernel, signature and capability.

    The launchers run on NumPy arrays, which Numba types as device arrays; what they would launch is compiled instead.
    """
    found = {}

    def compile_once(kernel: Any, blocks: int, threads: int, *arguments: Any) -> None:
        assert blocks > 0 and 0 < threads <= 1024
        key = kernel.py_func, tuple(numba.typeof(a) for a in arguments), capability
        found[key] = assembly(*key)

    def compile_launch(*launch: Any) -> None:
        compile_once(*launch)
        # In a program an array takes the place of a tuple of numbers.
        compile_once(*(np.array(a) if isinstance(a, tuple) else a for a in launch))

    def absent(dtype: str, ndim: int) -> np.ndarray:
        return np.empty((0,) * ndim, dtype)

    # Device functions are compiled for the current device.
    device = SimpleNamespace(compute_capability=capability)
    with (
        mock.patch.object(dispatcher, "get_current_device", lambda: device),
        mock.patch.object(shim, "capability", lambda: capability),
        mock.patch.object(shim, "absent", absent),
    ):
        for arrays, dims, params in calls(TABLE[name], dtype):
            workspace = np.empty(numba_cuda.workspace_size(TABLE[name], arrays, dims, params))
            launcher = numba_cuda.KERNELS[name]
            launcher(compile_launch, arrays, workspace, dims, params)
            if TABLE[name].family == "optimizers":
                present = tuple(a.size > 0 for a in arrays)
                table = np.empty((2 + sum(present), 1), np.int64)
                launcher.many(compile_once, table, 1, present, np.dtype(dtype).type, params)
    return found


def calls(op: Op, dtype: str) -> Iterator[tuple[list[np.ndarray], dict, dict]]:
    """Arrays, dimensions and parameters that make an op's launcher launch all its kernels."""
    # Large enough for sums in two launches.
    sides, precisions = [sizes.ROWS + 1], [op.params.get("precision")]
    if op.family == "matmul":
        # Tiles of all sizes, each just enough of them for a large device.
        computed = np.dtype(FORMATS[dtype].computed)
        sides += [tile * ceil(sizes.WAVE**0.5) for tile, _ in sizes.TILES[computed.itemsize]]
        if "precision" in op.params:
            precisions = list(PRECISIONS)
    for side, precision in product(sides, precisions):
        dims = dict.fromkeys(op.dims, side) | {"r": sizes.CHUNK + 1, "one": 1}
        dims["n"] = side if "k" in op.dims else sizes.CHUNK + 1
        params = dict(op.params) | ({"precision": precision} if precision else {})
        if op.name == "copy":
            dims, params = {"n": 35, "m": 35}, {"shape": (1,) * 6 + (5, 7), "strides": (0,) * 6 + (1, 5)}
        for activation in ACTIVATIONS if op.name == "dense_backward" else ACTIVATIONS[:1]:
            if "activation" in params:
                params["activation"] = activation
            yield [array(argument, dims, dtype) for argument in op.arguments], dims, params
        if op.family == "optimizers" and any(argument.optional for argument in op.arguments):
            absent = {d: 0 for d in op.dims}
            yield [array(a, absent if a.optional else dims, dtype) for a in op.arguments], dims, params


def array(argument: Argument, dims: dict[str, int], dtype: str) -> np.ndarray:
    """Memory that is never touched."""
    if dtype == "bfloat16":
        import ml_dtypes  # noqa: F401  (tells NumPy of it)
    return np.empty([dims[d] for d in argument.dims], np.int64 if argument.integer else dtype)


def entry(key: tuple) -> str:
    """A kernel's name, with the types of the first arrays that it was compiled for."""
    types = dict.fromkeys(str(t.dtype) for t in key[1][:3] if isinstance(t, numba.types.Array))
    return f"{key[0].__qualname__.split('.')[0]} {' '.join(types)}"


@dataclass(frozen=True)
class Usage:
    """What a kernel takes: registers of a thread, bytes of shared and local memory, bytes spilled."""

    registers: int
    shared: int
    stack: int
    spilled: int


@cache
def ptxas_version() -> tuple[int, int] | None:
    """The latest PTX version that the assembler reads; None where there is no assembler."""
    if shutil.which("ptxas") is None:
        return None
    text = subprocess.run(["ptxas", "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = map(int, re.search(r"release (\d+)\.(\d+)", text).groups())
    return major - 4, minor  # CUDA 12.0 brought PTX 8.0, CUDA 13.0 PTX 9.0


@cache
def assemble(ptx: str, capability: tuple[int, int]) -> Usage:
    """Assemble a kernel.

    PTX of a later version than the assembler's is declared to be of the assembler's.
    """
    own = tuple(map(int, re.search(r"\.version (\d+)\.(\d+)", ptx).groups()))
    version = ".version {}.{}".format(*min(own, ptxas_version()))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(re.sub(r"\.version \S+", version, ptx, count=1), encoding="utf-8")
        command = ["ptxas", "-v", "-arch=sm_{}{}".format(*capability), str(source), "-o", f"{folder}/kernel.cubin"]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)

    def number(pattern: str) -> int:
        return sum(map(int, re.findall(pattern, done.stderr)))

    return Usage(
        number(r"Used (\d+) registers"), number(r"(\d+) bytes smem"), number(r"(\d+) bytes stack frame"),
        number(r"(\d+) bytes spill (?:stores|loads)"),
    )  # fmt: skip


def report(names: list[str], dtype: str | None, capability: tuple[int, int], show: Callable[[str], None]) -> None:
    """Show a line for each kernel."""
    show(f"{'kernel':<40}{'registers':>10}{'shared':>10}{'stack':>10}{'spilled':>10}")
    seen = set()
    for name in names:
        for kind in (dtype,) if dtype else TABLE[name].dtypes:
            for key, ptx in compiled(name, kind, capability).items():
                if key not in seen:
                    seen.add(key)
                    use = assemble(ptx, capability)
                    show(f"{entry(key):<40}{use.registers:>10}{use.shared:>10}{use.stack:>10}{use.spilled:>10}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ops", nargs="*", metavar="OP", help="only these ops' kernels")
    parser.add_argument("--capability", default="9.0")
    parser.add_argument("--dtype", choices=tuple(FORMATS))
    args = parser.parse_args()
    if ptxas_version() is None:
        parser.error("there is no ptxas; the CUDA toolkit has it, and `pip install nvidia-cuda-nvcc` provides it")
    major, minor = map(int, args.capability.split("."))
    report(args.ops or list(TABLE), args.dtype, (major, minor), print)
