"""Metrics recorded within a program, over batches of different sizes, against scikit-learn on all rows at once."""

import numpy as np
import pytest
from small import data, fit, make

import fastnn as fn
from fastnn import metrics
from fastnn.model import CHUNK

peers = pytest.importorskip("sklearn.metrics")

NAMES = ["accuracy", "precision", "recall", "f1"]


def identity(loss, names, backend=None, dtype="float64"):
    """A model whose outputs are its inputs, so that a test chooses the predictions."""
    model = fn.Sequential([fn.Activation("linear")], dtype=dtype, backend=backend)
    model.compile(fn.SGD(0.0), loss, names)
    return model


def ratios(true, predicted, average):
    options = {"average": average, "zero_division": 0}
    found = [getattr(peers, f"{name}_score")(true, predicted, **options) for name in NAMES[1:]]
    return [peers.accuracy_score(true, predicted), *found]


@pytest.mark.parametrize("one_hot", [False, True])
def test_classes(backend, dtype, one_hot, rng):
    """Class 3 is never predicted, class 4 does not occur."""
    rows = CHUNK + 37
    true, scores = rng.choice([0, 1, 2, 3], rows, p=[0.6, 0.2, 0.1, 0.1]), rng.normal(size=(rows, 5))
    scores[np.arange(rows), true] += 1
    scores[:, 3:] -= 10
    model = identity("cross_entropy", NAMES, backend, dtype)
    found = model.evaluate(scores, np.eye(5)[true] if one_hot else true)
    assert np.allclose([found[name] for name in NAMES], ratios(true, scores.argmax(axis=1), "macro"), atol=1e-6)
    history = fit(model, scores, true, shuffle=False).history
    assert np.allclose([history[name][0] for name in NAMES], [found[name] for name in NAMES], atol=1e-6)


@pytest.mark.parametrize("case", ["usual", "none predicted", "none actual", "neither"])
def test_two_classes(backend, case, rng):
    true, logits = rng.integers(0, 2, 70), rng.normal(size=(70, 1))
    if case in ("none predicted", "neither"):
        logits = -np.abs(logits)
    if case in ("none actual", "neither"):
        true[:] = 0
    found = identity("binary_cross_entropy", NAMES, backend).evaluate(logits, true)
    expected = ratios(true, logits[:, 0] > 0, "binary")
    assert np.allclose([found[name] for name in NAMES], expected)


@pytest.mark.parametrize("name", NAMES)
def test_threshold(name, rng):
    """The loss's unless the metric has one of its own."""
    true, p = rng.integers(0, 2, 70), rng.random((70, 1))

    class Brier(fn.MeanSquaredError):
        threshold = 0.5

    for spec, cut in ((name, 0.5), ({"name": name, "threshold": 0.8}, 0.8), ({"name": name, "threshold": 0}, 0)):
        expected = ratios(true, p[:, 0] > cut, "binary")[NAMES.index(name)]
        assert np.isclose(identity(Brier(), [spec]).evaluate(p, true)[name], expected)
    with pytest.raises(ValueError, match=r"threshold: expected a number in \(-inf, inf\), got nan$"):
        metrics.REGISTRY.get({"name": name, "threshold": float("nan")})


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k(backend, dtype, k, rng):
    true, scores = rng.integers(0, 4, 70), rng.normal(size=(70, 4)).astype(dtype)
    model = identity("cross_entropy", [{"name": "top_k_accuracy", "k": k}], backend, dtype)
    expected = np.mean((scores > scores[np.arange(70), true][:, None]).sum(axis=1) < k)
    for y in (true, np.eye(4)[true]):
        assert np.isclose(model.evaluate(scores, y)["top_k_accuracy"], expected)


def test_top_k_refuses():
    with pytest.raises(ValueError, match=r"^TopKAccuracy: k: expected an integer of at least 1, got 0$"):
        metrics.TopKAccuracy(0)
    with pytest.raises(fn.ShapeError, match=r"^TopKAccuracy: y_pred: expected at least two classes, got \(4, 1\)$"):
        identity("mse", ["top_k_accuracy"]).evaluate(np.zeros((4, 1)), np.zeros((4, 1)))


