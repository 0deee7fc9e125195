"""Public ops: arrays in and out, or tensors of a program being recorded.

Every op takes float32 or float64 arrays of any layout (numbers and lists too) and returns a new C-contiguous array, or
writes into `out`. `backend=` chooses where it runs. Errors: `fastnn.checks`.
"""

from fastnn.ops.activations import (
    elu,
    elu_backward,
    gelu,
    gelu_backward,
    gelu_tanh,
    gelu_tanh_backward,
    hard_sigmoid,
    hard_sigmoid_backward,
    hard_swish,
    hard_swish_backward,
    leaky_relu,
    leaky_relu_backward,
    linear,
    linear_backward,
    log_softmax,
    log_softmax_backward,
    mish,
    mish_backward,
    relu,
    relu_backward,
    selu,
    selu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softmax,
    softmax_backward,
    softplus,
    softplus_backward,
    softsign,
    softsign_backward,
    tanh,
    tanh_backward,
)
from fastnn.ops.dispatch import apply
from fastnn.ops.elementwise import (
    add,
    affine,
    cos,
    divide,
    exp,
    log,
    maximum,
    multiply,
    negative,
    power,
    prelu,
    sin,
    sqrt,
    subtract,
)
from fastnn.ops.losses import (
    binary_cross_entropy,
    categorical_cross_entropy,
    hinge,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_squared_error,
    poisson,
    softmax_cross_entropy,
    sparse_categorical_cross_entropy,
    sparse_softmax_cross_entropy,
    squared_hinge,
)
from fastnn.ops.matmul import bias_add, dense, dense_backward, matmul
from fastnn.ops.normalization import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    layer_norm,
    layer_norm_backward,
)
from fastnn.ops.optimizers import (
    adadelta_update,
    adagrad_update,
    adam_update,
    adamax_update,
    lion_update,
    nadam_update,
    radam_update,
    rmsprop_update,
    sgd_update,
)
from fastnn.ops.random import alpha_dropout, dropout, gaussian_dropout, gaussian_noise
from fastnn.ops.reductions import argmax, clip_by_global_norm, count_equal, mean, norm, sum
from fastnn.ops.regularization import clip_by_value, max_norm, penalty, soft_threshold
from fastnn.ops.shapes import broadcast_to, reshape, transpose

__all__ = [
    "adadelta_update", "adagrad_update", "adam_update", "adamax_update", "add", "affine", "alpha_dropout", "apply",
    "argmax", "batch_norm", "batch_norm_backward", "batch_norm_inference", "bias_add", "binary_cross_entropy",
    "broadcast_to", "categorical_cross_entropy", "clip_by_global_norm", "clip_by_value", "cos", "count_equal", "dense",
    "dense_backward", "divide", "dropout", "elu", "elu_backward", "exp", "gaussian_dropout", "gaussian_noise", "gelu",
    "gelu_backward", "gelu_tanh", "gelu_tanh_backward", "hard_sigmoid", "hard_sigmoid_backward", "hard_swish",
    "hard_swish_backward", "hinge", "huber", "layer_norm", "layer_norm_backward", "leaky_relu", "leaky_relu_backward",
    "linear", "linear_backward", "lion_update", "log", "log_cosh", "log_softmax", "log_softmax_backward", "matmul",
    "max_norm", "maximum", "mean", "mean_absolute_error", "mean_squared_error", "mish", "mish_backward", "multiply",
    "nadam_update", "negative", "norm", "penalty", "poisson", "power", "prelu", "radam_update", "relu", "relu_backward",
    "reshape", "rmsprop_update", "selu", "selu_backward", "sgd_update", "sigmoid", "sigmoid_backward", "silu",
    "silu_backward", "sin", "soft_threshold", "softmax", "softmax_backward", "softmax_cross_entropy", "softplus",
    "softplus_backward", "softsign", "softsign_backward", "sparse_categorical_cross_entropy",
    "sparse_softmax_cross_entropy", "sqrt", "squared_hinge", "subtract", "sum", "tanh", "tanh_backward", "transpose",
]  # fmt: skip
