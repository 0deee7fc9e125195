"""Every CUDA kernel compiles for compute capability 7.5, 8.0 and 9.0. No GPU is needed, only NVVM.

Where NVIDIA's assembler is at hand, every kernel is assembled too.
"""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from fastnn.table import TABLE

if importlib.util.find_spec("numba_cuda") is None:
    pytest.skip('PTX needs numba-cuda; `pip install "fastnn[cuda13]"` provides it', allow_module_level=True)
if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0":
    pytest.skip("the simulator compiles nothing", allow_module_level=True)

from numba.cuda.cudadrv import nvvm

if not nvvm.is_available():
    pytest.skip('NVVM cannot be loaded; `pip install "fastnn[cuda13]"` provides it', allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from ptxas_report import CAPABILITIES, assemble, compiled, entry, ptxas_version

from fastnn.backends import numba_cuda
from fastnn.kernels.numba_cuda import sizes, tiles

#: Ops whose kernels may compute in float64 for float32 arrays: sums, losses, and what libdevice does for huge angles.
WIDE = {"power", "sin", "cos", "clip_by_norm", "argmax", "count_equal", "dense_backward", "penalty", "max_norm"}
WIDE |= {"layer_norm", "layer_norm_backward", "batch_norm", "batch_norm_backward"}
WIDE |= {name for name, op in TABLE.items() if op.family in ("reductions", "losses") or "softmax" in name}

by_capability = pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda c: f"sm_{c[0]}{c[1]}")


@by_capability
def test_compiles(op, dtype, capability):
    found = compiled(op, dtype, capability)
    assert found
    for key, ptx in found.items():
        assert f".target sm_{capability[0]}{capability[1]}" in ptx, key
        assert ".visible .entry" in ptx, key


@pytest.mark.skipif(ptxas_version() is None, reason="there is no ptxas; `pip install nvidia-cuda-nvcc` provides it")
@by_capability
def test_assembles(op, dtype, capability):
    """Nothing spills in the matrix kernels, and none takes more registers or shared memory than a block can have."""
    for key, ptx in compiled(op, dtype, capability).items():
        use = assemble(ptx, capability)
        print(entry(key), use)
        assert use.registers <= 255 and use.shared <= 48 * 1024, key
        if TABLE[op].family == "matmul":
            assert use.spilled == 0, key


@pytest.mark.parametrize("op", [name for name in TABLE if name not in WIDE])
def test_float32_stays_float32(op):
    """A bare literal in a kernel would compute in float64, at 1/32 or 1/64 of the speed on most devices."""
    for key, ptx in compiled(op, "float32", CAPABILITIES[0]).items():
        assert ".f64" not in ptx, key


@by_capability
def test_products(dtype, capability):
    """There is a kernel for each size of tile; its sums live in registers, and it reads and writes 16 bytes at once."""
    found = {entry(key): ptx for key, ptx in compiled("matmul", dtype, capability).items() if key[0] is not COMBINE}
    itemsize = int(dtype[-2:]) // 8
    assert len(found) == len(sizes.TILES[itemsize])
    vector = {4: "v4.f32", 8: "v2.f64"}[itemsize]
    for name, ptx in found.items():
        assert ".local" not in ptx, name
        for access in ("ld.global", "st.shared", "ld.shared", "st.global"):
            assert f"{access}.{vector}" in ptx, (name, access)


COMBINE = tiles.combine.py_func


def test_every_op_has_a_launcher():
    assert set(numba_cuda.KERNELS) == set(TABLE)
