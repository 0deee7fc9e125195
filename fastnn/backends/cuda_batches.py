"""Batches on their way to the device, from pinned memory on a stream of their own, while the last step computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastnn.backends.numba_cuda import CudaBackend


class Slot:
    """Pinned memory for a batch, memory of the device for its copy, and two moments.

    `copied` is when the pinned memory has been read, `used` when the copy has: events that were never recorded have
    passed already.
    """

    def __init__(self, backend: CudaBackend, like: Sequence[Any]) -> None:
        self.pinned = [backend.shim.pinned(a.shape, a.dtype) for a in like]
        self.arrays = [backend.empty(a.shape, a.dtype) for a in like]
        self.copied, self.used = backend.shim.new_event(), backend.shim.new_event()


class Batches:
    """Two slots, filled in turn."""

    def __init__(self, backend: CudaBackend, like: Sequence[Any]) -> None:
        self.backend = backend
        self.stream = backend.shim.new_stream()
        self.slots = [Slot(backend, like) for _ in range(2)]

    def bring(self, hosts: Sequence[np.ndarray]) -> list[Any]:
        """Queue copies of arrays in main memory, which may be changed again at once; returns the device's arrays.

        What is queued on the backend's stream from now on finds them there. They are valid until `release`.
        """
        slot = self.slots[0]
        slot.copied.synchronize()
        for pinned, host in zip(slot.pinned, hosts, strict=True):
            pinned[...] = host
        slot.used.wait(self.stream)
        for pinned, array in zip(slot.pinned, slot.arrays, strict=True):
            self.backend.shim.copy(pinned, array, self.stream)
        slot.copied.record(self.stream)
        slot.copied.wait(self.backend.stream)
        return slot.arrays

    def release(self) -> None:
        """Say that all that reads the last batch is queued."""
        self.slots[0].used.record(self.backend.stream)
        self.slots.reverse()
