"""The op table: one row per operation, pure data.

A row states an op's name, its signature, its parameters, what it updates in place, its tolerance and its cost.
The conformance tests, the gradient checks, the asv op benchmarks and the support matrix are generated from it.

Signatures read like NumPy's gufunc signatures with argument names:

    ``"dy(b,o), x(b,i), w(i,o), saved(b,o)? -> dx(b,i)?, dw(i,o), dbias(o)?"``

- letters in parentheses are dimensions; every array is C-contiguous and has exactly these dimensions;
- ``?`` marks an argument that may be absent (``None``, a null pointer, an array of size 0);
- ``!`` marks an input that the op updates in place;
- ``:int`` marks an int64 array, all others have the op's one floating dtype;
- ``~flag`` marks a matrix that is stored transposed when the parameter ``flag`` is true.

Parameters travel to compiled kernels as float64 numbers, in the row's order: a bool as 0 or 1, an activation
as its index in `ACTIVATIONS`, a precision as its index in `PRECISIONS` ("tf32" as 0), a tuple as one number per
element.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from types import CodeType

#: Elementwise activations that `dense` can fuse; their order is the code that kernels receive.
ACTIVATIONS = (
    "linear", "relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh", "softplus",
    "selu", "softsign", "hard_sigmoid", "hard_swish", "mish",
)  # fmt: skip
#: What each activation's gradient is computed from: its input ``x`` or its output ``y``.
SAVED = {
    "linear": "y", "relu": "y", "leaky_relu": "y", "elu": "y", "gelu": "x", "gelu_tanh": "x",
    "silu": "x", "sigmoid": "y", "tanh": "y", "softplus": "y", "selu": "y", "softsign": "x", "hard_sigmoid": "y",
    "hard_swish": "x", "mish": "x", "softmax": "y", "log_softmax": "y",
}  # fmt: skip
#: Default ``alpha`` of the activations that have one.
ALPHA = {"leaky_relu": 0.01, "elu": 1.0}
#: How precise float32 matrix products have to be; their order is the code that C kernels receive, but for "tf32", which
#: no CPU has: to them it is "float32".
PRECISIONS = ("float32", "bf16x3", "bf16", "tf32")
#: Largest number of dimensions of an array in a strided copy.
MAX_RANK = 8
DTYPES = ("float32", "float64")
#: Dtypes that some ops have besides: two bytes in memory, computed in float32, rounded once. NumPy's, and ml_dtypes'.
HALVES = ("float16", "bfloat16")


@dataclass(frozen=True)
class Argument:
    """One array argument of an op."""

    name: str
    dims: tuple[str, ...]
    optional: bool = False
    updated: bool = False
    integer: bool = False
    transposed_by: str | None = None

    def stored_dims(self, params: dict) -> tuple[str, ...]:
        """Dimensions as stored, given the op's parameters."""
        return self.dims[::-1] if self.transposed_by and params[self.transposed_by] else self.dims


@dataclass(frozen=True)
class Tolerance:
    """Allowed error in units of the dtype's epsilon; of HALVES in float32's, beside half a unit in the last place.

    ``per="element"`` measures it relative to each expected element, ``"array"`` relative to the largest
    expected element of the array (sums cancel, so single elements of a sum carry no relative bound).
    """

    ulp: float
    per: str = "element"


