"""What `import fastnn` brings along, and what its names are."""

import subprocess
import sys

import pytest

import fastnn as fn


def modules_after(code: str) -> set[str]:
    """Modules of a fresh process after running some code."""
    code += "\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


def foreign(names: set[str]) -> set[str]:
    """Top-level modules that are neither ours nor Python's."""
    tops = {name.split(".")[0] for name in names}
    return {t for t in tops if t not in sys.stdlib_module_names and t not in ("fastnn", "fastnn_ext", "cython_runtime")}


def test_import_brings_numpy_only():
    """Beside NumPy and ours: nothing. (Compiled modules register `_cython_<version>`.)"""
    baseline = modules_after("import numpy")
    extra = foreign(modules_after("import fastnn") - baseline)
    assert {name for name in extra if not name.startswith("_cython_")} == set()


def test_use_brings_numpy_only():
    """Nor does calling an op, differentiating, or asking which backends there are."""
    baseline = modules_after("import numpy")
    code = (
        "import fastnn as fn\nfn.exp([1.0])\nfn.grad(lambda x: fn.sum(x * x))(1.0)\n"
        "fn.ops.relu([1.0], backend='reference')\nfn.available_backends()"
    )
    extra = foreign(modules_after(code) - baseline)
    assert {name for name in extra if not name.startswith("_cython_")} == set()


def test_names_are_lazy():
    """Importing the package does not import its differentiation, models or command."""
    names = modules_after("import fastnn")
    assert not names & {"fastnn.autodiff", "fastnn.model", "fastnn.cli", "fastnn.datasets"}


@pytest.mark.parametrize("name", fn.__all__)
def test_public_name(name):
    assert getattr(fn, name) is not None
    assert name in dir(fn)


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'fastnn' has no attribute 'nonsense'"):
        _ = fn.nonsense
