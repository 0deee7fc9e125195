"""Reverse-mode differentiation (Griewank and Walther 2008, Evaluating Derivatives, chapter 3) by the rules of
`fastnn.rules`: grad, value_and_grad, custom_gradient, check_gradients, trace."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from numbers import Integral, Real
from typing import Any

import numpy as np

from fastnn import checks, ops
from fastnn.program import Buffer, Call, Custom, Program, Tensor
from fastnn.rules import RULES, Gradients, zeros
from fastnn.table import HALVES


def gradients(loss: Tensor, wrt: Sequence[Tensor], seed: Tensor | None = None) -> list[Tensor | None]:
    """Record the gradients of a tensor of one element by others; None for one it does not depend on.

    Parameters
    ----------
    loss : Tensor
    wrt : sequence of Tensor
        Inputs, states or results of earlier calls.
    seed : Tensor, optional
        Gradient by `loss` itself; one by default.
    """
    program = loss.program
    if loss.size != 1:
        checks.fail(checks.ShapeError, "grad", "the function's value", "one element", loss.shape)
    if seed is None:
        seed = program.constant(np.ones(loss.shape, loss.dtype), "one")
    calls = list(program.calls)
    dependent: set[Buffer] = {t.buffer for t in wrt}
    for call in calls:
        if any(t is not None and t.buffer in dependent for t in call.inputs):
            dependent.update(t.buffer for t in call.outputs if t is not None)
    adjoints: dict[Buffer, Tensor] = {loss.buffer: seed}
    done: set[Call | Custom] = set()
    for call in reversed(calls):
        node = call.custom or call
        if node in done:
            continue
        done.add(node)
        dy = None if node.result is None else adjoints.get(node.result.buffer)
        needs = tuple(t is not None and t.buffer in dependent for t in node.inputs)
        if node.result is None or dy is None or not any(needs):
            continue
        results = _through(node, needs, dy.reshape(node.result.shape))
        for number, (tensor, need, result) in enumerate(zip(node.inputs, needs, results, strict=True), 1):
            if not need:
                continue
            assert tensor is not None
            if result is None:
                raise NotImplementedError(f"grad: {_name(node)!r} has no gradient by its input number {number}")
            before = adjoints.get(tensor.buffer)
            adjoints[tensor.buffer] = result if before is None else ops.add(before.reshape(result.shape), result)
    found = [adjoints.get(t.buffer) if t.buffer in dependent else None for t in wrt]
    return [None if g is None else g.reshape(t.shape) for g, t in zip(found, wrt, strict=True)]


def _name(node: Call | Custom) -> str:
    return node.op.name if isinstance(node, Call) else "custom_gradient"


def _through(node: Call | Custom, needs: tuple[bool, ...], dy: Tensor) -> Gradients:
    """Gradients by a call's inputs from the one by its result, by the op's rule or the user's."""
    if isinstance(node, Call):
        if node.op.name not in RULES:
            raise NotImplementedError(f"grad: op {node.op.name!r} has no gradient rule")
        return RULES[node.op.name](node, needs, dy)
    results = node.backward(dy, *node.inputs, node.result)
    results = results if isinstance(results, tuple) else (results,)
    results += (None,) * (len(node.inputs) - len(results))
    for tensor, result in zip(node.inputs, results, strict=True):
        if result is not None and not isinstance(result, Tensor):
            checks.fail(TypeError, _name(node), "backward", "a tensor", type(result).__name__)
        if result is not None and result.shape != tensor.shape:
            checks.fail(checks.ShapeError, _name(node), "backward", f"a tensor of shape {tensor.shape}", result.shape)
    return results


# --- differentiation of plain functions --------------------------------------------------------------------


def _leaves(value: Any) -> list[Any]:
    """Arrays of nested lists, tuples and dicts, in order."""
    if isinstance(value, dict):
        return [leaf for v in value.values() for leaf in _leaves(v)]
    if isinstance(value, (list, tuple)):
        return [leaf for v in value for leaf in _leaves(v)]
    return [value]


