"""Schedules, against PyTorch's and Keras' formulas written down plainly; and the learning rate range test."""

import copy
import json
import math
import pickle

import numpy as np
import pytest
from small import bits, data, fit, make

import fastnn as fn
from fastnn import optimizers, schedules
from fastnn.schedules import (
    Constant,
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    OneCycle,
    PiecewiseConstant,
    PolynomialDecay,
    StepDecay,
)

#: One of each class and option.
SCHEDULES = {
    "constant": Constant(0.3),
    "piecewise constant": PiecewiseConstant((3, 40), (0.5, 0.25, 0.0)),
    "exponential": ExponentialDecay(0.2, 30, 0.8),
    "exponential, staircase": ExponentialDecay(0.2, 30, 0.8, staircase=True),
    "inverse time": InverseTimeDecay(0.2, 30, 0.7),
    "inverse time, staircase": InverseTimeDecay(0.2, 30, 0.7, staircase=True),
    "linear": PolynomialDecay(0.2, 60),
    "polynomial": PolynomialDecay(0.2, 60, 0.01, power=2.5),
    "to zero": PolynomialDecay(0.2, 60, 0.0, power=2.5),
    "polynomial, cycle": PolynomialDecay(0.2, 25, 0.01, power=0.5, cycle=True),
    "step": StepDecay(0.4, 15, 0.3),
    "cosine": CosineDecay(0.2, 60),
    "cosine, alpha": CosineDecay(0.2, 60, alpha=0.1),
    "cosine, warmup": CosineDecay(0.01, 60, 0.05, warmup_target=0.3, warmup_steps=12),
    "one cycle": OneCycle(0.5, 80),
    "one cycle, options": OneCycle(0.5, 77, pct_start=0.25, div_factor=10, final_div_factor=100),
    "one cycle, no rise": OneCycle(0.5, 80, pct_start=0.0),
}
STEPS = range(100)


def keras(name):
    """Keras' formulas, as its documentation writes them."""

    def cosine(step, initial=0.2, alpha=0.0):
        return initial * ((1 - alpha) * 0.5 * (1 + math.cos(math.pi * min(step, 60) / 60)) + alpha)

    def warmed_up(step):
        return 0.01 + (0.3 - 0.01) * step / 12 if step < 12 else cosine(step - 12, 0.3, 0.05)

    def cycling(step):
        decay_steps = 25 * (math.ceil(step / 25) if step else 1)
        return (0.2 - 0.01) * (1 - step / decay_steps) ** 0.5 + 0.01

    return {
        "constant": lambda step: 0.3,
        "piecewise constant": lambda step: 0.5 if step <= 3 else 0.25 if step <= 40 else 0.0,
        "exponential": lambda step: 0.2 * 0.8 ** (step / 30),
        "exponential, staircase": lambda step: 0.2 * 0.8 ** (step // 30),
        "inverse time": lambda step: 0.2 / (1 + 0.7 * step / 30),
        "inverse time, staircase": lambda step: 0.2 / (1 + 0.7 * (step // 30)),
        "linear": lambda step: (0.2 - 1e-4) * (1 - min(step, 60) / 60) + 1e-4,
        "polynomial": lambda step: (0.2 - 0.01) * (1 - min(step, 60) / 60) ** 2.5 + 0.01,
        "to zero": lambda step: 0.2 * (1 - min(step, 60) / 60) ** 2.5,
        "polynomial, cycle": cycling,
        "cosine": cosine,
        "cosine, alpha": lambda step: cosine(step, alpha=0.1),
        "cosine, warmup": warmed_up,
    }[name]


def pytorch(name, optimizer):
    """PyTorch's schedulers."""
    from torch.optim import lr_scheduler as theirs

    return {
        "exponential": lambda: theirs.ExponentialLR(optimizer, 0.8 ** (1 / 30)),
        "to zero": lambda: theirs.PolynomialLR(optimizer, 60, power=2.5),
        "step": lambda: theirs.StepLR(optimizer, 15, 0.3),
        "cosine": lambda: theirs.CosineAnnealingLR(optimizer, 60),
        "one cycle": lambda: theirs.OneCycleLR(optimizer, 0.5, 80),
        "one cycle, options": lambda: theirs.OneCycleLR(
            optimizer, 0.5, 77, pct_start=0.25, div_factor=10, final_div_factor=100
        ),
        "one cycle, no rise": lambda: theirs.OneCycleLR(optimizer, 0.5, 80, pct_start=0.0),
    }[name]()


@pytest.mark.parametrize("name", [name for name in SCHEDULES if not name.startswith(("step", "one cycle"))])
def test_as_in_keras(name):
    expected = [keras(name)(step) for step in STEPS]
    assert np.allclose([SCHEDULES[name](step) for step in STEPS], expected, rtol=1e-14, atol=1e-17)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("exponential", 100), ("to zero", 100), ("step", 100), ("cosine", 61), ("one cycle", 80),
        ("one cycle, options", 77), ("one cycle, no rise", 80),
    ],
)  # fmt: skip
def test_as_in_pytorch(name, steps):
    """PyTorch's formulas of the cosine are recursive, and go up again after the last step."""
    torch = pytest.importorskip("torch")
    schedule = SCHEDULES[name]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=schedule(0))
    scheduler = pytorch(name, optimizer)
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(expected) < steps:
            scheduler.step()
    assert np.allclose([schedule(step) for step in range(steps)], expected, rtol=1e-12, atol=1e-16)
    assert len(set(expected)) > 3


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("linear", (0.2, 1e-4, 60)), ("polynomial", (0.2, 0.01, 60)), ("cosine", (0.2, 0.0, 60)),
        ("cosine, alpha", (0.2, 0.02, 60)), ("cosine, warmup", (0.01, 0.015, 72)),
        ("one cycle", (0.02, 0.02 / 1e4, 79)), ("one cycle, options", (0.05, 5e-4, 76)),
    ],
)  # fmt: skip
def test_ends(name, ends):
    """First and last learning rate, and nothing else after the last step."""
    first, last, steps = ends
    schedule = SCHEDULES[name]
    assert math.isclose(schedule(0), first, rel_tol=1e-15)
    assert all(math.isclose(schedule(step), last, rel_tol=1e-13) for step in (steps, steps + 1, 10**9))
    assert not math.isclose(schedule(steps - 1), last, rel_tol=1e-6)


