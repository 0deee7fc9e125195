"""Which backend a call gets, and what a backend that is missing or lacks an op says."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from odd_arrays import FakeDeviceArray

import fastnn as fn
from fastnn import backends, checks
from fastnn.backends import reference
from fastnn.ops.dispatch import apply
from fastnn.program import Program
from fastnn.table import HALVES, TABLE


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("FASTNN_BACKEND", raising=False)


@pytest.fixture
def asked(monkeypatch):
    """The names that backends are loaded by; nothing but the reference is really loaded."""
    names = []
    real = backends.load("reference")

    def load(name):
        checks.option("backend", "name", name, tuple(backends.MODULES))
        names.append(name)
        return real

    monkeypatch.setattr(backends, "load", load)
    return names


def test_default(asked):
    backends.select()
    assert asked == ["cython"]


def test_environment(asked, monkeypatch):
    monkeypatch.setenv("FASTNN_BACKEND", "numba")
    backends.select()
    assert asked == ["numba"]


def test_empty_environment_is_no_choice(asked, monkeypatch):
    monkeypatch.setenv("FASTNN_BACKEND", "")
    backends.select()
    assert asked == ["cython"]


def test_device_array(asked, monkeypatch):
    array = FakeDeviceArray()
    backends.select(None, [np.zeros(3), array])
    assert asked == ["cuda"]


def test_order(asked, monkeypatch):
    """Argument, use_backend, FASTNN_BACKEND, where the arrays live."""
    array = FakeDeviceArray()
    monkeypatch.setenv("FASTNN_BACKEND", "numba")
    backends.select(None, [array])
    with backends.use_backend("reference"):
        backends.select(None, [array])
        backends.select("cython", [array])
    assert asked == ["numba", "reference", "reference", "cython"]


def test_use_backend_nests():
    with fn.use_backend("reference"):
        assert backends.select().name == "reference"
        with fn.use_backend("cython"):
            assert backends.select().name == "cython"
        assert backends.select().name == "reference"
    assert backends.select().name == "cython"


def test_use_backend_ends_with_an_error():
    with pytest.raises(KeyError), fn.use_backend("reference"):
        raise KeyError
    assert backends.select().name == "cython"


def test_use_backend_is_of_one_thread():
    seen = []
    with fn.use_backend("reference"):
        thread = threading.Thread(target=lambda: seen.append(backends.select().name))
        thread.start()
        thread.join()
    assert seen == ["cython"]


def test_ops_follow_the_selection(monkeypatch):
    """The call really arrives there."""
    seen = []
    real = reference.KERNELS["exp"]
    monkeypatch.setitem(reference.KERNELS, "exp", lambda x, y: (seen.append("exp"), real(x, y)))
    x = np.ones(3)
    fn.exp(x)
    assert not seen
    fn.ops.exp(x, backend="reference")
    with fn.use_backend("reference"):
        fn.exp(x)
    monkeypatch.setenv("FASTNN_BACKEND", "reference")
    fn.exp(x)
    assert seen == ["exp"] * 3


def test_program_keeps_its_backend():
    with fn.use_backend("reference"):
        program = fn.trace(fn.exp, np.ones(3))
    assert program.backend.name == "reference"
    assert Program("cython").backend.name == "cython"


@pytest.mark.parametrize("call", [backends.load, backends.missing, lambda n: fn.ops.exp([1.0], backend=n), Program])
def test_unknown(call):
    message = r"backend: name: expected one of 'cython', 'numba', 'cuda', 'reference', got 'torch'"
    with pytest.raises(ValueError, match=message):
        call("torch")


def test_unknown_in_use_backend():
    with pytest.raises(ValueError, match="got 'torch'"), fn.use_backend("torch"):
        pass
    assert backends.select().name == "cython"


def test_unknown_in_environment(monkeypatch):
    monkeypatch.setenv("FASTNN_BACKEND", "torch")
    with pytest.raises(ValueError, match="got 'torch'"):
        fn.exp([1.0])


def test_available():
    names = fn.available_backends()
    assert {"cython", "reference"} <= set(names) <= set(backends.MODULES)


@pytest.mark.parametrize("backend_name, package, extra", [("numba", "numba", "numba"), ("cuda", "numba", "cuda1")])
def test_missing_names_the_command(backend_name, package, extra):
    """Without the package, in a fresh process where its import fails."""
    code = f"""
import importlib.abc, importlib.util, sys
gone = ("numba", "numba_cuda")
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in gone:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.split(".")[0] in gone else find(name, package)
sys.meta_path.insert(0, Blocked())
import fastnn as fn
from fastnn import backends
assert {backend_name!r} not in fn.available_backends()
assert "cython" in fn.available_backends()
try:
    fn.ops.exp([1.0], backend={backend_name!r})
