"""NumPy with the BLAS it was built with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class NumPy:
    name = "numpy"

    def matmul(self, a: np.ndarray, b: np.ndarray) -> Callable[[], Any]:
        out = np.empty((len(a), b.shape[1]), a.dtype)
        return lambda: np.matmul(a, b, out=out)


def competitors(threads: int) -> list[Any]:
    """NumPy's BLAS is limited by threadpoolctl, for the whole process."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads, user_api="blas")
    return [NumPy()]
