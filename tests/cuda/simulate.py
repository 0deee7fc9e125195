"""Run in a process of its own with NUMBA_ENABLE_CUDASIM=1: kernels in Numba's simulator, against expected values.

Writes a JSON object to the file named on the command line: what is wrong with each op and dtype ("" if nothing) and the
number of calls, and what is wrong with programs. The simulator runs every CUDA thread as a Python thread, so arrays,
blocks and tiles are small. Names of ops after the file's limit the run to these.
"""

import json
import sys
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest import mock

import ml_dtypes  # noqa: F401  (tells NumPy of bfloat16)
import numpy as np

try:
    import torch
except ImportError:
    torch = None

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))

import cases
from cases import Case
from expected import assert_close, expected, magnitude, tolerance
from policies import halves, policies
from running import run
from test_specials import combined, elementwise, injected

import fastnn as fn
from fastnn import backends
from fastnn.backends import numba_cuda
from fastnn.kernels.numba_cuda import shim
from fastnn.table import DTYPES, HALVES, TABLE

#: Calls of the driver that may fail when a graph is made, and none.
BROKEN = ("", "cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate")
#: All combinations of parameters and optional arguments are tried in this size of each, a few of them in the others.
FULL, SOME = ((19,), (3, 5), (3, 5, 2)), 4


