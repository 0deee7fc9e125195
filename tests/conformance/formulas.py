"""The elementwise ops in arbitrary precision: what float64 kernels are measured against."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mpmath as mp
import numpy as np


def _sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def _cdf(x):
    x = max(min(x, 200), -200)  # far beyond what any float holds; mpmath refuses 1e300
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _pdf(x):
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def _gate(x):
    """gelu_tanh(x) / x = sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))."""
    return _sigmoid(2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3))


def _gate_slope(x):
    return 2 * mp.sqrt(2 / mp.pi) * (1 + 3 * mp.mpf("0.044715") * x**2)


def _selu(x):
    return mp.mpf("1.0507009873554804934") * (x if x > 0 else mp.mpf("1.6732632423543772848") * mp.expm1(x))


def _selu_slope(y):
    floor = mp.mpf("1.0507009873554804934") * mp.mpf("1.6732632423543772848")
    return mp.mpf("1.0507009873554804934") if y > 0 else y + floor


def _mish_gate_slope(x):
    """Derivative of tanh(log(1 + e^x)): sech^2(log(1 + e^x)) sigmoid(x)."""
    return _sigmoid(x) / mp.cosh(mp.log1p(mp.exp(x))) ** 2


#: Each op's output from its inputs and parameters.
FORMULAS: dict[str, Callable] = {
    "exp": mp.exp,
    "log": mp.log,
    "sin": mp.sin,
    "cos": mp.cos,
    "sqrt": mp.sqrt,
    "power": mp.power,
    "elu": lambda x, alpha: x if x > 0 else alpha * mp.expm1(x),
    "elu_backward": lambda dy, y, alpha: dy if y > 0 else dy * (y + alpha),
    "gelu": lambda x: x * _cdf(x),
    "gelu_backward": lambda dy, x: dy * (_cdf(x) + x * _pdf(x)),
    "gelu_tanh": lambda x: x * _gate(x),
    "gelu_tanh_backward": lambda dy, x: dy * _gate(x) * (1 + x * (1 - _gate(x)) * _gate_slope(x)),
    "silu": lambda x: x * _sigmoid(x),
    "silu_backward": lambda dy, x: dy * _sigmoid(x) * (1 + x * _sigmoid(-x)),
    "sigmoid": _sigmoid,
    "sigmoid_backward": lambda dy, y: dy * y * (1 - y),
    "tanh": mp.tanh,
    "tanh_backward": lambda dy, y: dy * (1 - y * y),
    "softplus": lambda x: mp.log1p(mp.exp(x)),
    "softplus_backward": lambda dy, y: -dy * mp.expm1(-y),
    "selu": _selu,
    "selu_backward": lambda dy, y: dy * _selu_slope(y),
    "softsign": lambda x: x / (1 + abs(x)),
    "softsign_backward": lambda dy, x: dy / (1 + abs(x)) ** 2,
    "hard_sigmoid": lambda x: min(max(x + 3, 0), 6) / mp.mpf(6),
    "hard_sigmoid_backward": lambda dy, y: dy / 6 if 0 < y < 1 else mp.mpf(0),
    "hard_swish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "hard_swish_backward": lambda dy, x: dy * min(max(x + 3, 0), 6) / 6 + (dy * x / 6 if abs(x) < 3 else 0),
    "mish": lambda x: x * mp.tanh(mp.log1p(mp.exp(x))),
    "mish_backward": lambda dy, x: dy * mp.tanh(mp.log1p(mp.exp(x))) + dy * x * _mish_gate_slope(x),
}


def exact(name: str, inputs: Sequence[np.ndarray], params: dict) -> np.ndarray:
    """An op's output for finite inputs, rounded to the widest NumPy float."""
    numbers = {k: mp.mpf(v) for k, v in params.items()}
    with mp.workprec(120):
        rows = zip(*(x.ravel().tolist() for x in inputs), strict=True)
        found = [_wide(FORMULAS[name](*map(mp.mpf, row), **numbers)) for row in rows]
    return np.array(found, dtype=np.longdouble).reshape(inputs[0].shape)


def _wide(v: mp.mpf) -> np.longdouble:
    """An mpf rounded to the widest NumPy float, in two steps of 53 bits; overflow is infinite."""
    fraction, exponent = mp.frexp(v)
    high = float(fraction)
    low = float(fraction - high)
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(np.longdouble(high) + np.longdouble(low), int(max(-20_000, min(20_000, exponent))))
