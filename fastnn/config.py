"""What is running: versions, CPU, instruction set, threads, backends."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np

from fastnn import __version__, backends
from fastnn.backends import cuda_driver
from fastnn.precision import get_matmul_precision
from fastnn.threadcount import get_num_threads


def _cpu_name() -> str:
    """The CPU's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def config_report() -> dict[str, Any]:
    """The facts behind `show_config` and ``fastnn info``.

    Returns
    -------
    dict
        version, python, numpy, cpu; isa (in use) and isas_available; matmul_precision (the policy); threads; openmp
        (a description, or None for a serial build); backend: the name of the one that is chosen, and by what
        ("use_backend", "FASTNN_BACKEND" or "default"); backends: for each name None if it can be used, else why not and
        what would provide it; cuda: the cards, the CUDA version that their driver runs (None without one), the
        toolkit's packages, and the version of ml_dtypes (None without it), which arrays of bfloat16 need.
    """
    import fastnn_ext
    from fastnn_ext import executor

    version = executor.openmp_version()
    backend, reason = backends.requested()
    return {
        "version": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cpu": _cpu_name(),
        "isa": fastnn_ext.ISA,
        "isas_available": list(fastnn_ext.ISAS),
        "matmul_precision": get_matmul_precision(),
        "threads": get_num_threads(),
        "openmp": f"OpenMP {version // 100}-{version % 100:02d}" if version else None,
        "backend": (backend or backends.DEFAULT, reason),
        "backends": {name: backends.missing(name) for name in backends.MODULES},
        "cuda": {
            "cards": [str(card) for card in cuda_driver.cards()],
            "driver": cuda_driver.driver_version(),
            "toolkit": cuda_driver.toolkit(),
            "ml_dtypes": cuda_driver.version("ml_dtypes"),
        },
    }


def show_config() -> None:
    """Print what is running: versions, the CPU, threads, the backend, and which are available or what provides them."""
    report = config_report()
    backend, reason = report["backend"]
    wrong = ""
    if backend not in report["backends"]:
        wrong = f": unknown, expected one of {', '.join(report['backends'])}"
    elif report["backends"][backend] is not None:
        wrong = ": not available"
    through = "through the AMX unit where that pays" if report["isa"] == "amx" else "computed in float32"
    print_aligned(
        {
            "fastnn": report["version"],
            "Python": report["python"],
            "NumPy": report["numpy"],
            "CPU": report["cpu"],
            "ISA": f"{report['isa']} (available: {', '.join(report['isas_available'])})",
            "matmul": f"{report['matmul_precision']}, {through}",
            "backend": f"{backend} ({reason}){wrong}",
            "threads": report["threads"],
            "OpenMP": report["openmp"] or "none: built without it, one thread computes",
        }
    )
    print("backends")
    print_aligned({f"  {name}": reason or "available" for name, reason in report["backends"].items()})
    cuda = report["cuda"]
    toolkit = ", ".join(f"{name} {version}" for name, version in cuda["toolkit"].items())
    print("CUDA")
    print_aligned(
        {
            "  card": "; ".join(cuda["cards"]) or "none",
            "  driver": f"for CUDA {cuda['driver']}" if cuda["driver"] else "none",
            "  toolkit": toolkit or 'none: `pip install "fastnn[cuda13]"` provides it',
            "  ml_dtypes": cuda["ml_dtypes"] or "none: `pip install ml_dtypes` provides bfloat16",
        }
    )


def print_aligned(values: dict[str, object]) -> None:
    """Print names and values, a line each, the values in one column."""
    width = max(map(len, values)) + 2
    for name, value in values.items():
        print(f"{name:<{width}}{value}")