def chosen(name: str, dtype: str) -> Iterator[Case]:
    """Ordinary cases of an op, and some with special values."""
    op = TABLE[name]
    by_size: dict[tuple[int, ...], list[Case]] = {}
    for case in cases.cases(name, dtype):
        by_size.setdefault(tuple(case.dims[d] for d in op.dims if d != "one"), []).append(case)
    for i, (size, group) in enumerate(by_size.items()):
        # Activations follow the sums, which are float32 of numbers of two bytes too.
        whole = (size in FULL and dtype not in HALVES) or name == "copy"
        step = 1 if whole else -(-len(group) // SOME)
        yield from group[i % step :: step]
    if name == "copy":
        return
    if elementwise(op):
        for params in cases.parameters(op, {}):
            case = combined(op, params, dtype)
            n = case.dims["n"] // 5  # every combination once
            yield replace(case, dims={"n": n}, inputs=tuple(x[:n] for x in case.inputs))
    else:
        names = [d for d in op.dims if d != "one"]
        dims = dict(zip(names, FULL[len(names) - 1], strict=True)) | {"one": 1}
        yield from injected(op, dims, cases.parameters(op, dims)[-1], dtype)


def failures(name: str, dtype: str) -> tuple[str, int]:
    """What is wrong with an op, and how often it was called."""
    backend = backends.load("cuda")
    allowed = tolerance(TABLE[name], "cuda", dtype)
    count = 0
    try:
        for case in chosen(name, dtype):
            count += 1
            written = run(backend, case, dtype)
            for argument, want in expected(case, dtype).items():
                assert_close(f"{case}: {argument}", written[argument], want, allowed, magnitude(case))
    except Exception:
        return traceback.format_exc(), count
    return "", count


def training(steps: int = 3) -> str:
    """What is wrong with a model's recorded programs: the same steps as on the reference backend, or ""."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((7, 5)), rng.integers(0, 3, 7)
    losses, weights = {}, {}
    for backend in ("reference", "cuda"):
        layers = [fn.Dense(6, activation="gelu"), fn.Dropout(0.3), fn.Dense(4, activation="relu")]
        layers += [fn.GaussianDropout(0.2), fn.Dense(5, activation="mish"), fn.GaussianNoise(0.1), fn.PReLU()]
        layers += [fn.AlphaDropout(0.1), fn.Dense(3)]
        model = fn.Sequential(layers, dtype="float64", backend=backend, seed=3)
        model.compile(optimizer=fn.Adam(1e-2), loss="cross_entropy", clip_norm=0.5)
        losses[backend] = [model.train_step(x, y) for _ in range(steps)] + [model.train_step(x[:3], y[:3])]
        weights[backend] = [model.predict(x), *model.get_weights()]
    try:
        np.testing.assert_allclose(losses["cuda"], losses["reference"], rtol=1e-12)
        for got, want in zip(weights["cuda"], weights["reference"], strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)
    except AssertionError:
        return traceback.format_exc()
    return ""


def fitted(rate: float = 0.1) -> dict[str, list]:
    """What `fit` does on the reference backend and on the device: steps, what is read when, losses, how it ended."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 3)), rng.integers(0, 2, 8)
    found = {}
    for backend in ("reference", "cuda"):
        for watched in (False, True):
            model = fn.Sequential([fn.Dense(2)], dtype="float64", backend=backend, seed=3)
            model.compile(fn.SGD(rate), "cross_entropy" if rate < 1 else "mse")
            targets = y if rate < 1 else rng.standard_normal((8, 2))
            events: list[str] = []
            for name in ("_queue_step", "_read"):
                method = getattr(model, name)
                setattr(model, name, lambda *a, m=method, n=name, to=events: to.append(n) or m(*a))
            seen: list[float] = []
            noting = fn.callbacks.LambdaCallback(on_batch_end=lambda n, logs, to=seen: to.append(logs["loss"]))
            watchers = [noting] * watched
            try:
                ended = model.fit(x, targets, epochs=2, batch_size=3, verbose=0, callbacks=watchers).history["loss"]
            except fn.NonFiniteLoss as error:
                ended = [error.epoch, error.batch, error.cause]
            found[f"{backend} {watched}"] = [events, seen, ended, [w.tolist() for w in model.get_weights()]]
    return found


class Foreign:
    """Another library's array on the device: known by its CUDA array interface, its dtype of the library's own."""

    dtype = "float32 of another library"

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape = array, array.shape
        self.__cuda_array_interface__ = array.__array_interface__

    def reshape(self, *shape) -> "Foreign":
        return type(self)(self.array.reshape(*shape))


class Exchanged(Foreign):
    """The same, known by DLPack alone."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape = array, array.shape

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, stream=None, **_):
        return self.array.__dlpack__()


class Ordered(Exchanged):
    """The same, known by both, as PyTorch's: only by DLPack is it told which stream is to wait for its own."""

    streams: ClassVar[list] = []

    def __init__(self, array: np.ndarray) -> None:
        super().__init__(array)
        self.__cuda_array_interface__ = array.__array_interface__

    def __dlpack__(self, stream=None, **_):
        self.streams.append(stream)
        return super().__dlpack__()


class ForeignHalf(Exchanged):
    """PyTorch's tensor of bfloat16: its CUDA array interface says that a number has two bytes, DLPack says which."""

    def __init__(self, tensor) -> None:
        super().__init__(tensor)
        self.__cuda_array_interface__ = tensor.view(torch.int16).numpy().__array_interface__ | {"typestr": "<V2"}


def interoperation() -> dict:
    """What comes of arrays of other libraries, of arrays in the wrong place, and of labels that are no classes."""
    x = np.array([[-1.0, 2.0, 3.0], [4.0, -5.0, 6.0]], np.float32)
    found = {}
    # DLPack goes through a package that numba-cuda needs, and Numba's own simulator does not.
    for kind in (Foreign, *([Exchanged, Ordered] if find_spec("numba_cuda") else [])):
        with mock.patch.object(shim, "handle", lambda stream: -1):
            out = np.zeros_like(x)
            fn.ops.relu(kind(x), out=kind(out))
            y = fn.ops.matmul(kind(x), kind(np.ascontiguousarray(x.T)))
            found[kind.__name__] = [out.tolist(), fn.to_host(y).tolist()]
    found["streams"] = Ordered.streams
    if torch is not None and find_spec("numba_cuda"):
        with mock.patch.object(shim, "handle", lambda stream: -1):
            a, out = torch.tensor(x).bfloat16(), torch.zeros((2, 2), dtype=torch.bfloat16)
            y = fn.ops.matmul(ForeignHalf(a), ForeignHalf(a), transpose_b=True, out=ForeignHalf(out))
            found["ForeignHalf"] = [out.tolist(), str(fn.to_host(y).dtype)]
    calls = {
        "strided": lambda: fn.ops.matmul(Foreign(x), Foreign(x.T)),
        "host": lambda: fn.ops.relu(x, backend="cuda"),
        "device": lambda: fn.ops.relu(Foreign(x), backend="cython"),
        "list, out": lambda: fn.ops.relu([1.0], backend="cuda"),
        "host, out": lambda: fn.ops.relu(fn.to_device(x), out=x.copy()),
        "device, out": lambda: fn.ops.relu(x, out=fn.to_device(x)),
        "host, moved": lambda: fn.SGD(0.1).update([fn.to_device(x)], [x]),
    }
    there = fn.to_device(np.eye(2))
    calls |= {
        "overlap, out": lambda: fn.ops.matmul(there, there, out=there),
        "overlap, moved": lambda: fn.SGD(0.1).update([there], [there]),
    }
    for name, call in calls.items():
        try:
            call()
            found[name] = "no error"
        except fn.checks.LayoutError as error:
            found[name] = str(error)
    # An optimizer alone: moments on the device, parameters there whose gradients are other arrays each time.
    params = {"cython": x.copy(), "cuda": fn.to_device(x)}
    for name, place in (("cython", np.copy), ("cuda", fn.to_device)):
        optimizer = fn.Adam(0.1)
        for step in range(3):
            optimizer.update([params[name]], [place(x + np.float32(step))])
        moments = optimizer._alone[0]
    same = np.allclose(fn.to_host(params["cuda"]), params["cython"], rtol=1e-6)
    found["moved"] = [same, all(fn.checks.is_device_array(m) for m in moments if m is not None)]
    logits = fn.to_device(x)
    for loss in (fn.ops.sparse_softmax_cross_entropy, fn.ops.sparse_categorical_cross_entropy):
        for wrong in (3, -1):
            results = loss(logits, fn.to_device(np.array([1, wrong])), gradient=True)
            value, gradient = map(fn.to_host, results)
            found[f"{loss.__name__} {wrong}"] = np.isnan([value.item(), *gradient.ravel()]).tolist()
    return found


class Driver:
    """What graphs need of NVIDIA's bindings, as far as launches are concerned.

    While a stream is captured, launches are kept instead of run; `broken` names a call that fails.
    """

    CUstream = int
    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)
    CUresult = SimpleNamespace(CUDA_SUCCESS=0)

    def __init__(self, broken: str = "") -> None:
        self.broken, self.captured, self.replayed, self.launch = broken, None, 0, shim.launch

    def keep(self, *launch) -> None:
        self.launch(*launch) if self.captured is None else self.captured.append(launch)

    def _done(self, name: str, *values) -> tuple:
        return (900, *(None for _ in values)) if name == self.broken else (0, *values)

    def cuStreamBeginCapture(self, stream, mode):
        if self.broken != "cuStreamBeginCapture":
            self.captured = []
        return self._done("cuStreamBeginCapture")

    def cuStreamEndCapture(self, stream):
        captured, self.captured = self.captured, None
        return self._done("cuStreamEndCapture", captured)

    def cuGraphInstantiate(self, graph, flags):
        return self._done("cuGraphInstantiate", graph)

    def cuGraphLaunch(self, graph, stream):
        assert self.captured is None
        self.replayed += 1
        for launch in graph:
            self.launch(*launch)
        return (0,)

    def cuGraphDestroy(self, graph):
        return (0,)

    cuGraphExecDestroy = cuGraphDestroy