def test_peaks():
    """One cycle reaches its largest rate at the step before `pct_start` of the steps are over."""
    rates = [SCHEDULES["one cycle"](step) for step in range(80)]
    assert np.argmax(rates) == 23 and rates[23] == 0.5
    rates = [SCHEDULES["cosine, warmup"](step) for step in range(80)]
    assert np.argmax(rates) == 12 and rates[12] == 0.3


@pytest.mark.parametrize(
    "schedule", [OneCycle(0.5, 1), OneCycle(0.5, 2, pct_start=0.5), OneCycle(0.5, 3, pct_start=0.99)]
)
def test_short_cycles(schedule):
    rates = [schedule(step) for step in range(5)]
    assert all(0 < rate <= 0.5 for rate in rates) and math.isclose(rates[-1], 0.5 / 25 / 1e4)


# --- with optimizers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_saved(name, tmp_path, rng):
    """A model goes on with the same bits and the same learning rates after it was saved."""
    x, y = data(rng)
    schedule = SCHEDULES[name]
    model = make(optimizer=fn.Adam(schedule))
    fit(model, x, y, epochs=2)
    model.save(tmp_path / "model.safetensors", include_optimizer=True)
    again = fn.load(tmp_path / "model.safetensors")
    assert type(again.optimizer.learning_rate) is type(schedule)
    assert repr(again.optimizer) == repr(model.optimizer)
    fit(model, x, y)
    fit(again, x, y)
    assert bits(again) == bits(model)


@pytest.mark.parametrize("name", SCHEDULES)
def test_configuration(name):
    schedule = SCHEDULES[name]
    described = schedules.REGISTRY.describe(schedule)
    again = schedules.REGISTRY.get(json.loads(json.dumps(described)))
    others = [eval(repr(schedule), vars(schedules)), copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))]
    for other in (again, *others):
        assert [other(step) for step in STEPS] == [schedule(step) for step in STEPS]
    optimizer = fn.SGD(schedule)
    assert optimizers.REGISTRY.describe(optimizer)["learning_rate"] == described
    assert fn.SGD(described).learning_rate.config() == schedule.config()


