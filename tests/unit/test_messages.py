"""Bad arguments: the right kind of error, in one voice, the same from every backend."""

import numpy as np
import pytest
from odd_arrays import misaligned, read_only

import fastnn as fn
from fastnn import ops

DataError, DtypeError, LayoutError, ShapeError = fn.DataError, fn.DtypeError, fn.LayoutError, fn.ShapeError
F4, F8 = np.float32, np.float64
X, W = np.ones((3, 4), F4), np.ones((4, 5), F4)


def overlapping():
    block = np.ones(20)
    return ops.exp(block[:10], out=block[5:15])


class Foreign:
    """An array with a dtype that NumPy does not know, as PyTorch's tensors have one."""

    dtype, shape = "foreign.float32", (3,)


def updating(**changed):
    arrays = {name: np.ones(6) for name in ("p", "g", "m", "v")} | changed
    return ops.adam_update(*arrays.values())


#: What is called, the error, and its message.
BAD = {
    "inner dimensions": (lambda: ops.matmul(X, X), ShapeError, "matmul: b: expected shape (k=4, n), got (3, 4)"),
    "inner dimensions, transposed": (
        lambda: ops.matmul(X, W, transpose_a=True), ShapeError, "matmul: b: expected shape (k=3, n), got (4, 5)",
    ),
    "no flag": (
        lambda: ops.matmul(X, W, transpose_a="no"), ValueError,
        "matmul: transpose_a: expected one of False, True, got 'no'",
    ),
    "no whole seed": (
        lambda: ops.dropout(X, seed=1.5), TypeError, "dropout: seed: expected an integer, got 1.5",
    ),
    "no whole step": (
        lambda: ops.gaussian_noise(X, step=0.5), TypeError, "gaussian_noise: step: expected an integer, got 0.5",
    ),
    "too many dimensions": (
        lambda: ops.matmul(X, np.ones((2, 4, 5), F4)), ShapeError,
        "matmul: b: expected one or two dimensions, got (2, 4, 5)",
    ),
    "dense weights": (lambda: ops.dense(X, X), ShapeError, "dense: w: expected shape (i=4, o), got (3, 4)"),
    "dense bias": (lambda: ops.dense(X, W, np.ones(4, F4)), ShapeError, "dense: bias: expected shape (o=5,), got (4,)"),
    "broadcast": (
        lambda: ops.add(X, W), ShapeError,
        "add: b: expected a shape that broadcasts with (3, 4), got (4, 5)",
    ),
    "broadcast_to": (
        lambda: ops.broadcast_to(X, (3, 5)), ShapeError,
        "broadcast_to: x: expected a shape that broadcasts to (3, 5), got (3, 4)",
    ),
    "reshape": (lambda: ops.reshape(X, (5, 2)), ShapeError, "reshape: shape: expected 12 elements, got (5, 2)"),
    "transpose": (
        lambda: ops.transpose(X, (0, 0)), ShapeError, "transpose: axes: expected a permutation of 0 to 1, got (0, 0)",
    ),
    "sum axis": (
        lambda: ops.sum(X, 2), ShapeError, "sum: axis: expected distinct axes of an array with 2 dimensions, got 2",
    ),
    "sum axis twice": (
        lambda: ops.sum(X, (1, -1)), ShapeError,
        "sum: axis: expected distinct axes of an array with 2 dimensions, got (1, -1)",
    ),
    "softmax axis": (
        lambda: ops.softmax(X, 2), ShapeError, "softmax: axis: expected an axis of an array with 2 dimensions, got 2",
    ),
    "targets": (
        lambda: ops.mean_squared_error(X, W), ShapeError,
        "mean_squared_error: y_true: expected shape (3, 4), got (4, 5)",
    ),
    "labels' shape": (
        lambda: ops.sparse_softmax_cross_entropy(X, [0, 1]), ShapeError,
        "sparse_softmax_cross_entropy: labels: expected shape (3,), got (2,)",
    ),
    "weights": (
        lambda: ops.huber(X, X, np.ones(4, F4)), ShapeError, "huber: weight: expected shape (b=3,), got (4,)",
    ),
    "saved": (
        lambda: ops.relu_backward(X, W), ShapeError, "relu_backward: y: expected shape (3, 4), got (4, 5)",
    ),
    "integers": (lambda: ops.exp(np.arange(3)), DtypeError, "exp: x: expected float32 or float64, got int64"),
    "another library's": (
        lambda: ops.apply("exp", Foreign()), DtypeError,
        "exp: x: expected an array of NumPy's, got <class 'test_messages.Foreign'>",
    ),
    "complex": (
        lambda: ops.exp(np.ones(3, complex)), DtypeError,
        "exp: x: expected float32 or float64, got complex128",
    ),
    "strings": (lambda: ops.exp(["a"]), DtypeError, "exp: x: expected float64 numbers, got <U1"),
    "mixed": (
        lambda: ops.matmul(X, W.astype(F8)), DtypeError,
        "matmul: b: expected float32 like the arrays before it, got float64",
    ),
    "float labels": (
        lambda: ops.sparse_softmax_cross_entropy(X, np.ones(3)), DtypeError,
        "sparse_softmax_cross_entropy: labels: expected integers, got float64",
    ),
    "label too large": (
        lambda: ops.sparse_softmax_cross_entropy(X, [0, 1, 4]), DataError,
        "sparse_softmax_cross_entropy: labels: expected integers from 0 to 3, got 0 to 4",
    ),
    "negative label": (
        lambda: ops.sparse_softmax_cross_entropy(X, [0, -1, 3]), DataError,
        "sparse_softmax_cross_entropy: labels: expected integers from 0 to 3, got -1 to 3",
    ),
    "no rows": (
        lambda: ops.mean_squared_error(X[:0], X[:0]), DataError,
        "mean_squared_error: y_pred: expected at least one row and one column, got (0, 4)",
    ),
    "argmax of nothing": (
        lambda: ops.argmax(X[:, :0]), DataError, "argmax: x: expected at least one column, got (3, 0)",
    ),
    "out's shape": (
        lambda: ops.matmul(X, W, out=np.empty((3, 4), F4)), ShapeError,
        "matmul: out: expected shape (3, 5), got (3, 4)",
    ),
    "out's dtype": (
        lambda: ops.matmul(X, W, out=np.empty((3, 5), F8)), DtypeError, "matmul: out: expected float32, got float64",
    ),
    "out's byte order": (
        lambda: ops.exp(X, out=np.empty((3, 4), ">f4")), DtypeError, "exp: out: expected float32, got >f4",
    ),
    "out not an array": (lambda: ops.exp(X, out=[0.0]), DtypeError, "exp: out: expected an array, got list"),
    "out not contiguous": (
        lambda: ops.exp(X, out=np.empty((4, 3), F4).T), LayoutError,
        "exp: out: expected a C-contiguous array to write into, got strides (4, 12)",
    ),
    "out read-only": (
        lambda: ops.exp(X, out=read_only(X)), LayoutError,
        "exp: out: expected an array that can be written, got a read-only one",
    ),
    "out misaligned": (
        lambda: ops.exp(X, out=misaligned((3, 4), F4)), LayoutError,
        "exp: out: expected an aligned array to write into, got a misaligned one",
    ),
    "out overlaps": (
        overlapping, LayoutError, "exp: out: expected memory that no input uses, got an array that overlaps an input",
    ),
    "accumulate without out": (
        lambda: ops.matmul(X, W, accumulate=True), ValueError,
        "matmul: out: expected an array to accumulate into, got None",
    ),
    "updated list": (
        lambda: updating(m=[1.0] * 6), DtypeError,
        "adam_update: m: expected an array to update in place, got list",
    ),
    "updated, other dtype": (
        lambda: updating(m=np.ones(6, F4)), DtypeError,
        "adam_update: m: expected float64 like the arrays before it, got float32",
    ),
    "updated, swapped bytes": (
        lambda: updating(m=np.ones(6, ">f8")), DtypeError, "adam_update: m: expected native float64, got >f8",
    ),
    "updated, strided": (
        lambda: updating(v=np.ones(12)[::2]), LayoutError,
        "adam_update: v: expected a C-contiguous array to write into, got strides (16,)",
    ),
    "updated, read-only": (
        lambda: updating(p=read_only(np.ones(6))), LayoutError,
        "adam_update: p: expected an array that can be written, got a read-only one",
    ),
    "updated, other size": (
        lambda: updating(v=np.ones(7)), ShapeError, "adam_update: v: expected shape (n=6,), got (7,)",
    ),
    "activation": (
        lambda: ops.dense(X, W, activation="step"), ValueError,
        "dense: activation: expected one of 'linear', 'relu', 'leaky_relu', 'elu', 'gelu', 'gelu_tanh', 'silu', "
        "'sigmoid', "
        "'tanh', 'softplus', 'selu', 'softsign', 'hard_sigmoid', 'hard_swish', 'mish', got 'step'",
    ),
    "alpha": (lambda: ops.elu(X, alpha=-1.0), ValueError, "elu: alpha: expected a number in [0, inf), got -1.0"),
    "alpha NaN": (
        lambda: ops.leaky_relu(X, alpha=np.nan), ValueError,
        "leaky_relu: alpha: expected a number in [0, inf), got nan",
    ),
    "rate": (lambda: ops.dropout(X, 1.5), ValueError, "dropout: rate: expected a number in [0, 1], got 1.5"),
    "seed": (lambda: ops.dropout(X, seed=-1), ValueError, f"dropout: seed: expected a number in [0, {2**53}), got -1"),
    "stddev": (
        lambda: ops.gaussian_noise(X, -0.5), ValueError,
        "gaussian_noise: stddev: expected a number in [0, inf), got -0.5",
    ),
    "stddev infinite": (
        lambda: ops.gaussian_dropout(X, np.inf), ValueError,
        "gaussian_dropout: stddev: expected a number in [0, inf), got inf",
    ),
    "alpha_dropout's rate": (
        lambda: ops.alpha_dropout(X, 1.0), ValueError, "alpha_dropout: rate: expected a number in [0, 1), got 1.0",
    ),
    "step": (
        lambda: ops.alpha_dropout(X, step=2**32), ValueError,
        f"alpha_dropout: step: expected a number in [0, {2**32}), got {2**32}",
    ),
    "slopes": (
        lambda: ops.prelu(X, np.ones(3, F4)), ShapeError,
        "prelu: b: expected a shape that broadcasts with (3, 4), got (3,)",
    ),
    "delta": (lambda: ops.huber(X, X, delta=0.0), ValueError, "huber: delta: expected a number in (0, inf), got 0.0"),
    "smoothing": (
        lambda: ops.softmax_cross_entropy(X, X, label_smoothing=2), ValueError,
        "softmax_cross_entropy: label_smoothing: expected a number in [0, 1], got 2",
    ),
    "max_norm": (
        lambda: ops.clip_by_global_norm([np.ones(3)], 0), ValueError,
        "clip_by_global_norm: max_norm: expected a number in (0, inf], got 0",
    ),
    "gradients": (
        lambda: ops.clip_by_global_norm([[1.0, 2.0]], 1.0), DtypeError,
        "clip_by_global_norm: gradients: expected an array to update in place, got list",
    ),
    "no number": (lambda: ops.add(X, None), DtypeError, "add: b: expected float32 numbers, got object"),
    "text": (lambda: ops.prelu(X, "a"), DtypeError, "prelu: b: expected float32 numbers, got <U1"),
    "unknown parameter": (
        lambda: ops.sgd_update(np.ones(3), np.ones(3), lr=0.1), TypeError,
        "sgd_update() got an unexpected keyword argument 'lr'",
    ),
    "copy out of bounds": (
        lambda: ops.apply("copy", np.ones(5), shape=(1,) * 7 + (6,), strides=(0,) * 7 + (1,)), ShapeError,
        "copy: strides: expected places within 5 elements, got (0, 0, 0, 0, 0, 0, 0, 1)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("call, error, message", BAD.values(), ids=list(BAD))
def test_message(backend, call, error, message):
    with fn.use_backend(backend), pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
    assert type(caught.value) is error
