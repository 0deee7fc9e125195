"""Penalties, constraints and clipping: what a training step does with them, against plain NumPy."""

import json

import numpy as np
import pytest
from small import bits

import fastnn as fn
from fastnn import ops, regularizers
from fastnn.constraints import MaxNorm

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(20, 4)), RNG.normal(size=(20, 3))


def linear_model(backend=None, optimizer=None, input_shape=(4,), compiled=None, **arguments):
    """One linear layer, compiled for squared errors."""
    layer = fn.Dense(3, bias_initializer=fn.initializers.Normal(stddev=0.3), **arguments)
    model = fn.Sequential([layer], dtype="float64", backend=backend, input_shape=input_shape)
    model.compile(optimizer or fn.SGD(0.1), "mse", **(compiled or {}))
    return model


def slopes(w, b):
    """Gradients of the mean squared error."""
    error = 2 * (X @ w + b - Y) / Y.size
    return X.T @ error, error.sum(0)


REGULARIZERS = {
    "l1": (fn.L1(0.02), lambda p: 0.02 * np.abs(p).sum(), lambda p: 0.02 * np.sign(p)),
    "l2": (fn.L2(0.03), lambda p: 0.03 * (p * p).sum(), lambda p: 0.06 * p),
    "elastic": (
        fn.L1L2(0.02, 0.03), lambda p: 0.02 * np.abs(p).sum() + 0.03 * (p * p).sum(),
        lambda p: 0.02 * np.sign(p) + 0.06 * p,
    ),
}  # fmt: skip


@pytest.mark.parametrize("where", ("kernel", "bias"))
@pytest.mark.parametrize("name", REGULARIZERS)
def test_penalty_and_its_gradient(name, where, backend):
    regularizer, penalty, slope = REGULARIZERS[name]
    model = linear_model(backend, **{f"{where}_regularizer": regularizer})
    w, b = model.get_weights()
    squared = ((X @ w + b - Y) ** 2).mean()
    regularised = w if where == "kernel" else b
    assert model.evaluate(X, Y)["loss"] == pytest.approx(squared + penalty(regularised), rel=1e-13)
    assert model.train_step(X, Y) == pytest.approx(squared + penalty(regularised), rel=1e-13)
    dw, db = slopes(w, b)
    if where == "kernel":
        dw = dw + slope(w)
    else:
        db = db + slope(b)
    for new, expected in zip(model.get_weights(), (w - 0.1 * dw, b - 0.1 * db), strict=True):
        np.testing.assert_allclose(new, expected, rtol=1e-12, atol=1e-15)


def test_many_steps_agree_with_pytorch():
    """L2 of a network's weights under Adam; torch's loss carries the penalty itself."""
    torch = pytest.importorskip("torch")
    model = fn.Sequential(
        [fn.Dense(6, "tanh", kernel_regularizer=fn.L2(0.05)), fn.Dense(3, kernel_regularizer="l1")],
        dtype="float64", input_shape=(4,),
    )  # fmt: skip
    model.compile(fn.Adam(0.01), "mse")
    peer = [torch.tensor(w, requires_grad=True) for w in model.get_weights()]
    optimizer = torch.optim.Adam(peer, lr=0.01)
    x, y = torch.tensor(X), torch.tensor(Y)
    for _ in range(50):
        optimizer.zero_grad()
        w1, b1, w2, b2 = peer
        loss = ((torch.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2).mean() + 0.05 * (w1**2).sum() + 0.01 * w2.abs().sum()
        loss.backward()
        optimizer.step()
        assert model.train_step(X, Y) == pytest.approx(loss.item(), rel=1e-10)


def test_proximal_step_makes_zeros(backend):
    """ISTA: gradient step of the smooth part, then soft thresholding."""
    model = linear_model(backend, kernel_regularizer=fn.L1(0.08, proximal=True))
    w, b = model.get_weights()
    for _ in range(30):
        dw, db = slopes(w, b)
        w, b = w - 0.1 * dw, b - 0.1 * db
        w = np.sign(w) * np.maximum(np.abs(w) - 0.1 * 0.08, 0)
        model.train_step(X, Y)
    for new, expected in zip(model.get_weights(), (w, b), strict=True):
        np.testing.assert_allclose(new, expected, rtol=1e-11, atol=1e-15)
    for _ in range(400):
        model.train_step(X, Y)
    found = model.get_weights()[0]
    assert 0 < np.count_nonzero(found == 0) < found.size


def test_proximal_step_follows_the_schedule():
    model = linear_model(optimizer=fn.SGD(lambda step: 0.1 / (step + 1)), kernel_regularizer=fn.L1(0.5, proximal=True))
    for step in range(3):
        w, b = model.get_weights()
        dw, _ = slopes(w, b)
        rate = 0.1 / (step + 1)
        w = w - rate * dw
        model.train_step(X, Y)
        expected = np.sign(w) * np.maximum(np.abs(w) - rate * 0.5, 0)
        np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-12, atol=1e-15)


def test_max_norm(backend):
    model = linear_model(backend, optimizer=fn.SGD(1.0), kernel_constraint=MaxNorm(0.5), bias_constraint=MaxNorm(0.1))
    w, b = model.get_weights()
    dw, db = slopes(w, b)
    w, b = w - dw, b - db
    model.train_step(X, Y)
    norms = np.sqrt((w * w).sum(0))
    assert (norms > 0.5).any()
    new_w, new_b = model.get_weights()
    np.testing.assert_allclose(new_w, w * np.minimum(1, 0.5 / norms), rtol=1e-12)
    np.testing.assert_allclose(new_b, b * min(1, 0.1 / np.linalg.norm(b)), rtol=1e-12)


