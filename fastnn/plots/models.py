"""Pictures of models: where they decide what, what goes through their layers, which classes they mistake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import checks, metrics
from fastnn.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.model import Sequential


def decision_regions(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    resolution: int = 200,
    threshold: float | None = None,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The class that a model predicts at each point of the plane, and the rows' own classes.

    Parameters
    ----------
    model : Sequential, or callable
        The callable takes rows (n, 2) and returns outputs (n, classes), or one output (n, 1) or (n,), or classes as
        integers (n,).
    X : array_like of shape (rows, 2)
        Decides what part of the plane is shown.
    y : array_like of shape (rows,) or (rows, classes), optional
        Class numbers from 0, -1 and 1 as for hinge losses, or one-hot rows.
    resolution : int
        Points along each side.
    threshold : float, optional
        A single output above it means class 1; by default the model's loss's (0 for logits, 0.5 for probabilities),
        or 0.
    labels : sequence of str, optional
        The classes' names, for the legend.
    ax : Axes, optional
    """
    who = "decision_regions"
    checks.integer(who, "resolution", resolution, 2)
    points = np.asarray(X, float)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        checks.fail(checks.ShapeError, who, "X", "shape (rows, 2)", points.shape)
    if not np.isfinite(points).all():
        checks.fail(checks.DataError, who, "X", "finite numbers", "NaN or infinity")
    if threshold is None:
        threshold = getattr(getattr(model, "loss", None), "threshold", 0.0)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.08 * np.where(high > low, high - low, 1.0)
    low, high = low - margin, high + margin
    grid = np.meshgrid(*np.linspace(low, high, resolution).T)
    outputs = np.asarray(getattr(model, "predict", model)(np.stack(grid, axis=-1).reshape(-1, 2)))
    regions, margins = _classes(who, outputs, threshold)
    known = None if y is None else np.asarray(y)
    if known is not None and known.ndim == 2:
        known = known.argmax(axis=1) if known.shape[1] > 1 else known[:, 0]
    if known is not None and known.shape != (len(points),):
        checks.fail(checks.ShapeError, who, "y", f"{len(points)} classes", known.shape)
    known = None if known is None else _from_zero(who, "y", known)
    count = max(regions.max() + 1, 2, *([] if known is None else [int(known.max()) + 1]), len(labels or ()))
    names = [f"class {k}" for k in range(count)] if labels is None else list(labels)
    if len(names) < count:
        checks.fail(ValueError, who, "labels", f"{count} names", len(names))

    ax = style.axes(ax, 4.8, 4.2)
    from matplotlib.colors import ListedColormap

    colours = ListedColormap([style.colour(k) for k in range(count)])
    square = (resolution, resolution)
    ax.imshow(
        regions.reshape(square), cmap=colours, vmin=-0.5, vmax=count - 0.5, alpha=0.25, origin="lower",
        extent=(low[0], high[0], low[1], high[1]), aspect="auto", interpolation="nearest",
    )  # fmt: skip
    if margins is not None and margins.min() < 0 < margins.max():
        ax.contour(*grid, margins.reshape(square), [0.0], colors=style.INK, linewidths=1.2)
    for k in range(count) if known is not None else ():
        own = points[known == k]
        ax.scatter(
            *own.T, s=22, color=style.colour(k), marker=style.marker(k), edgecolors="white", linewidths=0.5,
            label=names[k],
        )  # fmt: skip
    if known is not None:
        ax.legend(loc="best", framealpha=0.9)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="$x_1$", ylabel="$x_2$")
    return ax


def _classes(who: str, outputs: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray | None]:
    """Class numbers of points, and the distance of a single output from its threshold."""
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        return outputs.argmax(axis=1), None
    single = outputs.reshape(-1) if outputs.ndim <= 2 else outputs
    if single.ndim != 1:
        checks.fail(checks.ShapeError, who, "outputs", "shape (points, classes) or (points,)", outputs.shape)
    if single.dtype.kind in "iu":
        return _from_zero(who, "outputs", single), None
    return (single > threshold).astype(int), single - threshold


def _from_zero(who: str, name: str, classes: np.ndarray) -> np.ndarray:
    """Class numbers; the -1 of -1 and 1 is class 0."""
    if classes.dtype.kind not in "biuf":
        checks.fail(checks.DtypeError, who, name, "class numbers", classes.dtype)
    if np.isin(classes, (-1, 1)).all():
        return (classes > 0).astype(int)
    wrong = classes[~((classes >= 0) & (classes % 1 == 0))]
    if len(wrong):
        checks.fail(checks.DataError, who, name, "class numbers from 0, or -1 and 1", wrong[0])
    return classes.astype(int)


