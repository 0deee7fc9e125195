"""Optimizers under test with their counterparts: the same rule, the same defaults, other names.

The counterparts are PyTorch's; what it lacks is written down here from the papers, in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import fastnn as fn

#: Class name and arguments by a short description. Every state array and every flag of the update ops occurs.
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"learning_rate": 0.05}),
    "sgd, weight decay": ("SGD", {"learning_rate": 0.05, "weight_decay": 1e-2}),
    "sgd, momentum": ("SGD", {"learning_rate": 0.02, "momentum": 0.9}),
    "sgd, nesterov": ("SGD", {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}),
    "sgd, dampening": ("SGD", {"learning_rate": 0.04, "momentum": 0.8, "dampening": 0.3}),
    "rmsprop": ("RMSprop", {"learning_rate": 1e-3}),
    "rmsprop, weight decay": ("RMSprop", {"learning_rate": 1e-3, "rho": 0.9, "weight_decay": 1e-2}),
    "rmsprop, momentum": ("RMSprop", {"learning_rate": 5e-4, "momentum": 0.8}),
    "rmsprop, nesterov": ("RMSprop", {"learning_rate": 5e-4, "momentum": 0.8, "nesterov": True}),
    "rmsprop, centered": ("RMSprop", {"learning_rate": 1e-3, "centered": True}),
    "rmsprop, centered, momentum": ("RMSprop", {"learning_rate": 5e-4, "centered": True, "momentum": 0.5}),
    "rmsprop, centered, nesterov": (
        "RMSprop", {"learning_rate": 5e-4, "centered": True, "momentum": 0.5, "nesterov": True, "weight_decay": 1e-2},
    ),
    "adagrad": ("Adagrad", {"learning_rate": 0.01}),
    "adagrad, decays": (
        "Adagrad",
        {"learning_rate": 0.02, "lr_decay": 1e-2, "epsilon": 1e-6, "weight_decay": 1e-2,
         "initial_accumulator_value": 0.1},
    ),
    "adadelta": ("Adadelta", {}),
    "adadelta, weight decay": ("Adadelta", {"learning_rate": 0.5, "rho": 0.8, "epsilon": 1e-5, "weight_decay": 1e-2}),
    "adam": ("Adam", {"learning_rate": 1e-3}),
    "adam, weight decay": ("Adam", {"learning_rate": 2e-3, "weight_decay": 1e-2, "beta_1": 0.8, "beta_2": 0.99}),
    "adam, amsgrad": ("Adam", {"learning_rate": 1e-3, "amsgrad": True}),
    "adam, uncorrected": ("Adam", {"learning_rate": 1e-3, "bias_correction": False}),
    "adamw": ("AdamW", {"learning_rate": 1e-3}),
    "adamw, amsgrad": ("AdamW", {"learning_rate": 1e-3, "weight_decay": 0.1, "epsilon": 1e-6, "amsgrad": True}),
    "adamax": ("Adamax", {}),
    "adamax, weight decay": (
        "Adamax", {"learning_rate": 1e-3, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6, "weight_decay": 1e-2},
    ),
    "nadam": ("NAdam", {}),
    "nadam, weight decay": (
        "NAdam", {"learning_rate": 1e-3, "beta_1": 0.8, "beta_2": 0.99, "weight_decay": 1e-2, "momentum_decay": 0.05},
    ),
    "nadam, decoupled": ("NAdam", {"learning_rate": 1e-3, "weight_decay": 0.1, "epsilon": 1e-6, "decoupled": True}),
    "radam": ("RAdam", {"learning_rate": 1e-3}),
    "radam, weight decay": ("RAdam", {"learning_rate": 2e-3, "beta_1": 0.8, "beta_2": 0.99, "weight_decay": 1e-2}),
    "radam, decoupled": ("RAdam", {"learning_rate": 1e-3, "weight_decay": 0.1, "epsilon": 1e-6, "decoupled": True}),
    "lion": ("Lion", {"learning_rate": 1e-3}),
    "lion, weight decay": ("Lion", {"learning_rate": 5e-4, "beta_1": 0.8, "beta_2": 0.95, "weight_decay": 0.1}),
}  # fmt: skip
_NAMES = {
    "learning_rate": "lr", "epsilon": "eps", "rho": "alpha", "decoupled": "decoupled_weight_decay",
}  # fmt: skip


def ours(description: str) -> fn.optimizers.Optimizer:
    """Our optimizer."""
    name, arguments = OPTIMIZERS[description]
    return getattr(fn, name)(**arguments)


def peers(description: str, parameters: list) -> Any:
    """The counterpart that updates these PyTorch tensors from their gradients when its `step` is called."""
    import torch

    name, arguments = OPTIMIZERS[description]
    if description in TRANSCRIBED:
        return Transcribed(TRANSCRIBED[description], parameters, ours(description).config())
    arguments = dict(arguments)
    if "beta_1" in arguments or "beta_2" in arguments:
        arguments["betas"] = (arguments.pop("beta_1"), arguments.pop("beta_2"))
    names = _NAMES | ({"rho": "rho"} if name == "Adadelta" else {})
    return getattr(torch.optim, name)(parameters, **{names.get(k, k): v for k, v in arguments.items()})


@contextmanager
def float64_scalars() -> Iterator[None]:
    """Let PyTorch keep what depends on the step alone, such as NAdam's product of momenta, in float64."""
    import torch

    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(kept)


