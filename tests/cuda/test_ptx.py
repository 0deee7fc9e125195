"""Every CUDA kernel compiles for compute capability 7.5, 8.0 and 9.0. No GPU is needed, only NVVM.

The launchers run on NumPy arrays, which Numba types as device arrays, and what they would launch is compiled instead.
"""

import importlib.util
import os
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from fastnn.table import ACTIVATIONS, DTYPES, TABLE, Argument, Op

if importlib.util.find_spec("numba_cuda") is None:
    pytest.skip('PTX needs numba-cuda; `pip install "fastnn[cuda13]"` provides it', allow_module_level=True)
if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0":
    pytest.skip("the simulator compiles nothing", allow_module_level=True)

import numba
from numba import cuda
from numba.cuda import dispatcher
from numba.cuda.cudadrv import nvvm

from fastnn.backends import numba_cuda
from fastnn.kernels.numba_cuda import shim, sizes

if not nvvm.is_available():
    pytest.skip('NVVM cannot be loaded; `pip install "fastnn[cuda13]"` provides it', allow_module_level=True)

CAPABILITIES = ((7, 5), (8, 0), (9, 0))
#: What is compiled already, by kernel, signature and capability: ops share kernels.
PTX: dict[tuple, str] = {}
#: Ops whose kernels may compute in float64 for float32 arrays: sums, losses, and what libdevice does for huge angles.
WIDE = {"power", "sin", "cos", "clip_by_norm", "argmax", "count_equal", "dense_backward", "penalty", "max_norm"}
WIDE |= {"layer_norm", "layer_norm_backward", "batch_norm", "batch_norm_backward"}
WIDE |= {name for name, op in TABLE.items() if op.family in ("reductions", "losses") or "softmax" in name}


@pytest.fixture
def compiled(monkeypatch):
    """Function that compiles all launches of an op; returns PTX by kernel and signature."""

    def compile_op(name: str, dtype: str, capability: tuple[int, int]) -> dict[tuple, str]:
        # Device functions are compiled for the current device.
        device = SimpleNamespace(compute_capability=capability)
        monkeypatch.setattr(dispatcher, "get_current_device", lambda: device)
        monkeypatch.setattr(shim, "absent", lambda dtype, ndim: np.empty((0,) * ndim, dtype))
        found = {}

        def compile_launch(kernel, blocks, threads, *arguments):
            assert blocks > 0 and 0 < threads <= 1024
            key = (kernel.py_func, tuple(numba.typeof(a) for a in arguments), capability)
            if key not in PTX:
                PTX[key], _ = cuda.compile_ptx(*key[:2], cc=capability)
            found[key] = PTX[key]

        for arrays, dims, params in calls(TABLE[name], dtype):
            workspace = np.empty(numba_cuda.workspace_size(TABLE[name], arrays, dims, params))
            numba_cuda.KERNELS[name](compile_launch, arrays, workspace, dims, params)
        return found

    return compile_op


def calls(op: Op, dtype: str) -> Iterator[tuple[list[np.ndarray], dict, dict]]:
    """Arrays, dimensions and parameters that make an op's launcher launch all its kernels."""
    # Large enough for sums in two launches.
    dims = dict.fromkeys(op.dims, sizes.ROWS + 1) | {"r": sizes.CHUNK + 1, "n": sizes.CHUNK + 1, "one": 1}
    params = dict(op.params)
    if op.name == "copy":
        dims, params = {"n": 35, "m": 35}, {"shape": (1,) * 6 + (5, 7), "strides": (0,) * 6 + (1, 5)}
    for activation in ACTIVATIONS if op.name == "dense_backward" else ACTIVATIONS[:1]:
        if "activation" in params:
            params["activation"] = activation
        yield [array(argument, dims, dtype) for argument in op.arguments], dims, params


def array(argument: Argument, dims: dict[str, int], dtype: str) -> np.ndarray:
    """Memory that is never touched."""
    return np.empty([dims[d] for d in argument.dims], np.int64 if argument.integer else dtype)


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda c: f"sm_{c[0]}{c[1]}")
def test_compiles(op, dtype, capability, compiled):
    found = compiled(op, dtype, capability)
    assert found
    for key, ptx in found.items():
        assert f".target sm_{capability[0]}{capability[1]}" in ptx, key
        assert ".visible .entry" in ptx, key


@pytest.mark.parametrize("op", [name for name in TABLE if name not in WIDE])
def test_float32_stays_float32(op, compiled):
    """A bare literal in a kernel would compute in float64, at 1/32 or 1/64 of the speed on most devices."""
    for key, ptx in compiled(op, "float32", CAPABILITIES[0]).items():
        assert ".f64" not in ptx, key


@pytest.mark.parametrize("dtype", DTYPES)
def test_product_in_registers(dtype, compiled):
    """The sums of a tile live in registers, not in local memory."""
    (ptx,) = compiled("matmul", dtype, CAPABILITIES[1]).values()
    assert ".local" not in ptx


def test_every_op_has_a_launcher():
    assert set(numba_cuda.KERNELS) == set(TABLE)
