"""Inputs for every op of the table: sizes, parameters, which optional arguments are present, values.

Everything follows from the op's row. By name stand here only values that a kernel needs to be given sense: positive
arguments for a logarithm, labels, saved outputs that are outputs, the shape and strides of a copy.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod

import numpy as np

from fastnn import checks
from fastnn.backends import reference
from fastnn.table import ACTIVATIONS, ALPHA, MAX_RANK, PRECISIONS, SAVED, TABLE, Argument, Op

#: Sizes by the number of dimensions: zero, one, prime, around vectors and tiles, and beyond a chunk of 4,096.
SIZES = {
    1: [(0,), (1,), (3,), (63,), (64,), (65,), (1021,), (4099,)],
    2: [(0, 3), (3, 0), (1, 1), (3, 5), (17, 33), (64, 10), (129, 31), (2, 4099), (1031, 3)],
    3: [
        (0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1), (3, 5, 7), (1, 300, 2), (17, 33, 65), (64, 100, 10),
        (129, 31, 257), (7, 1031, 33), (301, 5, 1103),
    ],
}  # fmt: skip
#: Rows and inner dimension of matrix products of every width around a few vectors.
NARROW = ((84, 60), (257, 20))
WIDTHS = range(1, 51)
#: Numba's simulator runs every CUDA thread as a Python thread, with blocks and tiles that are small as well.
SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")
if SIMULATED:
    SIZES = {
        1: [(0,), (1,), (8,), (19,), (37,)],
        2: [(0, 3), (3, 0), (1, 1), (3, 5), (2, 19), (9, 4)],
        3: [(0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1), (3, 5, 2), (8, 16, 8), (9, 19, 11), (5, 3, 9)],
    }  # fmt: skip
#: Combinations of parameters and optional arguments are all tried up to this many elements or products, beyond it
#: one combination a size.
SMALL = 30 if SIMULATED else 5_000

#: Values of numeric parameters to try besides the row's defaults.
VALUES = {
    "scale": (-2.5, 1 / 3), "shift": (0.75, -0.1), "alpha": (0.3, 0.0), "rate": (0.1, 0.0, 1.0), "stream": (7,),
    "seed": (2**52 + 12_345, 2**32), "step": (3, 1000), "delta": (0.25, 10.0), "label_smoothing": (0.1, 1.0),
    "max_norm": (1e-3, 1e9), "learning_rate": (0.05,), "momentum": (0.9,), "weight_decay": (0.1,), "rho": (0.9,),
    "epsilon": (1e-5,), "beta_1": (0.8,), "beta_2": (0.95,), "l1": (0.3, 20.0), "l2": (0.05, 0.0),
    "max_value": (0.25, 0.0), "stddev": (0.25, 0.0), "dampening": (0.4,), "lr_decay": (0.01,),
    "momentum_decay": (0.05,), "momentum_product": (0.3,),
}  # fmt: skip

#: Arguments that are positive wherever they occur.
POSITIVE = {
    "weight", "squared_norm", "square_avg", "square_sum", "delta_avg", "u", "v", "v_max", "moving_variance", "rstd",
}  # fmt: skip

#: Shapes of x, and how a copy looks at it: a permutation of the axes, or a shape to broadcast to.
COPIES: list[tuple[tuple[int, ...], dict]] = [
    ((0,), {"to": (3, 0)}), ((1,), {"to": (17,)}), ((), {"to": (3, 5)}), ((5,), {"to": (5,)}),
    ((3, 5), {"axes": (1, 0)}), ((129, 257), {"axes": (1, 0)}), ((1031, 3), {"axes": (1, 0)}),
    ((64, 64), {"axes": (1, 0)}), ((2, 3, 5), {"axes": (2, 0, 1)}), ((17, 3, 33), {"axes": (1, 0, 2)}),
    ((1, 33), {"to": (65, 33)}), ((65, 1), {"to": (65, 33)}), ((3, 1, 5), {"to": (3, 17, 5)}),
    ((2, 1, 3, 1, 2, 1, 2, 3), {"to": (2, 2, 3, 2, 2, 2, 2, 3)}),
    ((1, 2, 3, 2, 1, 2, 2, 3), {"axes": (7, 6, 5, 4, 3, 2, 1, 0)}),
]  # fmt: skip
if SIMULATED:
    COPIES = [(shape, view) for shape, view in COPIES if prod(view.get("to", shape)) <= 60]


@dataclass(frozen=True)
class Case:
    """One call of an op: inputs (None for an absent one), and the optional outputs wanted."""

    op: Op
    dims: dict[str, int]
    params: dict
    inputs: tuple[np.ndarray | None, ...]
    want: tuple[str, ...]
    #: What the output holds before, where the op reads it (`accumulate`).
    start: np.ndarray | None = None
    #: What is special about the values.
    note: str = ""

    def __str__(self) -> str:
        present = [a.name for a, x in zip(self.op.inputs, self.inputs, strict=True) if a.optional and x is not None]
        params = {k: v for k, v in self.params.items() if v != self.op.params[k]}
        optional = ", ".join((*present, *self.want)) or "no optional argument"
        return f"{self.op.name} {self.dims} {params} with {optional}{self.note}"


def shape_of(argument: Argument, dims: dict[str, int], params: dict) -> tuple[int, ...]:
    """Shape of an argument as stored."""
    return tuple(dims[d] for d in argument.stored_dims(params))


@lru_cache(maxsize=2)
def cases(name: str, dtype: str) -> tuple[Case, ...]:
    """All cases of an op."""
    op = TABLE[name]
    found = []
    for i, dims in enumerate(sizes(op)):
        settings = [s for s in product(parameters(op, dims), presence(op)) if sensible(op, *s)]
        if prod(dims.values()) > SMALL:
            settings = [settings[i % len(settings)]]
        for params, present in settings:
            case = make(op, dims, params, present, dtype)
            try:
                checks.bind(op, case.inputs, params)
            except checks.DataError:  # a mean over nothing: kernels never see it
                continue
            found.append(case)
    return tuple(found)


def sizes(op: Op) -> Iterator[dict[str, int]]:
    """Dimensions of an op at every size."""
    if op.name == "copy":
        yield from ({"n": prod(shape), "m": prod(copy_params(shape, **view)["shape"])} for shape, view in COPIES)
        return
    names = [d for d in op.dims if d != "one"]
    if op.family == "matmul" and len(names) == 3 and not SIMULATED:
        for m, k in NARROW:
            yield from (dict(zip(names, (m, k, n), strict=True)) for n in WIDTHS)
    for size in SIZES[len(names)]:
        yield dict(zip(names, size, strict=True)) | ({"one": 1} if "one" in op.dims else {})


def parameters(op: Op, dims: dict[str, int]) -> list[dict]:
    """Every combination of flags and activations, with the default numbers and with others."""
    if op.name == "copy":
        views = (copy_params(shape, **view) for shape, view in COPIES if prod(shape) == dims["n"])
        return [v for v in views if prod(v["shape"]) == dims["m"]]
    choices = {k: (False, True) for k, v in op.params.items() if isinstance(v, bool)}
    choices |= {k: ACTIVATIONS for k in op.params if k == "activation"}
    choices |= {k: PRECISIONS[:1] for k in op.params if k == "precision"}
    numbers = [k for k in op.params if k not in choices]
    count = max((len(VALUES[k]) for k in numbers), default=0)
    settings = [{k: op.params[k] for k in numbers}]
    settings += [{k: VALUES[k][i % len(VALUES[k])] for k in numbers} for i in range(count)]
    combinations = [dict(zip(choices, c, strict=True)) for c in product(*choices.values())]
    return [{k: (setting | flags)[k] for k in op.params} for setting in settings for flags in combinations]


def copy_params(shape: tuple[int, ...], axes: tuple[int, ...] = (), to: tuple[int, ...] = ()) -> dict:
    """Parameters of the copy that permutes the axes of an array of some shape, or broadcasts it."""
    view = np.empty(shape, np.int8)
    view = np.broadcast_to(view, to) if to else view.transpose(axes)
    front = MAX_RANK - view.ndim
    return {"shape": (1,) * front + view.shape, "strides": (0,) * front + view.strides}


def presence(op: Op) -> list[frozenset[str]]:
    """Every choice of optional arguments, by name."""
    names = [a.name for a in op.arguments if a.optional]
    return [
        frozenset(n for n, there in zip(names, c, strict=True) if there)
        for c in product((False, True), repeat=len(names))
    ]


def sensible(op: Op, params: dict, present: frozenset[str]) -> bool:
    """Whether parameters and optional arguments go together."""
    if not op.updates and all(a.optional and a.name not in present for a in op.outputs):
        return False
    if "activation" not in params:
        return True
    default = ALPHA.get(params["activation"], 0.0)
    alpha = params["alpha"] if params["activation"] in ALPHA else default
    saved = op.name != "dense_backward" or "saved" in present or params["activation"] == "linear"
    return saved and params["alpha"] in (alpha, default)


def make(op: Op, dims: dict[str, int], params: dict, present: frozenset[str], dtype: str, center: float = 0.0) -> Case:
    """A case with random values."""
    rng = np.random.default_rng(zlib.crc32(repr((op.name, dims, sorted(present))).encode()))
    inputs: dict[str, np.ndarray | None] = {}
    for argument in op.inputs:
        there = not argument.optional or argument.name in present
        shape = shape_of(argument, dims, params)
        inputs[argument.name] = values(op, argument.name, shape, dims, params, rng).astype(
            np.int64 if argument.integer else dtype
        ) if there else None  # fmt: skip
    want = tuple(a.name for a in op.outputs if a.optional and a.name in present)
    start = None
    if params.get("accumulate"):
        start = rng.standard_normal(shape_of(op.outputs[0], dims, params)).astype(dtype)
    return Case(op, dims, params, tuple(inputs.values()), want, start)


def values(op: Op, name: str, shape: tuple[int, ...], dims: dict, params: dict, rng: np.random.Generator) -> np.ndarray:
    """Random float64 values that suit an argument."""
    x = rng.standard_normal(shape)
    if name == "labels":
        return rng.integers(0, max(dims["c"], 1), shape)
    if op.name in ("count_equal", "argmax", "maximum", "maximum_backward") and name != "dy":
        return rng.integers(0, 3, shape).astype(float)  # ties
    if op.name in ("log", "sqrt") or (op.name, name) == ("power", "a"):
        return np.exp(3 * x)
    if op.name in ("hard_sigmoid", "hard_swish"):
        return 1.5 * x  # mostly between the bends at -3 and 3
    if name in POSITIVE:
        return 0.5 + rng.random(shape)
    if name == "grad_avg":  # the mean's square is at most the mean square
        return 0.5 * rng.random(shape)
    if op.family == "losses":
        return loss_values(op, name, params, x, rng)
    if name == "y":
        return output_of(op.name.removesuffix("_backward"), 3 * x, params)
    if name == "saved":
        kind = params["activation"]
        return 3 * x if SAVED[kind] == "x" else output_of(kind, 3 * x, params)
    return 3 * x if op.family in ("activations", "elementwise") else x


def loss_values(op: Op, name: str, params: dict, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Predictions or targets of a loss made of normal random numbers: probabilities, counts, classes of -1 and 1."""
    if name == "y_pred":
        if "categorical" in op.name:
            return distributions(x)
        if op.name == "binary_cross_entropy" and not params["from_logits"]:
            return 0.05 + 0.9 * rng.random(x.shape)
        return np.exp(x) if op.name == "poisson" and not params["log_input"] else 3 * x
    if "hinge" in op.name:
        return np.where(x < 0, -1.0, 1.0)
    if op.name == "poisson":
        return rng.poisson(2.0, x.shape).astype(float)
    if op.name == "binary_cross_entropy":
        return np.clip(rng.uniform(-0.2, 1.2, x.shape), 0, 1)
    if op.name.endswith("cross_entropy"):
        return distributions(np.where(x < -1, -np.inf, x))
    return 3 * x


def distributions(x: np.ndarray) -> np.ndarray:
    """Softmax of rows; of minus infinities alone, zeros."""
    e = np.exp(x)
    return e / np.maximum(e.sum(axis=1, keepdims=True), 1e-300)


def output_of(activation: str, x: np.ndarray, params: dict) -> np.ndarray:
    """What an activation makes of x."""
    y = np.empty_like(x)
    wanted = {k: params[k] for k in TABLE[activation].params}
    with np.errstate(all="ignore"):
        reference.KERNELS[activation](x, y, **wanted)
    return y
