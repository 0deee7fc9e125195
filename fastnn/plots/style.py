"""What all pictures share: matplotlib when it is first needed, colours, point shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Okabe and Ito's colours, the darker ones first; yellow is missing, too pale for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: The ink of boundaries and text.
INK = "#222222"


def pyplot() -> Any:
    """The module `matplotlib.pyplot`.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise ImportError('plots: matplotlib is not installed: pip install "fastnn[plot]"') from error
    return plt


def axes(ax: Axes | None, width: float = 5.0, height: float = 3.6) -> Axes:
    """The given Axes, or those of a new figure of this size in inches."""
    plt = pyplot()
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def colour(number: int) -> str:
    """The colour of a class or line by its number."""
    return COLOURS[number % len(COLOURS)]


def marker(number: int) -> str:
    """The point shape of a class or line by its number; with the colour, different up to 42."""
    return MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]