except RuntimeError as error:
    print(error)
"""
    environment = {k: v for k, v in os.environ.items() if k not in ("FASTNN_BACKEND", "NUMBA_ENABLE_CUDASIM")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"backend {backend_name!r} is not available: ")
    assert f'pip install "fastnn[{extra}' in done.stdout


def test_unsupported_op(monkeypatch):
    """An op that a backend lacks is an error; nothing else runs in its place."""
    monkeypatch.delitem(reference.KERNELS, "exp")
    with pytest.raises(fn.UnsupportedOp, match=r"^exp: backend 'reference' has no kernel for float32$") as caught:
        fn.ops.exp(np.ones(3, np.float32), backend="reference")
    assert (caught.value.op, caught.value.backend, caught.value.dtype) == ("exp", "reference", "float32")
    assert isinstance(caught.value, NotImplementedError)
    with pytest.raises(fn.UnsupportedOp, match=r"^exp: backend 'reference' has no kernel for float64$"):
        fn.trace(fn.exp, np.ones(3), backend="reference")


@pytest.mark.parametrize("dtype", HALVES)
def test_halves(op, dtype, backend):
    """An op and a backend without numbers of two bytes say so, to arrays and to tensors."""
    kernels, row = backends.load(backend), TABLE[op]
    floats = [a for a in row.inputs if not a.integer]
    if kernels.supports(op, dtype) or not floats:
        pytest.skip("the backend has it, or its inputs are all integers")
    dims = dict.fromkeys(row.dims, 1)
    inputs = [np.ones([dims[d] for d in a.dims], np.int64 if a.integer else dtype) for a in row.inputs]
    message = rf"^{op}: backend '{backend}' has no kernel for {dtype}$"
    with pytest.raises(fn.UnsupportedOp, match=message):
        apply(op, *map(kernels.to_device, inputs), backend=backend)
    program = Program(backend)
    tensors = [program.input(a.name, x.shape, x.dtype) for a, x in zip(row.inputs, inputs, strict=True)]
    with pytest.raises(fn.UnsupportedOp, match=message):
        apply(op, *tensors)


@pytest.mark.parametrize("dtype", HALVES)
def test_recorded_halves(dtype):
    """A layer of numbers of two bytes is recorded as others are; what else there is is an error, gradients too."""
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((5, 7), (7, 3), (3,)))

    def layer(x):
        return fn.ops.dense(x, w, b, activation="gelu")

    program = fn.trace(layer, x, backend="reference")
    want = fn.ops.dense(x, w, b, activation="gelu", backend="reference")
    (found,) = program(x)
    assert found.dtype == x.dtype and found.tobytes() == want.tobytes()
    with pytest.raises(fn.DtypeError, match=f"^dense: w: expected {dtype} like the tensors"):
        fn.trace(lambda x: fn.ops.dense(x, w.astype(np.float32)), x, backend="reference")
    with pytest.raises(fn.DtypeError, match=f"^dense: w: expected {dtype} like the arrays before it, got float32$"):
        fn.ops.dense(x, w.astype(np.float32), backend="reference")
    with pytest.raises(fn.UnsupportedOp, match=f"no kernel for {dtype}$"):
        fn.grad(lambda x: fn.sum(layer(x)))(x)


def test_empty(backend):
    """Memory of a CPU backend begins at a multiple of 64 bytes."""
    kernels = backends.load(backend)
    for shape, dtype in (((), np.float32), ((0,), np.float64), ((3, 5), np.float32), ((7,), np.int64)):
        array = kernels.empty(shape, dtype)
        assert tuple(array.shape) == shape and array.dtype == dtype
        if not kernels.device and array.size:
            assert array.ctypes.data % 64 == 0 and array.flags.c_contiguous


def test_round_trip(backend):
    kernels = backends.load(backend)
    host = np.arange(12, dtype=np.float32).reshape(3, 4)
    back = kernels.to_host(kernels.to_device(host))
    assert np.array_equal(back, host) and not np.shares_memory(back, host)


def test_cached_code_needs_no_compiler(tmp_path):
    """A second process loads what a first one compiled, without Numba's declarations of all that it can compile."""
    pytest.importorskip("numba")
    code = """
import sys
import fastnn as fn
print(fn.ops.relu([-1.0, 2.0], backend="numba"), "numba.np.linalg" in sys.modules)
"""
    command, environment = [sys.executable, "-c", code], {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    for compiles in (True, False):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"[0. 2.] {compiles}\n"
