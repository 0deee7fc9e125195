"""Pictures of computation graphs with matplotlib alone, for machines without Graphviz.

Calls and arrays stand in rows by their distance from the inputs, ordered so that few arrows cross (Sugiyama, Tagawa
and Toda 1981). A program of more than a few dozen calls is better drawn by `Program.draw`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.drawing import COLOURS
from fastnn.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.program import Buffer, Program

#: Inches, at the font's full size in points.
FONT, CHARACTER, HEIGHT, ROW, GAP = 9.0, 0.078, 0.42, 0.85, 0.25


@dataclass(eq=False)
class _Box:
    """A call or an array; without text, a place where a long arrow passes a row."""

    text: str = ""
    colour: str = "white"
    round: bool = False
    row: int = 0
    x: float = 0.0
    above: list[_Box] = field(default_factory=list)
    below: list[_Box] = field(default_factory=list)
    updates: list[_Box] = field(default_factory=list)

    @property
    def width(self) -> float:
        return CHARACTER * max(map(len, self.text.split("\n"))) + 0.3 if self.text else 0.15


def graph(program: Program, ax: Axes | None = None) -> Axes:
    """The calls of a program as boxes with the op's name and the result's shape, and the arrays they begin with.

    Calls have round corners. Colours tell inputs, constants, states and calls whose result is the program's. An arrow
    with two heads joins an array and a call that changes it in place.

    Parameters
    ----------
    program : Program
        From `fastnn.trace`, for example.
    ax : Axes, optional
        The boxes are scaled to fit.
    """
    program.prune()
    rows = _rows(_boxes(program))
    _order(rows)
    _place(rows)
    left = min(b.x - b.width / 2 for row in rows for b in row) - GAP
    right = max(b.x + b.width / 2 for row in rows for b in row) + GAP
    width, height = right - left, len(rows) * ROW
    if ax is None:
        ax = style.pyplot().figure(figsize=(width, height)).add_axes((0, 0, 1, 1))
    ax.set(xlim=(left, right), ylim=(-(len(rows) - 0.5) * ROW, 0.5 * ROW))
    ax.set_aspect("equal")
    ax.axis("off")
    frame = ax.get_window_extent()
    scale = min(frame.width / width, frame.height / height) / ax.figure.dpi
    _draw(ax, rows, scale)
    return ax


def _boxes(program: Program) -> list[_Box]:
    """Calls and the arrays that no call makes, joined."""
    arrays: dict[Buffer, _Box] = {}
    made: dict[Buffer, _Box] = {}
    boxes = []

    def array(buffer: Buffer, shape: str) -> _Box:
        if buffer not in arrays:
            single = buffer.kind == "constant" and buffer.size == 1
            text = f"{program.backend.to_host(buffer.data).item():g}" if single else f"{buffer.name}\n{shape}"
            arrays[buffer] = _Box(text, COLOURS.get(buffer.kind, "white"))
        return arrays[buffer]

    for call in program.calls:
        results = [t for t in call.outputs if t is not None]
        shapes = [_shape(results[0])] if results else []
        output = any(t.buffer.kind == "output" for t in results)
        box = _Box("\n".join([call.op.name, *shapes]), COLOURS["output"] if output else "white", True)
        for argument, tensor in zip(call.op.inputs, call.inputs, strict=True):
            if tensor is not None:
                source = made.get(tensor.buffer) or array(tensor.buffer, _shape(tensor))
                _join(source, box)
                if argument.updated:
                    box.updates.append(source)
        for tensor in results:
            made[tensor.buffer] = box
            if tensor.buffer.parent is not None:  # it lies inside an array that outlives the program
                _join(box, array(tensor.buffer.parent, str(tensor.buffer.parent.size)))
        boxes.append(box)
    return [*arrays.values(), *boxes]


def _join(upper: _Box, lower: _Box) -> None:
    if upper not in lower.above:
        lower.above.append(upper)
        upper.below.append(lower)


def _shape(tensor: Any) -> str:
    return "×".join(map(str, tensor.shown_shape)) or "number"


def _rows(boxes: list[_Box]) -> list[list[_Box]]:
    """Boxes by row: calls below all they use, arrays right above their first use; long arrows are cut at each row."""
    for _ in boxes:
        before = [box.row for box in boxes]
        for box in boxes:
            box.row = 1 + max((b.row for b in box.above), default=-1)
        if before == [box.row for box in boxes]:
            break
    for box in boxes:
        if not box.above and box.below:
            box.row = min(b.row for b in box.below) - 1
    rows: list[list[_Box]] = [[] for _ in range(1 + max((b.row for b in boxes), default=0))]
    for box in boxes:
        rows[box.row].append(box)
        for target in list(box.below):
            upper = box
            for row in range(box.row + 1, target.row):
                bend = _Box(row=row, above=[upper])
                upper.below[upper.below.index(target)] = bend
                bend.below.append(target)
                target.above[target.above.index(upper)] = bend
                rows[row].append(bend)
                upper = bend
    return rows


def _order(rows: list[list[_Box]]) -> None:
    """Sort each row by the mean place of its neighbours, downwards and upwards in turn."""
    for sweep in range(8):
        down = sweep % 2 == 0
        for row in rows if down else rows[::-1]:
            place = {b: i for other in rows for i, b in enumerate(other)}
            near = {b: b.above if down else b.below for b in row}
            row.sort(key=lambda b: np.mean([place[n] for n in near[b]]) if near[b] else place[b])


def _place(rows: list[list[_Box]]) -> None:
    """Choose each box's x: the mean of its neighbours' as far as the boxes beside it allow."""
    for row in rows:
        for i, box in enumerate(row):
            box.x = float(i - (len(row) - 1) / 2)
    for sweep in range(40):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            wanted = [float(np.mean([n.x for n in b.above + b.below])) if b.above or b.below else b.x for b in row]
            steps = [(a.width + b.width) / 2 + GAP for a, b in pairwise(row)]
            offsets = np.r_[0.0, np.cumsum(steps)]
            slack = np.array(wanted) - offsets  # must not fall from left to right
            above, below = np.maximum.accumulate(slack), np.minimum.accumulate(slack[::-1])[::-1]
            for box, x in zip(row, (above + below) / 2 + offsets, strict=True):
                box.x = float(x)


def _draw(ax: Axes, rows: list[list[_Box]], scale: float) -> None:
    """Draw boxes and arrows."""
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path

    arrow = {"mutation_scale": 9 * scale, "color": style.INK, "lw": 0.9 * scale, "zorder": 1}
    for row in rows:
        for box in row:
            if not box.text:
                continue
            corners = f"round,pad=0,rounding_size={HEIGHT / 2 if box.round else 0.04}"
            place = (box.x - box.width / 2, -box.row * ROW - HEIGHT / 2)
            ax.add_patch(
                FancyBboxPatch(
                    place, box.width, HEIGHT, corners, facecolor=box.colour, edgecolor=style.INK, lw=0.8 * scale,
                    zorder=2,
                )
            )  # fmt: skip
            ax.text(box.x, -box.row * ROW, box.text, ha="center", va="center", fontsize=FONT * scale, zorder=3)
            for target in box.below:
                points = [(box.x, -box.row * ROW - HEIGHT / 2)]
                while not target.text:
                    points.append((target.x, -target.row * ROW))
                    (target,) = target.below
                points.append((target.x, -target.row * ROW + HEIGHT / 2))
                vertices, codes = [points[0]], [Path.MOVETO]
                for (x0, y0), (x1, y1) in pairwise(points):
                    vertices += [(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2), (x1, y1)]
                    codes += [Path.CURVE4] * 3
                heads = "<|-|>" if box in target.updates else "-|>"
                ax.add_patch(FancyArrowPatch(path=Path(vertices, codes), arrowstyle=heads, **arrow))
