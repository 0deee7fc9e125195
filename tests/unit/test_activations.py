"""Activations against PyTorch, in value and gradient; their limits; prelu's broadcasting."""

import numpy as np
import pytest

import fastnn as fn
from fastnn import ops
from fastnn.table import ACTIVATIONS

#: Activations under another name in torch.nn.functional, and their parameters there.
NAMES = {
    "gelu_tanh": ("gelu", {"approximate": "tanh"}), "leaky_relu": ("leaky_relu", {"negative_slope": 0.01}),
    "hard_sigmoid": ("hardsigmoid", {}), "hard_swish": ("hardswish", {}), "log_softmax": ("log_softmax", {"dim": -1}),
    "softmax": ("softmax", {"dim": -1}),
}  # fmt: skip
#: Limits at minus and plus infinity.
LIMITS = {
    "relu": (0, np.inf), "leaky_relu": (-np.inf, np.inf), "elu": (-1, np.inf), "gelu": (0, np.inf),
    "gelu_tanh": (0, np.inf), "silu": (0, np.inf), "sigmoid": (0, 1), "tanh": (-1, 1), "softplus": (0, np.inf),
    "selu": (-1.7580993408473768, np.inf), "softsign": (-1, 1), "hard_sigmoid": (0, 1), "hard_swish": (0, np.inf),
    "mish": (0, np.inf),
}  # fmt: skip


@pytest.mark.parametrize("name", [*ACTIVATIONS[1:], "softmax", "log_softmax"])
def test_pytorch(backend, dtype, name, rng):
    torch = pytest.importorskip("torch")
    theirs, options = NAMES.get(name, (name, {}))
    x = np.concatenate([4 * rng.normal(size=997), [-3.0, 3.0, 0.0]]).reshape(10, 100).astype(dtype)
    dy = rng.normal(size=x.shape).astype(dtype)
    there = torch.tensor(x.astype("f8"), requires_grad=True)
    want = getattr(torch.nn.functional, theirs)(there, **options)
    want.backward(torch.tensor(dy.astype("f8")))
    with fn.use_backend(backend):
        y = getattr(ops, name)(x)
        dx = fn.grad(lambda x: fn.sum(getattr(ops, name)(x) * dy))(x)
    # PyTorch's gradient of hard_sigmoid has 1/6 rounded to float32.
    unit = np.finfo("float32" if name == "hard_sigmoid" else dtype).eps
    np.testing.assert_allclose(y, want.detach().numpy(), rtol=8 * unit, atol=8 * unit)
    np.testing.assert_allclose(dx, there.grad.numpy(), rtol=8 * unit, atol=128 * unit)  # terms of 20 cancel


@pytest.mark.parametrize("name", LIMITS)
def test_limits(backend, dtype, name):
    """Where PyTorch multiplies infinity by 0 (mish, softsign, hard_swish and silu) the limit stands, not NaN."""
    low, high, nan = getattr(ops, name)(np.array([-np.inf, np.inf, np.nan], dtype), backend=backend)
    assert (low, high) == (np.dtype(dtype).type(LIMITS[name][0]), LIMITS[name][1]) and np.isnan(nan)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (4, 1), (3, 4, 5)], ids=str)
def test_prelu(backend, shape, rng):
    torch = pytest.importorskip("torch")
    x, slope, dy = rng.normal(size=(3, 4, 5)), rng.normal(size=shape), rng.normal(size=(3, 4, 5))
    x[0, 0] = [0.0, -0.0, 1.0, -1.0, 2.0]
    there = [torch.tensor(a, requires_grad=True) for a in (x, slope)]
    want = torch.where(there[0] > 0, there[0], there[1] * there[0])
    want.backward(torch.tensor(dy))
    with fn.use_backend(backend):
        np.testing.assert_array_equal(ops.prelu(x, slope), want.detach().numpy())
        dx, dslope = fn.grad(lambda x, slope: fn.sum(ops.prelu(x, slope) * dy), (0, 1))(x, slope)
    assert dslope.shape == shape
    np.testing.assert_allclose(dx, there[0].grad.numpy(), rtol=1e-14)
    np.testing.assert_allclose(dslope, there[1].grad.numpy(), rtol=1e-13)
