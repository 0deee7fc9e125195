"""The libraries that are measured: one module each, with a class of the same methods.

A method is called with a case's data, as NumPy arrays, prepares what a user would prepare once, and returns a function
without arguments that does the work and returns its result. A library that has no such thing lacks the method, or the
method returns None. What computes on a device has a `clock` too, which takes the time there (`timing.device_times`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

#: Name of a peer, the module that holds it, and the library's name where that is not the peer's.
PEERS = {
    "numpy": "numpy_peer",
    "torch": "torch_peer",
    "jax": "jax_peer",
    "sklearn": "sklearn_peer",
    "onnxruntime": "onnxruntime_peer",
}


#: Those that compute on a CUDA device.
DEVICE_PEERS = {"torch": "torch_cuda_peer", "cupy": "cupy_peer"}


def load(name: str, threads: int, on_device: bool = False) -> list[Any]:
    """A library's competitors for a number of threads, or on the device; ImportError where it is not installed."""
    modules = DEVICE_PEERS if on_device else PEERS
    if name not in modules:
        raise ImportError(f"it is measured {'on the CPU' if on_device else 'on a CUDA device'} only")
    return import_module(f"fastnn.bench.peers.{modules[name]}").competitors(threads)