@dataclass(frozen=True)
class Op:
    """One row of the table."""

    name: str
    family: str
    signature: str
    params: dict[str, object] = field(default_factory=dict)
    tolerance: Tolerance = Tolerance(0.5)
    #: Floating-point operations, an expression in the dimensions (a polynomial exp counts as 20).
    flops: str = "n"
    #: Whether reverse-mode differentiation has a rule for it.
    differentiable: bool = True
    #: How many times a team of threads meets: a kernel is called once per phase, with a barrier between.
    phases: int = 1
    #: Dtypes of its floating arrays. A backend may lack those beside DTYPES.
    dtypes: tuple[str, ...] = DTYPES

    @cached_property
    def _sides(self) -> tuple[tuple[Argument, ...], tuple[Argument, ...]]:
        left, right = self.signature.split("->")
        return tuple(_parse(left)), tuple(_parse(right))

    @cached_property
    def inputs(self) -> tuple[Argument, ...]:
        return self._sides[0]

    @cached_property
    def outputs(self) -> tuple[Argument, ...]:
        return self._sides[1]

    @cached_property
    def arguments(self) -> tuple[Argument, ...]:
        """Inputs, then outputs: the order in which every kernel takes its arrays."""
        return self.inputs + self.outputs

    @cached_property
    def dims(self) -> tuple[str, ...]:
        """Dimension names in order of first appearance: the order in which kernels receive sizes."""
        return tuple(dict.fromkeys(d for argument in self.arguments for d in argument.dims))

    @cached_property
    def updates(self) -> tuple[str, ...]:
        """Names of the arguments that are updated in place."""
        return tuple(a.name for a in self.inputs if a.updated)

    def flop_count(self, dims: dict[str, int]) -> float:
        """FLOPs of one call for the given sizes."""
        return float(eval(self._flops_code, {"__builtins__": {}}, dict(dims)))

    @cached_property
    def _flops_code(self) -> CodeType:
        return compile(self.flops, self.name, "eval")

    def byte_count(self, dims: dict[str, int], itemsize: int) -> int:
        """Bytes read and written by one call, each argument once (updated ones twice)."""
        total = 0
        for argument in self.arguments:
            count = 8 if argument.integer else itemsize
            for d in argument.dims:
                count *= dims[d]
            total += 2 * count if argument.updated else count
        return total

    def encode(self, params: dict) -> list[float]:
        """Parameters as the float64 numbers that compiled kernels receive; those missing take the row's defaults."""
        numbers: list[float] = []
        for name, default in self.params.items():
            value = params.get(name, default)
            if isinstance(value, str):
                numbers.append(_CODES[value])
            elif isinstance(value, tuple):
                numbers.extend(float(v) for v in value)
            else:
                numbers.append(float(value))
        return numbers


_CODES = {name: float(i) for names in (ACTIVATIONS, PRECISIONS) for i, name in enumerate(names)} | {"tf32": 0.0}
_ARGUMENT = re.compile(r"(\w+)\(([\w,]*)\)([?!]*)(?::(int))?(?:~(\w+))?")


def _parse(side: str) -> list[Argument]:
    return [
        Argument(
            name,
            tuple(d for d in dims.split(",") if d),
            "?" in marks,
            "!" in marks,
            kind == "int",
            flag or None,
        )
        for name, dims, marks, kind, flag in _ARGUMENT.findall(side)
    ]


_EXACT = Tolerance(0.5)
_SUM = Tolerance(8.0, "array")


