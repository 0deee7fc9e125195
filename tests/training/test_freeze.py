"""Frozen inference: one batch size, as fast as it gets."""

import copy
import pickle
import threading

import numpy as np
import pytest
from small import by_hand, make, network

import fastnn as fn


def test_freeze_one_row(backend, dtype, rng):
    model = network(backend, dtype)
    f = model.freeze()
    x = rng.normal(size=6).astype(dtype)
    expected = model.predict(x[None])
    assert np.array_equal(f(x), expected[0]) and f(x).shape == (3,)
    assert np.array_equal(f(x[None]), expected) and f(x[None]).shape == (1, 3)
    out = np.full(3, np.nan, dtype)
    assert f(x, out=out) is out and np.array_equal(out, expected[0])
    batch_out = np.full((1, 3), np.nan, dtype)
    assert f(x[None], out=batch_out) is batch_out and np.array_equal(batch_out, expected)
    assert np.array_equal(f(x.tolist()), expected[0])


def test_freeze_a_batch(backend, rng):
    model = network(backend)
    f = model.freeze(batch_size=64)
    x = rng.normal(size=(64, 6))
    assert np.array_equal(f(x), model.predict(x))
    out = np.empty((64, 3))
    assert f(x, out) is out and np.array_equal(out, model.predict(x))


def test_freeze_images(backend, rng):
    model = fn.Sequential([fn.Flatten(), fn.Dense(2, "softmax")], dtype="float64", backend=backend)
    model.build((3, 4))
    f, x = model.freeze(), rng.normal(size=(3, 4))
    assert f(x).shape == (2,) and np.isclose(f(x).sum(), 1)
    assert np.array_equal(f(x[None])[0], f(x))


def test_freeze_leaves_dropout_out(backend, rng):
    model = network(backend, dropout=0.9)
    x = rng.normal(size=6)
    assert np.allclose(model.freeze()(x), by_hand(model, x), rtol=1e-13)


def test_freeze_sees_later_weights(backend, rng):
    model = make(backend)
    f, x = model.freeze(), rng.normal(size=(8, 6))
    before = f(x[0])
    model.fit(x, rng.integers(0, 3, 8), epochs=2, verbose=0)
    trained = f(x[0])
    assert not np.array_equal(before, trained) and np.array_equal(trained, model.predict(x[:1])[0])
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    assert np.array_equal(f(x[0]), np.zeros(3))


def test_freeze_takes_any_array(backend, rng):
    f, x = network(backend).freeze(4), rng.normal(size=(4, 6))
    expected = f(x)
    for other in (x.astype("f4").astype("f8"), np.asfortranarray(x), x.astype(">f8"), x.view(np.recarray), x.tolist()):
        assert np.allclose(f(other), expected, rtol=1e-5)
        assert type(f(other)) is np.ndarray
    assert np.array_equal(f(np.repeat(x, 2, 0)[::2]), expected)


def test_freeze_outlives_the_model(backend, rng):
    model = network(backend)
    f, x = model.freeze(), rng.normal(size=6)
    expected = model.predict(x[None])[0]
    del model
    assert np.array_equal(f(x), expected)


def test_freeze_refuses():
    one, many = network().freeze(), network().freeze(4)
    for f, x in ((one, np.zeros(7)), (one, np.zeros((2, 6))), (many, np.zeros(6)), (many, np.zeros((3, 6)))):
        with pytest.raises(fn.ShapeError, match=r"^freeze: x: expected shape \([14], 6\), got "):
            f(x)
    with pytest.raises(fn.DtypeError, match=r"^freeze: x: expected float64 numbers, got complex128$"):
        one(np.zeros(6, complex))
    with pytest.raises(fn.ShapeError, match=r"^freeze: out: expected shape \(3,\), got \(1, 3\)$"):
        one(np.zeros(6), out=np.zeros((1, 3)))
    with pytest.raises(fn.DtypeError, match=r"^freeze: out: expected float64, got float32$"):
        one(np.zeros(6), out=np.zeros(3, np.float32))
    x = np.zeros(6)
    for y, got in (
        (x[:3], "an array that overlaps an input"),
        (np.zeros(6)[::2], r"strides \(16,\)"),
        (np.frombuffer(bytes(24)), "a read-only one"),
    ):
        with pytest.raises(fn.LayoutError, match=f"^freeze: out: expected .*, got {got}$"):
            one(x, out=y)
    with pytest.raises(ValueError, match=r"^freeze: batch_size: expected an integer of at least 1, got 0$"):
        network().freeze(0)


def test_one_frozen_function_in_two_threads(backend, rng):
    model = network(backend, inputs=300)
    f, x = model.freeze(), rng.normal(size=(200, 300))
    expected, wrong = model.predict(x), []

    def work(rows):
        wrong.extend(i for i in rows if not np.allclose(f(x[i]), expected[i], rtol=1e-12, atol=1e-13))

    workers = [threading.Thread(target=work, args=(range(start, 200, 2),)) for start in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_freeze_and_a_model_built_again(backend, rng):
    model = network(backend)
    f, x = model.freeze(), rng.normal(size=(5, 6))
    first = f(x[0])
    model.set_weights([w + 1 for w in model.get_weights()])
    model.build((6,))
    assert np.array_equal(f(x[0]), first)
    model.set_weights([w + 1 for w in model.get_weights()])
    changed = f(x[0])
    assert np.array_equal(changed, model.predict(x[:1])[0]) and not np.array_equal(changed, first)
    model.build((7,))
    assert np.array_equal(f(x[0]), changed) and model.freeze()(np.ones(7)).shape == (3,)


def test_copies_of_frozen_functions(backend, rng):
    model = network(backend)
    f, x = model.freeze(4), rng.normal(size=(4, 6))
    expected = f(x)
    copies = [copy.copy(f), copy.deepcopy(f), pickle.loads(pickle.dumps(f))]
    assert all(np.array_equal(g(x), expected) for g in copies)
    model.set_weights([w + 1 for w in model.get_weights()])
    assert [np.array_equal(g(x), expected) for g in copies] == [False, True, True]
