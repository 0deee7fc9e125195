"""Sequential: building, weights, programs."""

import numpy as np
import pytest
from small import bits, by_hand, fit, make, network

import fastnn as fn
from fastnn import recording
from fastnn.model import MOST_PROGRAMS

# --- building --------------------------------------------------------------------------------------------


def test_refused_data_build_nothing():
    model = fn.Sequential([fn.Dense(2)])
    with pytest.raises(fn.DtypeError, match=r"^predict: X: expected float32 numbers, got <U1$"):
        model.predict(np.array([["a"]]))
    assert model.input_shape is None and model.predict(np.ones((2, 3))).shape == (2, 2)


def test_summary():
    lines = []
    network(dtype="float32", inputs=784, dropout=0.5).summary(lines.append)
    (text,) = lines
    assert text.splitlines() == [
        "Layer                Output shape  Parameters",
        "---------------------------------------------",
        "dense_1 (Dense)      (batch, 8)         6,280",
        "dropout_1 (Dropout)  (batch, 8)             0",
        "dense_2 (Dense)      (batch, 5)            45",
        "dense_3 (Dense)      (batch, 3)            18",
        "---------------------------------------------",
        "Parameters: 6,343 (24.8 KiB of float32)",
    ]


def test_summary_prints(capsys):
    network().summary()
    assert "dense_2 (Dense)" in capsys.readouterr().out


def test_count_params():
    assert network().count_params() == 6 * 8 + 8 + 8 * 5 + 5 + 5 * 3 + 3


def test_first_data_build():
    model = fn.Sequential([fn.Flatten(), fn.Dense(4)])
    assert model.input_shape is None
    assert model.predict(np.zeros((2, 3, 5))).shape == (2, 4)
    assert model.input_shape == (3, 5) and model.output_shapes == [(15,), (4,)] and model.output_shape == (4,)


def test_a_failed_build_leaves_the_model_unbuilt():
    model = fn.Sequential([fn.Dense(4)])
    with pytest.raises(fn.ShapeError):
        model.predict(np.zeros(3))
    with pytest.raises(RuntimeError, match="not built"):
        model.count_params()
    assert model.predict(np.zeros((3, 2))).shape == (3, 4)


def test_backend_is_chosen_when_built(monkeypatch):
    monkeypatch.delenv("FASTNN_BACKEND", raising=False)
    model = fn.Sequential([fn.Dense(2)])
    with fn.use_backend("reference"):
        model.build((3,))
    assert model.backend.name == "reference"
    assert network().backend.name == "cython"
    assert network("reference").backend.name == "reference"


def test_layers_of_two_models_are_independent():
    """A layer is a description: another model that uses it too neither shares weights nor renames them."""
    first, second = fn.Dense(2), fn.Dense(2)
    model = fn.Sequential([first, second], input_shape=(2,))
    other = fn.Sequential([second], input_shape=(2,))
    assert model.parameter_names() == ["dense_1.kernel", "dense_1.bias", "dense_2.kernel", "dense_2.bias"]
    assert other.parameter_names() == ["dense_1.kernel", "dense_1.bias"]
    other.set_weights([np.ones((2, 2)), np.ones(2)])
    assert not np.array_equal(model.get_weights()[2], np.ones((2, 2)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"layers": []}, ValueError, r"layers: expected at least one layer, got none$"),
        ({"layers": [fn.Dense]}, TypeError, r"layers: expected layers, got <class"),
        ({"layers": ["dense"]}, TypeError, r"layers: expected layers, got 'dense'$"),
        ({"layers": [fn.Flatten()] * 2}, ValueError, r"layers: expected distinct layers, got Flatten twice$"),
        ({"dtype": "float16"}, ValueError, r"dtype: expected one of 'float32', 'float64', got 'float16'$"),
        ({"backend": "torch"}, ValueError, r"backend: expected one of 'cython', .*, got 'torch'$"),
        ({"seed": -1}, ValueError, r"seed: expected an integer of at least 0, got -1$"),
        ({"seed": 2**53}, ValueError, r"seed: expected a number in \[0, 9007199254740992\), got "),
        ({"seed": 0.5}, TypeError, r"seed: expected an integer, got 0.5$"),
        ({"seed": None}, TypeError, r"seed: expected an integer, got None$"),
    ],
)
def test_constructor_refuses(arguments, error, message):
    with pytest.raises(error, match="^Sequential: " + message):
        fn.Sequential(**{"layers": [fn.Dense(2)], **arguments})


