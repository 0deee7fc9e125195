"""Copies of models: deepcopy and pickle, trained or not."""

import copy
import pickle

import numpy as np
import pytest
from small import bits, data, fit, make, network

import fastnn as fn

WAYS = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model))}


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_goes_on_bit_for_bit(way, backend, rng):
    model = make(backend, fn.Adam(0.01, amsgrad=True), metrics=["accuracy"], dropout=0.3)
    x, y = data(rng)
    fit(model, x, y, epochs=2)
    again = WAYS[way](model)
    assert bits(again) == bits(model) and again.backend.name == model.backend.name
    first = fit(model, x, y, epochs=3).history
    assert fit(again, x, y, epochs=3).history == first and bits(again) == bits(model)


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_is_apart(way, rng):
    model = make()
    x, y = data(rng)
    fit(model, x, y)
    before = bits(model)
    again = WAYS[way](model)
    fit(again, x, y)
    assert bits(model) == before and bits(again) != before
    assert again.optimizer is not model.optimizer and again.layers[0] is not model.layers[0]


@pytest.mark.parametrize("way", WAYS)
def test_models_at_every_stage(way, rng):
    x = rng.normal(size=(5, 6))
    new = fn.Sequential([fn.Dense(3)], seed=4)
    assert np.array_equal(WAYS[way](new).predict(x), new.predict(x))
    built = network()
    assert np.array_equal(WAYS[way](built).predict(x), built.predict(x))
    compiled = make()
    again = WAYS[way](compiled)
    fit(again, *data(np.random.default_rng(1)))
    fit(compiled, *data(np.random.default_rng(1)))
    assert bits(again) == bits(compiled)


def test_what_cannot_be_pickled_says_so():
    model = fn.Sequential([fn.Dense(3, activation=lambda x: x * x)], input_shape=(2,))
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(model)
