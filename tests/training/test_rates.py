"""Callbacks that change the learning rate."""

import numpy as np
import pytest
from small import Says, bits, data, fit, make

import fastnn as fn


def test_scheduler_of_the_epoch(backend, rng):
    x, y = data(rng)
    model = make(backend, fn.SGD(9.0))
    history = fit(model, x, y, epochs=3, callbacks=[fn.LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch))])
    assert history.history["learning_rate"] == [0.1, 0.05, 0.1 / 3]
    other = make(backend, fn.SGD(0.1))
    for epoch in range(3):
        other.optimizer.learning_rate = 0.1 / (1 + epoch)
        fit(other, x, y)
    assert bits(model) == bits(other)


def test_scheduler_of_epoch_and_rate(rng):
    def halve(epoch, rate):
        return rate / 2 if epoch else rate

    history = fit(make(optimizer=fn.SGD(0.5)), *data(rng), epochs=4, callbacks=[fn.LearningRateScheduler(halve)])
    assert history.history["learning_rate"] == [0.5, 0.25, 0.125, 0.0625]


@pytest.mark.parametrize("wrong", [-0.1, float("nan")])
def test_scheduler_with_a_wrong_rate(wrong, rng):
    with pytest.raises(ValueError, match=r"^SGD: learning_rate: expected a number in \[0, inf\), got "):
        fit(make(optimizer="sgd"), *data(rng), callbacks=[fn.LearningRateScheduler(lambda epoch: wrong)])


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([3, 2, 2, 2, 2], {"patience": 2}, [1, 1, 1, 1, 0.5]),
        ([3, 2, 2, 2, 2, 2], {"patience": 1}, [1, 1, 1, 0.5, 0.25, 0.125]),
        ([3, 2, 2, 2, 2, 2], {"patience": 1, "min_lr": 0.4}, [1, 1, 1, 0.5, 0.4, 0.4]),
        ([2, 2, 2, 2, 2, 2], {"patience": 1, "cooldown": 2}, [1, 1, 0.5, 0.5, 0.25, 0.25]),
        ([1, 2, 2, 3, 3], {"patience": 1, "mode": "max"}, [1, 1, 1, 0.5, 0.5]),
        ([3, 2.9, 2.8, 1], {"patience": 1, "min_delta": 0.5}, [1, 1, 0.5, 0.25]),
    ],
)
def test_plateau(values, options, expected, rng):
    """The rate that each epoch was trained with."""
    reducing = fn.ReduceLROnPlateau("score", factor=0.5, **options)
    model = make(optimizer=fn.SGD(1.0))
    history = fit(model, *data(rng), epochs=len(values), callbacks=[reducing, Says("score", values)][::-1])
    assert history.history["learning_rate"] == expected


def test_plateau_with_a_schedule(rng):
    with pytest.raises(TypeError, match=r"^ReduceLROnPlateau: learning_rate: expected a number, got a schedule$"):
        fit(make(optimizer=fn.SGD(lambda step: 0.1)), *data(rng), callbacks=[fn.ReduceLROnPlateau("loss")])


def test_the_rate_is_recorded_only_where_it_changes(rng):
    x, y = data(rng)
    assert "learning_rate" not in fit(make(), x, y).history
    scheduled = fit(make(optimizer=fn.SGD(lambda step: 1 / (step + 1))), x, y, epochs=2)
    assert np.allclose(scheduled.history["learning_rate"], [1 / 4, 1 / 8])
