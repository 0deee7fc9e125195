"""The kernels inside other people's programs, built out of tree against the package as it is installed."""

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastnn as fn
import fastnn_ext
from fastnn import backends
from fastnn.backends.cython_cpu import KERNELS
from fastnn.table import ACTIVATIONS, ALPHA, DTYPES, SAVED, TABLE
from fastnn_ext import executor

PACKAGE = Path(fastnn_ext.__file__).parent
#: Lets a child import the package under test, whatever its working directory.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}


def address(array):
    return 0 if array is None else array.ctypes.data


def numbers(rng, dtype, n=4001):
    return rng.normal(scale=4.0, size=n).astype(dtype)


def dense_example(rng, activation="gelu"):
    """Arguments of the float64 kernel `dense` as addresses and numbers, its output, and what must be in it.

    Returns buffers, sizes, parameters, phases, the output, the expected output, and all arrays, to keep them alive.
    """
    op, dims, params = TABLE["dense"], {"b": 37, "i": 20, "o": 13}, {"activation": activation, "alpha": 0.0}
    x, w, b, y = rng.normal(size=(37, 20)), rng.normal(size=(20, 13)), rng.normal(size=13), np.empty((37, 13))
    cython = backends.load("cython")
    workspace = cython.empty((cython.workspace("dense", dims, params, 8, 3),), np.uint8)
    arrays = x, w, b, y, None, workspace
    expected = fn.ops.dense(x, w, b, activation=activation, backend="cython")
    sizes, given = [dims[d] for d in op.dims], op.encode(params)
    return [address(a) for a in arrays], sizes, given, op.phases, y, expected, arrays


# --- Cython ----------------------------------------------------------------------------------------------

#: Each of the scalar formulas in a loop of the user's, and a call of any kernel through the executor.
USER = """
# cython: language_level=3
from cython cimport floating
from fastnn_ext cimport scalar
from fastnn_ext.executor cimport Instruction, execute, kernel_t

def forward(str name, floating[::1] x, floating[::1] y, floating alpha):
    cdef Py_ssize_t i
{forward}
    else:
        raise KeyError(name)

def backward(str name, floating[::1] dy, floating[::1] saved, floating[::1] dx, floating alpha):
    cdef Py_ssize_t i
{backward}
    else:
        raise KeyError(name)

def call(size_t address, list buffers, list sizes, list numbers, int phases, int threads):
    cdef void *pointers[8]
    cdef Py_ssize_t dims[8]
    cdef double params[16]
    cdef Instruction one
    cdef Py_ssize_t i
    for i in range(len(buffers)):
        pointers[i] = <void *> <size_t> buffers[i]
    for i in range(len(sizes)):
        dims[i] = sizes[i]
    for i in range(len(numbers)):
        params[i] = numbers[i]
    one.kernel = <kernel_t> address
    one.buffers = pointers
    one.dims = dims
    one.params = params
    one.phases = phases
    one.threads = threads
    with nogil:
        execute(&one, 1, threads)

def size_of_instruction():
    return sizeof(Instruction)
"""
#: The .pxd files are found like Python modules; C needs to be told where the header is that one of them includes.
SETUP = """
from importlib.util import find_spec
from Cython.Build import cythonize
from setuptools import Extension, setup
folders = list(find_spec("fastnn_ext").submodule_search_locations)
setup(name="embedding", ext_modules=cythonize([Extension("*", ["*.pyx"], include_dirs=folders)]))
"""


def user_source():
    """The user's module, with one branch for each activation."""
    branches = {"forward": [], "backward": []}
    for name in ACTIVATIONS[1:]:
        alpha = ", alpha" if name in ALPHA else ""
        calls = {
            "forward": f"y[i] = scalar.{name}_(x[i]{alpha})",
            "backward": f"dx[i] = scalar.{name}_backward_(dy[i], saved[i]{alpha})",
        }
        for kind, call in calls.items():
            word = "elif" if branches[kind] else "if"
            out = call.partition("[")[0]
            head = f"    {word} name == {name!r}:\n        for i in range({out}.shape[0]):"
            branches[kind].append(f"{head}\n            {call}")
    return USER.format(**{kind: "\n".join(lines) for kind, lines in branches.items()})