@pytest.mark.parametrize(
    "compiled",
    ({"clip_value": 0.05}, {"clip_each_norm": 0.1}, {"clip_norm": 0.1},
     {"clip_value": 0.08, "clip_each_norm": 0.12, "clip_norm": 0.13}),
    ids=str,
)  # fmt: skip
def test_clipping(compiled, backend):
    """By value, then each parameter's norm, then the common norm."""
    model = linear_model(backend, optimizer=fn.SGD(1.0), compiled={**compiled, "gradient_norm": True})
    w, b = model.get_weights()
    before = slopes(w, b)
    g = [s.copy() for s in before]
    if "clip_value" in compiled:
        g = [np.clip(s, -compiled["clip_value"], compiled["clip_value"]) for s in g]
    if "clip_each_norm" in compiled:
        g = [s * min(1, compiled["clip_each_norm"] / (np.linalg.norm(s) + 1e-6)) for s in g]
    if "clip_norm" in compiled:
        total = np.sqrt(sum((s * s).sum() for s in g))
        g = [s * min(1, compiled["clip_norm"] / (total + 1e-6)) for s in g]
    assert not any(np.allclose(a, b) for a, b in zip(g, before, strict=True))
    history = model.fit(X, Y, batch_size=20, shuffle=False, verbose=0).history
    for new, old, slope in zip(model.get_weights(), (w, b), g, strict=True):
        np.testing.assert_allclose(new, old - slope, rtol=1e-11)
    norm = np.sqrt(sum((s * s).sum() for s in before))
    assert history["gradient_norm"] == pytest.approx([norm], rel=1e-12), "the norm before clipping"


def test_gradient_norm_includes_the_penalty():
    model = linear_model(kernel_regularizer=fn.L2(0.5), compiled={"gradient_norm": True})
    w, b = model.get_weights()
    dw, db = slopes(w, b)
    history = model.fit(X, Y, batch_size=20, verbose=0, validation_data=(X, Y)).history
    assert set(history) == {"loss", "gradient_norm", "val_loss"}
    assert history["gradient_norm"][0] == pytest.approx(np.sqrt(((dw + w) ** 2).sum() + (db**2).sum()), rel=1e-10)


def test_everything_is_one_program(backend):
    """Dropout, L2, clipping and a schedule: one replay a step, recorded once."""
    model = fn.Sequential(
        [fn.Dense(8, "relu", kernel_regularizer="l2", kernel_constraint="max_norm"), fn.Dropout(0.5), fn.Dense(3)],
        dtype="float64", backend=backend, input_shape=(4,),
    )  # fmt: skip
    model.compile(fn.Adam(lambda step: 0.01 / (1 + step)), "mse", clip_norm=1.0, clip_value=0.5, gradient_norm=True)
    model.fit(X, Y, epochs=3, batch_size=10, verbose=0)
    assert len(model._programs) == 1


def test_the_same_bits_on_any_number_of_threads():
    def run(threads):
        with fn.threads(threads):
            layer = fn.Dense(200, "relu", kernel_regularizer=fn.L1L2(1e-4, 1e-4), kernel_constraint=MaxNorm(1.0))
            model = fn.Sequential([layer, fn.Dense(3)], input_shape=(300,))
            model.compile("adam", "mse", clip_value=0.1, clip_norm=1.0)
            rng = np.random.default_rng(0)
            model.fit(rng.normal(size=(128, 300)), rng.normal(size=(128, 3)), epochs=2, batch_size=64, verbose=0)
            return bits(model)

    assert run(1) == run(2) == run(3)


def test_files_keep_them(tmp_path):
    model = linear_model(
        kernel_regularizer=fn.L1(0.1, proximal=True), bias_regularizer="l2", kernel_constraint=MaxNorm(0.7),
        compiled={"clip_value": 0.5, "clip_each_norm": 0.25, "gradient_norm": True},
    )  # fmt: skip
    model.save(tmp_path / "m.safetensors")
    again = fn.load(tmp_path / "m.safetensors")
    assert repr(again.layers) == repr(model.layers)
    assert (again.clip_value, again.clip_each_norm, again.clip_norm, again.gradient_norm) == (0.5, 0.25, None, True)
    model.fit(X, Y, epochs=2, verbose=0), again.fit(X, Y, epochs=2, verbose=0)
    assert bits(again) == bits(model)
    json.dumps(regularizers.REGISTRY.describe(fn.L1(0.1)))


@pytest.mark.parametrize(
    "make, message",
    (
        (lambda: fn.L1(-1.0), r"L1: l1: expected a number in \[0, inf\), got -1.0"),
        (lambda: fn.L2(np.nan), r"L2: l2: expected a number in \[0, inf\), got nan"),
        (lambda: MaxNorm(0), r"MaxNorm: max_value: expected a number in \(0, inf\), got 0"),
        (lambda: fn.Dense(3, kernel_regularizer="l3"), "regularizer: expected one of l1, l2, l1_l2, got 'l3'"),
        (lambda: fn.Dense(3, kernel_constraint=2.0), "constraint: expected a name or an object of class Constraint"),
        (lambda: linear_model(compiled={"clip_value": 0}), r"compile: clip_value: expected a number in \(0, inf\)"),
    ),
)
def test_bad_arguments(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_penalty_without_gradient_is_not_accumulated():
    """A parameter on which the loss does not depend has the penalty's gradient alone, anew at each step."""
    stop = fn.custom_gradient(lambda x: x * 1.0, lambda dy, x, y: ops.affine(dy, 0.0))
    model = linear_model(kernel_regularizer=fn.L2(0.5), activation=stop)
    w, _ = model.get_weights()
    for _ in range(3):
        model.train_step(X, Y)
        w = w - 0.1 * w
        np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-13)