# --- what PyTorch lacks ----------------------------------------------------------------------------------


class Transcribed:
    """An optimizer with PyTorch's interface: a rule, applied to each parameter's memory."""

    def __init__(self, rule: Callable[..., None], parameters: list, arguments: dict[str, Any]) -> None:
        self.rule, self.parameters, self.arguments = rule, parameters, arguments
        self.states: list[dict[str, np.ndarray]] = [{} for _ in parameters]
        self.steps = 0

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        self.steps += 1
        for p, state in zip(self.parameters, self.states, strict=True):
            self.rule(p.detach().numpy(), p.grad.numpy(), state, self.steps, self.arguments)


def lion(p: np.ndarray, g: np.ndarray, state: dict, step: int, a: dict[str, Any]) -> None:
    """Chen et al. 2023, algorithm 2, line by line."""
    m = state.get("m", np.zeros_like(p))
    c = a["beta_1"] * m + (1 - a["beta_1"]) * g
    p -= a["learning_rate"] * (np.sign(c) + a["weight_decay"] * p)
    state["m"] = a["beta_2"] * m + (1 - a["beta_2"]) * g


def rmsprop_nesterov(p: np.ndarray, g: np.ndarray, state: dict, step: int, a: dict[str, Any]) -> None:
    """Graves 2013, equations 38 to 40, with epsilon outside the root, and the momentum of Sutskever et al. 2013."""
    g = g + a["weight_decay"] * p
    zero = np.zeros_like(p)
    n = state["n"] = a["rho"] * state.get("n", zero) + (1 - a["rho"]) * g**2
    mean = state["mean"] = a["rho"] * state.get("mean", zero) + (1 - a["rho"]) * g
    d = g / (np.sqrt(n - mean**2 if a["centered"] else n) + a["epsilon"])
    v = state["v"] = a["momentum"] * state.get("v", zero) + d
    p -= a["learning_rate"] * (a["momentum"] * v + d)


def adam_uncorrected(p: np.ndarray, g: np.ndarray, state: dict, step: int, a: dict[str, Any]) -> None:
    """Kingma and Ba 2015, algorithm 1, without the division of the moments by 1 - beta^t."""
    zero = np.zeros_like(p)
    m = state["m"] = a["beta_1"] * state.get("m", zero) + (1 - a["beta_1"]) * g
    v = state["v"] = a["beta_2"] * state.get("v", zero) + (1 - a["beta_2"]) * g**2
    p -= a["learning_rate"] * m / (np.sqrt(v) + a["epsilon"])


#: Rules of the optimizers that PyTorch has not, or not with these options.
TRANSCRIBED: dict[str, Callable[..., None]] = {
    "lion": lion, "lion, weight decay": lion, "adam, uncorrected": adam_uncorrected,
    "rmsprop, nesterov": rmsprop_nesterov, "rmsprop, centered, nesterov": rmsprop_nesterov,
}  # fmt: skip
