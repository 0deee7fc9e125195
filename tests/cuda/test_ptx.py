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

from fastnn.table import HALVES, TABLE

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
from fastnn.kernels.numba_cuda import graphs, sizes

#: Ops whose kernels may compute in float64 for float32 arrays: sums, losses, and what libdevice does for huge angles.
WIDE = {"power", "sin", "cos", "clip_by_norm", "argmax", "count_equal", "dense_backward", "penalty", "max_norm"}
WIDE |= {"layer_norm", "layer_norm_backward", "batch_norm", "batch_norm_backward"}
WIDE |= {name for name, op in TABLE.items() if op.family in ("reductions", "losses") or "softmax" in name}

#: Parameters for which models and optimizers give slots.
CHANGING = {"learning_rate", "step", "momentum_product", "dampening", "l1", "l2"}


def by_capability(test, capabilities=CAPABILITIES):
    """Run a test for each of these compute capabilities."""
    return pytest.mark.parametrize("capability", capabilities, ids=lambda c: f"sm_{c[0]}{c[1]}")(test)


def elementwise(op):
    """Whether all arrays of an op have one size, and an element of each makes one element of the others."""
    return op.name == "clip_by_norm" or all(a.dims == ("n",) and not a.integer for a in op.arguments)


products = pytest.mark.xdist_group("matmul")
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


@by_capability
@pytest.mark.parametrize("op", ["sum", "sum_of_squares", "argmax", "softmax", "layer_norm", "softmax_cross_entropy"])
def test_reductions(op, capability):
    """Threads of a warp swap their numbers; only what comes of whole warps goes through shared memory."""
    for key, ptx in compiled(op, "float32", capability).items():
        assert "shfl.sync.bfly" in ptx and ptx.count("bar.sync") <= 2 * ptx.count("shfl.sync"), key


@products
@with_ptxas
@by_capability
@pytest.mark.parametrize(
    "product, kind", [(name, kind) for name, op in TABLE.items() if op.family == "matmul" for kind in op.dtypes]
)
def test_products_spill_nothing(product, kind, capability):
    for key, ptx in compiled(product, kind, capability).items():
        assert assemble(ptx, capability).spilled == 0, key


@pytest.mark.parametrize(
    "op", [pytest.param(o.name, marks=pytest.mark.xdist_group(o.family)) for o in TABLE.values() if o.name not in WIDE]
)
def test_float32_stays_float32(op):
    """A bare literal in a kernel would compute in float64, at 1/32 or 1/64 of the speed on most devices."""
    for dtype in (d for d in TABLE[op].dtypes if d != "float64"):
        for key, ptx in compiled(op, dtype, CAPABILITIES[0]).items():
            assert ".f64" not in ptx, key


@by_capability
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.xdist_group(TABLE[n].family)) for n in TABLE if elementwise(TABLE[n])]
)
def test_elements(name, dtype, capability):
    """Every array is read and written 16 bytes at once, once by each thread, and elements live in registers.

    So they are where an optimizer has a table of many arrays.
    """
    op, vector = TABLE[name], VECTORS[dtype]
    # Four random words make four elements; of the gradient of "linear" the output is given, but not needed.
    times = 2 if op.family == "random" and dtype == "float64" else 1
    only_read = sum(a.dims == ("n",) and not a.updated for a in op.inputs) - (name == "linear_backward")
    optional = sum(a.optional for a in op.inputs)
    wanted = {times * (len(op.updates) + len(op.outputs) - absent) for absent in {0, optional}}
    found = set()
    for key, ptx in compiled(name, dtype, capability).items():
        read, written = ptx.count(f"ld.global.{vector}"), ptx.count(f"st.global.{vector}")
        assert read - written == times * (only_read - len(op.outputs)), key
        found.add(written)
        # libdevice keeps the digits of 2 / pi for huge angles there.
        assert ".local" not in ptx or name in ("sin", "cos"), key
    assert found == wanted


@products
@by_capability
@pytest.mark.parametrize("kind", TABLE["matmul"].dtypes)
def test_products(kind, capability):
    """There is a kernel for each size of tile; its sums live in registers, and it reads and writes 16 bytes at once."""
    ptx_of = {entry(key): ptx for key, ptx in compiled("matmul", kind, capability).items()}
    found = {name: ptx for name, ptx in ptx_of.items() if name.startswith("product_")}
    ways = {name.split()[0].split("_", 2)[2] for name in found}
    assert ways == WAYS[kind][capability >= (8, 0)]
    for way in ways:
        tiles = {name.split("_")[1] for name in found if name.split()[0].endswith(f"_{way}")}
        assert len(tiles) == len(sizes.TILES[8 if kind == "float64" else 4]), way
    for name, ptx in found.items():
        assert ".local" not in ptx, name
        way, types = name.split()[0].split("_", 2)[2], name.split()[1:]
        read, written = VECTORS[types[0]], VECTORS[types[-1]]
        words = "v4.u32" if way in MMA else read
        for access in (f"ld.global.{read}", f"st.shared.{words}", f"ld.shared.{words}", f"st.global.{written}"):
            assert access in ptx, (name, access)
        for instruction in set(MMA.values()):
            assert (instruction in ptx) == (instruction == MMA.get(way)), (name, instruction)


#: What is multiplied for each dtype, below compute capability 8.0 and from there on.
WAYS = {
    "float32": ({"float32"}, {"float32", "tf32", "bf16", "bf16x3"}), "float64": ({"float32"}, {"float32"}),
    "float16": ({"float16_k8"}, {"float16"}), "bfloat16": ({"float32"}, {"bfloat16"}),
}  # fmt: skip
#: 16 bytes of an array of each type.
VECTORS = {"float32": "v4.f32", "float64": "v2.f64", "uint16": "v4.u32"}
#: The instruction that multiplies each.
MMA = {
    "tf32": "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32",
    "bf16": "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
    "bf16x3": "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
    "bfloat16": "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
    "float16": "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
    "float16_k8": "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32",
}


@products
@pytest.mark.parametrize("kind", HALVES)
@by_capability
def test_halves_are_read_as_they_are(kind, capability):
    """Products widen numbers of two bytes before they multiply them only where no instruction takes them."""
    names = {entry(key).split("_")[0] for key in compiled("dense", kind, capability)}
    assert ("widening" in names) == (kind == "bfloat16" and capability < (8, 0))


@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "uint64"])
def test_store(kind):
    """Numbers of every type that kernels take can be brought to the device by a launch."""
    values = numba.types.UniTuple(getattr(numba, kind), graphs.STORED)
    given = numba.types.Array(values.dtype, 1, "C"), numba.int64, numba.int64, values
    ptx, _ = cuda.compile_ptx(graphs.store.py_func, given, cc=CAPABILITIES[0])
    assert "st.global" in ptx


@pytest.mark.parametrize("op", [name for name, op in TABLE.items() if CHANGING & op.params.keys()])
def test_changing_numbers(op):
    """What follows from a number that may change from replay to replay stands in tuples, and in nothing else."""
    (arrays, dims, params), *_ = calls(TABLE[op], "float32")
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