def captured(broken: str = "") -> dict:
    """What is wrong with training replayed through graphs, how many were launched, and why if there were none."""
    backend, driver = backends.load("cuda"), Driver(broken)
    with (
        mock.patch.object(shim, "launch", driver.keep),
        mock.patch.object(shim, "handle", lambda stream: 1),
        mock.patch.object(backend.graphs, "bindings", lambda: driver),
        mock.patch.object(backend, "plain", None),
        warnings.catch_warnings(record=True) as told,
    ):
        warnings.simplefilter("always")
        wrong = training(2 if broken else 3)
        told = [str(w.message) for w in told if "graphs" in str(w.message)]
        return {"wrong": wrong, "replayed": driver.replayed, "plain": backend.plain, "told": told}


def aligned() -> str:
    """What is wrong with products whose rows begin at multiples of 16 bytes, of every tile and split, or ""."""
    rng = np.random.default_rng(0)
    try:
        for dtype in DTYPES:
            for m, k, n in ((4, 4, 4), (8, 24, 8), (12, 20, 8), (16, 36, 12)):
                a, b, bias = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (k, n), (n,)))
                there = list(map(fn.to_device, (a, b, bias)))
                turned = [fn.to_device(np.ascontiguousarray(x.T)) for x in (a, b)]
                found = [
                    fn.ops.matmul(*there[:2]),
                    fn.ops.matmul(*turned, transpose_a=True, transpose_b=True),
                    fn.ops.dense(*there, activation="relu"),
                ]
                wanted = [a @ b, a @ b, np.maximum(a @ b + bias, 0)]
                assert all(shim.address(x) % 16 == 0 for x in (*there[:2], *turned, *found))
                for got, want in zip(found, wanted, strict=True):
                    unit = np.finfo(dtype).eps
                    np.testing.assert_allclose(fn.to_host(got), want, rtol=8 * unit, atol=16 * k**0.5 * unit)
    except AssertionError:
        return traceback.format_exc()
    return ""


