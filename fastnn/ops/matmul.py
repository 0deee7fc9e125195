"""Matrix products."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

from fastnn import checks
from fastnn.ops.dispatch import apply, flat_out, remembered, reshape_any, shape_of
from fastnn.precision import get_matmul_precision, resolved
from fastnn.program import Tensor
from fastnn.table import ACTIVATIONS, ALPHA, SAVED

#: What is remembered of a product holds for the precision in effect.
product = partial(remembered, policy=get_matmul_precision)


@product
def matmul(
    a: Any,
    b: Any,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    accumulate: bool = False,
    precision: str | None = None,
    out: Any = None,
    backend: str | None = None,
) -> Any:
    """Matrix product a @ b of two matrices, or of a matrix and a vector.

    Some backends take float16 and bfloat16 too, and add up in float32 (docs/support.md).

    Parameters
    ----------
    a : array_like of shape (m, k), or (k, m) with `transpose_a`, or (k,)
    b : array_like of shape (k, n), or (n, k) with `transpose_b`, or (k,)
    accumulate : bool
        Add the product to `out`, which must then be given.
    precision : {"float32", "bf16x3", "bf16", "tf32"}, optional
        How precise float32 has to be; by default as `set_matmul_precision` and `matmul_precision` say.
    out : array of shape (m, n), optional

    Returns
    -------
    array of shape (m, n); (n,), (m,) or () where an argument is a vector

    Raises
    ------
    ShapeError
        If the inner dimensions differ or an argument has more than two dimensions.
    """
    for name, flag in (("transpose_a", transpose_a), ("transpose_b", transpose_b), ("accumulate", accumulate)):
        checks.option("matmul", name, flag, (False, True))
    shapes = shape_of(a), shape_of(b)
    for name, shape in zip("ab", shapes, strict=True):
        if len(shape) not in (1, 2):
            checks.fail(checks.ShapeError, "matmul", name, "one or two dimensions", shape)
    if accumulate and out is None:
        checks.fail(ValueError, "matmul", "out", "an array to accumulate into", None)
    # A vector is a row on the left and a column on the right, and its dimension is dropped from the result.
    result = []
    if len(shapes[0]) == 1:
        a, transpose_a = reshape_any(a, (1, -1)), False
    else:
        result.append(shapes[0][transpose_a])
    if len(shapes[1]) == 1:
        b, transpose_b = reshape_any(b, (-1, 1)), False
    else:
        result.append(shapes[1][not transpose_b])
    matrix = (shape_of(a)[bool(transpose_a)], shape_of(b)[not transpose_b])
    y = apply(
        "matmul",
        a,
        b,
        out=flat_out(out, tuple(result), matrix, "matmul"),
        backend=backend,
        transpose_a=bool(transpose_a),
        transpose_b=bool(transpose_b),
        accumulate=bool(accumulate),
        precision=resolved("matmul", precision),
    )
    return reshape_any(y, tuple(result)) if out is None else out


@remembered
def bias_add(x: Any, bias: Any, *, out: Any = None, backend: str | None = None) -> Any:
    """x + bias for x of shape (..., o) and bias of shape (o,)."""
    shape = shape_of(x)
    if not shape:
        checks.fail(checks.ShapeError, "bias_add", "x", "at least one dimension", shape)
    rows = (prod(shape[:-1]), shape[-1])
    y = apply("bias_add", reshape_any(x, rows), bias, out=flat_out(out, shape, rows, "bias_add"), backend=backend)
    return reshape_any(y, shape) if out is None else out


@product
def dense(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    activation: str = "linear",
    alpha: float | None = None,
    precision: str | None = None,
    out: Any = None,
    backend: str | None = None,
) -> Any:
    """activation(x @ w + b), in one pass. Takes the dtypes that `matmul` takes.

    Parameters
    ----------
    x : array_like of shape (..., i)
    w : array_like of shape (i, o)
    b : array_like of shape (o,), optional
    activation : str
        An elementwise activation: linear, relu, leaky_relu, elu, gelu, gelu_tanh, silu, sigmoid, tanh, softplus,
        selu, softsign, hard_sigmoid, hard_swish, mish.
    alpha : float, optional
        Parameter of leaky_relu (0.01) or elu (1.0), not negative.
    precision : {"float32", "bf16x3", "bf16", "tf32"}, optional
        As for `matmul`.
    out : array of shape (..., o), optional
    """
    checks.option("dense", "activation", activation, ACTIVATIONS)
    alpha = ALPHA.get(activation, 0.0) if alpha is None else alpha
    checks.interval("dense", "alpha", alpha, 0, float("inf"), "left")
    shape = shape_of(x)
    if not shape or len(shape_of(w)) != 2:
        checks.fail(checks.ShapeError, "dense", "x, w", "shapes (..., i) and (i, o)", (shape, shape_of(w)))
    rows, result = prod(shape[:-1]), (*shape[:-1], shape_of(w)[1])
    y = apply(
        "dense",
        reshape_any(x, (rows, shape[-1])),
        w,
        b,
        out=flat_out(out, result, (rows, result[-1]), "dense"),
        backend=backend,
        activation=activation,
        alpha=alpha,
        precision=resolved("dense", precision),
        want=("pre",) if _record_pre(x, w, b, activation) else (),
    )
    y = y[0] if isinstance(y, tuple) else y
    return reshape_any(y, result) if out is None else out


@product
def dense_backward(
    dy: Any,
    x: Any,
    w: Any,
    saved: Any = None,
    *,
    activation: str = "linear",
    alpha: float | None = None,
    precision: str | None = None,
    backend: str | None = None,
) -> tuple[Any, Any, Any]:
    """Gradients of `dense` by x, w and b.

    Parameters
    ----------
    dy : array_like of shape (b, o)
        Gradient by the output.
    x, w : array_like of shape (b, i) and (i, o)
    saved : array_like of shape (b, o), optional
        The output, or for gelu, gelu_tanh, silu, softsign, hard_swish and mish what went into the activation; not
        needed for linear.
    precision : {"float32", "bf16x3", "bf16", "tf32"}, optional
        As for `matmul`.

    Returns
    -------
    dx, dw, db : arrays of shape (b, i), (i, o) and (o,)
    """
    checks.option("dense_backward", "activation", activation, ACTIVATIONS)
    if activation != "linear" and saved is None:
        checks.fail(checks.ShapeError, "dense_backward", "saved", "an array of shape (b, o)", None)
    alpha = ALPHA.get(activation, 0.0) if alpha is None else alpha
    return apply(
        "dense_backward",
        dy,
        x,
        w,
        saved,
        activation=activation,
        alpha=alpha,
        precision=resolved("dense_backward", precision),
        want=("dx", "dbias"),
        backend=backend,
    )


def _record_pre(x: Any, w: Any, b: Any, activation: str) -> bool:
    """Whether a recorded call keeps what went into the activation, for its gradient."""
    return SAVED[activation] == "x" and any(isinstance(v, Tensor) for v in (x, w, b))
