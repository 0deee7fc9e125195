"""Calls that are remembered: what a known call must notice, and what must not be taken for known."""

import inspect
import os
import pickle
import sys
import threading
from contextlib import nullcontext

import numpy as np
import pytest
from odd_arrays import misaligned, read_only

import fastnn as fn
from fastnn import backends, ops
from fastnn.backends.compiled import CompiledBackend
from fastnn.threadcount import get_num_threads
from fastnn_ext import executor
from fastnn_ext.remembered import Remembered

F4, I8 = np.float32, np.int64


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("FASTNN_BACKEND", raising=False)


@pytest.fixture
def compiled(backend):
    """Runs a test on a backend that remembers."""
    if not isinstance(backends.load(backend), CompiledBackend):
        pytest.skip(f"backend {backend!r} runs Python in every call")
    with fn.use_backend(backend):
        yield


def numbers(*shape, dtype=F4, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def plain(function):
    """The function that does not remember."""
    return inspect.unwrap(function)


BLOCK = numbers(40)
LABELS = np.array([0, 4, 2])
#: Good arguments, and what is bad in a call that has the same key.
BAD = {
    "read-only out": (ops.exp, (BLOCK[:12],), {"out": np.empty(12, F4)}, {"out": read_only(BLOCK[:12])}),
    "out over an input": (ops.exp, (BLOCK[:12],), {"out": np.empty(12, F4)}, {"out": BLOCK[5:17]}),
    "out is the input": (ops.exp, (BLOCK[:12],), {"out": np.empty(12, F4)}, {"out": BLOCK[:12]}),
    "out over the second input": (
        ops.matmul, (np.ones((4, 4), F4), BLOCK[:16].reshape(4, 4)), {"out": np.empty((4, 4), F4)},
        {"out": BLOCK[15:31].reshape(4, 4)},
    ),
    "misaligned out": (ops.exp, (BLOCK[:12],), {"out": np.empty(12, F4)}, {"out": misaligned((12,), F4)}),
    "strided out": (ops.exp, (BLOCK[:12],), {"out": np.empty(12, F4)}, {"out": np.empty(24, F4)[::2]}),
    "swapped out": (ops.exp, (BLOCK[:12],), {"out": np.empty(12, F4)}, {"out": np.empty(12, ">f4")}),
    "out of another dtype": (ops.exp, (BLOCK[:12],), {"out": np.empty(12, F4)}, {"out": np.empty(12)}),
    "out of another shape": (ops.exp, (BLOCK[:12],), {"out": np.empty(12, F4)}, {"out": np.empty((3, 4), F4)}),
    "updated and read-only": (ops.clip_by_value, (np.ones(6),), {}, (read_only(np.ones(6)),)),
    "updated over another": (ops.penalty, (np.ones(12), np.ones(12)), {}, (np.ones(12),) * 2),
    "moving mean is the variance": (
        ops.batch_norm, (np.ones((3, 2)), None, None, np.ones(2), np.ones(2)), {},
        (np.ones((3, 2)), None, None, *(np.ones(2),) * 2),
    ),
    "label too large": (
        ops.sparse_softmax_cross_entropy, (numbers(3, 5), LABELS), {}, (numbers(3, 5), np.array([0, 5, 2])),
    ),
    "negative label": (
        ops.sparse_categorical_cross_entropy, (np.full((3, 5), 0.2), LABELS), {"gradient": True},
        (np.full((3, 5), 0.2), np.array([0, -1, 2])),
    ),
    "unknown option": (ops.relu, (BLOCK,), {}, {"slope": 1.0}),
    "another backend": (ops.relu, (BLOCK,), {}, {"backend": "torch"}),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
@pytest.mark.usefixtures("compiled")
def test_errors_after_a_good_call(backend, what, known_only):
    function, arguments, options, change = BAD[what]
    function(*arguments, **options)
    with known_only():
        function(*arguments, **options)
    if isinstance(change, tuple):
        arguments = change
    else:
        options = options | change
    with pytest.raises((TypeError, ValueError)) as expected:
        plain(function)(*arguments, **options)
    with pytest.raises((TypeError, ValueError)) as found:
        function(*arguments, **options)
    assert (found.type, str(found.value)) == (expected.type, str(expected.value))


class Subclass(np.ndarray):
    pass


X = numbers(6, 4)
#: First calls, and others that they must not be mistaken for.
OTHERS = {
    "another number": (ops.add, (X, 1.0), (X, 2.0)),
    "an integer for a number": (ops.affine, (X, 1.0), (X, 3)),
    "another sign of zero": (ops.multiply, (X, 0.0), (X, -0.0)),
    "one array twice": (ops.subtract, (X, X), (X, numbers(6, 4, seed=1))),
    "two arrays, then one": (ops.subtract, (X, numbers(6, 4, seed=1)), (X, X)),
    "another dtype": (ops.exp, (X,), (X.astype(float),)),
    "another shape": (ops.exp, (X,), (X.reshape(4, 6),)),
    "another rank": (ops.sum, (X,), (X.reshape(-1),)),
    "another axis": (ops.sum, (X, 1), (X, 0)),
    "a tuple for an axis": (ops.sum, (X, 1), (X, (0, 1))),
    "another order of axes": (ops.transpose, (X.reshape(2, 3, 4), (2, 0, 1)), (X.reshape(2, 3, 4), (1, 2, 0))),
    "a list of axes": (ops.transpose, (X, (0, 1)), (X, [1, 0])),
    "a list": (ops.exp, (X[0],), (X[0].tolist(),)),
    "Fortran order": (ops.exp, (X,), (np.asfortranarray(X),)),
    "strides": (ops.exp, (X,), (np.repeat(X, 2, axis=1)[:, ::2],)),
    "swapped bytes": (ops.exp, (X,), (X.astype(">f4"),)),
    "misaligned": (ops.exp, (X,), (misaligned(X.shape, F4),)),
    "a subclass": (ops.exp, (X,), (X.view(Subclass),)),
    "read-only": (ops.exp, (X,), (read_only(X),)),
    "no dimension": (ops.exp, (X,), (np.array(2.0, F4),)),
    "no element": (ops.exp, (X,), (np.empty((0, 3), F4),)),
    "a smaller integer dtype": (ops.count_equal, (LABELS, LABELS), (LABELS.astype(np.int32), LABELS)),
    "broadcast": (ops.add, (X, X), (X, X[0])),
    "a NumPy number": (ops.affine, (X, 2.0), (X, np.float64(3.0))),
}


@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.usefixtures("compiled")
def test_not_mistaken(backend, what):
    function, first, other = OTHERS[what]
    function(*first)
    want = plain(function)(*other)
    for _ in range(3):
        got = function(*other)
        assert type(got) is np.ndarray and (got.dtype, got.shape) == (want.dtype, want.shape)
        assert got.tobytes() == want.tobytes()


@pytest.mark.usefixtures("compiled")
def test_values_of_arrays_are_no_part_of_a_plan(backend):
    """An array may stand for a flag, and then decides by its value."""
    a, b = numbers(4, 4), numbers(4, 4, seed=1)
    for flag in (True, False, True):
        out, want = np.ones((2, 4, 4), F4)
        ops.matmul(a, b, accumulate=np.array(flag), out=out)
        ops.matmul(a, b, accumulate=flag, out=want)
        assert out.tobytes() == want.tobytes()


@pytest.mark.usefixtures("compiled")
def test_new_results(backend, known_only):
    """Each call has memory of its own, that begins at a multiple of 64 bytes."""
    x = numbers(5, 3)
    first = ops.linear(x)
    with known_only():
        others = [ops.linear(x) for _ in range(5)]
    for y in others:
        assert y.ctypes.data % 64 == 0 and y.flags.writeable and y.flags.c_contiguous
        assert y.tobytes() == x.tobytes()
    assert len({y.ctypes.data for y in [first, *others]}) == 6


@pytest.mark.usefixtures("compiled")
def test_accumulate(backend, known_only):
    a, out = numbers(4, 4), np.zeros((4, 4), F4)
    ops.matmul(a, a.T.copy(), accumulate=True, out=out)
    with known_only():
        ops.matmul(a, a.T.copy(), accumulate=True, out=out)
    np.testing.assert_allclose(out, 2 * a @ a.T, rtol=1e-5)


def test_selection(monkeypatch):
    """A call knows the backend in force: by argument, `use_backend` and environment."""
    seen = []
    real = {name: backends.load(name).run for name in ("cython", "reference")}
    for name, run in real.items():
        monkeypatch.setattr(backends.load(name), "run", lambda *a, name=name, run=run: (seen.append(name), run(*a)))
    x = numbers(7, seed=2)
    calls = []
    cases = ((None, None), ("reference", None), (None, "reference"), ("cython", "reference"), (None, None))
    for backend, variable in cases:
        monkeypatch.setenv("FASTNN_BACKEND", variable) if variable else monkeypatch.delenv("FASTNN_BACKEND", False)
        for argument in ({}, {"backend": "reference"}):
            seen.clear()
            with fn.use_backend(backend) if backend else nullcontext():
                ops.mish(x, **argument)
            calls.append(seen[:])
    assert calls == [
        ["cython"], ["reference"], ["reference"], ["reference"], ["reference"], ["reference"],
        ["cython"], ["reference"], [], ["reference"],
    ]  # fmt: skip


@pytest.mark.usefixtures("compiled")
def test_precision(backend, monkeypatch):
    """A product knows the policy in force: by argument, `matmul_precision` and `set_matmul_precision`."""
    kernels, seen = backends.load(backend), []
    real = kernels.run
    monkeypatch.setattr(kernels, "run", lambda *call: (seen.append(call[-1]["precision"]), real(*call)))
    a, b, dy = numbers(3, 3), numbers(3, 3, seed=1), numbers(3, 3, seed=2)
    before = fn.get_matmul_precision()
    for product in (lambda **o: ops.matmul(a, b, **o), lambda **o: ops.dense(a, b, **o),
                    lambda **o: ops.dense_backward(dy, a, b, **o)):  # fmt: skip
        seen.clear()
        for _ in range(2):
            product()
            with fn.matmul_precision("bf16x3"):
                product()
            product(precision="bf16")
            try:
                fn.set_matmul_precision("bf16")
                product()
            finally:
                fn.set_matmul_precision(before)
        assert seen == [before, "bf16x3", "bf16", "bf16"]


@pytest.mark.usefixtures("compiled")
def test_threads_set_later(backend, known_only):
    a, b = numbers(400, 400), numbers(400, 400, seed=1)
    with fn.threads(1):
        want = ops.matmul(a, b)
    for n in (2, 1, 7):
        with fn.threads(n):
            assert ops.matmul(a, b).tobytes() == want.tobytes()
            with known_only():
                assert ops.matmul(a, b).tobytes() == want.tobytes()


@pytest.mark.usefixtures("compiled")
def test_a_plan_is_of_its_number_of_threads(backend, monkeypatch):
    """More threads than a plan was made for are used from the next call on."""
    used = []
    real = executor.call
    monkeypatch.setattr(executor, "call", lambda *call: (used.append(call[-1]), real(*call)))
    monkeypatch.setattr(executor, "max_threads", lambda: 64)
    a = numbers(410, 400)
    b = a.copy()
    for n in (1, 1, 3, 3, 1):
        with fn.threads(n):
            ops.matmul(a, b, transpose_b=True)
    assert used == [1, 3, 1]


@pytest.mark.usefixtures("compiled")
def test_many_threads_at_once(backend):
    """Of different sizes, some with scratch memory, some without the GIL."""
    wrong = []
    sizes = (3, 16, 40, 65, 130)

    def work(n):
        with fn.use_backend(backend), fn.threads(1):
            a, b = numbers(n, n, seed=n), numbers(n, n, seed=n + 1)
            out = np.empty_like(a)
            want = [plain(f)(*args) for f, args in ((ops.matmul, (a, b)), (ops.softmax, (a,)), (ops.sum, (a, 0)))]
            for _ in range(60):
                got = [ops.matmul(a, b, out=out), ops.softmax(a), ops.sum(a, 0)]
                wrong.extend(n for g, w in zip(got, want, strict=True) if g.tobytes() != w.tobytes())

    threads = [threading.Thread(target=work, args=(n,)) for n in sizes * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
@pytest.mark.usefixtures("compiled")
def test_fork(backend):
    small, large = numbers(5, 5), numbers(400, 400)
    want = [ops.softmax(x).tobytes() + ops.matmul(x, x.T.copy()).tobytes() for x in (small, large)]
    child = os.fork()
    if child == 0:
        got = [ops.softmax(x).tobytes() + ops.matmul(x, x.T.copy()).tobytes() for x in (small, large)]
        os._exit(got != want)
    assert os.waitpid(child, 0)[1] == 0


def test_number_of_plans():
    """However many sizes there are, all are right."""
    called = []

    def doubled(x):
        called.append(x.size)
        return ops.apply("affine", x, scale=2.0)

    known = Remembered(doubled, backends.chosen, get_num_threads, None, 2)
    for n in (1, 2, 1, 2, 3, 3, 1):
        assert known.call((np.full(n, 1.5),), {}).tolist() == [3.0] * n
    assert called == [1, 2, 3, 1]


def test_policy():
    """What is known under one policy is not known under another."""
    called, policy = [], ["low"]

    def scaled(x):
        called.append(policy[0])
        return ops.apply("affine", x, scale={"low": 2.0, "high": 3.0}[policy[0]])

    known = Remembered(scaled, backends.chosen, get_num_threads, lambda: policy[0], 4)
    for policy[0], factor in (("low", 2.0), ("low", 2.0), ("high", 3.0), ("low", 2.0), ("high", 3.0)):
        assert known.call((np.ones(3),), {}).tolist() == [factor] * 3
    assert called == ["low", "high"]


@pytest.mark.usefixtures("compiled")
def test_more_than_one_kernel(backend, known_only):
    """Ops made of several: what they call is remembered, they are not."""
    x = numbers(6, 4)
    for _ in range(3):
        np.testing.assert_allclose(fn.mean(x, 0), x.mean(0), rtol=1e-5)
        assert ops.softmax(x, 0).tobytes() == fn.transpose(ops.softmax(x.T.copy())).tobytes()
    with known_only():
        fn.mean(x, 0)
        with pytest.raises(pytest.fail.Exception, match="not remembered"):
            ops.softmax(x, 0)


def test_recording():
    """A tensor's call is recorded, whatever is known."""
    x = numbers(6)
    ops.exp(x)
    assert fn.trace(ops.exp, x)(x)[0].tobytes() == ops.exp(x).tobytes()


@pytest.mark.parametrize("function", [ops.dense, ops.relu_backward, ops.sum])
def test_like_the_plain_function(function):
    assert inspect.isfunction(function) and function.__doc__ == plain(function).__doc__
    assert inspect.signature(function) == inspect.signature(plain(function))
    assert pickle.loads(pickle.dumps(function)) is function
