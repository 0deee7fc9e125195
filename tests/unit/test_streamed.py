"""Results that are written past the caches are those of small arrays, and nothing beside them is written."""

import numpy as np
import pytest

from fastnn import ops
from fastnn.table import ACTIVATIONS

NAMES = [name for activation in ACTIVATIONS for name in (activation, f"{activation}_backward")]
#: Elements: 32 MiB and a few more, no whole number of blocks.
SIZE = (1 << 23) + 77
PIECE = 1 << 16


@pytest.fixture(scope="module")
def arguments():
    rng = np.random.default_rng(0)
    return [rng.standard_normal(SIZE + 3, np.float32)[3:] for _ in range(2)]


@pytest.mark.parametrize("name", NAMES)
def test_streamed(name, arguments):
    f = getattr(ops, name)
    inputs = arguments if name.endswith("_backward") else arguments[:1]
    guarded = np.full(SIZE + 10, 7.0, np.float32)
    y = guarded[5:-5]  # begins and ends within a cache line
    f(*inputs, out=y, backend="cython")
    for start in range(0, SIZE, PIECE):
        piece = f(*(a[start : start + PIECE].copy() for a in inputs), backend="cython")
        np.testing.assert_array_equal(y[start : start + PIECE].view(np.uint32), piece.view(np.uint32))
    assert (guarded[:5] == 7).all() and (guarded[-5:] == 7).all()
