"""Errors of the elementwise functions over their whole range, against arbitrary precision."""

from functools import lru_cache

import numpy as np
import pytest
from expected import WIDER, assert_close, errors, tolerance
from formulas import FORMULAS, exact

from fastnn import backends
from fastnn.table import TABLE

UNARY = [name for name in FORMULAS if len(TABLE[name].inputs) == 1]


@lru_cache(maxsize=1)
def points(dtype: str) -> np.ndarray:
    """Both signs of numbers spread over all magnitudes, and closer where functions bend or leave the dtype's range."""
    info = np.finfo(dtype)
    low, high = np.log10(float(info.smallest_subnormal)), np.log10(float(info.max))
    magnitudes = [10.0 ** np.linspace(low, high, 500)[1:-1], np.linspace(0, 1, 101)[1:], np.linspace(1, 20, 301)]
    magnitudes += [np.linspace(20, 120, 201), np.linspace(700, 760, 201), [info.smallest_normal, info.max]]
    positive = np.concatenate(magnitudes)
    return np.concatenate([positive, -positive]).astype(dtype)


@lru_cache(maxsize=2)
def wanted(name: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Where a function is defined, and its values."""
    x = points(dtype)
    if name in ("log", "sqrt"):
        x = x[x > 0]
    return x, exact(name, [x], TABLE[name].params).astype(WIDER["float64"])


@pytest.mark.parametrize("name", UNARY)
def test_accuracy(name, dtype, backend, record_property):
    op, kernels = TABLE[name], backends.load(backend)
    x, want = wanted(name, dtype)
    y = kernels.to_device(np.empty_like(x))
    kernels.run(op, [kernels.to_device(x), y], {"n": x.size}, op.params)
    got = kernels.to_host(y)
    with np.errstate(over="ignore"):
        inside = np.isfinite(want.astype(dtype)) & np.isfinite(got)
    worst = float(errors(got[inside], want[inside], "element").max())
    record_property("largest error in ulp", round(worst, 2))
    assert_close(f"{name} (largest error {worst:.2f} epsilon)", got, want, tolerance(op, backend, dtype))
