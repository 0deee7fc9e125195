"""What a computation graph computes: the value at every node, and the gradient of the result by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn import autodiff, backends
from fastnn.program import Buffer, Custom, Program, Tensor


@dataclass(frozen=True)
class Node:
    """One array of a graph.

    Attributes
    ----------
    name : str
        As in the program's text and picture.
    op : str
        What made it: an op's name, "input", "constant" or "state".
    inputs : tuple of str
        Names of the arrays it was made from.
    value : array
    gradient : array or None
        Of the graph's value by this array, of its shape; None where the graph's value is not one number, for integers
        and constants, and for arrays on which it does not depend.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    value: np.ndarray
    gradient: np.ndarray | None

    def __str__(self) -> str:
        made = self.op if not self.inputs else f"{self.op}({', '.join(self.inputs)})"
        gradient = "" if self.gradient is None else f", gradient {_short(self.gradient)}"
        return f"{self.name} {self.value.shape} = {made}: {_short(self.value)}{gradient}"


def _short(array: np.ndarray) -> str:
    return np.array2string(array, precision=6, separator=", ", threshold=8).replace("\n", "")


def nodes(program: Program, arrays: Sequence[Any]) -> list[Node]:
    """All arrays of a graph, inputs first, in the order of computation.

    Parameters
    ----------
    program : Program
        From `fastnn.trace`; it is not changed.
    arrays : sequence of array_like
        Its inputs.

    Raises
    ------
    NotImplementedError
        If the program updates arrays in place.
    """
    copy = Program(program.backend.name)
    known: dict[Buffer, Tensor] = {}
    made: dict[Buffer, tuple[str, tuple[str, ...]]] = {}
    customs: dict[Custom, Custom] = {}
    for tensor in program.inputs:
        known[tensor.buffer] = copy.input(tensor.buffer.name, tensor.shape, tensor.dtype)
        made[tensor.buffer] = "input", ()

    def twin(tensor: Tensor) -> Tensor:
        """The copy's tensor for one of the program."""
        if tensor.buffer not in known:
            known[tensor.buffer] = copy.state(tensor.buffer.name, tensor.buffer.data)
            made[tensor.buffer] = tensor.buffer.kind, ()
        return known[tensor.buffer].reshape(tensor.shape)

    for call in program.calls:
        if call.op.updates:
            raise NotImplementedError(f"nodes: op {call.op.name!r} updates its arguments in place")
        inputs = [None if t is None else twin(t) for t in call.inputs]
        want = [a.name for a, t in zip(call.op.outputs, call.outputs, strict=True) if a.optional and t is not None]
        outputs = copy.record(call.op, inputs, call.params, want)
        names = tuple(t.buffer.name for t in call.inputs if t is not None)
        for old, new in zip(call.outputs, outputs, strict=True):
            if old is not None and new is not None:
                known[old.buffer] = new.reshape(old.shown_shape)
                made[old.buffer] = call.op.name, names
        custom = call.custom
        if custom is not None and custom.result.buffer in known:
            customs[custom] = Custom(tuple(twin(t) for t in custom.inputs), twin(custom.result), custom.backward)
    for old_call, new_call in zip(program.calls, copy.calls, strict=True):
        new_call.custom = customs.get(old_call.custom) if old_call.custom is not None else None

    buffers, tensors = list(known), list(known.values())
    gradients: list[Tensor | None] = [None] * len(tensors)
    result = program.outputs[-1] if len(program.outputs) == 1 else None
    if result is not None and result.size == 1:
        floating = [i for i, t in enumerate(tensors) if t.dtype.kind == "f" and buffers[i].kind != "constant"]
        found = autodiff.gradients(twin(result), [tensors[i] for i in floating])
        for i, gradient in zip(floating, found, strict=True):
            gradients[i] = gradient
    computed = [b for b in buffers if b.kind in ("temporary", "output")]
    for tensor in [*(known[b] for b in computed), *(g for g in gradients if g is not None)]:
        copy.output(tensor)
    rest = iter([program.backend.to_host(r) for r in copy(*arrays)])
    values = {b: b.data for b in buffers} | {t.buffer: a for t, a in zip(program.inputs, arrays, strict=True)}
    values |= zip(computed, rest, strict=False)
    return [
        Node(
            buffer.name,
            *made[buffer],
            np.array(backends.to_host(values[buffer]), tensor.dtype),
            None if gradient is None else next(rest),
        )
        for buffer, tensor, gradient in zip(buffers, tensors, gradients, strict=True)
    ]
