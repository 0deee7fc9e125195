"""The one way from a public op to a backend: check, allocate, then run (arrays) or record (tensors)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from fastnn import backends, checks
from fastnn.program import Slot, Tensor
from fastnn.table import TABLE, Op
from fastnn.threadcount import get_num_threads
from fastnn_ext.remembered import Remembered

Function = TypeVar("Function", bound=Callable[..., Any])
#: Calls of one op that are remembered, of about a kilobyte each.
PLANS = 1024


def remembered(function: Function, policy: Callable[[], str] | None = None) -> Function:
    """Let an op run at once what it has run before, without Python: see fastnn_ext/remembered.pyx.

    Not for ops that are given other numbers in every call, such as a step count: numbers are part of what is known,
    beside what the policy says where an op follows one.
    """
    call = Remembered(function, backends.chosen, get_num_threads, policy, PLANS).call

    @wraps(function)
    def op(*arguments: Any, **options: Any) -> Any:
        return call(arguments, options)

    return op  # type: ignore[return-value]


def apply(name: str, *inputs: Any, out: Any = None, want: tuple[str, ...] = (), backend: str | None = None, **params):
    """Call an op of the table.

    Parameters
    ----------
    name : str
    *inputs : array_like, Tensor or None
        One for each input of the signature; None for an absent optional one.
    out : array or tuple of arrays, optional
        Arrays for the outputs (without the optional ones that are not wanted).
    want : tuple of str
        Optional outputs to compute.
    backend : str, optional
        Overrides the selection; a tensor's program has its own.
    **params
        Parameters of the row; those missing take its defaults.

    Returns
    -------
    array, Tensor or tuple of these
        The outputs; None for an op that updates its arguments in place.
    """
    op = TABLE[name]
    if not params.keys() <= op.params.keys():
        raise TypeError(f"{name}() got an unexpected keyword argument {min(params.keys() - op.params.keys())!r}")
    if len(inputs) != len(op.inputs):
        raise TypeError(f"{name}() takes {len(op.inputs)} arrays, got {len(inputs)}")
    params = {**op.params, **params}
    tensor = next((x for x in inputs if isinstance(x, Tensor)), None)
    recorded = tensor is not None
    if recorded and out is not None:
        checks.fail(ValueError, name, "out", "None while a program is recorded", type(out).__name__)
    results = _record(op, inputs, params, want, tensor) if recorded else _run(op, inputs, params, out, want, backend)
    outputs = tuple(o for o in results if o is not None)
    return outputs[0] if len(outputs) == 1 else outputs or None


def _record(op: Op, inputs: tuple, params: dict, want: tuple[str, ...], like: Tensor) -> tuple[Tensor | None, ...]:
    """Record a call; arrays beside tensors become constants of the program."""
    program = like.program
    floats = [x.dtype for x in inputs if isinstance(x, Tensor) and x.dtype.kind != "i"]
    arguments: list[Tensor | None] = []
    for argument, value in zip(op.inputs, inputs, strict=True):
        if isinstance(value, Tensor):
            if value.program is not program:
                checks.fail(ValueError, op.name, argument.name, "a tensor of the same program", "one of another")
            if argument.integer != (value.dtype.kind == "i"):
                expected = "int64" if argument.integer else "float32 or float64"
                checks.fail(checks.DtypeError, op.name, argument.name, expected, value.dtype)
        elif value is not None:
            dtype = np.dtype(np.int64) if argument.integer else floats[0] if floats else np.dtype(np.float64)
            value = program.constant(_constant(op, argument.name, value, dtype))
        arguments.append(value)
    return program.record(op, arguments, params, want)


def _constant(op: Op, name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """An array beside tensors must have their dtype; numbers, lists and integers take it."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.dtype.newbyteorder("=") != dtype:
        checks.fail(checks.DtypeError, op.name, name, f"{dtype} like the tensors", value.dtype)
    return checks.host_array(op.name, name, value, dtype)