def build(folder, **sources):
    """Build modules with setuptools and Cython, as another project does; returns them by name."""
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    if shutil.which(compiler.split()[0]) is None:
        pytest.skip(f"there is no C compiler {compiler.split()[0]!r}")
    for name, text in sources.items():
        (folder / f"{name}.pyx").write_text(text)
    (folder / "setup.py").write_text(SETUP)
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    modules = {}
    for name in sources:
        modules[name] = load(name, folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}")
    return modules


def load(name, path):
    """Import a module from a file."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """The user's Cython module."""
    return build(tmp_path_factory.mktemp("user"), embedded=user_source())["embedded"]


@pytest.mark.parametrize("name", ACTIVATIONS[1:])
def test_cython_scalar_formulas(user, name, dtype, rng):
    """In the user's loop, with the user's compiler flags, they compute what the kernels compute."""
    x, dy = numbers(rng, dtype), numbers(rng, dtype)
    alpha = {"alpha": ALPHA[name]} if name in ALPHA else {}
    y, dx = np.empty_like(x), np.empty_like(x)
    user.forward(name, x, y, ALPHA.get(name, 0.0))
    eps = np.finfo(dtype).eps
    assert np.allclose(y, getattr(fn.ops, name)(x, **alpha), rtol=8 * eps, atol=0)
    saved = {"x": x, "y": y}[SAVED[name]]
    user.backward(name, dy, saved, dx, ALPHA.get(name, 0.0))
    expected = getattr(fn.ops, f"{name}_backward")(dy, saved, **alpha)
    assert np.allclose(dx, expected, rtol=16 * eps, atol=16 * eps * np.abs(expected).max())


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_cython_calls_a_kernel(user, dtype, threads, rng):
    x = numbers(rng, dtype)
    y = np.full_like(x, np.nan)
    user.call(KERNELS["relu"][DTYPES.index(dtype)], [address(x), address(y), 0], [x.size], [], 1, threads)
    assert np.array_equal(y, np.maximum(x, 0))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_cython_calls_a_kernel_of_several_phases(user, threads, rng):
    """`dense`, with a workspace: the same bits as from the op."""
    buffers, sizes, params, phases, y, expected, _ = dense_example(rng)
    user.call(KERNELS["dense"][1], buffers, sizes, params, phases, threads)
    assert np.array_equal(y, expected)


def test_cython_interface_only_grows(user):
    """What compiled modules of other projects rely on: the function's type, and the size of the struct."""
    found = {name: repr(capsule).split('"')[1] for name, capsule in executor.__pyx_capi__.items()}
    execute = "void (struct __pyx_t_10fastnn_ext_8executor_Instruction const *, Py_ssize_t, int)"
    assert found["execute"] == execute
    assert user.size_of_instruction() == 6 * ctypes.sizeof(ctypes.c_void_p)


def test_every_pxd_file_can_be_used(tmp_path):
    """From any folder: the files that they need, C headers too, are installed beside them."""
    names = sorted(path.stem for path in PACKAGE.glob("*.pxd"))
    assert {"executor", "scalar"} <= set(names)
    lines = ["# cython: language_level=3", *(f"from fastnn_ext cimport {name}" for name in names)]
    lines += [
        "def gelu(float[::1] x, float[::1] y):",
        "    activations.map_forward[float](activations.GELU, 0, &x[0], &y[0], x.shape[0])",
        "def total(double[::1] x):",
        "    return rows.row_sum(&x[0], x.shape[0])",
        "def vector_bytes():",
        "    return gemm.VECTOR_BYTES",
    ]
    module = build(tmp_path, everything="\n".join(lines))["everything"]
    x = np.linspace(-4, 4, 1001, dtype=np.float32)
    y = np.empty_like(x)
    module.gelu(x, y)
    assert np.allclose(y, fn.ops.gelu(x), rtol=1e-6, atol=1e-9)
    assert module.total(np.arange(100.0)) == 4950
    assert module.vector_bytes() in (16, 32, 64)


