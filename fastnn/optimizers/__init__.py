"""Optimizers: one pass over all parameters each, within a model's program or alone on lists of arrays.

Update rules and defaults are PyTorch's where it has the optimizer, but for SGD's learning rate: 0.01 as in Keras, where
PyTorch has 0.001. `learning_rate` may be a number, or a schedule: a `fastnn.schedules.Schedule` or any function of the
number of steps done that returns the next step's learning rate.
"""

from fastnn import registry
from fastnn.optimizers.adam import Adam, Adamax, AdamW, NAdam, RAdam
from fastnn.optimizers.adaptive import Adadelta, Adagrad, RMSprop
from fastnn.optimizers.base import LearningRate, Optimizer
from fastnn.optimizers.descent import SGD, Lion

REGISTRY = registry.Registry(
    "optimizer",
    Optimizer,
    {
        "sgd": SGD, "rmsprop": RMSprop, "adagrad": Adagrad, "adadelta": Adadelta, "adam": Adam, "adamw": AdamW,
        "adamax": Adamax, "nadam": NAdam, "radam": RAdam, "lion": Lion,
    },
)  # fmt: skip

__all__ = [
    "REGISTRY", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "LearningRate", "Lion", "NAdam", "Optimizer",
    "RAdam", "RMSprop",
]  # fmt: skip
