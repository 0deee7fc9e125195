"""What is running: versions, CPU, instruction set, threads, backends."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np

from fastnn import __version__, backends
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
        version, python, numpy, cpu; isa (in use) and isas_available; threads; openmp (a description, or None for a
        serial build); backends: for each name None if it can be used, else why not and what would provide it.
    """
    import fastnn_ext
    from fastnn_ext import executor

    version = executor.openmp_version()
    return {
        "version": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cpu": _cpu_name(),
        "isa": fastnn_ext.ISA,
        "isas_available": list(fastnn_ext.ISAS),
        "threads": get_num_threads(),
        "openmp": f"OpenMP {version // 100}-{version % 100:02d}" if version else None,
        "backends": {name: backends.missing(name) for name in backends.MODULES},
    }


def show_config() -> None:
    """Print what is running."""
    report = config_report()
    found = report.pop("backends")
    report["isas_available"] = ", ".join(report["isas_available"])
    report["openmp"] = report["openmp"] or "none (serial build)"
    for name, value in report.items():
        print(f"{name.replace('_', ' '):<15} {value}")
    for name, reason in found.items():
        print(f"backend {name:<10} {'available' if reason is None else reason}")