# --- C function pointers ---------------------------------------------------------------------------------

#: The one signature of all kernels, see docs/kernels.md.
SIGNATURE = ctypes.CFUNCTYPE(
    None,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_ssize_t),
    ctypes.POINTER(ctypes.c_double),
    ctypes.c_ssize_t,
    ctypes.c_ssize_t,
    ctypes.c_ssize_t,
)


def pointers(buffers, sizes, params):
    """C arrays of a kernel's arguments."""
    return (
        (ctypes.c_void_p * len(buffers))(*buffers),
        (ctypes.c_ssize_t * len(sizes))(*sizes),
        (ctypes.c_double * max(len(params), 1))(*params),
    )


def test_pointer_to_a_kernel(dtype, rng):
    relu = SIGNATURE(KERNELS["relu"][DTYPES.index(dtype)])
    x = numbers(rng, dtype)
    y = np.full_like(x, np.nan)
    relu(*pointers([address(x), address(y), 0], [x.size], []), 0, 0, 1)
    assert np.array_equal(y, np.maximum(x, 0))


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_team_of_the_users_threads(parts, rng):
    """ctypes releases the GIL: each of the user's threads takes its part, and all meet between the phases."""
    x = numbers(rng, "float64", 20000)
    y = np.full_like(x, np.nan)
    gelu, arguments = SIGNATURE(KERNELS["gelu"][1]), pointers([address(x), address(y), 0], [x.size], [])
    with ThreadPoolExecutor(parts) as team:
        list(team.map(lambda part: gelu(*arguments, 0, part, parts), range(parts)))
    assert np.array_equal(y, fn.ops.gelu(x, backend="cython"))


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_pointer_to_a_kernel_of_several_phases(parts, rng):
    buffers, sizes, params, phases, y, expected, _ = dense_example(rng)
    dense, arguments = SIGNATURE(KERNELS["dense"][1]), pointers(buffers, sizes, params)
    for phase in range(phases):
        for part in range(parts):
            dense(*arguments, phase, part, parts)
    assert np.array_equal(y, expected)


def test_pointer_to_an_optimizer(rng):
    """In place, with parameters: those of the table, in its order."""
    op = TABLE["adam_update"]
    p, g, m, v = (np.array(rng.normal(size=100) ** 2) for _ in range(4))
    expected = [a.copy() for a in (p, m, v)]
    fn.ops.adam_update(expected[0], g, expected[1], expected[2], learning_rate=0.1, step=3)
    params = op.encode({**op.params, "learning_rate": 0.1, "step": 3})
    buffers = [address(a) for a in (p, g, m, v, None, None)]
    SIGNATURE(KERNELS["adam_update"][1])(*pointers(buffers, [100], params), 0, 0, 1)
    assert all(np.array_equal(a, b) for a, b in zip((p, m, v), expected, strict=True))


# --- Numba -----------------------------------------------------------------------------------------------

