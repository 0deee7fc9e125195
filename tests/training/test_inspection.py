"""Outputs of layers and gradients, against formulas and finite differences."""

import numpy as np
import pytest
from small import bits, by_hand, data, fit, make

import fastnn as fn


def test_layer_outputs(backend, dtype, rng):
    model, x = make(backend, dtype=dtype, dropout=0.5), rng.normal(size=(7, 6)).astype(dtype)
    found = model.layer_outputs(x)
    assert list(found) == model.layer_names == ["dense_1", "dropout_1", "dense_2", "dense_3"]
    w1, b1, w2, b2, _, _ = model.get_weights()
    first = np.maximum(x @ w1 + b1, 0)
    expected = [first, first, np.tanh(first @ w2 + b2), by_hand(model, x)]
    for y, right in zip(found.values(), expected, strict=True):
        assert y.dtype == dtype and np.allclose(y, right, atol=200 * np.finfo(dtype).eps)
    assert np.array_equal(found["dense_3"], model.predict(x))
    again = model.layer_outputs(x + 1)  # the same program
    assert not np.array_equal(again["dense_1"], found["dense_1"])


@pytest.mark.parametrize("of", ["parameters", "outputs"])
def test_rows_are_converted_to_the_models_dtype(backend, rng, of):
    model, (x, y) = make(backend, dtype="float32"), data(rng, 9)
    x = x.astype("float32")
    for given in (x.astype("float64"), x.tolist(), np.asfortranarray(x)):
        pairs = [(model.layer_outputs(given), model.layer_outputs(x))]
        pairs.append((model.gradients(given, y, of=of), model.gradients(x, y, of=of)))
        for found, expected in pairs:
            for name, array in expected.items():
                assert np.array_equal(found[name], array)


def test_gradients_by_parameters(backend, rng):
    model, (x, y) = make(backend), data(rng, 9)
    before, found = bits(model), model.gradients(x, y)
    assert list(found) == model.parameter_names() and bits(model) == before
    weights = model.get_weights()
    for number, (w, g) in enumerate(zip(weights, found.values(), strict=True)):
        assert g.shape == w.shape
        index, step = tuple(n // 2 for n in w.shape), 1e-6
        losses = []
        for change in (step, -step):
            moved = [v.copy() for v in weights]
            moved[number][index] += change
            model.set_weights(moved)
            losses.append(model.evaluate(x, y)["loss"])
        assert np.isclose(g[index], (losses[0] - losses[1]) / (2 * step), atol=1e-8)


def test_gradients_by_outputs(backend, rng):
    model, (x, y) = make(backend), data(rng, 9)
    found, outputs = model.gradients(x, y, of="outputs"), model.layer_outputs(x)
    w3 = model.get_weights()[4]
    last = model.loss.gradient(outputs["dense_3"], y)
    assert np.allclose(found["dense_3"], last) and np.allclose(found["dense_2"], last @ w3.T)
    assert np.allclose(model.gradients(x, y)["dense_3.kernel"], outputs["dense_2"].T @ last)


def test_gradients_are_those_of_the_next_step(backend, rng):
    """With dropout and the batch's own statistics; descent at rate 1 subtracts them. Moving averages stay."""
    layers = [fn.Dense(8, "tanh"), fn.BatchNormalization(), fn.Dropout(0.5), fn.Dense(3)]
    model, (x, y) = fn.Sequential(layers, dtype="float64", backend=backend, input_shape=(6,)), data(rng, 20)
    model.compile(fn.SGD(1.0), "cross_entropy")
    names = model.parameter_names()
    for _ in range(2):
        before, found = model.get_weights(), model.gradients(x, y)
        outputs = model.gradients(x, y, of="outputs")
        assert np.mean(outputs["batchnormalization_1"] == 0) > 0.3 and (outputs["dropout_1"] != 0).all()
        assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
        model.train_step(x, y)
        changes = {name: a - b for name, a, b in zip(names, before, model.get_weights(), strict=True)}
        assert list(found) == [name for name in names if "moving" not in name] and len(found) == len(names) - 2
        for name, gradient in found.items():
            assert np.allclose(gradient, changes[name], atol=1e-12)


def test_targets_of_both_kinds(rng):
    model, (x, y) = make(), data(rng, 9)
    for a, b in zip(model.gradients(x, y).values(), model.gradients(x, np.eye(3)[y]).values(), strict=True):
        assert np.allclose(a, b)


def test_training_is_not_disturbed(rng):
    x, y = data(rng)
    plain, watched = make(dropout=0.3), make(dropout=0.3)
    fit(plain, x, y, epochs=2)
    fit(watched, x, y)
    watched.gradients(x, y), watched.layer_outputs(x)
    fit(watched, x, y)
    assert bits(plain) == bits(watched)


def test_refused(rng):
    model, (x, y) = make(), data(rng, 9)
    with pytest.raises(ValueError, match=r"^gradients: of: expected one of 'parameters', 'outputs', got 'inputs'$"):
        model.gradients(x, y, of="inputs")
    with pytest.raises(fn.ShapeError, match=r"^layer_outputs: X: expected rows of shape \(6,\), got \(9, 5\)$"):
        model.layer_outputs(x[:, :5])
    with pytest.raises(fn.ShapeError, match=r"^gradients: y: expected 9 rows, got 8$"):
        model.gradients(x, y[:8])
