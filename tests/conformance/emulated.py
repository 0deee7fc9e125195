"""The matrix products compiled for an AMX unit that is emulated, as a backend.

The sources are those of the package, kernel and all, with the vectors and tiles of AVX-512, which the compiler makes up
of what AVX2 has; only the tiles' instructions are computed in C, bit for bit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache, partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import fastnn_ext
from fastnn import backends
from fastnn.backends.compiled import CompiledBackend
from fastnn.table import DTYPES

SOURCES = Path(__file__).parents[2] / "fastnn_ext"  # an installed package has no .pyx files
OPS = ("matmul", "dense", "dense_backward")
SETUP = """
import sys
from Cython.Build import cythonize
from setuptools import Extension, setup
macros = [("CYTHON_INLINE", "inline __attribute__((always_inline, unused))"), ("FASTNN_AMX_EMULATED", "1"),
          ("FASTNN_VECTOR_BYTES", "64")]
level = "-O3"  # for whole trainings; small products are sooner done with half the time to compile
if "EVERYTHING" in sys.argv:
    macros.append(("FASTNN_SPLIT_PAYS", "{0, 0, 0}"))
    level = "-O2"
    sys.argv.remove("EVERYTHING")
flags = [level, "-g0", "-Wno-psabi", "-ffp-contract=fast", "-fno-strict-aliasing", "-fno-math-errno", "-mavx2", "-mfma"]
if "SANITIZE" in sys.argv:
    flags += ["-fsanitize=address,undefined", "-g"]
    sys.argv.remove("SANITIZE")
links = [f for f in flags if f.startswith("-fsanitize")]
found = [Extension("fastnn_ext.matmul", ["matmul.pyx"], define_macros=macros, include_dirs=[FOLDER],
                   extra_compile_args=flags, extra_link_args=links)]
directives = dict(language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False)
setup(name="emulated", ext_modules=cythonize(found, include_path=[ROOT], compiler_directives=directives))
"""


@cache
def module(everything: bool = True) -> ModuleType:
    """`matmul` of the emulated unit; whoever asks is skipped where it cannot be built or run.

    Products take the way through the unit however small they are, or else where it is to pay.
    """
    pytest.importorskip("Cython")
    if "avx2" not in fastnn_ext.ISAS:
        pytest.skip("the emulation is compiled for AVX2")
    if not (SOURCES / "matmul.pyx").exists():
        pytest.skip(f"there are no sources in {SOURCES}")
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    if shutil.which(compiler.split()[0]) is None:
        pytest.skip(f"there is no C compiler {compiler.split()[0]!r}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source in ("matmul.pyx", "multiply.pxi"):
            shutil.copy(SOURCES / source, folder)
        (folder / "setup.py").write_text(f"FOLDER, ROOT = {str(SOURCES)!r}, {str(SOURCES.parent)!r}\n{SETUP}")
        command = [sys.executable, "setup.py", "build_ext", "--build-lib", "out"]
        command += ["EVERYTHING"] * everything + ["SANITIZE"] * (os.environ.get("FASTNN_SANITIZE") == "1")
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        (path,) = folder.glob("out/fastnn_ext/*" + sysconfig.get_config_var("EXT_SUFFIX"))
        spec = spec_from_file_location("fastnn_ext.matmul", path)
        assert spec is not None and spec.loader is not None
        found = module_from_spec(spec)
        spec.loader.exec_module(found)
    return found


@cache
def backend(everything: bool = True) -> CompiledBackend:
    """The backend of these kernels, and of the package's own for all other ops."""
    emulated, own = module(everything), backends.load("cython")
    assert isinstance(own, CompiledBackend)

    def address(op: str, dtype: str) -> int:
        return emulated.KERNELS[op][DTYPES.index(dtype)] if op in OPS else own.address(op, dtype)

    def workspace(op: str, dims: dict, params: dict, itemsize: int, parts: int) -> int:
        kernels = emulated.WORKSPACE[op] if op in OPS else partial(own.workspace, op)
        return kernels(dims, params, itemsize, parts)

    return CompiledBackend("emulated", address, workspace, tuple(own.ops))
