"""Arrays in unusual memory."""

from math import prod

import numpy as np


def read_only(x: np.ndarray) -> np.ndarray:
    """A copy that must not be written."""
    x = x.copy()
    x.flags.writeable = False
    return x


def misaligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Zeros that begin at an odd address."""
    size = prod(shape) * np.dtype(dtype).itemsize
    return np.zeros(size + 1, np.uint8)[1:].view(dtype).reshape(shape)


class FakeDeviceArray:
    """An array that says it lives on a device."""

    shape = (3,)
    dtype = np.dtype(np.float64)

    @property
    def __cuda_array_interface__(self) -> dict:
        return {"shape": (3,), "typestr": "<f8", "data": (0, True), "version": 3}
