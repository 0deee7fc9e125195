"""Every CUDA kernel compiles for compute capability 7.5, 8.0 and 9.0. No GPU is needed, only NVVM.

Where NVIDIA's assembler is at hand, every kernel is assembled too.
"""

import importlib.util
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fastnn.table import TABLE

if importlib.util.find_spec("numba_cuda") is None:
    pytest.skip('PTX needs numba-cuda; `pip install "fastnn[cuda13]"` provides it', allow_module_level=True)
if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0":
    pytest.skip("the simulator compiles nothing", allow_module_level=True)

import numba
from numba import cuda
from numba.cuda.cudadrv import nvvm

if not nvvm.is_available():
    pytest.skip('NVVM cannot be loaded; `pip install "fastnn[cuda13]"` provides it', allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from ptxas_report import CAPABILITIES, assemble, calls, compiled, entry, ptxas_version

from fastnn.backends import numba_cuda
from fastnn.kernels.numba_cuda import graphs, sizes, tensor_cores, tiles

#: Ops whose kernels may compute in float64 for float32 arrays: sums, losses, and what libdevice does for huge angles.
WIDE = {"power", "sin", "cos", "clip_by_norm", "argmax", "count_equal", "dense_backward", "penalty", "max_norm"}
WIDE |= {"layer_norm", "layer_norm_backward", "batch_norm", "batch_norm_backward"}
WIDE |= {name for name, op in TABLE.items() if op.family in ("reductions", "losses") or "softmax" in name}

#: Parameters for which models and optimizers give slots.
CHANGING = {"learning_rate", "step", "momentum_product", "dampening", "l1", "l2"}


def by_capability(test, capabilities=CAPABILITIES):
    """Run a test for each of these compute capabilities."""
    return pytest.mark.parametrize("capability", capabilities, ids=lambda c: f"sm_{c[0]}{c[1]}")(test)


with_ptxas = pytest.mark.skipif(
    ptxas_version() is None, reason="there is no ptxas; `pip install nvidia-cuda-nvcc` provides it"
)


@by_capability
def test_compiles(op, dtype, capability):
    found = compiled(op, dtype, capability)
    assert found
    for key, ptx in found.items():
        assert f".target sm_{capability[0]}{capability[1]}" in ptx, key
        assert ".visible .entry" in ptx, key


@with_ptxas
@partial(by_capability, capabilities=CAPABILITIES[-1:])
def test_assembles(op, dtype, capability):
    """None takes more registers or shared memory than a block can have."""
    for key, ptx in compiled(op, dtype, capability).items():
        use = assemble(ptx, capability)
        print(entry(key), use)
        assert use.registers <= 255 and use.shared <= 48 * 1024, key


@with_ptxas
@by_capability
@pytest.mark.parametrize("product", [name for name, op in TABLE.items() if op.family == "matmul"])
def test_products_spill_nothing(product, dtype, capability):
    for key, ptx in compiled(product, dtype, capability).items():
        assert assemble(ptx, capability).spilled == 0, key


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
    cores = dtype == "float32" and capability >= tensor_cores.FIRST
    assert len(found) == len(sizes.TILES[itemsize]) + (len(MMA) * len(sizes.TENSOR_TILES) if cores else 0)
    vector = {4: "v4.f32", 8: "v2.f64"}[itemsize]
    for name, ptx in found.items():
        assert ".local" not in ptx, name
        policy = name.split()[0].rpartition("_")[2]
        words = "v4.u32" if policy in MMA else vector
        for access in (f"ld.global.{vector}", f"st.shared.{words}", f"ld.shared.{words}", f"st.global.{vector}"):
            assert access in ptx, (name, access)
        counts = {instruction: ptx.count(instruction) for instruction in MMA.values()}
        for instruction, count in counts.items():
            assert (count > 0) == (instruction == MMA.get(policy)), (name, instruction)


COMBINE = tiles.combine.py_func
#: The instruction that multiplies under each policy.
MMA = {
    "tf32": "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32",
    "bf16": "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
    "bf16x3": "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
}


@pytest.mark.parametrize("kind", ["float32", "float64", "uint64"])
def test_store(kind):
    """Numbers of every type that kernels take can be brought to the device by a launch."""
    values = numba.types.UniTuple(getattr(numba, kind), graphs.STORED)
    given = numba.types.Array(values.dtype, 1, "C"), numba.int64, numba.int64, values
    ptx, _ = cuda.compile_ptx(graphs.store.py_func, given, cc=CAPABILITIES[0])
    assert "st.global" in ptx


@pytest.mark.parametrize("op", [name for name, op in TABLE.items() if CHANGING & op.params.keys()])
def test_changing_numbers(op):
    """What follows from a number that may change from replay to replay stands in tuples, and in nothing else."""
    ((arrays, dims, params),) = calls(TABLE[op], "float32")
    params |= {name: 0.1 for name, value in params.items() if isinstance(value, float) and value == 0}

    def launched(params):
        seen = []
        workspace = np.empty(numba_cuda.workspace_size(TABLE[op], arrays, dims, params))
        numba_cuda.KERNELS[op](lambda *launch: seen.extend(launch), arrays, workspace, dims, params)
        return [a for a in seen if isinstance(a, tuple)], [a for a in seen if not isinstance(a, (tuple, np.ndarray))]

    tuples, others = launched(params)
    for name in CHANGING & params.keys():
        changed, same = launched(params | {name: params[name] + 7})
        assert changed != tuples and same == others, name


def test_every_op_has_a_launcher():
    assert set(numba_cuda.KERNELS) == set(TABLE)