def _run(op: Op, inputs: tuple, params: dict, out: Any, want: tuple[str, ...], backend: str | None) -> tuple:
    chosen = backends.select(backend, inputs)
    checks.same_place(op.name, inputs, chosen.device, chosen.name)
    if out is not None and (chosen.device or not isinstance(out, np.ndarray)):
        checks.same_place(op.name, out if isinstance(out, tuple) else (out,), chosen.device, chosen.name)
    if chosen.device:
        inputs, out = tuple(map(chosen.accept, inputs)), _accepted(chosen, out)
    params = {k: v.value if isinstance(v, Slot) else v for k, v in params.items()}
    floats = [i for i, a in enumerate(op.inputs) if inputs[i] is not None and not a.integer]
    dtype = checks.floating_dtype(op.name, [inputs[i] for i in floats], [op.inputs[i].name for i in floats], True)
    if not chosen.supports(op.name, checks.FLOATING.get(dtype) or dtype.name):
        raise checks.UnsupportedOp(op.name, chosen.name, dtype.name)
    arrays: list[Any] = []
    for argument, value in zip(op.inputs, inputs, strict=True):
        if value is not None and argument.updated:
            checks.updated(op.name, argument, value, dtype)
        elif value is not None and not chosen.device:
            value = checks.host_array(op.name, argument.name, value, np.dtype(np.int64) if argument.integer else dtype)
        elif value is not None and argument.integer and value.dtype.kind not in "iu":
            checks.fail(checks.DtypeError, op.name, argument.name, "integers", value.dtype)
        arrays.append(value)
    dims = checks.bind(op, arrays, params)
    if op.updates:
        names = [a.name for a, x in zip(op.inputs, arrays, strict=True) if x is not None]
        checks.apart(op.name, [x for x in arrays if x is not None], names)
    if "labels" in (a.name for a in op.inputs) and not chosen.device:
        checks.labels(op.name, arrays[1], dims["c"])
    given = iter(out if isinstance(out, tuple) else (out,))
    outputs: list[Any] = []
    for argument in op.outputs:
        if argument.optional and argument.name not in want:
            outputs.append(None)
            continue
        shape = tuple(dims[d] for d in argument.dims)
        kind = np.dtype(np.int64) if argument.integer else dtype
        array = next(given, None)
        if array is None:
            array = chosen.empty(shape, kind)
        else:
            checks.output(op.name, checks.OUT, array, shape, kind, arrays)
            written = [*(o for o in outputs if o is not None), array]
            checks.apart(op.name, written, ["out"] * len(written))
        outputs.append(array)
    chosen.run(op, arrays + outputs, dims, params)
    return tuple(outputs)


def _accepted(backend: backends.Backend, out: Any) -> Any:
    """The arrays for outputs, one or a tuple of them, as the backend takes them."""
    return tuple(map(backend.accept, out)) if isinstance(out, tuple) else backend.accept(out)


def shape_of(x: Any) -> tuple[int, ...]:
    """Shape of an array, tensor, number or nested list."""
    return tuple(x.shape) if hasattr(x, "shape") else np.shape(x)


def reshape_any(x: Any, shape: tuple[int, ...]) -> Any:
    """The same elements under another shape, of an array, tensor, number or nested list.

    The result may be a view; an array that cannot be viewed that way is copied. Numbers and lists stay lists, which
    take the dtype of the arrays beside them.
    """
    return x.reshape(shape) if hasattr(x, "reshape") else np.reshape(x, shape).tolist()


def flat_out(out: Any, shape: tuple[int, ...], flat: tuple[int, ...], op: str) -> Any:
    """An `out` array of `shape` as the view that a kernel writes; one that has no such view is an error."""
    if out is None:
        return None
    if checks.is_device_array(out):
        out = backends.load("cuda").accept(out)
    dtype = np.dtype(getattr(out, "dtype", float)).newbyteorder("=")
    checks.output(op, checks.OUT, out, shape, dtype, ())
    return out.reshape(flat)
