"""The competitors on a CUDA device, as far as they can be tried without one: PyTorch in main memory, NumPy as CuPy."""

import importlib
import sys

import numpy as np
import pytest

from fastnn import cli
from fastnn.bench import cases, device
from fastnn.bench.peers.ours import Fastnn
from fastnn.bench.report import compare, measure
from fastnn.bench.timing import device_times

#: The same work as on a device, at sizes for a test.
SMALL = {
    "matmul": ((5, 7, 3),), "tensor_cores": ((4, 6, 5),), "dense": ((4, 6, 5),), "activations": (33,),
    "softmax": ((4, 7),), "optimizers": ((2, 9),), "training": (((6, 5, 3), 4),),
}  # fmt: skip


@pytest.mark.parametrize("group", SMALL)
def test_torch(group):
    """It does what fastnn does."""
    pytest.importorskip("torch")
    from fastnn.bench.peers.torch_cuda_peer import TorchCuda

    competitors = [Fastnn("reference" if group == "tensor_cores" else "cython"), TorchCuda("cpu")]
    for case in device.GROUPS[group].func(SMALL[group]):
        data = case.make()
        compare(case, {c.name: getattr(c, case.kind)(*data)() for c in competitors})


def test_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", np)
    monkeypatch.delitem(sys.modules, "fastnn.bench.peers.cupy_peer", raising=False)
    (peer,) = importlib.import_module("fastnn.bench.peers.cupy_peer").competitors(1)
    monkeypatch.delitem(sys.modules, "fastnn.bench.peers.cupy_peer")
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((5, 7)), rng.standard_normal((3, 7)).T
    np.testing.assert_allclose(peer.matmul(a, b)(), a @ b)
    np.testing.assert_allclose(peer.lowered_matmul("float16", a, b)(), a @ b, rtol=1e-2, atol=1e-2)
    assert peer.lowered_matmul("tf32", a, b) is None
    for version, there in (("13.6.0", False), ("14.0.0", True)):
        monkeypatch.setattr(np, "__version__", version)
        assert (peer.lowered_matmul("bfloat16", a, b) is not None) == there
    np.testing.assert_array_equal(peer.activation("relu", a)(), np.maximum(a, 0))
    assert peer.activation("mish", a) is None


def test_every_group_is_there():
    """In the command, and larger than the caches of a large card, 50 MB, where memory is what bounds it."""
    assert set(device.GROUPS) == {*cli.BENCH_GROUPS, *cli.DEVICE_GROUPS} - {"scaling"}
    assert set(cases.GROUPS) == set(cli.BENCH_GROUPS)
    for group in ("activations", "optimizers"):
        for case in device.GROUPS[group]():
            assert case.bytes > 5e8, case.label


def test_medians_by_a_competitor_s_clock():
    calls, times = [], iter([9.0, 1.0, 30.0, 20.0, 10.0])
    clock = lambda thunk, count: [thunk() for _ in range(count)] and next(times)  # noqa: E731
    assert device_times({"a": lambda: calls.append(1)}, {"a": clock}, seconds=3.0, rounds=3) == {"a": 20.0}
    assert len(calls) == 2 + 1 + 3


def test_shares_of_what_a_device_can_do():
    """Only floors that are known give a share."""
    case = next(iter(device.GROUPS["activations"].func((64,))))
    ours = Fastnn("cython")
    ours.clock = lambda thunk, count: count * 2.0
    (result,) = measure([case], [ours], [], 1, 0.01, {"copy": lambda dtype: case.bytes / 1.0})
    assert (result.seconds, result.share, result.ratio) == (2.0, 0.5, None)
    (result,) = measure([case], [ours], [], 1, 0.01, {})
    assert result.share is None
