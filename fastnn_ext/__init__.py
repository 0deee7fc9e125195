"""The compiled kernels, for the instruction set chosen at import.

Each kernel module exists once per instruction set (`fastnn_ext._baseline.matmul`, `fastnn_ext._avx2.matmul`, ...).
The best one that CPU and operating system support, or the one named by `FASTNN_ISA` where that is lower, is made
known as `fastnn_ext.matmul`, which is also the name under which other Cython projects `cimport` it.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec

try:
    from fastnn_ext import cpu
except ImportError as error:
    raise ImportError(
        f"fastnn's compiled modules are not in {os.path.dirname(__file__)}: this is a source tree that has not been "
        "built. Work in another folder, or build it here with `pip install -e .`"
    ) from error

#: How often a waiting thread looks before it sleeps. On two quiet cores a step of 784-256-128-10 takes 0.63 ms with
#: 2,000, 1.0 with 100 (one thread: 0.91); beside two busy processes 2.0 with 2,000, 1.0 with 100, 4.7 with 10,000.
SPINS = "2000"


def _load_executor() -> None:
    """Import the executor, and with it libgomp, whose waiting threads are to sleep soon.

    By default they spin for about a millisecond before they sleep. Where another process wants the same core, that
    made a training step on two threads twenty times slower (784-256-128-10, two busy processes beside it: 75 ms
    against 0.9 ms). libgomp reads the environment once, when it is loaded; what the user has set stands.
    """
    wait = {"GOMP_SPINCOUNT": SPINS} if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ) else {}
    os.environ.update(wait)
    import_module("fastnn_ext.executor")
    for name in wait:
        del os.environ[name]


_load_executor()

#: Kernel modules, one per family of ops.
FAMILIES = (
    "elementwise", "reductions", "activations", "matmul", "normalization", "losses", "optimizers", "regularization",
    "random",
)  # fmt: skip
#: Instruction sets this build has kernels for and this machine can run, lowest first.
ISAS = tuple(isa for isa in cpu.supported() if find_spec(f"fastnn_ext._{isa}.matmul"))


def _amx_works() -> bool:
    """Whether the AMX unit may be used, and multiplies matrices as the kernel for FMA does."""
    if ISAS[-1] != "avx512" or not find_spec("fastnn_ext._amx.matmul") or not cpu.request_amx():
        return False
    agree: bool = import_module("fastnn_ext.amx_check").agree(
        *(import_module(f"fastnn_ext.{folder}.matmul") for folder in ("_amx", "_avx512"))
    )
    return agree


def _choose() -> str:
    """The instruction set to use: the best one, but for the AMX unit, whose kernel has only run on an emulated one."""
    global ISAS
    known = ("baseline", "avx2", "avx512", "amx")
    wanted = os.environ.get("FASTNN_ISA") or "avx512"
    if wanted not in known:
        raise ValueError(f"FASTNN_ISA: expected one of {', '.join(known)}, got {wanted!r}")
    if wanted == "amx" and _amx_works():
        ISAS += ("amx",)
    return [isa for isa in ISAS if known.index(isa) <= known.index(wanted)][-1]


#: The instruction set in use.
ISA = _choose()
#: The one of all that is not matrix products: the AMX unit has nothing else to offer.
VECTOR_ISA = "avx512" if ISA == "amx" else ISA

for _family in FAMILIES:
    _module = import_module(f"fastnn_ext._{ISA if _family == 'matmul' else VECTOR_ISA}.{_family}")
    sys.modules[f"fastnn_ext.{_family}"] = _module
    globals()[_family] = _module
