"""Activations and their gradients.

Each ``<name>_backward(dy, saved)`` takes the gradient by the output and what the table says is saved: the output y of
linear, relu, leaky_relu, elu, selu, sigmoid, hard_sigmoid, tanh, softplus, softmax and log_softmax, the input x of the
others.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from fastnn import checks
from fastnn.ops.dispatch import apply, flat_out, remembered, reshape_any, shape_of
from fastnn.ops.elementwise import unary
from fastnn.ops.shapes import transpose
from fastnn.table import ALPHA, SAVED


@remembered
def linear(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """y = x, a copy."""
    return unary("linear", x, out, backend)


@remembered
def relu(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """y = max(x, 0) (Nair and Hinton 2010)."""
    return unary("relu", x, out, backend)


@remembered
def leaky_relu(x: Any, *, alpha: float = ALPHA["leaky_relu"], out: Any = None, backend: str | None = None) -> Any:
    """y = x where x > 0, else alpha x, alpha >= 0 (Maas, Hannun and Ng 2013)."""
    checks.interval("leaky_relu", "alpha", alpha, 0, float("inf"), "left")
    return unary("leaky_relu", x, out, backend, alpha=alpha)


@remembered
def elu(x: Any, *, alpha: float = ALPHA["elu"], out: Any = None, backend: str | None = None) -> Any:
    """y = x where x > 0, else alpha (exp(x) - 1), alpha >= 0 (Clevert, Unterthiner and Hochreiter 2016)."""
    checks.interval("elu", "alpha", alpha, 0, float("inf"), "left")
    return unary("elu", x, out, backend, alpha=alpha)


@remembered
def gelu(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """y = x Phi(x), Phi the standard normal distribution function (Hendrycks and Gimpel 2016)."""
    return unary("gelu", x, out, backend)


@remembered
def gelu_tanh(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, the approximation in Hendrycks and Gimpel 2016."""
    return unary("gelu_tanh", x, out, backend)


@remembered
def silu(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """y = x sigmoid(x), also called swish (Elfwing, Uchibe and Doya 2018)."""
    return unary("silu", x, out, backend)


@remembered
def sigmoid(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """y = 1 / (1 + exp(-x))."""
    return unary("sigmoid", x, out, backend)


@remembered
def tanh(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    return unary("tanh", x, out, backend)


@remembered
def softplus(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """y = log(1 + exp(x)), computed as max(x, 0) + log(1 + exp(-|x|)) (Dugas et al. 2001)."""
    return unary("softplus", x, out, backend)


@remembered
def selu(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """y = 1.0507 x where x > 0, else 1.0507 * 1.6733 (exp(x) - 1) (Klambauer et al. 2017).

    The factors, which keep mean 0 and variance 1 from layer to layer, are 1.0507009873554805 and 1.6732632423543772.
    """
    return unary("selu", x, out, backend)


@remembered
def softsign(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """y = x / (1 + |x|) (Bergstra et al. 2009)."""
    return unary("softsign", x, out, backend)


@remembered
def hard_sigmoid(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """y = min(max(x + 3, 0), 6) / 6, as in PyTorch and Keras 3 (Howard et al. 2019)."""
    return unary("hard_sigmoid", x, out, backend)


@remembered
def hard_swish(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """y = x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)."""
    return unary("hard_swish", x, out, backend)


@remembered
def mish(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """y = x tanh(log(1 + exp(x))) (Misra 2019)."""
    return unary("mish", x, out, backend)


@remembered
def softmax(x: Any, axis: int = -1, *, out: Any = None, backend: str | None = None) -> Any:
    """y = exp(x - max x) / sum exp(x - max x) along an axis (Bridle 1990)."""
    return _rowwise("softmax", (x,), axis, out, backend)


@remembered
def log_softmax(x: Any, axis: int = -1, *, out: Any = None, backend: str | None = None) -> Any:
    """y = x - max x - log sum exp(x - max x) along an axis."""
    return _rowwise("log_softmax", (x,), axis, out, backend)


@remembered
def softmax_backward(dy: Any, y: Any, axis: int = -1, *, out: Any = None, backend: str | None = None) -> Any:
    """dx = y (dy - sum(dy y)) along an axis."""
    return _rowwise("softmax_backward", (dy, y), axis, out, backend)


@remembered
def log_softmax_backward(dy: Any, y: Any, axis: int = -1, *, out: Any = None, backend: str | None = None) -> Any:
    """dx = dy - exp(y) sum(dy) along an axis."""
    return _rowwise("log_softmax_backward", (dy, y), axis, out, backend)


def _rowwise(name: str, inputs: tuple[Any, ...], axis: int, out: Any, backend: str | None) -> Any:
    """Run an op over rows (o, r) along any axis of its inputs, which have one shape."""
    shape = shape_of(inputs[0])
    rank = len(shape)
    if not -rank <= axis < rank:
        checks.fail(checks.ShapeError, name, "axis", f"an axis of an array with {rank} dimensions", axis)
    for other in inputs[1:]:
        if shape_of(other) != shape:
            checks.fail(checks.ShapeError, name, "y", f"shape {shape}", shape_of(other))
    if axis % rank != rank - 1:
        if out is not None:
            checks.fail(checks.LayoutError, name, "out", "None unless axis is the last", f"axis {axis}")
        order = (*(a for a in range(rank) if a != axis % rank), axis % rank)
        back = tuple(sorted(range(rank), key=order.__getitem__))
        moved = tuple(transpose(x, order, backend=backend) for x in inputs)
        return transpose(_rowwise(name, moved, -1, None, backend), back, backend=backend)
    rows = (prod(shape[:-1]), shape[-1])
    y = apply(name, *(reshape_any(x, rows) for x in inputs), out=flat_out(out, shape, rows, name), backend=backend)
    return reshape_any(y, shape) if out is None else out


def _backward(activation: str) -> Callable[..., Any]:
    """The public gradient of an elementwise activation."""
    name = f"{activation}_backward"

    def backward(dy: Any, saved: Any, *, out: Any = None, backend: str | None = None, **params: float) -> Any:
        shape = shape_of(dy)
        if shape_of(saved) != shape:
            checks.fail(checks.ShapeError, name, SAVED[activation], f"shape {shape}", shape_of(saved))
        unknown = set(params) - ({"alpha"} if activation in ALPHA else set())
        if unknown:
            raise TypeError(f"{name}() got an unexpected keyword argument {unknown.pop()!r}")
        flat = flat_out(out, shape, (-1,), name)
        dx = apply(name, reshape_any(dy, (-1,)), reshape_any(saved, (-1,)), out=flat, backend=backend, **params)
        return reshape_any(dx, shape) if out is None else out

    backward.__name__ = backward.__qualname__ = name
    backward.__doc__ = f"Gradient of `{activation}` by x, from dy and its saved {SAVED[activation]}, of one shape."
    return remembered(backward)


linear_backward = _backward("linear")
relu_backward = _backward("relu")
leaky_relu_backward = _backward("leaky_relu")
elu_backward = _backward("elu")
gelu_backward = _backward("gelu")
gelu_tanh_backward = _backward("gelu_tanh")
silu_backward = _backward("silu")
sigmoid_backward = _backward("sigmoid")
tanh_backward = _backward("tanh")
softplus_backward = _backward("softplus")
selu_backward = _backward("selu")
softsign_backward = _backward("softsign")
hard_sigmoid_backward = _backward("hard_sigmoid")
hard_swish_backward = _backward("hard_swish")
mish_backward = _backward("mish")
