"""Memory-mapped arrays: the same results as arrays in memory, read and converted piece by piece."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from small import bits, data, fit, make

import fastnn as fn
from fastnn.batches import mapped


def on_disk(path, array):
    """The array as a memory-mapped file."""
    np.save(path, array)
    return np.load(path, mmap_mode="r")


DTYPES = ["float64", "float32", ">f4", "uint8", "int16"]


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_the_same_as_in_memory(kind, order, shuffle, rng, tmp_path):
    x, y = data(rng)
    x = np.asarray(10 * x + 50, dtype=kind, order=order)
    mapped_x, mapped_y = on_disk(tmp_path / "x.npy", x), on_disk(tmp_path / "y.npy", y.astype("int32"))
    assert mapped(mapped_x) and mapped(np.asarray(mapped_x)[3:]) and not mapped(x) and not mapped(x[3:])
    options = {"epochs": 2, "validation_split": 0.3, "class_weight": "balanced", "shuffle": shuffle}
    options["sample_weight"] = rng.uniform(0.5, 2, 50)
    a, b, c = make(dtype="float32"), make(dtype="float32"), make(dtype="float32")
    expected = fit(a, x, y, **options).history
    assert fit(b, mapped_x, mapped_y, **options).history == expected
    assert fit(c, mapped_x, y, **options).history == expected
    assert bits(a) == bits(b) == bits(c)
    assert np.array_equal(a.predict(mapped_x), a.predict(x))
    assert a.evaluate(mapped_x, mapped_y) == a.evaluate(x, y)


def test_floating_targets(rng, tmp_path):
    """An autoencoder, whose targets are as large as its rows."""
    x = on_disk(tmp_path / "x.npy", rng.normal(size=(50, 6)))
    found = []
    for rows in (x, np.array(x)):
        model = fn.Sequential([fn.Dense(2), fn.Dense(6)])
        model.compile("adam", "mse")
        found.append((fit(model, rows, rows, epochs=2).history, bits(model)))
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize(("loss", "label"), [("hinge", "float32"), ("hinge", "uint8"), ("cross_entropy", "uint8")])
def test_range_test(kind, loss, label, rng, tmp_path):
    """Rows and targets take the forms of the model and of the loss here too."""
    x, y = data(rng)
    x, y = (10 * x + 50).astype(kind), np.minimum(y, 1).astype(label)
    outputs = 1 if loss == "hinge" else 3
    expected = fn.learning_rate_range_test(make(dtype="float32", loss=loss, outputs=outputs), x, y, steps=9)
    mapped_x, mapped_y = on_disk(tmp_path / "x.npy", x), on_disk(tmp_path / "y.npy", y)
    for rows, targets in ((mapped_x, mapped_y), (mapped_x, y), (x, mapped_y)):
        found = fn.learning_rate_range_test(make(dtype="float32", loss=loss, outputs=outputs), rows, targets, steps=9)
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("name", ["X", "y"])
@pytest.mark.parametrize("row", [0, 3777, 4999])
def test_numbers_that_are_none(name, row, rng, tmp_path):
    arrays = {"X": rng.normal(size=(5000, 60)), "y": rng.normal(size=(5000, 70))}
    arrays[name][row, 5] = np.nan
    arrays[name][-1, 6] = np.inf
    model = fn.Sequential([fn.Dense(70)])
    model.compile("sgd", "mse")
    message = rf"^fit: {name}: expected finite numbers, got NaN or infinity in row {row}$"
    for place in (arrays, {key: on_disk(tmp_path / f"{key}.npy", value) for key, value in arrays.items()}):
        with pytest.raises(fn.DataError, match=message):
            fit(model, place["X"], place["y"])
    assert model.optimizer.iterations == 0


def test_wrong_rows(rng, tmp_path):
    x, y = data(rng)
    x, short = on_disk(tmp_path / "x.npy", x), on_disk(tmp_path / "y.npy", y[:-1])
    labels = on_disk(tmp_path / "labels.npy", y + 1)
    for function in (make().fit, make().evaluate):
        with pytest.raises(fn.ShapeError, match=r": y: expected 50 rows, got 49$"):
            function(x, short)
        with pytest.raises(fn.DataError, match=r"^CrossEntropy: labels: expected integers from 0 to 2, got 1 to 3$"):
            function(x, labels)
    with pytest.raises(fn.ShapeError, match=r"^predict: X: expected rows of shape \(6,\), got \(50,\)$"):
        make().predict(on_disk(tmp_path / "z.npy", y))


@pytest.mark.parametrize("kind", DTYPES)
def test_nothing_is_copied_whole(kind, tmp_path):
    """What NumPy allocates at most is a small part of the file."""
    rows, columns = 40_000, 100
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", kind, (rows, columns))
    model = fn.Sequential([fn.Dense(1)], input_shape=(columns,))
    model.compile("sgd", "mse")
    out, y = np.empty((rows, 1), np.float32), np.zeros(rows, np.float32)
    options = {"batch_size": 500, "validation_data": (x, y), "verbose": 0}
    model.fit(x[:1000], y[:1000], **options)  # programs are recorded and modules imported
    tracemalloc.start()
    model.fit(x, y, **options)
    model.predict(x, out=out)
    model.evaluate(x, y)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**22 < rows * columns * model.dtype.itemsize / 3


CHILD = """
import resource, sys
import numpy as np
import fastnn as fn

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

x = np.lib.format.open_memmap({path!r}, "w+", "uint8", (256, 2**18))
model = fn.Sequential([fn.Dense(1)], input_shape=(2**18,))
model.compile("sgd", "mse")
y = np.zeros(256)
model.fit(x[:8], y[:8], batch_size=8, verbose=0)
before = peak()
model.fit(x, y, batch_size=8, validation_data=(x[:8], y[:8]), verbose=0)
print(peak() - before)
"""


def test_peak_memory(tmp_path):
    """A file of 64 MiB, which float32 makes 256: its own pages are in memory, and little else."""
    command = [sys.executable, "-c", CHILD.format(path=str(tmp_path / "x.npy"))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2**27
