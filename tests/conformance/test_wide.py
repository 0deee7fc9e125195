"""The products of AVX-512 by FMA: its tiles, panels and tails, run by whatever instructions this machine has."""

from itertools import product

import numpy as np
import pytest
from test_amx import multiply

#: A tile has 14 rows and 2 vectors of 16 float32 or 8 float64; up to 3 rows are a case of their own. 99 rows pack B.
ROWS = (1, 2, 3, 13, 15, 29, 99)
COLS = (1, 7, 9, 15, 17, 23, 31, 33, 47, 70, 200)
#: Products are added up in stretches of 256.
DEPTHS = (1, 257, 520)


@pytest.mark.parametrize("flips", tuple(product((False, True), repeat=2)), ids=str)
@pytest.mark.parametrize("depth", DEPTHS)
def test_tiles(depth, flips, dtype, rng):
    """Within a few roundings of float64, within guard values, and with the same bits from three threads as from one."""
    most_a, most_b = rng.standard_normal((max(ROWS), depth)), rng.standard_normal((depth, max(COLS)))
    for m, n in product(ROWS, COLS):
        a, b = most_a[:m].astype(dtype), most_b[:, :n].astype(dtype)
        a[-1, -1] = 1e-40  # which leaves the product to FMA
        start = None if (m + n) % 2 else np.ones((m, n), dtype)
        exact = a.astype(np.float64) @ b + (0 if start is None else start)
        bound = 8 * np.finfo(dtype).eps * (1 + (np.abs(a).astype(np.float64) @ np.abs(b)).max())
        found = multiply(a, b, "float32", flips, start=start)
        np.testing.assert_allclose(found, exact, rtol=0, atol=bound, err_msg=f"{m} x {n}")
        shared = multiply(a, b, "float32", flips, start=start, parts=3, order=(2, 0, 1))
        assert shared.tobytes() == found.tobytes(), (m, n)


@pytest.mark.parametrize("size", ((900, 300, 330), (330, 600, 1100), (700, 40, 33)), ids=str)
def test_blocks(size, dtype, rng):
    """Several blocks of A, slices of B, and more panels than tiles."""
    m, k, n = size
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    a[-1, -1] = 1e-40
    bound = 8 * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b)).max()
    for flips in product((False, True), repeat=2):
        found = multiply(a, b, "float32", flips)
        np.testing.assert_allclose(found, a.astype(np.float64) @ b, rtol=0, atol=bound)
        assert multiply(a, b, "float32", flips, parts=2, order=(1, 0)).tobytes() == found.tobytes()
