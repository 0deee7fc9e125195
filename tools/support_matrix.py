"""Write docs/support.md: every op of the table, and which backends have it.

The CUDA kernels are listed from their source, so that the page does not depend on what is installed.
"""

from __future__ import annotations

import re
from pathlib import Path

from fastnn.backends import MODULES
from fastnn.table import DTYPES, SAVED, TABLE

#: Backends that have an op for all dtypes of its row; the others for DTYPES alone.
ALL_DTYPES = ("cuda", "reference")
ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "support.md"


def kernels(backend: str) -> set[str]:
    """Names of the ops for which a backend's sources have an entry ``"name":`` in a dict of kernels."""
    folders = {
        "cython": ROOT / "fastnn_ext",
        "numba": ROOT / "fastnn" / "kernels" / "numba_cpu",
        "cuda": ROOT / "fastnn" / "kernels" / "numba_cuda",
    }
    files = [ROOT / (MODULES[backend].replace(".", "/") + ".py")]
    if backend in folders:
        files += [f for pattern in ("*.pyx", "*.py") for f in sorted(folders[backend].glob(pattern))]
    return {name for f in files for name in re.findall(r'"(\w+)"\s*:', f.read_text(encoding="utf-8")) if name in TABLE}


def page() -> str:
    """The page's text."""
    have = {backend: kernels(backend) for backend in MODULES}
    lines = [
        "# Ops and backends",
        "",
        "Made from the table by `python tools/support_matrix.py`. Every kernel exists for float32 and float64; what",
        "else a backend has is named. Tolerances are in units of the dtype's epsilon, relative to each element or to",
        "the array's largest one; of float16 and bfloat16 in float32's, beside half a unit in the last place.",
        "",
        f"| op | signature | tolerance | gradient | {' | '.join(MODULES)} |",
        f"|---|---|---|---|{'---|' * len(MODULES)}",
    ]
    for name, op in TABLE.items():
        gradient = "rule" if op.differentiable else ""
        if name in SAVED:
            gradient = f"from {SAVED[name]}"
        more = ", ".join(("yes", *(dtype for dtype in op.dtypes if dtype not in DTYPES)))
        marks = " | ".join(
            "no" if name not in have[backend] else more if backend in ALL_DTYPES else "yes" for backend in MODULES
        )
        tolerance = f"{op.tolerance.ulp:g} per {op.tolerance.per}"
        lines.append(f"| `{name}` | `{op.signature.strip()}` | {tolerance} | {gradient} | {marks} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