def placed(value: np.ndarray, offset: int) -> tuple[Any, Any]:
    """A copy on the device that begins so many elements after a multiple of 16 bytes, and the memory around it."""
    block = np.full(value.size + 24, 7, value.dtype)
    there = fn.to_device(block)
    first = 8 + offset + -shim.address(there) % 16 // value.itemsize
    array = there[first : first + value.size]
    backends.load("cuda").assign(array, value)
    assert value.size == 0 or (shim.address(array) % 16 == 0) == (offset == 0)
    return array, there


def vectors() -> str:
    """What is wrong with elementwise ops that find some of their arrays at multiples of 16 bytes, or "".

    All get the same bits, whatever the places, and touch nothing around them.
    """
    backend, rng = backends.load("cuda"), np.random.default_rng(0)
    for (name, op), dtype, n in product(TABLE.items(), DTYPES, (1, 4, 11)):
        dims = {"n": n, "one": 1}
        if name != "clip_by_norm" and any(a.dims != ("n",) or a.integer for a in op.arguments):
            continue
        values = [rng.uniform(1.1, 1.9, dims[a.dims[0]]).astype(dtype) for a in op.arguments]
        found = set()
        for offsets in ((1,) * 5, (0,) * 5, (0, 1, 0, 1, 0), (1, 0, 1, 0, 1)):
            arrays, around = zip(*map(placed, values, offsets), strict=False)
            backend.run(op, arrays, dims, op.params)
            found.add(b"".join(fn.to_host(a).tobytes() for a in arrays))
            if any(np.count_nonzero(fn.to_host(block) == 7) != 24 for block in around):
                return f"{name} {dtype} {n} {offsets}: written outside the arrays"
        if len(found) > 1:
            return f"{name} {dtype} {n}: results depend on the places"
    return ""