#: A user's module. Its functions are cached on disk: nothing in them is an address of this process.
NUMBA_USER = """
import numba
import numpy as np
from fastnn.kernels.numba_cpu import activations, matmul, optimizers, scalar


@numba.njit(cache=True)
def relu_then_gelu(x, y):
    activations.relu(x, y, 0, 1)
    activations.gelu(y, y, 0, 1)
    return y.sum()


@numba.njit(cache=True, parallel=True)
def silu_in_parts(x, y, parts):
    for part in numba.prange(parts):
        activations.silu(x, y, part, parts)


@numba.njit(cache=True)
def dense_relu(x, w, b, y, absent, workspace):
    for phase in range(2):
        matmul.dense(x, w, b, y, absent, workspace, 1.0, 0.0, 0.0, phase, 0, 1)


@numba.njit(cache=True)
def descend(p, g, absent):
    optimizers.sgd_update(p, g, absent, 0.5, 0.0, 0.0, 0.0, 0.0, 0, 1)


@numba.njit(cache=True)
def sum_of_tanh(x):
    total = 0.0
    for i in range(x.size):
        total += scalar.tanh(x[i])
    return total


if __name__ == "__main__":
    x = np.linspace(-3, 3, 101)
    print(relu_then_gelu(x, np.empty_like(x)), sum(relu_then_gelu.stats.cache_hits.values()))
"""


@pytest.fixture(scope="module")
def numba_user(tmp_path_factory):
    pytest.importorskip("numba")
    path = tmp_path_factory.mktemp("numba") / "numba_user.py"
    path.write_text(NUMBA_USER)
    return load("numba_user", path)


def test_numba_elementwise(numba_user, dtype, rng):
    x = numbers(rng, dtype)
    y = np.empty_like(x)
    total = numba_user.relu_then_gelu(x, y)
    expected = fn.ops.gelu(fn.ops.relu(x))
    assert np.allclose(y, expected, rtol=8 * np.finfo(dtype).eps, atol=0)
    assert np.isclose(total, expected.sum(), rtol=1e-4)


@pytest.mark.parametrize("parts", [1, 4, 7])
def test_numba_shares_work_among_its_threads(numba_user, parts, rng):
    x = numbers(rng, "float64")
    y = np.full_like(x, np.nan)
    numba_user.silu_in_parts(x, y, parts)
    assert np.array_equal(y, fn.ops.silu(x, backend="numba"))


def test_numba_dense(numba_user, rng):
    from fastnn.kernels.numba_cpu import matmul

    x, w, b, y = rng.normal(size=(33, 17)), rng.normal(size=(17, 9)), rng.normal(size=9), np.empty((33, 9))
    size = matmul.WORKSPACE["dense"]({"b": 33, "i": 17, "o": 9}, {}, 8, 1)
    numba_user.dense_relu(x, w, b, y, np.empty((0, 9)), np.empty(size // 8 + 1))
    assert np.allclose(y, np.maximum(x @ w + b, 0), rtol=1e-13, atol=1e-13)


def test_numba_optimizer_and_scalar(numba_user, rng):
    p, g = rng.normal(size=50), rng.normal(size=50)
    expected = p - 0.5 * g
    numba_user.descend(p, g, np.empty(0))
    assert np.allclose(p, expected, rtol=1e-15)
    assert np.isclose(numba_user.sum_of_tanh(p), np.tanh(p).sum(), rtol=1e-13)


def test_numba_keeps_the_users_function_on_disk(tmp_path):
    """The second process loads what the first one compiled."""
    pytest.importorskip("numba")
    path, hits = tmp_path / "program.py", []
    path.write_text(NUMBA_USER)
    for _ in range(2):
        done = subprocess.run([sys.executable, path], env=ENVIRONMENT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        hits.append(int(done.stdout.split()[1]))
    assert hits == [0, 1]


def test_numba_calls_a_compiled_kernel(rng):
    """Through the pointer, with arguments laid out in memory; such a function cannot be cached."""
    numba = pytest.importorskip("numba")
    relu = SIGNATURE(KERNELS["relu"][1])
    relu.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_ssize_t] * 3

    @numba.njit
    def loop(buffers, dims, params, times):
        for _ in range(times):
            relu(buffers.ctypes, dims.ctypes, params.ctypes, 0, 0, 1)

    x = numbers(rng, "float64")
    y = np.full_like(x, np.nan)
    loop(np.array([address(x), address(y), 0]), np.array([x.size]), np.zeros(1), 3)
    assert np.array_equal(y, np.maximum(x, 0))
