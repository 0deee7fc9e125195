"""Dropout and noise from a counter-based generator: they depend on their numbers alone, not on backend or threads."""

from __future__ import annotations

from typing import Any

from fastnn import checks
from fastnn.ops.elementwise import affine, unary
from fastnn.program import Slot

#: -lambda alpha of selu: its limit at minus infinity (Klambauer et al. 2017).
SELU_FLOOR = -1.7580993408473768


def _counter(name: str, seed: int, stream: int, step: Any) -> dict[str, Any]:
    """The generator's checked numbers."""
    drawn = int(step.value) if isinstance(step, Slot) else step
    for argument, number, end in (("seed", seed, 2**53), ("stream", stream, 2**32), ("step", drawn, 2**32)):
        checks.interval(name, argument, number, 0, end, "left")
        checks.integer(name, argument, number, 0)
    return {"seed": seed, "stream": stream, "step": step}


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
    return unary("dropout", x, out, backend, rate=rate, **_counter("dropout", seed, stream, step))


def alpha_dropout(
    x: Any,
    rate: float = 0.5,
    *,
    seed: int = 0,
    stream: int = 0,
    step: Any = 0,
    out: Any = None,
    backend: str | None = None,
) -> Any:
    """Dropout for networks of `selu`: mean 0 and variance 1 stay (Klambauer et al. 2017).

    y = a (x k + c (1 - k)) + b with the mask k of `dropout`, c = -1.7581, the limit of selu at minus infinity,
    a = ((1 - rate) (1 + rate c^2))^(-1/2) and b = -a rate c.

    Parameters
    ----------
    x : array_like
    rate : float in [0, 1)
    seed, stream, step : int
        As in `dropout`.
    """
    checks.interval("alpha_dropout", "rate", rate, 0, 1, "left")
    counter = _counter("alpha_dropout", seed, stream, step)
    a = ((1 - rate) * (1 + rate * SELU_FLOOR**2)) ** -0.5
    kept = dropout(affine(x, shift=-SELU_FLOOR, backend=backend), rate, **counter, backend=backend)
    return affine(kept, a * (1 - rate), a * (1 - rate) * SELU_FLOOR, out=out, backend=backend)


def gaussian_noise(
    x: Any,
    stddev: float = 1.0,
    *,
    seed: int = 0,
    stream: int = 0,
    step: Any = 0,
    out: Any = None,
    backend: str | None = None,
) -> Any:
    """y = x + stddev z, z standard normal: by Box and Muller 1958 from Philox4x32-10, |z| < 5.8.

    Parameters
    ----------
    x : array_like
    stddev : float in [0, inf)
    seed, stream, step : int
        As in `dropout`.
    """
    checks.interval("gaussian_noise", "stddev", stddev, 0, float("inf"), "left")
    return unary("gaussian_noise", x, out, backend, stddev=stddev, **_counter("gaussian_noise", seed, stream, step))


def gaussian_dropout(
    x: Any,
    stddev: float = 1.0,
    *,
    seed: int = 0,
    stream: int = 0,
    step: Any = 0,
    out: Any = None,
    backend: str | None = None,
) -> Any:
    """y = x (1 + stddev z), z as in `gaussian_noise` (Srivastava et al. 2014, section 10).

    With stddev = sqrt(rate / (1 - rate)) it has the variance of `dropout`. Its gradient is the same op with the same
    numbers applied to dy.

    Parameters
    ----------
    x : array_like
    stddev : float in [0, inf)
    seed, stream, step : int
        As in `dropout`.
    """
    checks.interval("gaussian_dropout", "stddev", stddev, 0, float("inf"), "left")
    return unary("gaussian_dropout", x, out, backend, stddev=stddev, **_counter("gaussian_dropout", seed, stream, step))
