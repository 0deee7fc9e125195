"""Build the compiled modules: each kernel source once per instruction set.

Kernel sources are translated by Cython once, and the C file is compiled into one module per instruction set
(`fastnn_ext._baseline`, `fastnn_ext._avx2`, `fastnn_ext._avx512`), of which `fastnn_ext/__init__.py` chooses one at
import. `fastnn_ext._amx` has matrix products alone, and is left out where the compiler does not know AMX. Those in
COMMON are compiled once.

Environment variables: FASTNN_OPENMP=0 builds without OpenMP; FASTNN_SANITIZE=1 adds the address and
undefined-behaviour sanitizers.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FAMILIES = (
    "elementwise", "reductions", "activations", "matmul", "normalization", "losses", "optimizers", "regularization",
    "random",
)  # fmt: skip
#: Compiled for each instruction set as well, but no kernels: imported when benchmarks ask for it.
FLOOR = "peak"
COMMON = ("arrays", "executor", "replay", "scratch", "remembered", "cpu")
X86 = platform.machine().lower() in ("x86_64", "amd64")
INSTRUCTION_SETS = {"baseline": []}
if X86:
    INSTRUCTION_SETS |= {
        "avx2": ["-mavx2", "-mfma"],
        "avx512": [
            "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mprefer-vector-width=512",
        ],
    }  # fmt: skip

#: Compiled for the AMX unit too, on top of AVX-512, where the compiler knows all of its flags.
AMX_FAMILIES = ("matmul",)
AMX = ["-mamx-tile", "-mamx-bf16"]
#: Compiled with instructions of independent chains interleaved: 32 elements of a formula are four vectors, whose
#: operations gcc would else emit one vector after the other, too many for the processor to look beyond (tanh: 1.28
#: times as fast). Elementwise ops and losses gain and lose as much; matrix products are in order by hand.
SCHEDULED_FAMILIES = ("activations",)
SCHEDULE = ["-fschedule-insns", "-fsched-pressure"]
#: What products include besides simd.h.
PRODUCT_HEADERS = (
    "fastnn_ext/gemm.h", "fastnn_ext/tile.h", "fastnn_ext/transpose.h", "fastnn_ext/amx.h",
    "fastnn_ext/amx_tiles.h",
)  # fmt: skip
if X86:
    INSTRUCTION_SETS["amx"] = INSTRUCTION_SETS["avx512"] + AMX

# No -ffast-math: NaN, infinities and subnormals keep their meaning. Contraction to FMA, if-conversion across
# comparisons (no trapping) and calls without errno are what vectorising the formulas needs. Two of gcc's passes
# are off: one turns copies of 64 elements into memcpy through the stack, one clamps into jumps (tanh: 27% slower).
# Debugging symbols, which many Pythons ask for, are stripped anyway and take a third of the time.
COMPILE = [
    "-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fno-strict-aliasing",
    "-fvisibility=hidden", "-fno-tree-loop-distribute-patterns", "-fno-thread-jumps",
    "-Wno-unused-function", "-Wno-unknown-pragmas", "-Wno-psabi",
]  # fmt: skip
# Every cdef inline function is inlined, whatever its size: constant arguments then choose a specialised loop.
MACROS = [
    ("CYTHON_INLINE", "inline __attribute__((always_inline, unused))"),
    ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
]
LINK: list[str] = ["-Wl,-s"] if platform.system() == "Linux" else []

if os.environ.get("FASTNN_SANITIZE") == "1":
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize=function", "-fno-omit-frame-pointer", "-g", "-O1"]
    COMPILE += sanitize
    LINK = ["-fsanitize=address,undefined"]


class BuildExt(build_ext):
    """Adds OpenMP where the compiler has it, and compiles in parallel."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self) -> None:
        openmp = os.environ.get("FASTNN_OPENMP", "1") != "0" and self._compiles("-fopenmp")
        if not all(map(self._compiles, AMX)):
            self.extensions = [e for e in self.extensions if not e.name.startswith("fastnn_ext._amx.")]
        for extension in self.extensions:
            extension.extra_compile_args = [a for a in extension.extra_compile_args if self._compiles(a)]
            if openmp and extension.name == "fastnn_ext.executor":
                extension.extra_compile_args.append("-fopenmp")
                extension.extra_link_args.append("-fopenmp")
        super().build_extensions()

    def _compiles(self, flag: str) -> bool:
        """Whether the compiler takes a flag (remembered)."""
        known = self.__dict__.setdefault("_known_flags", {})
        if flag not in known:
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder) / "probe.c"
                source.write_text("int main(void) { return 0; }\n")
                try:
                    objects = self.compiler.compile([str(source)], folder, extra_postargs=["-Werror", flag])
                    # Flags that bring a run-time library with them are the linker's too.
                    libraries = [flag] if flag.startswith(("-fopenmp", "-fsanitize")) else []
                    self.compiler.link_executable(objects, str(Path(folder) / "probe"), extra_postargs=libraries)
                    known[flag] = True
                except Exception:  # setuptools raises several unrelated classes here
                    known[flag] = False
        return known[flag]


def extensions() -> list[Extension]:
    """Translate each source once; give every instruction set its own copy of the C file."""
    folder = Path("build") / "c"
    translated = cythonize(
        [Extension(f"fastnn_ext.{name}", [f"fastnn_ext/{name}.pyx"]) for name in (*COMMON, *FAMILIES, FLOOR)],
        build_dir=str(folder),
        nthreads=(os.cpu_count() or 1) if platform.system() == "Linux" else 0,  # elsewhere processes do not fork
        language_level=3,
        compiler_directives={
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
            "freethreading_compatible": True,
        },
    )
    options = {"define_macros": MACROS, "extra_link_args": LINK, "include_dirs": [numpy.get_include(), "fastnn_ext"]}
    result = []
    for extension in translated:
        name = extension.name.rsplit(".", 1)[1]
        if name in COMMON:
            result.append(Extension(extension.name, extension.sources, extra_compile_args=[*COMPILE], **options))
            continue
        for isa, flags in INSTRUCTION_SETS.items():
            if isa == "amx" and name not in AMX_FAMILIES:
                continue
            source = folder / isa / f"{name}.c"
            source.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(extension.sources[0], source)
            result.append(
                Extension(
                    f"fastnn_ext._{isa}.{name}",
                    [str(source)],
                    extra_compile_args=COMPILE + flags + (SCHEDULE if name in SCHEDULED_FAMILIES else []),
                    depends=["fastnn_ext/simd.h", *(PRODUCT_HEADERS if name in AMX_FAMILIES else ())],
                    **options,
                )
            )
    return result


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
