"""Optimizers under test with PyTorch's counterparts: the same rule, the same defaults, other names."""

from __future__ import annotations

from typing import Any

import fastnn as fn

#: Class name and arguments by a short description. Every state array and every flag of the update ops occurs.
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"learning_rate": 0.05}),
    "sgd, weight decay": ("SGD", {"learning_rate": 0.05, "weight_decay": 1e-2}),
    "sgd, momentum": ("SGD", {"learning_rate": 0.02, "momentum": 0.9}),
    "sgd, nesterov": ("SGD", {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}),
    "rmsprop": ("RMSprop", {"learning_rate": 1e-3}),
    "rmsprop, weight decay": ("RMSprop", {"learning_rate": 1e-3, "rho": 0.9, "weight_decay": 1e-2}),
    "rmsprop, momentum": ("RMSprop", {"learning_rate": 5e-4, "momentum": 0.8}),
    "rmsprop, centered": ("RMSprop", {"learning_rate": 1e-3, "centered": True}),
    "rmsprop, centered, momentum": ("RMSprop", {"learning_rate": 5e-4, "centered": True, "momentum": 0.5}),
    "adam": ("Adam", {"learning_rate": 1e-3}),
    "adam, weight decay": ("Adam", {"learning_rate": 2e-3, "weight_decay": 1e-2, "beta_1": 0.8, "beta_2": 0.99}),
    "adam, amsgrad": ("Adam", {"learning_rate": 1e-3, "amsgrad": True}),
    "adamw": ("AdamW", {"learning_rate": 1e-3}),
    "adamw, amsgrad": ("AdamW", {"learning_rate": 1e-3, "weight_decay": 0.1, "epsilon": 1e-6, "amsgrad": True}),
}
_NAMES = {"learning_rate": "lr", "epsilon": "eps", "rho": "alpha"}


def ours(description: str) -> fn.optimizers.Optimizer:
    """Our optimizer."""
    name, arguments = OPTIMIZERS[description]
    return getattr(fn, name)(**arguments)


def pytorchs(description: str, parameters: list) -> Any:
    """PyTorch's optimizer of these parameters."""
    import torch

    name, arguments = OPTIMIZERS[description]
    arguments = dict(arguments)
    if "beta_1" in arguments:
        arguments["betas"] = (arguments.pop("beta_1"), arguments.pop("beta_2"))
    return getattr(torch.optim, name)(parameters, **{_NAMES.get(k, k): v for k, v in arguments.items()})
