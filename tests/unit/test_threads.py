"""Thread counts, forked children, concurrent callers, and each instruction set."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastnn as fn
import fastnn_ext
from fastnn import backends, ops
from fastnn.backends import compiled
from fastnn_ext import executor

OPENMP = bool(executor.openmp_version())
CONFORMANCE = Path(__file__).parents[1] / "conformance"


@pytest.fixture(autouse=True)
def restored():
    before = fn.get_num_threads()
    yield
    fn.set_num_threads(before)


def python(code: str, timeout: float = 120, **variables: str) -> subprocess.CompletedProcess:
    """Run code in a fresh process."""
    environment = {k: v for k, v in os.environ.items() if k not in ("FASTNN_ISA", "FASTNN_BACKEND")} | variables
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)


def test_default_is_the_cpus_of_this_process():
    one = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    assert python(f"{one}; import fastnn as fn; print(fn.get_num_threads())").stdout == "1\n"
    most = len(os.sched_getaffinity(0)) if OPENMP else 1
    assert python("import fastnn as fn; print(fn.get_num_threads())", OMP_NUM_THREADS="").stdout == f"{most}\n"


def test_set_and_nest():
    most = executor.max_threads()
    fn.set_num_threads(1)
    assert fn.get_num_threads() == 1
    with fn.threads(most):
        assert fn.get_num_threads() == most
        with fn.threads(1):
            assert fn.get_num_threads() == 1
        assert fn.get_num_threads() == most
    assert fn.get_num_threads() == 1
    fn.set_num_threads(1000)
    assert fn.get_num_threads() == most


def test_block_ends_with_an_error():
    before = fn.get_num_threads()
    with pytest.raises(KeyError), fn.threads(1):
        raise KeyError
    assert fn.get_num_threads() == before


def test_block_is_of_one_thread():
    seen = []
    fn.set_num_threads(1000)
    with fn.threads(1):
        # OpenMP's own limit is of one thread too: other tests' libraries may have set the main thread's.
        thread = threading.Thread(target=lambda: seen.append((fn.get_num_threads(), executor.max_threads())))
        thread.start()
        thread.join()
    assert seen[0][0] == seen[0][1]


@pytest.mark.parametrize("n", [0, -1, 1.0, "2", None, True, np.float64(2)])
def test_bad_numbers(n):
    with pytest.raises(ValueError, match="threads: n: expected an integer of at least 1, got"):
        fn.set_num_threads(n)
    with pytest.raises(ValueError, match="threads: n: expected an integer of at least 1, got"), fn.threads(n):
        pass


@pytest.mark.skipif(not OPENMP, reason="built without OpenMP")
def test_limits_of_others():
    """OpenMP's own limit, which threadpoolctl and OMP_NUM_THREADS set, is kept."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    fn.set_num_threads(1000)
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        assert fn.get_num_threads() == 1
    with threadpoolctl.threadpool_limits(3, user_api="openmp"):
        assert fn.get_num_threads() == 3
    code = "import fastnn as fn; fn.set_num_threads(9); print(fn.get_num_threads())"
    assert python(code, OMP_NUM_THREADS="4").stdout == "4\n"


def test_more_threads_than_cpus(backend, monkeypatch):
    """Three threads work wherever they have to run."""
    a, b = np.random.default_rng(0).normal(size=(2, 300, 300))
    with fn.use_backend(backend):
        with monkeypatch.context() as patched:
            patched.setattr(compiled, "get_num_threads", lambda: 3)
            got = ops.matmul(a, b)
        with fn.threads(1):
            assert ops.matmul(a, b).tobytes() == got.tobytes()


def test_small_calls_run_in_one_thread():
    op = fn.table.TABLE["relu"]
    assert compiled.threads_worth(compiled.work(op, {"n": 100}, 4), 64) == 1
    assert compiled.threads_worth(compiled.work(op, {"n": 10**8}, 4), 64) == 64


FORK = """
import os, signal, sys
import numpy as np
import fastnn as fn
a, b = np.random.default_rng(0).normal(size=(2, 400, 400))
x = np.random.default_rng(1).normal(size=10**6)
f = lambda x, a, b: (fn.ops.gelu(x), a @ b, fn.sum(x))
fn.set_num_threads(2)
with fn.use_backend({backend!r}):
    program = fn.trace(f, x, a, b)
    want = [y.tobytes() for y in (*program(x, a, b), fn.matmul(a, b), fn.exp(x))]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that hangs dies
        fresh = fn.trace(f, x, a, b)
        for _ in range(3):
            got = [y.tobytes() for y in (*program(x, a, b), fn.matmul(a, b), fn.exp(x))]
            again = [y.tobytes() for y in fresh(x, a, b)]
            same = got == want and again == want[:3]
        os.write(write, b"%d %d" % (same, fn.get_num_threads()))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    os.close(write)
    print(status, os.read(read, 100).decode())
    got = [y.tobytes() for y in (*program(x, a, b), fn.matmul(a, b), fn.exp(x))]
    print(got == want)
"""


