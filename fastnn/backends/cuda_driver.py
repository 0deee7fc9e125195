"""What the CUDA driver says of itself and its devices, asked without Numba, whose import takes a second."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from importlib import metadata
from typing import Any

#: CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, ..._COMPUTE_CAPABILITY_MAJOR and ..._MINOR in cuda.h.
_MULTIPROCESSORS, _MAJOR, _MINOR = 16, 75, 76
#: Packages that make up the toolkit: the compiler of kernels, its libraries, and the bindings of the driver.
PACKAGES = ("numba-cuda", "nvidia-nvvm", "nvidia-cuda-nvcc-cu12", "nvidia-cuda-runtime", "cuda-bindings")


@dataclass(frozen=True)
class Card:
    """A CUDA device."""

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    memory: int

    def __str__(self) -> str:
        major, minor = self.capability
        size = f"{self.memory / 2**30:.1f} GiB"
        return f"{self.name}, compute capability {major}.{minor}, {self.multiprocessors} multiprocessors, {size}"


def _driver() -> Any:
    """The driver's library, initialised; None where there is none, or no device."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return None if library.cuInit(0) else library


def _number(call: Any, *arguments: Any, kind: Any = ctypes.c_int) -> int:
    """What a function of the driver writes to its first argument; 0 if it fails."""
    value = kind(0)
    failed = call(ctypes.byref(value), *arguments)
    return 0 if failed else value.value


def device_count() -> int:
    """Number of CUDA devices of this machine."""
    driver = _driver()
    return 0 if driver is None else _number(driver.cuDeviceGetCount)


def driver_version() -> str | None:
    """The latest CUDA version that the driver can run; None without one."""
    driver = _driver()
    if driver is None:
        return None
    version = _number(driver.cuDriverGetVersion)
    return f"{version // 1000}.{version % 1000 // 10}"


def cards() -> list[Card]:
    """The devices of this machine."""
    driver, found = _driver(), []
    for ordinal in range(device_count()):
        device = _number(driver.cuDeviceGet, ordinal)
        name = ctypes.create_string_buffer(256)
        driver.cuDeviceGetName(name, len(name), device)
        count, major, minor = (
            _number(driver.cuDeviceGetAttribute, attribute, device) for attribute in (_MULTIPROCESSORS, _MAJOR, _MINOR)
        )
        memory = _number(driver.cuDeviceTotalMem_v2, device, kind=ctypes.c_size_t)
        found.append(Card(name.value.decode(), (major, minor), count, memory))
    return found


def version(package: str) -> str | None:
    """Version of an installed package; None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def toolkit() -> dict[str, str]:
    """Versions of the installed packages that compile and launch kernels."""
    return {package: found for package in PACKAGES if (found := version(package)) is not None}