def test_sequences(rng):
    """Each position is a row."""
    true, scores = rng.integers(0, 3, (40, 6)), rng.normal(size=(40, 6, 3))
    found = identity("cross_entropy", [*NAMES, metrics.TopKAccuracy(2)]).evaluate(scores, true)
    flat, expected = scores.reshape(-1, 3), ratios(true.ravel(), scores.argmax(axis=-1).ravel(), "macro")
    assert np.allclose([found[name] for name in NAMES], expected)
    assert np.isclose(found["top_k_accuracy"], peers.top_k_accuracy_score(true.ravel(), flat, k=2))


@pytest.mark.parametrize("outputs", [1, 3])
def test_r2(backend, dtype, outputs, rng):
    true = rng.normal(2, 3, size=(CHUNK + 9, outputs))
    predicted = true + rng.normal(size=true.shape)
    model = identity("mse", ["r2", "mse", "mae"], backend, dtype)
    found = model.evaluate(predicted, true)
    assert np.isclose(found["r2"], peers.r2_score(true, predicted), atol=1e-5)
    assert np.isclose(found["mae"], peers.mean_absolute_error(true, predicted))
    assert model.evaluate(np.ones((4, outputs)), np.ones((4, outputs)))["r2"] == 1
    assert model.evaluate(np.zeros((4, outputs)), np.ones((4, outputs)))["r2"] == 0


def test_logs_of_batches_are_those_of_the_epoch_so_far(rng):
    seen = []

    class Looks(fn.Callback):
        def on_batch_end(self, batch, logs):
            seen.append(logs)

    true, scores = rng.integers(0, 3, 40), rng.normal(size=(40, 3))
    model = identity("cross_entropy", NAMES)
    fit(model, scores, true, shuffle=False, callbacks=[Looks()])
    for end, logs in zip((16, 32, 40), seen, strict=True):
        expected = ratios(true[:end], scores[:end].argmax(axis=1), "macro")
        assert np.allclose([logs[name] for name in NAMES], expected)
        start = 16 * ((end - 1) // 16)
        assert logs["size"] == end - start
        assert np.isclose(logs["loss"], peers_loss(scores[start:end], true[start:end]))


def peers_loss(scores, true):
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return peers.log_loss(true, p, labels=range(scores.shape[1]))


def test_metrics_do_not_change_training(backend, rng):
    x, y = data(rng)
    plain, measured = make(backend), make(backend, metrics=[*NAMES, "top_k_accuracy"])
    for model in (plain, measured):
        fit(model, x, y, epochs=2)
    assert all(np.array_equal(a, b) for a, b in zip(plain.get_weights(), measured.get_weights(), strict=True))


@pytest.mark.parametrize("name", metrics.REGISTRY.classes)
def test_configuration_makes_an_equal_metric(name):
    metric = metrics.REGISTRY.get(name)
    again = metrics.REGISTRY.get(metrics.REGISTRY.describe(metric))
    assert type(again) is type(metric) and again.config() == metric.config()


def test_metrics_of_one_name_are_numbered(rng):
    x, y = rng.normal(size=(40, 6)), rng.integers(0, 4, 40)
    both = fn.Sequential([fn.Dense(4)], input_shape=(6,))
    both.compile("sgd", "cross_entropy", [fn.metrics.TopKAccuracy(k) for k in (1, 2, 4)])
    got = both.evaluate(x, y)
    assert list(got) == ["loss", "top_k_accuracy", "top_k_accuracy_1", "top_k_accuracy_2"]
    for k, name in ((1, "top_k_accuracy"), (2, "top_k_accuracy_1"), (4, "top_k_accuracy_2")):
        both.compile("sgd", "cross_entropy", [fn.metrics.TopKAccuracy(k)])
        assert both.evaluate(x, y)["top_k_accuracy"] == got[name]
    both.compile("sgd", "cross_entropy", ["accuracy", "accuracy"])
    history = both.fit(x, y, verbose=0, validation_data=(x, y)).history
    assert set(history) == {f"{part}{name}" for part in ("", "val_") for name in ("loss", "accuracy", "accuracy_1")}
