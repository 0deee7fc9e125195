"""Every differentiable op's gradient against central differences in float64, on every backend."""

import numpy as np
import pytest
from cases import make, parameters, presence, sensible, sizes

import fastnn as fn
from fastnn import ops
from fastnn.table import TABLE, Op

DIFFERENTIABLE = [name for name, op in TABLE.items() if op.differentiable]
#: Losses that are functions of a difference have a gradient by the targets too.
SYMMETRIC = ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh")


def by(op: Op) -> list[str]:
    """Arguments that an op is differentiated by."""
    if op.family == "losses":
        return ["y_pred", "y_true"] if op.name in SYMMETRIC else ["y_pred"]
    return [a.name for a in op.inputs if not a.integer and not a.name.startswith("moving")]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient(name, backend):
    op = TABLE[name]
    names = [d for d in op.dims if d != "one"]
    every = list(sizes(op)) if name == "copy" else [dict(zip(names, (3, 4, 5), strict=False)) | {"one": 1}]
    worst = 0.0
    for dims in every:
        if dims.get("m", 0) > 200:
            continue
        for params in parameters(op, dims):
            if params.get("accumulate"):
                continue
            for present in presence(op):
                if sensible(op, params, present):
                    worst = max(worst, check(op, dims, params, present, backend))
    assert worst > 0 or name in ("linear", "copy", "dropout")


def check(op: Op, dims: dict, params: dict, present: frozenset, backend: str) -> float:
    """Differentiate a weighted sum of the op's first output by its inputs; returns the largest error."""
    case = make(op, dims, params, present, "float64")
    inputs = {a.name: x for a, x in zip(op.inputs, case.inputs, strict=True)}
    for argument in ("a", "x"):
        if op.name in ("log", "sqrt", "power") and argument in inputs:
            inputs[argument] = np.clip(inputs[argument], 0.3, 3)  # where a step of 1e-6 is small
    variables = [v for v in by(op) if inputs[v] is not None]
    want = tuple(a.name for a in op.outputs if a.optional)

    def f(*values):
        given = inputs | dict(zip(variables, values, strict=True))
        program = values[0].program
        given |= {n: program.state(n, program.backend.to_device(inputs[n].copy())) for n in op.updates}
        result = ops.apply(op.name, *given.values(), want=want, **params)
        y = result[0] if isinstance(result, tuple) else result
        weights = np.random.default_rng(0).uniform(0.5, 1.5, y.shape)
        return ops.sum(y * weights)

    try:
        return fn.check_gradients(f, [inputs[v] for v in variables], rtol=2e-7, backend=backend)
    except AssertionError as error:
        raise AssertionError(f"{case}: {error}") from None