def test_forked_child(backend):
    """A child neither hangs nor dies, runs in one thread, and gets the same bits; its parent goes on as before."""
    if backends.load(backend).device:
        pytest.skip("a CUDA context does not survive a fork")
    done = python(FORK.format(backend=backend), OMP_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr
    threads = "1" if backend != "reference" or OPENMP else "."
    assert done.stdout.split() == ["0", "1", threads, "True"], done.stderr


FORK_WITHIN = """
import os, signal, threading
import numpy as np
import fastnn as fn
model = fn.Sequential([fn.Dense(300), fn.Dense(300)], input_shape=(300,), backend={backend!r})
x = np.ones((64, 300), "f4")
frozen = model.freeze(64)
calls = {{"predict": lambda: model.predict(x), "freeze": lambda: frozen(x)}}
for name, call in calls.items():
    want, running = call(), True
    def work():
        while running:
            call()
    thread = threading.Thread(target=work)
    thread.start()
    statuses = []
    for _ in range(5):
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # a child that hangs dies
            os._exit(not np.array_equal(call(), want))
        statuses.append(os.waitpid(child, 0)[1])
    running = False
    thread.join()
    print(name, *statuses, np.array_equal(call(), want))
"""


def test_fork_while_a_replay_runs(backend):
    """The lock that a thread of the parent's holds does not stop the child."""
    if backends.load(backend).device:
        pytest.skip("a CUDA context does not survive a fork")
    # OpenBLAS, which the reference backend calls, has locks of its own and does not survive this with several threads.
    done = python(FORK_WITHIN.format(backend=backend), timeout=700, OPENBLAS_NUM_THREADS="1")
    assert done.stdout.splitlines() == [f"{name} 0 0 0 0 0 True" for name in ("predict", "freeze")], done.stderr


def test_concurrent_ops(backend):
    """Several Python threads call ops at once."""
    rng = np.random.default_rng(0)
    jobs = [(rng.normal(size=(150, 170)), rng.normal(size=(170, 90)), rng.normal(size=60_000)) for _ in range(6)]

    def work(job):
        a, b, x = job
        with fn.use_backend(backend):
            return [ops.matmul(a, b).tobytes(), ops.gelu(x).tobytes(), fn.sum(x).tobytes()]

    want = [work(job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert list(pool.map(work, jobs)) == want


def test_concurrent_replays(backend):
    """Several Python threads replay one program on inputs of their own."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=(60, 50))
    inputs = [rng.normal(size=(40, 60)) for _ in range(8)]
    program = fn.trace(lambda x: ops.softmax(ops.tanh(x @ w)), inputs[0], backend=backend)
    want = [program(x)[0].tobytes() for x in inputs]
    if not isinstance(program.compile(), compiled.CompiledReplay):
        pytest.skip("not promised")
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            assert [y.tobytes() for (y,) in pool.map(program, inputs)] == want


def test_the_gil_is_released():
    """Another Python thread runs while a long replay does."""
    a = np.random.default_rng(0).normal(size=(1500, 1500))
    program = fn.trace(lambda a: a @ a @ a, a)
    program(a)
    ticks, running = [], True

    def tick():
        while running:
            ticks.append(None)
            threading.Event().wait(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    before = len(ticks)
    with fn.threads(1):
        program(a)
    after = len(ticks)
    running = False
    thread.join()
    assert after - before >= 2


@pytest.mark.parametrize("isa", fastnn_ext.ISAS)
def test_instruction_set(isa):
    """The lowered instruction set is what runs, and its kernels compute the same."""
    assert python("import fastnn_ext; print(fastnn_ext.ISA)", FASTNN_ISA=isa).stdout == f"{isa}\n"
    if isa == fastnn_ext.ISA:
        return  # the conformance tests of this very session
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", "--backend", "cython"]
    done = subprocess.run(
        [*command, str(CONFORMANCE / "test_values.py")],
        capture_output=True, text=True, timeout=600, env=os.environ | {"FASTNN_ISA": isa},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]


def test_instruction_set_of_another_name():
    done = python("import fastnn_ext", FASTNN_ISA="sse9")
    assert done.returncode != 0
    assert "ValueError: FASTNN_ISA: expected one of baseline, avx2, avx512, amx, got 'sse9'" in done.stderr


def test_instruction_set_by_default():
    assert python("import fastnn_ext; print(fastnn_ext.ISA)", FASTNN_ISA="").stdout == f"{fastnn_ext.ISAS[-1]}\n"
    assert fastnn_ext.ISAS[0] == "baseline"
