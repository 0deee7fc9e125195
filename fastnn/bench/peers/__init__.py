"""The libraries that are measured: one module each, with a class of the same methods.

A method is called with a case's data, as NumPy arrays, prepares what a user would prepare once, and returns a function
without arguments that does the work and returns its result. A library that has no such thing lacks the method.
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


def load(name: str, threads: int) -> list[Any]:
    """A library's competitors for a number of threads; ImportError where it is not installed."""
    return import_module(f"fastnn.bench.peers.{PEERS[name]}").competitors(threads)
