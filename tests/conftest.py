"""What all tests share: the choice of backends, and a Numba cache of this session's own."""

import os
import shutil
import sys
import tempfile
import zlib
from contextlib import contextmanager

import ml_dtypes  # noqa: F401  (tells NumPy of bfloat16)
import numpy as np
import pytest

# Numba reads the variable when it is first imported. A cache from an earlier session could hold stale code.
_NUMBA_CACHE = None
if "NUMBA_CACHE_DIR" not in os.environ:
    _NUMBA_CACHE = os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="fastnn-numba-")

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from ferry import Ferry  # noqa: E402

import fastnn  # noqa: E402
from fastnn import backends  # noqa: E402
from fastnn.backends.compiled import CompiledBackend  # noqa: E402
from fastnn.table import DTYPES, HALVES, TABLE  # noqa: E402

# New processes must import the package that is tested here, not an unbuilt one in the folder where pytest was started.
os.environ["PYTHONPATH"] = os.path.dirname(os.path.dirname(os.path.abspath(fastnn.__file__)))
os.environ["PYTHONSAFEPATH"] = "1"

#: What runs unless `--backend` says otherwise. The `cuda` backend has tests of its own, which use the simulator.
CPU_BACKENDS = tuple(name for name in backends.MODULES if name != "cuda")


def pytest_addoption(parser):
    parser.addoption(
        "--backend",
        action="append",
        choices=tuple(backends.MODULES),
        help="test this backend only (repeatable); by default all CPU backends",
    )


def pytest_unconfigure():
    if _NUMBA_CACHE:
        shutil.rmtree(_NUMBA_CACHE, ignore_errors=True)


def backend_params(config):
    """Names of the chosen backends as test parameters; those missing here are skipped with the reason."""
    return [
        pytest.param(name, marks=[pytest.mark.skip(reason=f"backend {name!r}: {reason}")] if reason else [])
        for name, reason in ((n, backends.missing(n)) for n in config.getoption("--backend") or CPU_BACKENDS)
    ]


def pytest_generate_tests(metafunc):
    """Run a test with an argument `op`, `dtype` or `backend` once for each, unless the test says otherwise itself."""
    own = " ".join(str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize"))
    own = own.replace(",", " ").split()
    wanted = [name for name in ("op", "dtype", "backend") if name in metafunc.fixturenames and name not in own]
    if "op" in wanted and "dtype" in wanted:
        pairs = [(op, dtype) for op in TABLE.values() for dtype in op.dtypes]
        # With `--dist loadgroup` one process compiles a family's kernels, which share device functions.
        metafunc.parametrize(
            "op, dtype", [pytest.param(o.name, d, marks=pytest.mark.xdist_group(o.family)) for o, d in pairs]
        )
        wanted = wanted[2:]
    for name in wanted:  # the backend varies fastest
        metafunc.parametrize(name, {"op": TABLE, "dtype": DTYPES}.get(name) or backend_params(metafunc.config))


def pytest_collection_modifyitems(items):
    """Begin with the simulator's one process, for minutes of which other workers would wait in the end."""
    items.sort(key=lambda item: item.path.name != "test_simulator.py")


@pytest.fixture(autouse=True)
def supported(request):
    """Report what a backend lacks, in the tests of what it has."""
    chosen = getattr(getattr(request.node, "callspec", None), "params", {})
    if request.path.parent.name != "conformance" or not {"op", "dtype", "backend"} <= chosen.keys():
        return
    op, dtype, backend = (chosen[name] for name in ("op", "dtype", "backend"))
    if dtype in HALVES and not backends.load(backend).supports(op, dtype):
        pytest.skip(f"backend {backend!r} has no {op} for {dtype}")


@pytest.fixture(autouse=True)
def ferried(request, monkeypatch):
    """Where the backend of a unit or model test is `cuda`, let it take the host arrays that such tests hand over."""
    chosen = getattr(request.node, "callspec", None)
    if chosen is None or chosen.params.get("backend") != "cuda" or request.path.parent.name not in ("unit", "training"):
        return
    load, ferry = backends.load, Ferry(backends.load("cuda"))
    monkeypatch.setattr(backends, "load", lambda name: ferry if name == "cuda" else load(name))


@pytest.fixture
def on_backend(request):
    """Runs a test with an argument `backend` on it, for what has no such argument itself."""
    if "backend" not in request.fixturenames:
        yield
        return
    with fastnn.use_backend(request.getfixturevalue("backend")):
        yield


@pytest.fixture
def known_only(monkeypatch):
    """A context in which calls of ops fail unless they are remembered."""

    @contextmanager
    def closed():
        with monkeypatch.context() as patched:
            patched.setattr(CompiledBackend, "run", lambda *_: pytest.fail("the call is not remembered"))
            yield

    return closed


@pytest.fixture
def rng(request):
    """A random generator seeded by the test's name."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))