@pytest.mark.parametrize(
    ("shape", "error"), [((-1,), ValueError), ((2.5,), TypeError), (("a",), TypeError), (64, TypeError)]
)
def test_input_shape_refused(shape, error):
    with pytest.raises(error, match=r"^build: input_shape: expected a"):
        fn.Sequential([fn.Dense(2)], input_shape=shape)


def test_not_built():
    model = fn.Sequential([fn.Dense(2)])
    for call in (model.summary, model.count_params, model.get_weights, model.freeze, lambda: model.set_weights([])):
        with pytest.raises(RuntimeError, match=r"^the model is not built: give input_shape, call build, or fit"):
            call()


def test_not_compiled():
    model, x = network(), np.zeros((2, 6))
    for call in (model.fit, model.train_step, model.evaluate):
        with pytest.raises(RuntimeError, match=r"^the model is not compiled: call compile"):
            call(x, [0, 1])


@pytest.mark.parametrize("clip_norm", [0, -1.0, float("nan"), float("inf")])
def test_compile_refuses(clip_norm):
    with pytest.raises(ValueError, match=r"^compile: clip_norm: expected a number in \(0, inf\), got "):
        network().compile(clip_norm=clip_norm)
    with pytest.raises(ValueError, match=r"^metric: expected one of accuracy, .*, got 'auc'$"):
        network().compile(metrics=["auc"])


@pytest.mark.parametrize("wrong", [{"loss": "hinges"}, {"metrics": ["auc"]}, {"loss": lambda y: y}])
def test_refused_compile_changes_nothing(wrong, rng):
    x, labels = rng.normal(size=(8, 6)), rng.integers(0, 3, 8)
    model, straight = make(optimizer=fn.Adam()), make(optimizer=fn.Adam())
    fit(model, x, labels)
    with pytest.raises((ValueError, TypeError)):
        model.compile("sgd", **wrong)
    fit(model, x, labels)
    fit(straight, x, labels, epochs=2)
    assert bits(model) == bits(straight) and isinstance(model.optimizer, fn.Adam)


def test_metrics_may_be_absent_or_one():
    model = make(metrics=None)
    assert model.metric_names() == ["loss"]
    for metric in ("accuracy", fn.metrics.Accuracy()):
        model.compile("sgd", "cross_entropy", metric)
        assert model.metric_names() == ["loss", "accuracy"]


# --- weights ---------------------------------------------------------------------------------------------


def test_weights_come_in_the_order_of_layers(backend):
    model = network(backend, dropout=0.5)
    assert [w.shape for w in model.get_weights()] == [(6, 8), (8,), (8, 5), (5,), (5, 3), (3,)]
    assert model.parameter_names() == [f"dense_{i}.{p}" for i in (1, 2, 3) for p in ("kernel", "bias")]


def test_weights_are_copies(backend):
    model = network(backend)
    before = bits(model)
    for w in model.get_weights():
        w[...] = 0
    given = [w + 1 for w in model.get_weights()]
    assert bits(model) == before
    model.set_weights(given)
    kept = bits(model)
    given[0][...] = 0
    assert bits(model) == kept != before


def test_set_weights_takes_every_kind(backend):
    model = network(backend)
    given = [np.arange(w.size).reshape(w.shape) for w in model.get_weights()]
    model.set_weights([np.asfortranarray(w.astype(np.float32)) if w.ndim > 1 else w.tolist() for w in given])
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), given, strict=True))


def test_set_weights_refuses_and_changes_nothing(backend):
    model = network(backend)
    before, good = bits(model), [w + 1 for w in model.get_weights()]
    with pytest.raises(fn.ShapeError, match=r"^set_weights: weights: expected 6 arrays, got 5$"):
        model.set_weights(good[:-1])
    with pytest.raises(fn.ShapeError, match=r"^set_weights: weights\[4\]: expected shape \(5, 3\), got \(3, 5\)$"):
        model.set_weights([*good[:4], good[4].T, good[5]])
    with pytest.raises(fn.DtypeError, match=r"^set_weights: weights\[5\]: expected float64 numbers, got complex128$"):
        model.set_weights([*good[:5], good[5].astype(complex)])
    assert bits(model) == before


