"""A look at the AMX unit before it is trusted: one product through it, and the same by FMA."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from fastnn_ext import executor

#: Sizes m, k, n: large enough for the unit, and none of them a multiple of anything.
SIZES = (401, 301, 403)
#: Error allowed, relative to the largest sum: ten times what either kernel makes of such sums.
ALLOWED = 1e-5


def agree(amx: ModuleType, fma: ModuleType) -> bool:
    """Whether two builds of the kernel compute the same product, up to rounding.

    Parameters
    ----------
    amx, fma : module
        `matmul` of two instruction sets.
    """
    m, k, n = SIZES
    dims = {"m": m, "k": k, "n": n}
    # Numbers with all 24 bits in use, between 1/2 and 3/2: powers of an irrational number modulo 1.
    a, b = (0.5 + np.modf(np.arange(1.0, rows * cols + 1) * root)[0] for rows, cols, root in (
        (m, k, 0.6180339887498949), (k, n, 0.41421356237309515),
    ))  # fmt: skip
    a, b = a.astype(np.float32).reshape(m, k), b.astype(np.float32).reshape(k, n)
    results = []
    for module in (amx, fma):
        y = np.zeros((m, n), np.float32)
        scratch = module.WORKSPACE["matmul"](dims, {}, 4, 1)
        executor.call(module.KERNELS["matmul"][0], (a, b, y), SIZES, (0.0,) * 4, 2, scratch, 1)
        results.append(y)
    difference = np.abs(results[0] - results[1]).max()
    return bool(difference <= ALLOWED * results[1].max())