def _rows() -> list[Op]:
    unary, binary = "x(n) -> y(n)", "a(n), b(n) -> y(n)"
    rows = [
        # Elementwise primitives.
        Op("add", "elementwise", binary, tolerance=_EXACT),
        Op("subtract", "elementwise", binary, tolerance=_EXACT),
        Op("multiply", "elementwise", binary, tolerance=_EXACT),
        Op("divide", "elementwise", binary, tolerance=_EXACT),
        Op("maximum", "elementwise", binary, tolerance=_EXACT),
        Op("maximum_backward", "elementwise", "dy(n), a(n), b(n) -> da(n), db(n)", differentiable=False),
        # x where it is positive, else slope x (He et al. 2015).
        Op("prelu", "elementwise", "x(n), slope(n) -> y(n)", tolerance=_EXACT),
        Op("prelu_backward", "elementwise", "dy(n), x(n), slope(n) -> dx(n), dslope(n)", differentiable=False),
        Op("power", "elementwise", binary, tolerance=Tolerance(2), flops="60*n"),
        Op("affine", "elementwise", unary, {"scale": 1.0, "shift": 0.0}, Tolerance(2, "array")),
        Op("exp", "elementwise", unary, tolerance=Tolerance(2), flops="20*n"),
        Op("log", "elementwise", unary, tolerance=Tolerance(2), flops="20*n"),
        Op("sin", "elementwise", unary, tolerance=Tolerance(2), flops="30*n"),
        Op("cos", "elementwise", unary, tolerance=Tolerance(2), flops="30*n"),
        Op("sqrt", "elementwise", unary, tolerance=_EXACT),
        # y[i0,...,i7] = x[i0*s0 + ... + i7*s7]: transposes and broadcasts, padded in front to MAX_RANK.
        Op(
            "copy", "elementwise", "x(n) -> y(m)",
            {"shape": (1,) * MAX_RANK, "strides": (0,) * MAX_RANK}, _EXACT, flops="m",
        ),
        # Reductions.
        Op("sum", "reductions", "x(o,r) -> y(o)", tolerance=_SUM, flops="o*r"),
        Op("column_sum", "reductions", "x(r,o) -> y(o)", tolerance=_SUM, flops="o*r"),
        Op(
            "sum_of_squares", "reductions", "x(n) -> y(one)",
            tolerance=_SUM, flops="2*n", differentiable=False, phases=2,
        ),
        Op(
            "clip_by_norm", "reductions", "g(n)!, squared_norm(one) ->",
            {"max_norm": 1.0}, Tolerance(2), differentiable=False,
        ),
        Op("argmax", "reductions", "x(o,r) -> y(o):int", tolerance=_EXACT, flops="o*r", differentiable=False),
        Op("count_equal", "reductions", "a(n):int, b(n):int -> y(one)", tolerance=_EXACT, differentiable=False),
        # Matrix products.
        Op(
            "matmul", "matmul", "a(m,k)~transpose_a, b(k,n)~transpose_b -> y(m,n)",
            {"transpose_a": False, "transpose_b": False, "accumulate": False, "precision": "float32"},
            _SUM, flops="2*m*n*k", phases=2, dtypes=DTYPES + HALVES,
        ),
        Op("bias_add", "matmul", "x(b,o), bias(o) -> y(b,o)", tolerance=_EXACT, flops="b*o"),
        Op(
            "dense", "matmul", "x(b,i), w(i,o), bias(o)? -> y(b,o), pre(b,o)?",
            {"activation": "linear", "alpha": 0.0, "precision": "float32"},
            _SUM, flops="2*b*i*o", phases=2, dtypes=DTYPES + HALVES,
        ),
        Op(
            "dense_backward", "matmul",
            "dy(b,o), x(b,i), w(i,o), saved(b,o)? -> dx(b,i)?, dw(i,o), dbias(o)?",
            {"activation": "linear", "alpha": 0.0, "precision": "float32"},
            _SUM, flops="4*b*i*o", differentiable=False, phases=3,
        ),
        # Row-wise activations.
        Op("softmax", "activations", "x(o,r) -> y(o,r)", tolerance=Tolerance(8), flops="25*o*r"),
        Op(
            "softmax_backward", "activations", "dy(o,r), y(o,r) -> dx(o,r)",
            tolerance=_SUM, flops="4*o*r", differentiable=False,
        ),
        Op("log_softmax", "activations", "x(o,r) -> y(o,r)", tolerance=Tolerance(8, "array"), flops="25*o*r"),
        Op(
            "log_softmax_backward", "activations", "dy(o,r), y(o,r) -> dx(o,r)",
            tolerance=_SUM, flops="25*o*r", differentiable=False,
        ),
        # Normalisation.
        Op(
            "layer_norm", "normalization", "x(b,c), gamma(c)?, beta(c)? -> y(b,c), mean(b)?, rstd(b)?",
            {"epsilon": 1e-3}, _SUM, flops="9*b*c",
        ),
        Op(
            "layer_norm_backward", "normalization",
            "dy(b,c), x(b,c), gamma(c)?, mean(b), rstd(b) -> dx(b,c)?, dgamma(c)?, dbeta(c)?",
            tolerance=_SUM, flops="15*b*c", differentiable=False,
        ),
        Op(
            "batch_norm", "normalization",
            "x(b,c), gamma(c)?, beta(c)?, moving_mean(c)!, moving_variance(c)! -> y(b,c), mean(c)?, rstd(c)?",
            {"momentum": 0.99, "epsilon": 1e-3}, _SUM, flops="9*b*c",
        ),
        Op(
            "batch_norm_backward", "normalization",
            "dy(b,c), x(b,c), gamma(c)?, mean(c), rstd(c) -> dx(b,c)?, dgamma(c)?, dbeta(c)?",
            tolerance=_SUM, flops="14*b*c", differentiable=False,
        ),
        Op(
            "batch_norm_inference", "normalization",
            "x(b,c), gamma(c)?, beta(c)?, moving_mean(c), moving_variance(c) -> y(b,c)",
            {"epsilon": 1e-3}, Tolerance(4, "array"), flops="3*b*c",
        ),
        # Penalties on parameters, and what parameters and gradients are brought back to.
        Op(
            "penalty", "regularization", "p(n), g(n)?! -> value(one)", {"l1": 0.0, "l2": 0.0},
            _SUM, flops="6*n", differentiable=False, phases=2,
        ),
        Op(
            "soft_threshold", "regularization", "p(n)! ->", {"learning_rate": 0.01, "l1": 0.0},
            Tolerance(2, "array"), flops="3*n", differentiable=False,
        ),
        Op(
            "max_norm", "regularization", "w(i,o)! ->", {"max_norm": 1.0},
            Tolerance(4), flops="3*i*o", differentiable=False,
        ),
        Op(
            "clip_by_value", "regularization", "g(n)! ->", {"max_value": 1.0},
            _EXACT, flops="2*n", differentiable=False,
        ),
        # Dropout: element e keeps its value when word e%4 of Philox4x32-10(counter, key) is below the threshold.
        Op(
            "dropout", "random", unary,
            {"rate": 0.5, "seed": 0, "stream": 0, "step": 0}, Tolerance(1), flops="30*n",
        ),
        # x + stddev z and x (1 + stddev z): z from two of these words by Box and Muller 1958.
        *(
            Op(
                name, "random", unary,
                {"stddev": 1.0, "seed": 0, "stream": 0, "step": 0}, Tolerance(8, "array"), flops="70*n",
            )
            for name in ("gaussian_noise", "gaussian_dropout")
        ),
        # Losses: mean over all elements (over rows for those of classes); each row weighted by `weight`.
        *(
            Op(
                name, "losses", "y_pred(b,c), y_true(b,c), weight(b)? -> loss(one), grad(b,c)?", params,
                Tolerance(8, "array"), flops, phases=2,
            )
            for name, params, flops in (
                ("mean_squared_error", {}, "4*b*c"),
                ("mean_absolute_error", {}, "4*b*c"),
                ("huber", {"delta": 1.0}, "8*b*c"),
                ("log_cosh", {}, "60*b*c"),
                ("hinge", {}, "4*b*c"),
                ("squared_hinge", {}, "6*b*c"),
                ("poisson", {"log_input": True}, "25*b*c"),
                ("binary_cross_entropy", {"from_logits": True}, "60*b*c"),
                ("softmax_cross_entropy", {"label_smoothing": 0.0}, "30*b*c"),
                ("categorical_cross_entropy", {"label_smoothing": 0.0}, "25*b*c"),
            )
        ),
        *(
            Op(
                name, "losses", "y_pred(b,c), labels(b):int, weight(b)? -> loss(one), grad(b,c)?",
                {"label_smoothing": 0.0}, Tolerance(8, "array"), flops, phases=2,
            )
            for name, flops in (
                ("sparse_softmax_cross_entropy", "30*b*c"), ("sparse_categorical_cross_entropy", "25*b*c"),
            )
        ),
        # Optimizer updates, one pass over flat parameters.
        Op(
            "sgd_update", "optimizers", "p(n)!, g(n), velocity(n)?! ->",
            {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "dampening": 0.0},
            Tolerance(8, "array"), "7*n", differentiable=False,
        ),
        Op(
            "rmsprop_update", "optimizers", "p(n)!, g(n), square_avg(n)!, velocity(n)?!, grad_avg(n)?! ->",
            {
                "learning_rate": 0.01, "rho": 0.99, "epsilon": 1e-8, "momentum": 0.0, "nesterov": False,
                "weight_decay": 0.0,
            },
            Tolerance(8, "array"), "14*n", differentiable=False,
        ),
        Op(
            "adagrad_update", "optimizers", "p(n)!, g(n), square_sum(n)! ->",
            {"learning_rate": 0.01, "lr_decay": 0.0, "epsilon": 1e-10, "weight_decay": 0.0, "step": 1},
            Tolerance(8, "array"), "9*n", differentiable=False,
        ),
        Op(
            "adadelta_update", "optimizers", "p(n)!, g(n), square_avg(n)!, delta_avg(n)! ->",
            {"learning_rate": 1.0, "rho": 0.9, "epsilon": 1e-6, "weight_decay": 0.0},
            Tolerance(8, "array"), "18*n", differentiable=False,
        ),
        Op(
            "adam_update", "optimizers", "p(n)!, g(n), m(n)!, v(n)!, v_max(n)?! ->",
            {
                "learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0,
                "decoupled": False, "bias_correction": True, "step": 1,
            },
            Tolerance(8, "array"), "15*n", differentiable=False,
        ),
        Op(
            "adamax_update", "optimizers", "p(n)!, g(n), m(n)!, u(n)! ->",
            {
                "learning_rate": 2e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0, "step": 1,
            },
            Tolerance(8, "array"), "12*n", differentiable=False,
        ),
        Op(
            "nadam_update", "optimizers", "p(n)!, g(n), m(n)!, v(n)! ->",
            {
                "learning_rate": 2e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0,
                "decoupled": False, "momentum_decay": 4e-3, "momentum_product": 0.9 * (1 - 0.5 * 0.96**4e-3), "step": 1,
            },
            Tolerance(8, "array"), "17*n", differentiable=False,
        ),
        Op(
            "radam_update", "optimizers", "p(n)!, g(n), m(n)!, v(n)! ->",
            {
                "learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0,
                "decoupled": False, "step": 1,
            },
            Tolerance(8, "array"), "14*n", differentiable=False,
        ),
        Op(
            "lion_update", "optimizers", "p(n)!, g(n), m(n)! ->",
            {"learning_rate": 1e-4, "beta_1": 0.9, "beta_2": 0.99, "weight_decay": 0.0},
            Tolerance(8, "array"), "11*n", differentiable=False,
        ),
    ]  # fmt: skip
    cost = {"linear": "n", "relu": "n", "leaky_relu": "2*n", "gelu": "45*n"}
    cost |= {"softsign": "3*n", "hard_sigmoid": "4*n", "hard_swish": "6*n", "mish": "35*n"}
    for name in ACTIVATIONS:
        params = {"alpha": ALPHA[name]} if name in ALPHA else {}
        tolerance = _EXACT if name in ("linear", "relu", "leaky_relu") else Tolerance(4)
        backward_tolerance = _EXACT if name in ("linear", "relu", "leaky_relu") else Tolerance(6, "array")
        flops = cost.get(name, "25*n")
        rows.append(Op(name, "activations", unary, params, tolerance, flops))
        rows.append(
            Op(
                f"{name}_backward",
                "activations",
                f"dy(n), {SAVED[name]}(n) -> dx(n)",
                dict(params),
                backward_tolerance,
                flops,
                differentiable=False,
            )
        )
    return rows


#: Every op by name.
TABLE: dict[str, Op] = {row.name: row for row in _rows()}
