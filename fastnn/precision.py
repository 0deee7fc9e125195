"""How precise float32 matrix products have to be: the policy, and who decides it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fastnn import checks
from fastnn.table import PRECISIONS

_everywhere = "float32"
_here: ContextVar[str | None] = ContextVar("fastnn_precision", default=None)


def set_matmul_precision(precision: str) -> None:
    """Let float32 matrix products be less precise from now on.

    The policy permits less precision and never requires it: what has no faster way to compute a product less
    precisely computes it in float32. It says nothing of float64. See docs/precision.md.

    Parameters
    ----------
    precision : {"float32", "bf16x3", "bf16", "tf32"}
        Products as precise as float32 arithmetic makes them; of the two leading bfloat16 parts of each number (about
        16 bits); of numbers rounded to bfloat16 (8 bits), or to TF32 (11 bits; on CUDA devices only).

    Raises
    ------
    ValueError
        If `precision` is not one of these.
    """
    global _everywhere
    checks.option("set_matmul_precision", "precision", precision, PRECISIONS)
    _everywhere = precision


def get_matmul_precision() -> str:
    """The policy in effect: that of the innermost `matmul_precision` block, else the one set."""
    return _here.get() or _everywhere


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Compute float32 matrix products under a policy within a ``with`` block of this thread or task.

    Parameters
    ----------
    precision : {"float32", "bf16x3", "bf16", "tf32"}
        As for `set_matmul_precision`.
    """
    checks.option("matmul_precision", "precision", precision, PRECISIONS)
    token = _here.set(precision)
    try:
        yield
    finally:
        _here.reset(token)


def resolved(op: str, precision: str | None) -> str:
    """The policy of one call: its own, or the one in effect."""
    if precision is None:
        return get_matmul_precision()
    checks.option(op, "precision", precision, PRECISIONS)
    return precision
