"""BatchNormalization and LayerNormalization in models: training, inference, files."""

import numpy as np
import pytest
from small import bits

import fastnn as fn

RNG = np.random.default_rng(3)
X, Y = RNG.normal(2.0, 3.0, (48, 5)), RNG.normal(size=(48, 2))


def make(layer, backend=None, optimizer=None, **options):
    model = fn.Sequential(
        [fn.Dense(4, "tanh"), layer, fn.Dense(2)], dtype="float64", backend=backend, input_shape=(5,), **options
    )
    model.compile(optimizer or fn.SGD(0.1, momentum=0.9), "mse")
    return model


def pytorch_like(model, layer):
    """The same network in PyTorch, from the model's parameters."""
    torch = pytest.importorskip("torch")
    w1, b1, gamma, beta, *_, w2, b2 = model.get_weights()
    peer = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), layer, torch.nn.Linear(4, 2)).double()
    for parameter, value in zip(peer.parameters(), (w1.T, b1, gamma, beta, w2.T, b2), strict=True):
        parameter.data = torch.tensor(np.ascontiguousarray(value))
    return torch, peer


@pytest.mark.parametrize("kind", ("batch", "layer"))
def test_training_agrees_with_pytorch(kind, backend):
    ours = fn.BatchNormalization(0.9, 1e-5) if kind == "batch" else fn.LayerNormalization(1e-5)
    model = make(ours, backend)
    torch = pytest.importorskip("torch")
    layer = torch.nn.BatchNorm1d(4, eps=1e-5, momentum=0.1) if kind == "batch" else torch.nn.LayerNorm(4, eps=1e-5)
    torch, peer = pytorch_like(model, layer)
    optimizer = torch.optim.SGD(peer.parameters(), lr=0.1, momentum=0.9)
    x, y = torch.tensor(X), torch.tensor(Y)
    for start in (0, 16, 32) * 10:
        rows = slice(start, start + 16)
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(peer(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        assert model.train_step(X[rows], Y[rows]) == pytest.approx(loss.item(), rel=1e-10)
    if kind == "batch":
        mean, variance = model.get_weights()[4:6]
        np.testing.assert_allclose(mean, layer.running_mean.numpy(), rtol=1e-9)
        # PyTorch averages the unbiased variance, from 1 on; Keras and we the biased one.
        start = 0.9**30
        biased = (layer.running_var.numpy() - start) * 15 / 16 + start
        np.testing.assert_allclose(variance, biased, rtol=1e-9)


def test_inference_uses_the_moving_averages(backend):
    model = make(fn.BatchNormalization(momentum=0.5, epsilon=1e-2), backend)
    model.fit(X, Y, epochs=2, batch_size=16, verbose=0)
    w1, b1, gamma, beta, mean, variance, w2, b2 = model.get_weights()
    h = np.tanh(X @ w1 + b1)
    expected = ((h - mean) / np.sqrt(variance + 1e-2) * gamma + beta) @ w2 + b2
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-10)
    np.testing.assert_allclose(model.freeze()(X[3]), expected[3], rtol=1e-10)
    before = bits(model)
    model.evaluate(X, Y), model.predict(X)
    assert bits(model) == before, "only training moves the averages"


def test_what_is_not_trained_is_left_alone_by_the_optimizer():
    """Weight decay and clipping see learned parameters only."""
    model = make(fn.BatchNormalization(momentum=1.0), optimizer=fn.AdamW(0.1, weight_decay=0.5))
    model.fit(X, Y, epochs=2, verbose=0)
    mean, variance = model.get_weights()[4:6]
    assert not mean.any() and (variance == 1).all()


@pytest.mark.parametrize(
    "layer, names",
    (
        (fn.BatchNormalization(), ["gamma", "beta", "moving_mean", "moving_variance"]),
        (fn.BatchNormalization(center=False), ["gamma", "moving_mean", "moving_variance"]),
        (fn.BatchNormalization(scale=False), ["beta", "moving_mean", "moving_variance"]),
        (fn.LayerNormalization(), ["gamma", "beta"]),
        (fn.LayerNormalization(center=False, scale=False), []),
    ),
    ids=repr,
)
def test_parameters_and_files(layer, names, tmp_path):
    model = make(layer)
    kind = "batchnormalization_1" if isinstance(layer, fn.BatchNormalization) else "layernormalization_1"
    assert [n for n in model.parameter_names() if n.startswith(kind)] == [f"{kind}.{name}" for name in names]
    model.fit(X, Y, epochs=2, verbose=0)
    model.save(tmp_path / "m.safetensors", include_optimizer=True)
    again = fn.load(tmp_path / "m.safetensors")
    assert bits(again) == bits(model) and again.predict(X).tobytes() == model.predict(X).tobytes()
    model.fit(X, Y, epochs=2, verbose=0), again.fit(X, Y, epochs=2, verbose=0)
    assert bits(again) == bits(model)
    lines: list[str] = []
    model.summary(lines.append)
    assert ("8 of them not trained" in lines[0]) == isinstance(layer, fn.BatchNormalization)


def test_higher_ranks():
    """Statistics of the last axis' features, over all others."""
    x = RNG.normal(1.0, 2.0, (6, 3, 4))
    model = fn.Sequential([fn.BatchNormalization(momentum=0.0)], dtype="float64", input_shape=(3, 4))
    model.compile(fn.SGD(0.0), "mse")
    model.train_step(x, x)
    np.testing.assert_allclose(model.get_weights()[2], x.mean((0, 1)), rtol=1e-12)
    np.testing.assert_allclose(model.get_weights()[3], x.var((0, 1)), rtol=1e-12)
    layer = fn.Sequential([fn.LayerNormalization(1e-9)], dtype="float64", input_shape=(3, 4))
    y = layer.predict(x)
    np.testing.assert_allclose(y.mean(-1), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(-1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "make_layer, message",
    (
        (lambda: fn.BatchNormalization(momentum=2.0), r"BatchNormalization: momentum: expected a number in \[0, 1\]"),
        (lambda: fn.LayerNormalization(epsilon=0.0), r"LayerNormalization: epsilon: expected a number in \(0, inf\)"),
        (lambda: fn.Sequential([fn.LayerNormalization()], input_shape=()), "expected shape .batch, ..., features."),
    ),
)
def test_bad_arguments(make_layer, message):
    with pytest.raises(ValueError, match=message):
        make_layer()
