"""Dropout, from a counter-based generator: the mask depends on its numbers alone, not on backend or threads."""

from __future__ import annotations

from typing import Any

from fastnn import checks
from fastnn.ops.elementwise import unary


def dropout(
    x: Any,
    rate: float = 0.5,
    *,
    seed: int = 0,
    stream: int = 0,
    step: Any = 0,
    out: Any = None,
    backend: str | None = None,
) -> Any:
    """Set a share `rate` of the elements to zero and multiply the others by 1 / (1 - rate).

    Inverted dropout (Srivastava et al. 2014) with Philox4x32-10 (Salmon et al. 2011). Its gradient is the same op
    with the same numbers applied to dy.

    Parameters
    ----------
    x : array_like
    rate : float in [0, 1]
    seed : int in [0, 2**53)
        Key of the generator.
    stream, step : int in [0, 2**32)
        Parts of the counter: one stream for each layer, one step for each draw. `step` may be a Slot.
    """
    checks.interval("dropout", "rate", rate, 0, 1)
    checks.interval("dropout", "seed", seed, 0, 2**53, "left")
    checks.interval("dropout", "stream", stream, 0, 2**32, "left")
    checks.interval("dropout", "step", getattr(step, "value", step), 0, 2**32, "left")
    return unary("dropout", x, out, backend, rate=rate, seed=seed, stream=stream, step=step)
