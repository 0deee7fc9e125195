"""Elementwise primitives, with NumPy's broadcasting."""

from __future__ import annotations

from numbers import Real
from typing import Any

from fastnn.ops.dispatch import apply, flat_out, remembered, reshape_any, shape_of
from fastnn.ops.shapes import broadcast


def unary(name: str, x: Any, out: Any, backend: str | None, **params: Any) -> Any:
    """Run an op of signature ``x(n) -> y(n)`` on an array of any shape."""
    shape = shape_of(x)
    y = apply(name, reshape_any(x, (-1,)), out=flat_out(out, shape, (-1,), name), backend=backend, **params)
    return reshape_any(y, shape) if out is None else out


def binary(name: str, a: Any, b: Any, out: Any, backend: str | None) -> Any:
    """Run an op of signature ``a(n), b(n) -> y(n)`` on two arrays that broadcast."""
    a, b, shape = broadcast(name, a, b, backend)
    flat = flat_out(out, shape, (-1,), name)
    y = apply(name, reshape_any(a, (-1,)), reshape_any(b, (-1,)), out=flat, backend=backend)
    return reshape_any(y, shape) if out is None else out


@remembered
def add(a: Any, b: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """a + b, elementwise."""
    for x, number in ((a, b), (b, a)):
        if isinstance(number, Real) and hasattr(x, "dtype") and shape_of(x):
            return unary("affine", x, out, backend, shift=float(number))
    return binary("add", a, b, out, backend)


@remembered
def subtract(a: Any, b: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """a - b, elementwise."""
    if isinstance(b, Real) and hasattr(a, "dtype") and shape_of(a):
        return unary("affine", a, out, backend, shift=-float(b))
    if isinstance(a, Real) and hasattr(b, "dtype") and shape_of(b):
        return unary("affine", b, out, backend, scale=-1.0, shift=float(a))
    return binary("subtract", a, b, out, backend)


@remembered
def multiply(a: Any, b: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """a * b, elementwise."""
    for x, number in ((a, b), (b, a)):
        if isinstance(number, Real) and hasattr(x, "dtype") and shape_of(x):
            return unary("affine", x, out, backend, scale=float(number))
    return binary("multiply", a, b, out, backend)


@remembered
def divide(a: Any, b: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """a / b, elementwise; a division by zero gives an infinity or NaN, as IEEE 754 has it."""
    return binary("divide", a, b, out, backend)


@remembered
def power(a: Any, b: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """a ** b, elementwise; NaN for a negative `a` and a `b` that is not whole."""
    return binary("power", a, b, out, backend)


@remembered
def maximum(a: Any, b: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """The larger of a and b, elementwise; NaN where either is NaN. Equal arguments share the gradient."""
    return binary("maximum", a, b, out, backend)


@remembered
def prelu(x: Any, slope: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """x where it is positive, else slope * x (He et al. 2015).

    Parameters
    ----------
    x : array_like
    slope : array_like
        Broadcast with x: one number, or one for each channel on the last axis.
    """
    return binary("prelu", x, slope, out, backend)


@remembered
def affine(x: Any, scale: float = 1.0, shift: float = 0.0, *, out: Any = None, backend: str | None = None) -> Any:
    """scale * x + shift for two numbers."""
    return unary("affine", x, out, backend, scale=scale, shift=shift)


@remembered
def negative(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """-x."""
    return unary("affine", x, out, backend, scale=-1.0)


@remembered
def exp(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """e ** x."""
    return unary("exp", x, out, backend)


@remembered
def log(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """Natural logarithm; -inf at 0, NaN below."""
    return unary("log", x, out, backend)


@remembered
def sin(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """Sine of x in radians."""
    return unary("sin", x, out, backend)


@remembered
def cos(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """Cosine of x in radians."""
    return unary("cos", x, out, backend)


@remembered
def sqrt(x: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """Square root; NaN below 0."""
    return unary("sqrt", x, out, backend)
