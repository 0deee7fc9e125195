"""What is measured on a CUDA device: inputs larger than its caches, and what the device itself can do."""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from fastnn import backends
from fastnn.backends import cuda_driver
from fastnn.bench import cases
from fastnn.bench.report import Floors
from fastnn.bench.timing import device_times

#: Bytes copied to measure the device's memory.
COPIED = 1 << 30
#: Groups of cases by name, as `cases.GROUPS`, but for what is about the CPU's threads.
GROUPS = {name: group for name, group in cases.GROUPS.items() if name != "scaling"} | {
    "matmul": partial(cases.matmul, ((4096, 4096, 4096), (8192, 8192, 8192), (64, 4096, 64), (1024, 784, 256))),
    "dense": partial(cases.dense, ((4096, 4096, 4096), (1024, 784, 4096))),
    "tensor_cores": partial(cases.lowered, ((4096, 4096, 4096), (8192, 8192, 8192), (1024, 784, 4096))),
    "activations": partial(cases.activations, (2**26,)),
    "softmax": partial(cases.softmax, ((65536, 1000), (4096, 32768))),
    "optimizers": partial(cases.optimizers, ((1, 2**26), (200, 2**18))),
    "training": partial(
        cases.training,
        (((64, 100, 10), 32), ((784, 256, 128, 10), 64), ((784, 4096, 4096, 10), 1024)),
    ),
}


@cache
def copy_rate() -> float:
    """Bytes a second, read and written, of a copy from device memory to device memory."""
    backend = backends.load("cuda")
    source, target = backend.to_device(np.zeros(COPIED, np.uint8)), backend.empty((COPIED,), np.uint8)
    times = device_times({"copy": lambda: backend.copy(source, target)}, {"copy": backend.clock})
    return 2 * COPIED / times["copy"]


def floors() -> Floors:
    """What the device can do. Its peak in arithmetic is not measured: products are compared with cuBLAS's."""
    return {"copy": lambda dtype: copy_rate(), "update": lambda dtype: copy_rate()}


def description() -> dict[str, object]:
    """The card, and what drives it."""
    found: dict[str, object] = {"card": "; ".join(map(str, cuda_driver.cards())) or "simulated"}
    found["driver"] = f"for CUDA {cuda_driver.driver_version()}"
    return found | cuda_driver.toolkit()
