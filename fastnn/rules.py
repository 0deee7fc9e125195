"""How each op is differentiated: one rule per op.

A rule takes a recorded call, which of its inputs need a gradient, and the gradient by its first output; it records the
calls that compute the gradients by its inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from fastnn import ops
from fastnn.ops.dispatch import apply
from fastnn.program import Call, Custom, Tensor
from fastnn.table import ACTIVATIONS, SAVED, TABLE

Gradients = tuple[Tensor | None, ...]
Rule = Callable[[Call, tuple[bool, ...], Tensor], Gradients]


def zeros(tensor: Tensor) -> Tensor:
    """A constant of a tensor's shape and dtype."""
    return tensor.program.constant(np.zeros(tensor.shape, tensor.dtype))


def _add(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    return dy, dy


def _subtract(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    return dy, ops.negative(dy) if needs[1] else None


def _multiply(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    a, b = call.inputs
    return dy * b if needs[0] else None, dy * a if needs[1] else None


def _divide(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    _, b = call.inputs
    da = dy / b
    return da, ops.negative(da * call.outputs[0]) if needs[1] else None


def _maximum(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    return apply("maximum_backward", dy, *call.inputs)


def _prelu(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    return apply("prelu_backward", dy, *call.inputs)


def _masked(x: Tensor, mask: Tensor) -> Tensor:
    """x, and zero where the mask is not above zero; no gradient goes through the mask."""
    y = ops.relu_backward(x, mask)
    x.program.calls[-1].custom = Custom((x,), y, lambda dy, *_: _masked(dy, mask))
    return y


def _power(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    """d(a^b) = b a^(b-1) da + a^b log(a) db.

    Where b = 0 the first, and where a = 0 <= b the second, is zero instead of 0 * infinity, as in PyTorch.
    """
    a, b = call.inputs
    assert a is not None and b is not None
    da = dy * b * a ** _masked(b - 1.0, abs(b)) if needs[0] else None
    db = _masked(dy * call.outputs[0] * ops.log(a), ops.maximum(abs(a), -b)) if needs[1] else None
    return da, db


def _affine(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    scale = call.params["scale"]
    return (dy if scale == 1.0 else ops.affine(dy, scale),)


def _exp(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    return (dy * call.outputs[0],)


def _log(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    return (dy / call.inputs[0],)


def _sin(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    return (dy * ops.cos(call.inputs[0]),)


def _cos(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    return (ops.negative(dy * ops.sin(call.inputs[0])),)


def _sqrt(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    return (dy * 0.5 / call.outputs[0],)


def _copy(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    """Sum over the repeated axes (stride 0), then put the others back into the order of their strides."""
    shape, strides = call.params["shape"], call.params["strides"]
    if not call.dims["m"]:
        assert call.inputs[0] is not None
        return (zeros(call.inputs[0]),)
    repeated = tuple(a for a, s in enumerate(strides) if s == 0 and shape[a] > 1)
    kept = [a for a in range(len(shape)) if a not in repeated]
    dx = ops.sum(dy.reshape(shape), repeated) if repeated else dy.reshape([shape[a] for a in kept])
    order = sorted(range(len(kept)), key=lambda i: -strides[kept[i]])
    if order != list(range(len(kept))):
        dx = ops.transpose(dx, order)
    return (dx.reshape(-1),)


def _sum(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    o, r = call.dims["o"], call.dims["r"]
    return (ops.broadcast_to(dy.reshape(o, 1), (o, r)),)


def _column_sum(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    o, r = call.dims["o"], call.dims["r"]
    return (ops.broadcast_to(dy.reshape(1, o), (r, o)),)


def _matmul(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    """For y = a b: da = dy b', db = a' dy; transposed where a or b was stored transposed. As precise as y."""
    a, b = call.inputs
    ta, tb = call.params["transpose_a"], call.params["transpose_b"]
    matmul = partial(ops.matmul, precision=call.params["precision"])
    da = db = None
    if needs[0] and not ta:
        da = matmul(dy, b, transpose_b=not tb)
    elif needs[0]:
        da = matmul(b, dy, transpose_a=tb, transpose_b=True)
    if needs[1] and not tb:
        db = matmul(a, dy, transpose_a=not ta)
    elif needs[1]:
        db = matmul(dy, a, transpose_a=True, transpose_b=ta)
    return da, db


def _bias_add(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    return dy, ops.sum(dy, 0) if needs[1] else None


def _dense(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    x, w, bias = call.inputs
    activation = call.params["activation"]
    saved = None
    if activation != "linear":
        saved = call.outputs[1 if SAVED[activation] == "x" else 0]
    want = ("dx",) * needs[0] + ("dbias",) * (bias is not None and needs[2])
    result = apply("dense_backward", dy, x, w, saved, want=want, **call.params)
    given = dict(zip((*("dx",) * needs[0], "dw", "dbias"), result if want else (result,), strict=False))
    return given.get("dx"), given["dw"], given.get("dbias")


def _dropout(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    """The same op with the same random numbers."""
    return (apply(call.op.name, dy, **call.params),)


def _activation(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    saved = call.inputs[0] if SAVED[call.op.name] == "x" else call.outputs[0]
    return (apply(f"{call.op.name}_backward", dy, saved, **call.params),)


def _linear(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    return (dy,)


def _norm(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    x, gamma = call.inputs[:2]
    mean, rstd = call.outputs[1:]
    want = [name for name, need in zip(("dx", "dgamma", "dbeta"), needs, strict=False) if need]
    result = apply(f"{call.op.name}_backward", dy, x, gamma, mean, rstd, want=tuple(want))
    given = dict(zip(want, result if len(want) > 1 else (result,), strict=True))
    return given.get("dx"), given.get("dgamma"), given.get("dbeta"), *(None,) * (len(needs) - 3)


def _batch_norm_inference(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    """y = (x - mean) rstd gamma + beta with constants mean and rstd = 1 / sqrt(variance + epsilon)."""
    x, gamma, _, mean, variance = call.inputs
    assert x is not None and mean is not None and variance is not None
    rstd = 1.0 / ops.sqrt(variance + call.params["epsilon"])
    dx = dgamma = None
    if needs[0]:
        dx = dy * (rstd if gamma is None else rstd * gamma)
    if needs[1]:
        dgamma = ops.sum(dy * (x - mean), 0) * rstd
    return dx, dgamma, ops.sum(dy, 0) if needs[2] else None, None, None


def _loss(call: Call, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    """The kernel has computed the gradient already; only a seed other than one still scales it."""
    gradient = call.outputs[1]
    assert gradient is not None
    if not (dy.buffer.kind == "constant" and dy.buffer.name.startswith("one")):
        gradient = gradient * ops.broadcast_to(dy.reshape(1, 1), gradient.shape)
    symmetric = call.op.name in ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh")
    return gradient, ops.negative(gradient) if needs[1] and symmetric else None, None


RULES: dict[str, Rule] = {
    "add": _add, "subtract": _subtract, "multiply": _multiply, "divide": _divide, "maximum": _maximum,
    "prelu": _prelu,
    "power": _power, "affine": _affine, "exp": _exp, "log": _log, "sin": _sin, "cos": _cos, "sqrt": _sqrt,
    "copy": _copy, "sum": _sum, "column_sum": _column_sum, "matmul": _matmul, "bias_add": _bias_add,
    "dense": _dense, "dropout": _dropout, "gaussian_dropout": _dropout, "gaussian_noise": _linear,
    "layer_norm": _norm, "batch_norm": _norm,
    "batch_norm_inference": _batch_norm_inference, "softmax": _activation, "log_softmax": _activation,
    **{name: _activation for name in ACTIVATIONS}, "linear": _linear,
    **{name: _loss for name, op in TABLE.items() if op.family == "losses"},
}  # fmt: skip
