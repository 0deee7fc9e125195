"""Write docs/speed.md: docs/speed/notes.md, then what ``fastnn bench --json`` wrote into docs/speed/*.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastnn.bench.report import Result, as_time, summary

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "docs" / "speed"
PAGE = ROOT / "docs" / "speed.md"


def page() -> str:
    """The page's text."""
    lines = [(SOURCES / "notes.md").read_text(encoding="utf-8")]
    for path in sorted(SOURCES.glob("*.json")):
        lines += section(json.loads(path.read_text(encoding="utf-8")))
    return "\n".join(lines)


def section(report: dict[str, Any]) -> list[str]:
    """One run: the machine, the kinds' geometric means, and every case."""
    machine = report["machine"]
    results = [Result(**r) for r in report["results"]]
    kinds = list(dict.fromkeys(r.kind for r in results))
    shown = machine.keys() - {"CPU", "backend", "threads"}
    facts = "; ".join(f"{name}: {value}" for name, value in machine.items() if name in shown)
    return [
        f"## {machine['CPU']}, threads: {machine['threads']}: {', '.join(kinds)}",
        "",
        facts + ".",
        "",
        *(f"- {text}" for text in summary(results)),
        "",
        "<details><summary>Every case</summary>",
        "",
        "| case | backend | time | ratio | floor | peers |",
        "|---|---|---|---|---|---|",
        *map(row, results),
        "",
        "</details>",
        "",
    ]


def row(result: Result) -> str:
    """One case on one backend."""
    ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
    share = "" if result.share is None else f"{result.share:.0%}"
    peers = ", ".join(f"{name} {as_time(seconds)}" for name, seconds in result.peers.items())
    name = f"{result.kind} {result.label} {result.dtype}"
    return f"| {name} | {result.backend} | {as_time(result.seconds)} | {ratio} | {share} | {peers} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
