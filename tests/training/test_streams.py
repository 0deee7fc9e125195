"""Training on batches that come one after the other."""

import numpy as np
import pytest
from small import bits, data, fit, make

import fastnn as fn


def batches(x, y, w=None, size=16):
    """A generator of the batches that arrays have without shuffling."""
    for i in range(0, len(x), size):
        rows = slice(i, i + size)
        yield (x[rows], y[rows]) if w is None else (x[rows], y[rows], w[rows])


def endless(x, y):
    while True:
        yield from batches(x, y)


@pytest.mark.parametrize("kind", ["callable", "list", "endless"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_same_as_arrays(backend, kind, weighted, rng):
    x, y = data(rng)
    w = rng.uniform(0.5, 2, 50) if weighted else None
    a, b = make(backend, metrics=["accuracy"], dropout=0.2), make(backend, metrics=["accuracy"], dropout=0.2)
    expected = fit(a, x, y, epochs=3, shuffle=False, sample_weight=w)
    source = {
        "callable": lambda: batches(x, y, w),
        "list": [list(batch) for batch in batches(x, y, w)],
        "endless": (batch for _ in iter(int, 1) for batch in batches(x, y, w)),
    }[kind]
    found = b.fit(source, epochs=3, steps_per_epoch=4 if kind == "endless" else None, verbose=0)
    assert found.history == expected.history and bits(a) == bits(b)
    assert found.params["rows"] is None


def test_one_epoch_of_a_generator(rng):
    x, y = data(rng)
    a, b = make(), make()
    fit(a, x, y, shuffle=False)
    b.fit(batches(x, y), verbose=0)
    assert bits(a) == bits(b)


def test_the_first_batch_decides_the_shapes(rng):
    """And is trained on like the others."""
    x, y = data(rng)
    models = []
    for source in (batches(x, y), lambda: batches(x, y), list(batches(x, y))):
        model = fn.Sequential([fn.Dense(3)], dtype="float64")
        model.compile("sgd", "cross_entropy")
        model.fit(source, verbose=0)
        models.append((bits(model), model.optimizer.iterations, model.input_shape))
    assert models[0] == models[1] == models[2] and models[0][1:] == (4, (6,))


def test_a_buffer_that_is_filled_again_and_again(rng):
    x, y = data(rng)
    buffer, labels = np.empty((10, 6)), np.empty(10, np.int64)

    def source():
        for i in range(0, 50, 10):
            buffer[...], labels[...] = x[i : i + 10], y[i : i + 10]
            yield buffer, labels

    a, b = make(), make()
    fit(a, x, y, batch_size=10, shuffle=False)
    b.fit(source, verbose=0)
    assert bits(a) == bits(b)


def test_steps_of_an_endless_generator(rng):
    """The next epoch goes on where the one before ended."""
    x, y = data(rng)
    a, b = make(), make()
    fit(a, np.tile(x, (3, 1)), np.tile(y, 3), batch_size=50, shuffle=False, epochs=1)
    b.fit(endless(x[:50], y[:50]), steps_per_epoch=1, epochs=0, verbose=0)
    whole = ((x, y) for _ in iter(int, 1))
    history = b.fit(whole, steps_per_epoch=1, epochs=3, verbose=0)
    assert len(history.epoch) == 3 and history.params["batches"] == 1 and bits(a) == bits(b)


def test_validation_of_streams(backend, rng):
    x, y = data(rng)
    w = rng.uniform(0, 2, 50)
    a, b = make(backend, metrics=["accuracy"]), make(backend, metrics=["accuracy"])
    expected = fit(a, x, y, epochs=2, validation_data=(x, y, w)).history
    found = fit(b, x, y, epochs=2, validation_data=lambda: batches(x, y, w)).history
    assert list(found) == list(expected) and bits(a) == bits(b)
    for name in expected:
        assert np.allclose(found[name], expected[name], rtol=1e-12)
    arrays = b.fit(lambda: batches(x, y), validation_data=(x, y), verbose=0).history
    assert arrays["val_loss"] == [b.evaluate(x, y)["loss"]]


def test_class_weights_of_streams(rng):
    x, y = data(rng)
    a, b = make(), make()
    fit(a, x, y, shuffle=False, class_weight={0: 2.0, 2: 0.5})
    b.fit(lambda: batches(x, y), class_weight={0: 2.0, 2: 0.5}, verbose=0)
    assert bits(a) == bits(b)


def test_progress_without_an_end(rng, capsys):
    """The bar does not know how many rows will come."""
    bar = fn.callbacks.ProgressBar()
    x, y = data(rng)
    make().fit(lambda: batches(x, y), epochs=2, callbacks=[bar], verbose=0)
    last = capsys.readouterr().err.split("\r")[-1]
    assert "epoch 2/2" in last and " 100 samples [" in last and "loss=" in last and "%" not in last


def ended(model, source, message, error=fn.DataError, **options):
    with pytest.raises(error, match=message):
        model.fit(source, verbose=0, **options)


def test_streams_that_end_too_early(rng):
    x, y = data(rng)
    message = r"^fit: X: expected 3 batches in every epoch, got an iterable that ended after 1$"
    ended(make(), batches(x, y), message, epochs=2, steps_per_epoch=3)
    message = r"^fit: X: expected at least 1 batches in every epoch, got an iterable that ended after 0$"
    once = batches(x, y)
    ended(make(), lambda: once, message, epochs=2)
    ended(make(), [], message)
    message = r"^fit: steps_per_epoch: expected a number with a generator and several epochs, or .*, got None$"
    model = make()
    ended(model, batches(x, y), message, ValueError, epochs=2)
    assert model.optimizer.iterations == 0
    message = r"^fit: validation_data: expected at least one batch, got none$"
    ended(make(), lambda: batches(x, y), message, validation_data=lambda: [])


def test_an_empty_stream_for_a_model_that_is_not_built():
    model = fn.Sequential([fn.Dense(3)])
    model.compile("sgd", "cross_entropy")
    with pytest.raises(fn.DataError, match=r"^fit: X: expected at least 1 batches in every epoch, got an"):
        model.fit(list, verbose=0)


X, Y = np.ones((4, 6)), np.zeros(4, int)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ([X], TypeError, r"fit: batch 1: X: expected \(x, y\) or \(x, y, sample_weight\), got ndarray$"),
        ([(X, Y), (X,)], TypeError, r"fit: batch 2: X: expected .*, got 1 parts$"),
        ([(X, Y), (X[:, :5], Y)], fn.ShapeError, r"fit: batch 2: X: expected rows of shape \(6,\), got \(4, 5\)$"),
        ([(X, Y[:3])], fn.ShapeError, r"fit: batch 1: y: expected 4 rows, got 3$"),
        ([(X[:0], Y[:0])], fn.DataError, r"fit: batch 1: X: expected at least one row, got none$"),
        ([(X, Y), (X * np.nan, Y)], fn.DataError, r"fit: batch 2: X: expected finite numbers, .* in row 0$"),
        ([(X, Y, -np.ones(4))], fn.DataError, r"fit: batch 1: sample_weight: expected finite numbers of at least 0"),
        (lambda: 3, TypeError, r"fit: X: expected a callable that returns an iterable of batches, got int$"),
        (X, TypeError, r"fit: y: expected targets, or an iterable of batches as X, got None$"),
        (3, TypeError, r"fit: y: expected targets, or an iterable of batches as X, got None$"),
    ],
)
def test_streams_of_something_else(source, error, message):
    ended(make(), source, "^" + message, error)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sample_weight": np.ones(4)}, ValueError, r"fit: sample_weight: expected None for a stream of batches, got "),
        ({"validation_split": 0.2}, ValueError, r"fit: validation_split: expected None for a stream of batches, got "),
        ({"class_weight": "balanced"}, TypeError, r"fit: class_weight: expected a dict of label to weight for a str"),
        ({"steps_per_epoch": 0}, ValueError, r"fit: steps_per_epoch: expected an integer of at least 1, got 0$"),
        ({"y": Y, "steps_per_epoch": 2}, ValueError, r"fit: steps_per_epoch: expected None with arrays, got 2$"),
    ],
)
def test_options_that_streams_do_not_take(options, error, message):
    ended(make(), X if "y" in options else [(X, Y)], "^" + message, error, **options)


def test_an_error_in_a_generator_comes_out(rng):
    """The model keeps what it has learned."""
    x, y = data(rng)

    def source():
        yield x, y
        raise OSError("the disk")

    model = make()
    with pytest.raises(OSError, match="the disk"):
        model.fit(source, verbose=0)
    assert model.optimizer.iterations == 1