# --- programs --------------------------------------------------------------------------------------------


def test_programs_are_recorded_once_for_each_batch_shape(backend, rng):
    model = make(backend)
    x, labels = rng.normal(size=(25, 6)), rng.integers(0, 3, 25)
    model.fit(x, labels, epochs=3, batch_size=10, verbose=0)
    assert [key[:2] for key in model._programs] == [(recording.supervised, (10,)), (recording.supervised, (5,))]
    kept = list(model._programs.values())
    model.fit(x, labels, epochs=2, batch_size=10, verbose=0)
    assert list(model._programs.values()) == kept


def test_programs_are_bounded(backend, rng):
    """With many batch sizes the programs used longest ago are forgotten, and results stay right."""
    model = make(backend)
    model.train_step(rng.normal(size=(4, 6)), [0, 1, 2, 0])
    for rows in [*range(1, 40), 1, 2]:
        x = rng.normal(size=(rows, 6))
        assert np.allclose(model.predict(x), by_hand(model, x), rtol=1e-12, atol=1e-14)
    assert len(model._programs) == MOST_PROGRAMS
    assert np.isfinite(model.train_step(rng.normal(size=(4, 6)), [0, 1, 2, 0]))


def test_short_last_batch(backend, rng):
    """Its rows count as much as the others: an epoch's loss is the mean over rows."""
    model = make(backend, fn.SGD(0.0), metrics=["accuracy"])
    x, labels = rng.normal(size=(23, 6)), rng.integers(0, 3, 23)
    history = model.fit(x, labels, batch_size=10, verbose=0).history
    scores = model.evaluate(x, labels)
    assert np.isclose(history["loss"][0], scores["loss"], rtol=1e-12)
    assert np.isclose(history["accuracy"][0], scores["accuracy"], rtol=1e-12)


def test_batch_larger_than_the_data(backend, rng):
    x, labels = rng.normal(size=(7, 6)), rng.integers(0, 3, 7)
    found = []
    for size in (7, 1000):
        model = make(backend)
        model.fit(x, labels, epochs=2, batch_size=size, verbose=0)
        found.append(bits(model))
    assert found[0] == found[1]


def test_compile_and_build_start_training_anew(backend, rng):
    """With the same optimizer object too: its moments are gone, and so is its step count."""
    x, labels = rng.normal(size=(8, 6)), rng.integers(0, 3, 8)
    optimizer = fn.Adam()
    model = make(backend, optimizer, dropout=0.2)
    start = model.get_weights()
    first = fit(model, x, labels, epochs=5, shuffle=False).history["loss"]
    model.set_weights(start)
    model.compile(optimizer, "cross_entropy")
    assert fit(model, x, labels, epochs=5, shuffle=False).history["loss"] == first
    model.build((6,))
    assert fit(model, x, labels, epochs=5, shuffle=False).history["loss"] == first


def test_layers_stay_the_same():
    given = [fn.Dense(3)]
    model = fn.Sequential(given)
    given.append(fn.Dense(2))
    with pytest.raises(AttributeError, match="append"):
        model.layers.append(fn.Dense(2))
    model.build((4,))
    assert len(model.layers) == 1 and model.predict(np.ones((2, 4))).shape == (2, 3)


def test_one_layer_is_no_sequence():
    with pytest.raises(TypeError, match=r"^Sequential: layers: expected a sequence of layers, got Dense\("):
        fn.Sequential(fn.Dense(2))


def test_set_weights_refuses_what_overflows():
    model = fn.Sequential([fn.Dense(2)], input_shape=(2,))
    model.set_weights([np.full((2, 2), np.inf), np.array([np.nan, 1e38])])
    assert np.isinf(model.get_weights()[0]).all()
    before = bits(model)
    message = r"^set_weights: weights\[1\]: expected values within the range of float32, got larger ones$"
    with pytest.raises(fn.DataError, match=message):
        model.set_weights([np.zeros((2, 2)), np.array([np.inf, 1e300])])
    with pytest.raises(TypeError, match=r"^set_weights: weights: expected a sequence of arrays, got None$"):
        model.set_weights(None)
    assert bits(model) == before
