"""fastnn: compiled neural-network kernels with a thin Python API."""

from __future__ import annotations

__version__ = "0.1.0"

from importlib import import_module
from typing import Any

#: Public names and the modules that define them; imported when first used.
_NAMES = {
    "fastnn.autodiff": ("check_gradients", "custom_gradient", "grad", "trace", "value_and_grad"),
    "fastnn.backends": ("available_backends", "to_device", "to_host", "use_backend"),
    "fastnn.threadcount": ("get_num_threads", "set_num_threads", "threads"),
    "fastnn.precision": ("get_matmul_precision", "matmul_precision", "set_matmul_precision"),
    "fastnn.program": ("Program", "Tensor"),
    "fastnn.checks": ("DataError", "DtypeError", "LayoutError", "ShapeError", "UnsupportedOp"),
    "fastnn.model": ("Sequential",),
    "fastnn.saving": ("FileError", "load"),
    "fastnn.guard": ("NonFiniteLoss",),
    "fastnn.layers": (
        "Activation", "AlphaDropout", "BatchNormalization", "Dense", "Dropout", "Flatten", "GaussianDropout",
        "GaussianNoise", "LayerNormalization", "Maxout", "PReLU",
    ),
    "fastnn.range_test": ("learning_rate_range_test",),
    "fastnn.regularizers": ("L1", "L1L2", "L2"),
    "fastnn.constraints": ("MaxNorm",),
    "fastnn.optimizers": (
        "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "NAdam", "RAdam", "RMSprop",
    ),
    "fastnn.losses": (
        "BinaryCrossEntropy", "CrossEntropy", "Hinge", "Huber", "KLDivergence", "LogCosh", "MeanAbsoluteError",
        "MeanSquaredError", "Poisson", "SquaredHinge",
    ),
    "fastnn.callbacks": (
        "CSVLogger", "Callback", "Convergence", "EarlyStopping", "History", "LambdaCallback",
        "LearningRateScheduler", "ModelCheckpoint", "ReduceLROnPlateau", "TensorBoard",
    ),
    "fastnn.config": ("config_report", "show_config"),
    "fastnn.ops": (
        "add", "broadcast_to", "cos", "divide", "exp", "log", "matmul", "maximum", "mean", "multiply", "negative",
        "power", "reshape", "sin", "sqrt", "subtract", "sum", "transpose",
    ),
}  # fmt: skip
_MODULES = (
    "autodiff", "backends", "callbacks", "checks", "constraints", "datasets", "initializers", "layers", "losses",
    "metrics", "ops", "optimizers", "plots", "preprocessing", "program", "regularizers", "schedules", "table",
)  # fmt: skip
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["__version__", *_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in _MODULES:
        value = import_module(f"fastnn.{name}")
    else:
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
