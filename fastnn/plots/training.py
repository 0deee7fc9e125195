"""Pictures of training: how the loss falls, over time and over two parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import checks
from fastnn.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def learning_curves(history: Any, metrics: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Loss or metrics by epoch: training as full lines, validation as dashed ones of the same colour.

    Parameters
    ----------
    history : History or dict of str to list of float
        What `fit` returns, or its ``history``.
    metrics : sequence of str, optional
        Names without ``val_``; by default ``["loss"]``.
    ax : Axes, optional

    Raises
    ------
    ValueError
        If the history lacks a metric.
    """
    values: Mapping[str, Sequence[float]] = getattr(history, "history", history)
    names = ["loss"] if metrics is None else [metrics] if isinstance(metrics, str) else list(metrics)
    for name in names:
        checks.option("learning_curves", "metrics", name, tuple(values))
    ax = style.axes(ax)
    for number, name in enumerate(names):
        for key, label, line in ((name, f"{name}, training", "-"), (f"val_{name}", f"{name}, validation", "--")):
            if key in values:
                epochs = np.arange(1, len(values[key]) + 1)
                points = style.marker(number) if len(epochs) <= 30 else ""
                ax.plot(epochs, values[key], line, color=style.colour(number), label=label, marker=points, markersize=4)
    ax.set_xlabel("epoch")
    ax.set_ylabel(names[0] if len(names) == 1 else "value")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(alpha=0.3)
    ax.legend()
    return ax


def loss_surface(
    f: Callable[[float, float], float],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    paths: Mapping[str, Any] | None = None,
    *,
    levels: int | Sequence[float] = 20,
    resolution: int = 80,
    labels: tuple[str, str] = ("w", "b"),
    ax: Axes | None = None,
) -> Axes:
    """Contours of a function of two parameters, and the optimizers' ways through it.

    Parameters
    ----------
    f : callable
        Takes two floats, returns one. Where that is infinite or NaN the picture stays empty.
    x_range, y_range : (low, high)
        What is shown of the first and the second parameter.
    paths : dict of str to array_like of shape (steps, 2), optional
        The parameters' values after each step, by the optimizer's name. A ring marks where they begin, a larger point
        where they end.
    levels : int or sequence of float
        Contours: how many, at distances that grow with the height so that those of a parabola are evenly spaced; or
        at which values.
    resolution : int
        f is evaluated at ``resolution**2`` points.
    labels : (str, str)
        The parameters' names.
    ax : Axes, optional
    """
    checks.integer("loss_surface", "resolution", resolution, 2)
    x, y = np.linspace(*x_range, resolution), np.linspace(*y_range, resolution)
    z = np.array([[float(f(a, b)) for a in x] for b in y])
    z[~np.isfinite(z)] = np.nan
    if np.isnan(z).all():
        checks.fail(checks.DataError, "loss_surface", "f", "finite values", "none")
    low, high = np.nanmin(z), np.nanmax(z)
    if isinstance(levels, int):
        checks.integer("loss_surface", "levels", levels, 2)
        levels = (low + (high - low) * np.linspace(0, 1, levels + 1) ** 2) if high > low else [low - 1, low + 1]
    ax = style.axes(ax, 5.4, 4.2)
    filled = ax.contourf(x, y, z, levels, cmap="Greys", alpha=0.55)
    ax.contour(x, y, z, levels, colors=style.INK, linewidths=0.4, alpha=0.6)
    bar = ax.figure.colorbar(filled, ax=ax, label="loss", format="%.3g")
    bar.set_ticks(np.asarray(levels)[:: max(1, len(levels) // 5)])
    for number, (name, path) in enumerate((paths or {}).items()):
        steps = np.asarray(path, float)
        if steps.ndim != 2 or steps.shape[1] != 2 or not len(steps):
            checks.fail(checks.ShapeError, "loss_surface", f"paths[{name!r}]", "shape (steps, 2)", steps.shape)
        own = {"color": style.colour(number), "marker": style.marker(number)}
        every = max(1, len(steps) // 25)
        ax.plot(*steps.T, lw=1.6, markersize=4, markevery=every, label=name, zorder=3, **own)
        ax.plot(*steps[-1], markersize=10, markeredgecolor="white", ls="", zorder=4, **own)
    if paths:
        starts = np.array([np.asarray(path, float)[0] for path in paths.values()])
        ax.plot(*starts.T, "o", markersize=9, markerfacecolor="none", markeredgecolor="black", ls="", zorder=5)
        ax.legend(loc="best", framealpha=0.9)
    ax.set(xlim=x_range, ylim=y_range, xlabel=labels[0], ylabel=labels[1])
    return ax
