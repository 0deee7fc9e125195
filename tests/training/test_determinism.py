"""The same bits for any number of threads, and for the same seed."""

import threading

import numpy as np
from small import bits

import fastnn as fn
from fastnn.backends import compiled


def trained(backend, seed=0, rows=150):
    """Bits of the weights and losses after a fit with everything that is random, on work for several threads."""
    rng = np.random.default_rng(8)
    x, labels = rng.normal(size=(rows, 300)).astype(np.float32), rng.integers(0, 10, rows)
    layers = [fn.Dense(130, "gelu"), fn.Dropout(0.3), fn.Dense(70, "relu"), fn.Dropout(0.2), fn.Dense(10)]
    model = fn.Sequential(layers, backend=backend, seed=seed)
    model.compile("adamw", "cross_entropy", ["accuracy"], clip_norm=1.0)
    options = {"epochs": 3, "batch_size": 64, "validation_split": 0.1, "class_weight": "balanced", "verbose": 0}
    return bits(model.fit(x, labels, **options).model), model.predict(x).tobytes()


def test_threads_do_not_change_a_bit(backend, monkeypatch):
    """Of a whole fit; three threads even where the machine has fewer CPUs."""
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(compiled, "get_num_threads", lambda threads=threads: threads)
        found.append(trained(backend))
    assert found[0] == found[1] == found[2]


def test_public_thread_settings_do_not_change_a_bit(backend):
    found = []
    for n in (1, 2, 3):
        with fn.threads(n):
            found.append(trained(backend))
    assert found[0] == found[1] == found[2]


def test_seeds(backend):
    first = trained(backend, seed=1)
    assert trained(backend, seed=1) == first
    assert trained(backend, seed=2)[0] != first[0]


def test_two_models_in_two_threads(backend):
    """Concurrently they compute what they compute one after the other."""
    expected = [trained(backend, seed) for seed in (0, 1)]
    found, barrier = {}, threading.Barrier(2)

    def work(seed):
        barrier.wait()
        found[seed] = trained(backend, seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [found.get(0), found.get(1)] == expected