#: Optimizers, with and without what is optional.
OPTIMIZERS: list[tuple[type, dict]] = [
    (fn.SGD, {}), (fn.SGD, {"momentum": 0.9, "nesterov": True}), (fn.RMSprop, {}), (fn.Adam, {}), (fn.AdamW, {}),
    (fn.RMSprop, {"momentum": 0.9, "centered": True}), (fn.Adam, {"amsgrad": True}), (fn.optimizers.Adagrad, {}),
    (fn.optimizers.Adadelta, {}), (fn.optimizers.Adamax, {}), (fn.optimizers.RAdam, {}), (fn.optimizers.Lion, {}),
    (fn.optimizers.NAdam, {}),
]  # fmt: skip


def updates() -> str:
    """What is wrong with optimizers used alone, or "".

    Parameters of many sizes get the bits that recorded calls of the op, one for each, give them. Gradients lie at other
    places at every step, multiples of 16 bytes or not, and are not copied; each dtype takes one launch.
    """
    backend, rng = backends.load("cuda"), np.random.default_rng(0)
    launching = mock.patch.object(shim, "launch", mock.Mock(wraps=shim.launch))
    for (make, options), dtypes in product(OPTIMIZERS, (("float32",), ("float64", "float32"))):
        values = [rng.standard_normal(n).astype(dtypes[i % len(dtypes)]) for i, n in enumerate((15, 1, 0, 37, 8, 101))]
        together, around = zip(*(placed(v, i % 2) for i, v in enumerate(values)), strict=True)
        apart = [placed(v, i % 2)[0] for i, v in enumerate(values)]
        optimizer, other = make(0.1, **options), make(0.1, **options)
        for step in range(2):
            slopes = [rng.standard_normal(v.size).astype(v.dtype) for v in values]
            gradients = [placed(g, (i + step) % 2)[0] for i, g in enumerate(slopes)]
            with mock.patch.object(backend, "copy", None), launching:
                optimizer.update(together, gradients)
                launched = [call.args[0].__name__ for call in shim.launch.call_args_list]
                shim.launch.reset_mock()
            if launched.count(optimizer.op) != len(dtypes) or set(launched) - {optimizer.op, "store"}:
                return f"{make.__name__} {options} {dtypes}: launches {launched}"
            with mock.patch.object(numba_cuda, "is_update", lambda program: False):
                other.update(apart, gradients)
        if any(np.count_nonzero(fn.to_host(block) == 7) != 24 for block in around):
            return f"{make.__name__} {options} {dtypes}: written outside the arrays"
        for a, b in zip(together, apart, strict=True):
            if fn.to_host(a).tobytes() != fn.to_host(b).tobytes():
                return f"{make.__name__} {options} {dtypes}: other bits"
    return ""


def exhausted() -> str:
    """The error when device memory is exhausted."""
    backend = backends.load("cuda")

    def device_array(*_, **__):
        raise shim.CudaAPIError(2, "Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")

    whole, shim.numba_cuda.device_array = shim.numba_cuda.device_array, device_array
    try:
        backend.empty((3, 1000), np.float32)
    except MemoryError as error:
        return str(error)
    finally:
        shim.numba_cuda.device_array = whole
    return "no error"


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # NumPy's, of overflow and NaN
    # The simulator polls its threads at barriers, and keeps the interpreter from them for this long each time.
    sys.setswitchinterval(1e-4)
    names = sys.argv[2:] or TABLE
    results: dict = {f"{name} {dtype}": failures(name, dtype) for name in names for dtype in TABLE[name].dtypes}
    results |= {"training": training(), "exhausted": exhausted(), "interoperation": interoperation()}
    results |= {"aligned": aligned(), "vectors": vectors(), "updates": updates()}
    results |= {"policies": policies(backends.load("cuda"))}
    results["halves"] = halves(backends.load("cuda"))
    results["fitted"] = {"well": fitted(), "badly": fitted(1e200)}
    results["graphs"] = {broken: captured(broken) for broken in BROKEN}
    Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