def test_functions_cannot_be_saved():
    with pytest.raises(TypeError, match=r"^optimizer: SGD cannot be saved: its learning_rate is a function$"):
        optimizers.REGISTRY.describe(fn.SGD(lambda step: 0.1))

    class Mine(schedules.Schedule):
        def __call__(self, step):
            return 0.1

    with pytest.raises(TypeError, match=r"^schedule: Mine cannot be saved: it is not one of fastnn's own$"):
        optimizers.REGISTRY.describe(fn.SGD(Mine()))


def test_steps_follow_the_schedule():
    p = np.zeros(1)
    optimizer = fn.SGD(PiecewiseConstant((1,), (1.0, 0.25)))
    found = []
    for _ in range(4):
        optimizer.update([p], [np.ones(1)])
        found.append(-p[0])
    assert found == [1.0, 2.0, 2.25, 2.5]


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make_one", "message"),
    [
        (lambda: Constant(-1), r"Constant: learning_rate: expected a number in \[0, inf\), got -1"),
        (lambda: Constant(math.nan), r"Constant: learning_rate: expected a number in \[0, inf\), got nan"),
        (lambda: ExponentialDecay(0.1, 0, 0.5), r"ExponentialDecay: decay_steps: expected .* in \(0, inf\), got 0"),
        (lambda: ExponentialDecay(0.1, 5, -1), r"ExponentialDecay: decay_rate: expected .* in \[0, inf\), got -1"),
        (lambda: InverseTimeDecay(-1, 5, 1), r"InverseTimeDecay: initial_learning_rate: expected .* got -1"),
        (lambda: PolynomialDecay(0.1, 5, -1), r"PolynomialDecay: end_learning_rate: expected .* got -1"),
        (lambda: PolynomialDecay(0.1, 5, power=0), r"PolynomialDecay: power: expected .* got 0"),
        (lambda: StepDecay(0.1, 0), r"StepDecay: step_size: expected an integer of at least 1, got 0"),
        (lambda: StepDecay(0.1, 2, -0.5), r"StepDecay: gamma: expected .* got -0.5"),
        (lambda: CosineDecay(0.1, 5, 1.5), r"CosineDecay: alpha: expected a number in \[0, 1\], got 1.5"),
        (lambda: CosineDecay(0.1, 5, warmup_steps=3), r"CosineDecay: warmup_target: expected a number, .* got None"),
        (lambda: CosineDecay(0.1, 5, 0, -1), r"CosineDecay: warmup_target: expected .* got -1"),
        (lambda: OneCycle(0.1, 0), r"OneCycle: total_steps: expected an integer of at least 1, got 0"),
        (lambda: OneCycle(0.1, 9, 1.0), r"OneCycle: pct_start: expected a number in \[0, 1\), got 1.0"),
        (lambda: OneCycle(0.1, 9, div_factor=0), r"OneCycle: div_factor: expected a number in \(0, inf\), got 0"),
        (lambda: PiecewiseConstant([2, 2], [1, 2, 3]), r"PiecewiseConstant: boundaries: expected increasing numbers"),
        (lambda: PiecewiseConstant([2], [1]), r"PiecewiseConstant: values: expected 2 numbers, .* got 1"),
        (lambda: PiecewiseConstant([2], [1, -1]), r"PiecewiseConstant: values: expected .* got -1"),
        (lambda: fn.SGD({"name": "cosine"}), r"schedule: expected one of constant, .*, got 'cosine'"),
        (lambda: Constant(0.1).plot(0), r"plot: steps: expected an integer of at least 1, got 0"),
    ],
)  # fmt: skip
def test_refused(make_one, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make_one()


# --- drawing ---------------------------------------------------------------------------------------------


def test_plot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    ax = SCHEDULES["cosine, warmup"].plot(90)
    assert SCHEDULES["one cycle"].plot(90, ax=ax) is ax
    for line, name in zip(ax.lines, ("cosine, warmup", "one cycle"), strict=True):
        assert line.get_xdata().tolist() == list(range(90))
        assert line.get_ydata().tolist() == [SCHEDULES[name](step) for step in range(90)]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "learning rate")
    pyplot.close(ax.figure)


