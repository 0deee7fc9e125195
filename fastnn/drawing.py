"""Pictures of programs: Graphviz DOT text, and image files where Graphviz is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastnn.nodes import Node, nodes
from fastnn.table import MAX_RANK

if TYPE_CHECKING:
    from fastnn.program import Buffer, Call, Program

#: Fill colours of arrays by kind; calls are white.
COLOURS = {"input": "#cfe8fc", "constant": "#eeeeee", "state": "#fde9c8", "output": "#d5f0d3"}
FORMATS = (".dot", ".svg", ".png", ".pdf")
#: Arrays of more elements are drawn without their numbers.
MOST_NUMBERS = 4


def draw(program: Program, path: str | Path | None = None, at: Sequence[Any] | None = None) -> str:
    """DOT text of a program: one box per array, one ellipse per call, an arrow per argument.

    A dashed arrow is an update in place; a dotted one leads from an array to the one that holds it.

    Parameters
    ----------
    program : Program
    path : path, optional
        Where to write it, as .dot, .svg, .png or .pdf.
    at : sequence of array_like, optional
        Inputs at which to show the arrays' values and gradients too, where they have few elements.

    Raises
    ------
    ValueError
        If the path ends otherwise.
    RuntimeError
        If an image is wanted and Graphviz's ``dot`` is not installed.
    """
    program.prune()
    numbers = {} if at is None else {node.name: _numbers(node) for node in nodes(program, at)}
    lines = ["digraph program {", "  rankdir=TB;", '  node [fontname="Helvetica", fontsize=11];']
    drawn: dict[Buffer, str] = {}
    for call in program.calls:
        for tensor in call.arguments:
            if tensor is None or tensor.buffer in drawn:
                continue
            name = drawn[tensor.buffer] = f"t{len(drawn)}"
            buffer = tensor.buffer
            shape = "x".join(map(str, tensor.shown_shape)) or "number"
            if buffer.kind == "constant" and buffer.size == 1:
                shape = f"= {program.backend.to_host(buffer.data).item():g},"
            style = f'style="filled,rounded", fillcolor="{COLOURS.get(buffer.kind, "white")}"'
            label = f"{buffer.name}\\n{shape} {buffer.dtype}{numbers.get(buffer.name, '')}"
            lines.append(f'  {name} [shape=box, {style}, label="{label}"];')
    for buffer, name in drawn.items():
        if buffer.parent in drawn:
            lines.append(f'  {name} -> {drawn[buffer.parent]} [style=dotted, label="in"];')
    for number, call in enumerate(program.calls):
        lines.append(f'  c{number} [shape=ellipse, label="{call.op.name}{_details(call)}"];')
        lines += [f"  {drawn[t.buffer]} -> c{number};" for t in call.inputs if t is not None]
        lines += [f"  c{number} -> {drawn[t.buffer]};" for t in call.outputs if t is not None]
        lines += [
            f"  c{number} -> {drawn[t.buffer]} [style=dashed];"
            for a, t in zip(call.op.inputs, call.inputs, strict=True)
            if t is not None and a.updated
        ]
    text = "\n".join([*lines, "}"]) + "\n"
    if path is not None:
        _write(text, Path(path))
    return text


def _numbers(node: Node) -> str:
    """A node's value and gradient, a line each, when they are short."""
    parts = []
    for name, array in (("value", node.value), ("gradient", node.gradient)):
        if array is not None and array.size <= MOST_NUMBERS:
            parts.append(f"\\n{name} {', '.join(f'{v:.4g}' for v in array.ravel())}")
    return "".join(parts)


def _details(call: Call) -> str:
    """Parameters that differ from the row's defaults, a line each."""
    parts = []
    for name, value in call.current_params().items():
        if isinstance(value, tuple):
            value = value[MAX_RANK - max(1, sum(n > 1 for n in call.params["shape"])) :]
        if value != call.op.params[name]:
            parts.append(f"\\n{name}={value:g}" if isinstance(value, float) else f"\\n{name}={value}")
    return "".join(parts)


def _write(text: str, path: Path) -> None:
    if path.suffix not in FORMATS:
        raise ValueError(f"draw: path: expected a name ending in {', '.join(FORMATS)}, got {path.name!r}")
    if path.suffix == ".dot":
        path.write_text(text, encoding="utf-8")
        return
    dot = shutil.which("dot")
    if dot is None:
        raise RuntimeError("draw: images need Graphviz (apt-get install graphviz); a .dot file does not")
    subprocess.run([dot, f"-T{path.suffix[1:]}", "-o", str(path)], input=text.encode(), check=True)