def layer_histograms(
    model: Sequential, X: Any, y: Any = None, *, kind: str = "activations", bins: int = 50, ax: Any = None
) -> np.ndarray:
    """How the numbers in a network are distributed, layer by layer (as in Glorot and Bengio 2010).

    Gradients that shrink or grow from layer to layer show here, and so do units that are stuck.

    Parameters
    ----------
    model : Sequential
        Compiled, for gradients.
    X : array_like of shape (rows, ...)
    y : array_like, optional
        Targets, for gradients.
    kind : {"activations", "gradients", "parameter_gradients"}
        The layers' outputs, the loss's gradients by them, or those by each parameter.
    bins : int
    ax : sequence of Axes, optional
        As many as there are panels.

    Returns
    -------
    array of Axes
        One panel each, with mean and standard deviation in its title. Infinities and NaN are counted there, not drawn.
    """
    who = "layer_histograms"
    checks.option(who, "kind", kind, ("activations", "gradients", "parameter_gradients"))
    if kind == "activations":
        arrays = model.layer_outputs(X)
    else:
        if y is None:
            checks.fail(ValueError, who, "y", "targets, for gradients", None)
        arrays = model.gradients(X, y, of="outputs" if kind == "gradients" else "parameters")
    if ax is None:
        columns = min(4, len(arrays))
        rows = -(-len(arrays) // columns)
        _, panels = style.pyplot().subplots(
            rows, columns, figsize=(2.6 * columns, 2.3 * rows), layout="constrained", squeeze=False
        )
        panels = panels.ravel()
        for spare in panels[len(arrays) :]:
            spare.remove()
        panels = panels[: len(arrays)]
    else:
        panels = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
        if len(panels) != len(arrays):
            checks.fail(ValueError, who, "ax", f"{len(arrays)} Axes", len(panels))
    for number, (panel, (name, values)) in enumerate(zip(panels, arrays.items(), strict=True)):
        flat = values.ravel().astype(float)
        finite = flat[np.isfinite(flat)]
        panel.hist(finite, bins=bins, color=style.COLOURS[0] if kind == "activations" else style.COLOURS[1])
        summary = f"mean {finite.mean():.3g}, std {finite.std():.3g}" if len(finite) else "no finite number"
        summary += f"; {len(flat) - len(finite)} not finite" if 0 < len(finite) < len(flat) else ""
        panel.set_title(f"{name}\n{summary}", fontsize=9)
        panel.tick_params(labelsize=8)
        panel.locator_params(axis="x", nbins=4)
        panel.ticklabel_format(axis="both", scilimits=(-2, 4))
        panel.xaxis.get_offset_text().set_size(8)
        panel.yaxis.get_offset_text().set_size(8)
        if number == 0:
            panel.set_ylabel("count", fontsize=9)
    return panels


def confusion_matrix(matrix: Any, labels: Sequence[Any] | None = None, ax: Axes | None = None) -> Axes:
    """True classes down, predicted classes across, each cell with its number and as dark as its share of the row.

    Parameters
    ----------
    matrix : array of shape (classes, classes), or a tuple (y_true, y_pred)
        As `fastnn.metrics.confusion_matrix` returns it, or what it takes.
    labels : sequence, optional
        The classes' names, in the matrix's order.
    ax : Axes, optional
    """
    if isinstance(matrix, tuple):
        found = np.unique(np.concatenate([np.asarray(part) for part in matrix]))
        matrix, labels = metrics.confusion_matrix(*matrix), found if labels is None else labels
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        checks.fail(checks.ShapeError, "confusion_matrix", "matrix", "shape (classes, classes)", counts.shape)
    size = len(counts)
    names = [str(name) for name in (range(size) if labels is None else labels)]
    if len(names) != size:
        checks.fail(ValueError, "confusion_matrix", "labels", f"{size} names", len(names))
    side = max(3.2, 0.45 * size + 1.4)
    ax = style.axes(ax, side, side)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        value = counts[row, column]
        text = str(value) if counts.dtype.kind in "iu" else f"{value:.2f}"
        shade = "white" if shares[row, column] > 0.5 else style.INK
        ax.text(column, row, text, ha="center", va="center", color=shade, fontsize=9 if size <= 12 else 7)
    tilt = 45 if max(map(len, names)) * 0.1 > (side - 1.4) / size else 0  # a letter takes about 0.1 inch
    ax.set_xticks(range(size), names, rotation=tilt, ha="right" if tilt else "center", rotation_mode="anchor")
    ax.set_yticks(range(size), names)
    ax.set(xlabel="predicted class", ylabel="true class")
    return ax