# --- the range test --------------------------------------------------------------------------------------


def state(model):
    """All that a training step changes."""
    arrays = [np.array(model.backend.to_host(a)).tobytes() for a in (model._flat, *model._moments)]
    return arrays, model.optimizer.iterations, model.epochs_done, model._step.value, repr(model.optimizer)


@pytest.mark.parametrize("rate", [0.01, CosineDecay(0.02, 30)], ids=["number", "schedule"])
@pytest.mark.parametrize("fitted", [0, 2])
def test_range_test_leaves_the_model_as_it_was(backend, fitted, rate, rng):
    x, y = data(rng)
    model, straight = (make(backend, fn.NAdam(rate), dropout=0.3) for _ in range(2))
    for m in (model, straight):
        fit(m, x, y, epochs=fitted)
    model._allocate_moments()
    before = state(model)
    rates, losses = fn.learning_rate_range_test(model, x, y, high=10.0, steps=40, batch_size=16)
    assert len(rates) == len(losses) and np.ptp(losses) > 0.1
    assert state(model) == before
    assert fit(model, x, y, epochs=2).history == fit(straight, x, y, epochs=2).history
    assert bits(model) == bits(straight)


def test_range_test_rates_and_losses(rng):
    """The rates grow by one factor; the losses are those of the same training by hand."""
    x, y = data(rng)
    model, straight = (make(optimizer=fn.SGD(0.5)) for _ in range(2))
    rates, losses = fn.learning_rate_range_test(model, x, y, low=1e-4, high=1e-1, steps=7, batch_size=50)
    assert np.allclose(rates, 1e-4 * 10 ** (np.arange(7) / 2), rtol=1e-13)
    for rate, loss in zip(rates, losses, strict=True):
        straight.optimizer.learning_rate = rate
        assert np.isclose(straight.train_step(x, y), loss, rtol=1e-12)  # another order of the rows


def test_range_test_with_weights(rng):
    x, y = data(rng)
    weight = rng.uniform(0, 2, len(x))
    _, losses = fn.learning_rate_range_test(make(), x, y, steps=3, batch_size=50, sample_weight=weight)
    assert np.isclose(losses[0], make().evaluate(x, y, weight)["loss"], rtol=1e-12)


@pytest.mark.parametrize(("high", "finite"), [(1e4, True), (1e300, False)])
def test_range_test_ends_early(high, finite, rng):
    x, y = data(rng)
    model = make(optimizer=fn.SGD(0.1), loss="mse")
    before = bits(model)
    rates, losses = fn.learning_rate_range_test(model, x, np.eye(3)[y], low=1e-4, high=high, steps=60)
    assert len(rates) == len(losses) < 60 and np.isfinite(losses).all() and bits(model) == before
    assert all(loss <= 4 * losses[: i + 1].min() for i, loss in enumerate(losses[:-1]))
    if finite:
        assert losses[-1] > 4 * losses.min()


def test_range_test_sees_more_rows_than_there_are(rng):
    """It goes over the data again, in another order."""
    x, y = data(rng, rows=20)
    rates, losses = fn.learning_rate_range_test(make(), x, y, low=1e-9, high=1e-8, steps=30, batch_size=8)
    assert len(rates) == 30 and len(set(losses.round(6))) > 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 0.0}, r"low: expected a number in \(0, inf\), got 0.0"),
        ({"low": 0.1, "high": 0.1}, r"high: expected a number in \(0.1, inf\), got 0.1"),
        ({"steps": 1}, r"steps: expected an integer of at least 2, got 1"),
        ({"batch_size": 0}, r"batch_size: expected an integer of at least 1, got 0"),
        ({"sample_weight": [1.0]}, r"sample_weight: expected shape \(50,\), got \(1,\)"),
    ],
)
def test_range_test_refuses(options, message, rng):
    x, y = data(rng)
    with pytest.raises(ValueError, match=f"^learning_rate_range_test: {message}"):
        fn.learning_rate_range_test(make(), x, y, **options)
