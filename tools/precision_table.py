"""Write the error table of docs/precision.md: operands as in the tests, products of parts emulated.

Run it from the root of the repository on a machine whose compiled kernels have FMA and no matrix unit (or with
FASTNN_ISA=avx2):

    python tools/precision_table.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "unit")]

from test_split_products import OPERANDS, error, operands  # noqa: E402

from fastnn import ops  # noqa: E402
from fastnn.backends.split_products import PRODUCTS, fits, split_product  # noqa: E402

PAGE = ROOT / "docs" / "precision.md"


def table() -> str:
    """Errors relative to float64 in the Frobenius norm, a line for each kind of operands."""
    kinds = list(PRODUCTS)
    lines = [f"| operands | float32 FMA | {' | '.join(kinds)} | default uses |", "|---" * (len(kinds) + 3) + "|"]
    for name in OPERANDS:
        a, b = operands(name, np.random.default_rng(0))
        exact = a.astype(np.float64) @ b
        errors = [error(ops.matmul(a, b, backend="cython"), exact)]
        errors += [error(split_product(a, b, kind), exact) if fits(a, b, "bf16") else np.nan for kind in kinds]
        cells = ["left to FMA" if np.isnan(e) else f"{e:.2g}" for e in errors]
        chosen = "bf16x6" if fits(a, b, "bf16x6") else "FMA"
        lines.append(f"| {name} | {' | '.join(cells)} | {chosen} |")
    return "\n".join(lines) + "\n"


def write(tool: str, tables: str) -> None:
    """Put what a tool has made between its marks in the page."""
    begin, end = f"<!-- made by tools/{tool} -->\n", "<!-- end -->\n"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    PAGE.write_text(before + begin + tables + end + rest.partition(end)[2], encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).name, table())
