"""The same training on every backend, and in PyTorch: the losses of 200 steps in float64."""

from functools import cache

import numpy as np
import pytest
from peers import OPTIMIZERS, float64_scalars, ours, peers

import fastnn as fn

STEPS = 200
#: Inputs, then units and activation of each layer.
NETWORKS = {
    "relu": (784, (32, "relu"), (10, None)),
    "mixed": (64, (48, "relu"), (40, "gelu"), (24, "tanh"), (10, None)),
    "smooth": (64, (40, "gelu_tanh"), (32, "silu"), (24, "softplus"), (10, None)),
    "piecewise": (64, (40, "leaky_relu"), (32, "elu"), (24, "sigmoid"), (10, None)),
    "later": (64, (40, "selu"), (32, "mish"), (24, "hard_swish"), (16, "softsign"), (10, None)),
    "one output": (64, (32, "tanh"), (1, None)),
}
#: Losses with a name in PyTorch, and the network that each is tried on.
LOSSES = {
    "cross_entropy": "mixed",
    "mean_squared_error": "smooth",
    "mean_absolute_error": "one output",
    "huber": "piecewise",
    "binary_cross_entropy": "one output",
}


@cache
def data(network, loss):
    """Inputs, targets, and the rows of each batch: 32 of 240 rows in turn, the last batch of a pass with 16."""
    rng = np.random.default_rng(1)
    inputs, *_, (outputs, _) = NETWORKS[network]
    x = rng.normal(size=(240, inputs))
    labels = (x @ rng.normal(size=(inputs, outputs)) + rng.normal(size=(240, outputs))).argmax(axis=1)
    targets = {
        "cross_entropy": labels,
        "binary_cross_entropy": rng.integers(0, 2, (240, outputs)).astype(float),
    }.get(loss, rng.normal(size=(240, outputs)))
    batches = []
    while len(batches) < STEPS:
        order = rng.permutation(240)
        batches += [order[i : i + 32] for i in range(0, 240, 32)]
    return x, targets, batches[:STEPS]


def network_of(network, dropout=0.0):
    layers = []
    for units, activation in NETWORKS[network][1:]:
        layers.append(fn.Dense(units, activation))
        if dropout and activation:
            layers.append(fn.Dropout(dropout))
    return layers


@cache
def run(backend, *, network="mixed", optimizer="adam", loss="cross_entropy", clip_norm=None, dropout=0.0):
    """Losses of all steps on one of our backends."""
    x, y, batches = data(network, loss)
    layers = network_of(network, dropout)
    model = fn.Sequential(layers, dtype="float64", backend=backend, seed=5, input_shape=x.shape[1:])
    model.compile(ours(optimizer), loss, clip_norm=clip_norm)
    with fn.threads(1):  # results do not depend on it, and batches this small do not gain by more
        return np.array([model.train_step(x[rows], y[rows]) for rows in batches])


@cache
def pytorch(*, network="mixed", optimizer="adam", loss="cross_entropy", clip_norm=None):
    """Losses of all steps in PyTorch, from the same initial weights."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    functional = torch.nn.functional
    activations = {
        "gelu_tanh": lambda z: functional.gelu(z, approximate="tanh"),
        "tanh": torch.tanh,
        "hard_swish": functional.hardswish,
        "sigmoid": torch.sigmoid,
        None: lambda z: z,
    }
    losses = {
        "cross_entropy": functional.cross_entropy,
        "mean_squared_error": functional.mse_loss,
        "mean_absolute_error": functional.l1_loss,
        "huber": functional.huber_loss,
        "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
    }
    x, y, batches = data(network, loss)
    start = fn.Sequential(network_of(network), dtype="float64", backend="reference", seed=5, input_shape=x.shape[1:])
    parameters = [torch.tensor(w, requires_grad=True) for w in start.get_weights()]
    stepper = peers(optimizer, parameters)
    x, y = torch.tensor(x), torch.tensor(y)
    found = []
    for rows in batches:
        z = x[rows]
        for (_, name), w, b in zip(NETWORKS[network][1:], parameters[::2], parameters[1::2], strict=True):
            z = activations.get(name, getattr(functional, name or "", None))(z @ w + b)
        value = losses[loss](z, y[rows])
        stepper.zero_grad()
        value.backward()
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
        with float64_scalars():
            stepper.step()
        found.append(value.item())
    return np.array(found)


def assert_close(found, expected, tolerance):
    """Relative errors of all steps; the last losses must still differ from the first, or nothing was trained."""
    error = np.abs(found - expected) / np.abs(expected)
    assert error.max() <= tolerance, f"{error.max():.1e} in step {error.argmax()}"
    assert abs(expected[-8:].mean() / expected[:8].mean() - 1) > 1e-3


@pytest.mark.parametrize("network", ["relu", "mixed"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_agree(backend, optimizer, network):
    options = {"network": network, "optimizer": optimizer}
    assert_close(run(backend, **options), run("reference", **options), 1e-10)


@pytest.mark.parametrize("network", ["relu", "mixed"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_agree_with_pytorch(backend, optimizer, network):
    options = {"network": network, "optimizer": optimizer}
    assert_close(run(backend, **options), pytorch(**options), 1e-10)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_and_activations_agree(backend, loss):
    options = {"network": LOSSES[loss], "loss": loss}
    assert_close(run(backend, **options), run("reference", **options), 1e-10)
    assert_close(run(backend, **options), pytorch(**options), 1e-9)


def test_later_activations_agree(backend):
    options = {"network": "later"}
    assert_close(run(backend, **options), run("reference", **options), 1e-10)
    assert_close(run(backend, **options), pytorch(**options), 1e-9)


@pytest.mark.parametrize("optimizer", ["sgd, nesterov", "adam"])
def test_clipping_agrees(backend, optimizer):
    """A norm that some gradients exceed and some do not."""
    options = {"network": "mixed", "optimizer": optimizer, "clip_norm": 0.5}
    found = run(backend, **options)
    assert_close(found, run("reference", **options), 1e-10)
    assert_close(found, pytorch(**options), 1e-9)
    assert not np.allclose(found, run("reference", network="mixed", optimizer=optimizer))


@pytest.mark.parametrize("optimizer", ["sgd, momentum", "adam"])
def test_dropout_agrees(backend, optimizer):
    """The masks are the same on every backend."""
    options = {"network": "mixed", "optimizer": optimizer, "dropout": 0.3}
    assert_close(run(backend, **options), run("reference", **options), 1e-10)