def _rebuild(value: Any, leaves: list[Any]) -> Any:
    """The same nesting with other leaves, which are taken from the front of the list."""
    if isinstance(value, dict):
        return {k: _rebuild(v, leaves) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        # A namedtuple takes its fields one by one.
        make = getattr(type(value), "_make", type(value))
        return make(_rebuild(v, leaves) for v in value)
    return leaves.pop(0)


def _array(value: Any) -> np.ndarray:
    """A leaf as an array that can be differentiated by: integers become float64."""
    if checks.is_device_array(value):
        return value
    array = np.asarray(value)
    floating = array.dtype.kind == "f" or array.dtype.name in HALVES
    return array if floating else checks.host_array("grad", "argument", array, np.dtype(np.float64))


def _record(
    f: Callable[..., Any], args: tuple[Any, ...], numbers: Sequence[int], backend: str | None
) -> tuple[Program, list[Tensor], list[Any], Any]:
    """Call f with tensors in place of some arguments; returns program, input tensors, their values, f's result."""
    program = Program(backend)
    tensors: list[Tensor] = []
    values: list[Any] = []
    symbolic = list(args)
    names = _names(f, len(args))
    for number in numbers:
        leaves = [_array(leaf) for leaf in _leaves(args[number])]
        new = [program.input(names[number], a.shape, np.dtype(a.dtype).newbyteorder("=")) for a in leaves]
        symbolic[number] = _rebuild(args[number], list(new))
        tensors += new
        values += leaves
    return program, tensors, values, f(*symbolic)


def _names(f: Callable[..., Any], count: int) -> list[str]:
    """Names for the first arguments of f: its parameters' where they can be known."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return (known + [f"arg{i}" for i in range(len(known), count)])[:count]


def _numbers(f: Callable[..., Any], args: tuple[Any, ...], argnums: int | Iterable[int]) -> list[int]:
    numbers = list(argnums) if isinstance(argnums, Iterable) else [argnums]
    for n in numbers:
        if not isinstance(n, Integral) or not -len(args) <= n < len(args):
            name = getattr(f, "__name__", "function")
            checks.fail(ValueError, "grad", "argnums", f"numbers of the {len(args)} arguments of {name}", repr(argnums))
    return [int(n) % len(args) for n in numbers]


def _apart(leaf: Any, program: Program) -> Tensor:
    """A leaf as a tensor that nothing else is: another argument or f itself may hold the same one as a constant."""
    return ops.linear(leaf) if isinstance(leaf, Tensor) else program.constant(_array(leaf))


def _value(result: Any, program: Program) -> Tensor:
    """What f returned; a number is a constant."""
    if isinstance(result, Tensor):
        return result
    if not isinstance(result, (Real, np.ndarray)):
        checks.fail(TypeError, "grad", "the function's value", "a tensor", type(result).__name__)
    return program.constant(checks.host_array("grad", "the function's value", result, np.dtype(np.float64)))


def _slopes(value: Tensor, wrt: Sequence[Tensor]) -> list[Tensor]:
    """Gradients, zeros by what the value does not depend on."""
    return [zeros(t) if g is None else g for g, t in zip(gradients(value, wrt), wrt, strict=True)]


def value_and_grad(
    f: Callable[..., Any], argnums: int | Iterable[int] = 0, *, backend: str | None = None
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns f's value and its gradient.

    Parameters
    ----------
    f : callable
        A function of ops that returns one number. Its arguments to differentiate by are arrays, numbers, or
        (nested) lists, tuples, namedtuples and dicts of these; others are passed on as they are.
    argnums : int or iterable of int
        Arguments to differentiate by; several give a tuple of gradients.
    backend : str, optional

    Returns
    -------
    callable
        Takes f's arguments; returns ``(value, gradient)``, the gradient in the shape of the argument. f is recorded
        anew at each call, so it may depend on anything; within another recording the gradient is recorded too,
        so that gradients of gradients work for functions of elementwise and matrix primitives.
    """

    @wraps(f)
    def value_and_gradient(*args: Any) -> tuple[Any, Any]:
        numbers = _numbers(f, args, argnums)
        distinct = list(dict.fromkeys(numbers))
        chosen = [args[n] for n in distinct]
        recorded = next((leaf.program for leaf in _leaves(chosen) if isinstance(leaf, Tensor)), None)
        value: Any
        slopes: list[Any]
        if recorded is not None:
            wrt = [_apart(leaf, recorded) for leaf in _leaves(chosen)]
            symbolic = dict(enumerate(args)) | dict(zip(distinct, _rebuild(chosen, list(wrt)), strict=True))
            value = _value(f(*symbolic.values()), recorded)
            slopes = _slopes(value, wrt)
        else:
            program, tensors, values, returned = _record(f, args, distinct, backend)
            result = _value(returned, program)
            for tensor in [result, *_slopes(result, tensors)]:
                program.output(tensor)
            value, *slopes = program(*values)
            value = value.reshape(())
        found = dict(zip(distinct, _rebuild(chosen, slopes), strict=True))
        return value, tuple(found[n] for n in numbers) if isinstance(argnums, Iterable) else found[numbers[0]]

    return value_and_gradient


def grad(f: Callable[..., Any], argnums: int | Iterable[int] = 0, *, backend: str | None = None) -> Callable[..., Any]:
    """A function that returns f's gradient; see `value_and_grad`."""
    both = value_and_grad(f, argnums, backend=backend)

    @wraps(f)
    def gradient(*args: Any) -> Any:
        return both(*args)[1]

    return gradient


def trace(f: Callable[..., Any], *args: Any, backend: str | None = None) -> Program:
    """Record f as a program without running it.

    Parameters
    ----------
    f : callable
        A function of ops that returns a tensor or several.
    *args : array_like
        Arrays that give the inputs' shapes and dtypes, or nested lists and dicts of them.
    """
    program, _, _, result = _record(f, args, range(len(args)), backend)
    for value in _leaves(result):
        if not isinstance(value, Tensor):
            checks.fail(TypeError, "trace", "the function's value", "tensors", type(value).__name__)
        program.output(value)
    return program


def custom_gradient(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """A function of ops with a gradient of your own.

    Parameters
    ----------
    forward : callable
        ``forward(*x) -> y``, in ops.
    backward : callable
        ``backward(dy, *x, y) -> dx``, in ops: the gradient by the first x, or a tuple with one for each, None for
        those that nobody needs.

    Returns
    -------
    callable
        Takes the arguments of `forward`. Within a program it is differentiated by `backward`, as an activation
        (``Dense(8, activation=...)``) or a loss too; given arrays it is `forward`.
    """

    for name, given in (("forward", forward), ("backward", backward)):
        if not callable(given):
            checks.fail(TypeError, "custom_gradient", name, "a function of ops", repr(given))

    @wraps(forward)
    def function(*x: Any) -> Any:
        inputs = tuple(t for t in x if isinstance(t, Tensor))
        if not inputs:
            return forward(*x)
        program = inputs[0].program
        x = tuple(t if isinstance(t, Tensor) else program.constant(np.asarray(t, inputs[0].dtype)) for t in x)
        start = len(program.calls)
        y = forward(*x)
        if not isinstance(y, Tensor):
            checks.fail(TypeError, "custom_gradient", "forward's result", "a tensor", type(y).__name__)
        if all(y.buffer is not t.buffer for call in program.calls[start:] for t in call.outputs if t is not None):
            y = ops.linear(y)
        custom = Custom(x, y, backward)
        for call in program.calls[start:]:
            call.custom = custom
        return y

    return function


def check_gradients(
    f: Callable[..., Any],
    args: Sequence[Any],
    *,
    epsilon: float = 1e-6,
    rtol: float = 1e-6,
    backend: str | None = None,
) -> float:
    """Compare f's gradients by all its arguments with central differences in float64.

    ``(f(x + epsilon) - f(x - epsilon)) / (2 epsilon)`` for every element of every argument.

    Parameters
    ----------
    f : callable
        A function of ops that returns one number.
    args : sequence of array_like
    epsilon : float
        Step, relative to ``max(1, |x|)``.
    rtol : float
        Largest error allowed, relative to the largest gradient (or to 1 where that is larger).

    Returns
    -------
    float
        The largest relative error.

    Raises
    ------
    AssertionError
        If it exceeds `rtol`; the message names the argument and the element.
    """
    if not isinstance(args, Sequence):
        checks.fail(TypeError, "check_gradients", "args", "a list or tuple of arguments", type(args).__name__)
    arrays = [np.array(a, dtype=np.float64) for a in args]
    numbers = list(range(len(arrays)))
    found = value_and_grad(f, numbers, backend=backend)(*arrays)[1]
    program = trace(f, *arrays, backend=backend)

    def value() -> float:
        return float(np.ravel(program(*arrays)[0])[0])

    worst = 0.0
    for number, (array, gradient) in enumerate(zip(arrays, found, strict=True)):
        scale = max(1.0, float(np.abs(gradient).max(initial=0)))
        for index in np.ndindex(array.shape):
            x = array[index]
            step = epsilon * max(1.0, abs(x))
            array[index] = x + step
            above = value()
            array[index] = x - step
            below = value()
            array[index] = x
            difference = (above - below) / (2 * step)
            error = abs(difference - float(gradient[index])) / scale
            if not error <= rtol:
                raise AssertionError(
                    f"check_gradients: argument {number}, element {index}: gradient {float(gradient[index])!r}, "
                    f"central difference {difference!r}, relative error {error:.2e} > {rtol:.2e}"
                )
            worst = max(worst, error)
    return worst
