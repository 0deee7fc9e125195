"""Write the figures of docs/gpu.md from what `fastnn bench --json` measured on a device.

    python tools/gpu_figures.py FOLDER

FOLDER holds one JSON file for each group of benchmarks, as tools/measure_gpu.sh writes them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "docs" / "gpu.md"
#: The page's last part begins with this line.
HEADING = "## Figures"


def figures(reports: list[dict[str, Any]]) -> str:
    """The page's last part: the machine, and a table of all cases."""
    machine: dict[str, object] = {}
    for report in reports:
        machine |= report["machine"]
    lines = [HEADING, "", "Median of rounds that take turns, by the device's events.", ""]
    lines += [f"- {name}: {value}" for name, value in machine.items() if name not in ("ISA", "threads")]
    lines += ["", "| case | dtype | ours | fastest other | ratio | share of the floor |", "|---|---|---|---|---|---|"]
    for report in reports:
        lines += [row(result) for result in report["results"]]
    return "\n".join(lines) + "\n"


def row(result: dict[str, Any]) -> str:
    """A case in one row; times in microseconds."""
    best = min(result["peers"], key=result["peers"].get, default=None)
    other = "" if best is None else f"{best} {1e6 * result['peers'][best]:.1f}"
    ratio = "" if result["ratio"] is None else f"{result['ratio']:.2f}"
    share = "" if result["share"] is None else f"{result['share']:.0%}"
    case = f"{result['kind']} {result['label']}"
    return f"| {case} | {result['dtype']} | {1e6 * result['seconds']:.1f} µs | {other} | {ratio} | {share} |"


def page(text: str, reports: list[dict[str, Any]]) -> str:
    """The page with these figures instead of what it had."""
    before, heading, _ = text.partition(HEADING)
    if not heading:
        raise ValueError(f"{PAGE} has no line {HEADING!r}")
    return before + figures(reports)


if __name__ == "__main__":
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(sys.argv[1]).glob("*.json"))]
    if not found:
        sys.exit(f"{sys.argv[1]}: there are no figures")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    print(f"wrote {PAGE}")
