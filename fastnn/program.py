"""Recorded programs: symbolic tensors, the list of calls, buffer planning, replay.

Calling an op on a `Tensor` records the call. What changes from replay to replay without recording again is either an
input, or a `Slot`: a named number (learning rate, step count) that stands for an op's parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np

from fastnn import backends, checks
from fastnn.table import TABLE, Op
from fastnn_ext.replay import Slot as Slot

if TYPE_CHECKING:
    from pathlib import Path

    from fastnn.nodes import Node

Kind = Literal["input", "constant", "state", "temporary", "output"]


@dataclass(eq=False)
class Buffer:
    """A piece of memory of a program."""

    size: int
    dtype: np.dtype
    kind: Kind
    name: str
    data: Any = None
    #: The shape to show; ops bring their results from their kernel's shape to it, which is a temporary's first reshape.
    shape: tuple[int, ...] | None = None
    #: A temporary may lie inside another buffer, from this element on.
    parent: Buffer | None = None
    offset: int = 0


@dataclass(eq=False)
class Custom:
    """A stretch of calls that is differentiated as a whole, by a rule of the user's; see `fastnn.custom_gradient`."""

    inputs: tuple[Tensor, ...]
    result: Tensor
    backward: Callable[..., Any]


@dataclass(eq=False)
class Call:
    """One recorded call of an op; absent arguments are None."""

    op: Op
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor | None, ...]
    params: dict[str, Any]
    dims: dict[str, int]
    custom: Custom | None = None

    @property
    def arguments(self) -> tuple[Tensor | None, ...]:
        return self.inputs + self.outputs

    @property
    def result(self) -> Tensor | None:
        """The output that gradients go through: the first."""
        return self.outputs[0] if self.outputs else None

    def current_params(self) -> dict[str, Any]:
        """Parameters with slots replaced by their values."""
        return {k: v.value if isinstance(v, Slot) else v for k, v in self.params.items()}

    def slots(self) -> list[tuple[int, Slot]]:
        """Slots among the parameters, and which of the numbers of `Op.encode` each stands for."""
        found, index = [], 0
        for value in self.params.values():
            if isinstance(value, Slot):
                found.append((index, value))
            index += len(value) if isinstance(value, tuple) else 1
        return found


class Tensor:
    """A symbolic array of a program: what ops return when they are given one.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    """

    __slots__ = ("buffer", "dtype", "program", "shape")
    # NumPy arrays leave `array + tensor` to the tensor.
    __array_ufunc__ = None

    def __init__(self, program: Program, buffer: Buffer, shape: tuple[int, ...]) -> None:
        self.program = program
        self.buffer = buffer
        self.shape = shape
        self.dtype = buffer.dtype

    @property
    def shown_shape(self) -> tuple[int, ...]:
        """The shape in which the op returned it, for texts and pictures."""
        return self.shape if self.buffer.shape is None else self.buffer.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.buffer.size

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements under another shape; one dimension may be -1. Nothing is copied or recorded."""
        wanted = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
        if wanted.count(-1) == 1:
            rest = prod(n for n in wanted if n != -1)
            wanted = tuple((self.size // rest if rest else 0) if n == -1 else n for n in wanted)
        if prod(wanted) != self.size or any(n < 0 for n in wanted):
            checks.fail(checks.ShapeError, "reshape", "shape", f"{self.size} elements", wanted)
        result = Tensor(self.program, self.buffer, tuple(int(n) for n in wanted))
        if self.buffer.shape is None:
            self.buffer.shape = result.shape
        return result

    def _op(self, name: str, *arguments: Any) -> Tensor:
        from fastnn import ops  # ops is written in terms of Tensor

        return getattr(ops, name)(*arguments)

    def __add__(self, other: Any) -> Tensor:
        return self._op("add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return self._op("add", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return self._op("subtract", self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return self._op("subtract", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return self._op("multiply", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return self._op("multiply", other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return self._op("divide", self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self._op("divide", other, self)

    def __pow__(self, other: Any) -> Tensor:
        return self._op("power", self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return self._op("power", other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return self._op("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return self._op("matmul", other, self)

    def __neg__(self) -> Tensor:
        return self._op("negative", self)

    def __abs__(self) -> Tensor:
        return self._op("maximum", self, -self)

    @property
    def T(self) -> Tensor:
        return self._op("transpose", self)

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        from fastnn import ops

        return ops.sum(self, axis, keepdims=keepdims)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        from fastnn import ops

        return ops.mean(self, axis, keepdims=keepdims)

    def __bool__(self) -> bool:
        raise TypeError("a Tensor has no value while a program is recorded: it cannot decide an if or a while")

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("a Tensor has no value while a program is recorded: it cannot be compared")

    __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__
    __hash__ = object.__hash__

    def __float__(self) -> float:
        raise TypeError("a Tensor has no value while a program is recorded: return it and read the result")

    __int__ = __float__

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a Tensor of shape () has no length")
        return self.shape[0]

    def __getitem__(self, index: Any) -> NoReturn:
        """Iteration, unpacking and `in` come here too."""
        raise TypeError("a Tensor has no parts: it cannot be indexed, iterated or unpacked")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TypeError("a Tensor has no value while a program is recorded: use fastnn's ops instead of NumPy's")

    def __array_function__(self, function: Callable[..., Any], *_: Any) -> NoReturn:
        raise TypeError(f"numpy.{function.__name__} takes no Tensor: use fastnn's ops instead of NumPy's")

    def __repr__(self) -> str:
        return f"Tensor({self.buffer.name}, shape={self.shape}, dtype={self.dtype})"


@dataclass
class Plan:
    """Where temporaries lie: byte offsets into one arena of `size` bytes."""

    offsets: dict[Buffer, int] = field(default_factory=dict)
    size: int = 0


class Program:
    """A flat list of recorded calls with their buffers.

    Parameters
    ----------
    backend : str, optional
        Backend that replays it; by default chosen as for ops.
    """

    #: Temporaries begin at multiples of this many bytes: a cache line, and the widest vector.
    ALIGNMENT = 64

    def __init__(self, backend: str | None = None) -> None:
        self.backend = backends.select(backend)
        self.calls: list[Call] = []
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self._replay: backends.Replay | None = None
        self._names: dict[str, int] = {}

    # --- recording ---------------------------------------------------------------------------------------

    def _tensor(self, shape: Sequence[int], dtype: Any, kind: Kind, name: str, data: Any = None) -> Tensor:
        number = self._names[name] = self._names.get(name, 0) + 1
        unique = name if number == 1 else f"{name}_{number}"
        tensor_shape = tuple(int(n) for n in shape)
        shown = None if kind == "temporary" else tensor_shape
        return Tensor(self, Buffer(prod(shape), np.dtype(dtype), kind, unique, data, shown), tensor_shape)

    def input(self, name: str, shape: Sequence[int], dtype: Any) -> Tensor:
        """An array that comes with every replay."""
        tensor = self._tensor(shape, dtype, "input", name)
        self.inputs.append(tensor)
        return tensor

    def constant(self, value: np.ndarray, name: str = "constant") -> Tensor:
        """An array that never changes (copied)."""
        data = np.array(value, order="C")
        return self._tensor(data.shape, data.dtype, "constant", name, self.backend.to_device(data))

    def state(self, name: str, data: Any) -> Tensor:
        """An array of the backend that lives longer than a replay: parameters, gradients, moments."""
        if isinstance(data, np.ndarray):
            checks.writable("program", name, data)
        return self._tensor(tuple(data.shape), data.dtype, "state", name, data)

    def record(
        self, op: Op, inputs: Sequence[Tensor | None], params: dict[str, Any], want: Sequence[str] = ()
    ) -> tuple[Tensor | None, ...]:
        """Append a call; returns its outputs, optional ones only where wanted."""
        self._frozen()
        values = {k: v.value if isinstance(v, Slot) else v for k, v in params.items()}
        dims = checks.bind(op, inputs, values)
        dtype = checks.floating_dtype(
            op.name,
            [t for a, t in zip(op.inputs, inputs, strict=True) if t is not None and not a.integer],
            [a.name for a, t in zip(op.inputs, inputs, strict=True) if t is not None and not a.integer],
            halves=True,
        )
        if not self.backend.supports(op.name, dtype.name):
            raise checks.UnsupportedOp(op.name, self.backend.name, dtype.name)
        for argument, tensor in zip(op.inputs, inputs, strict=True):
            if tensor is None or not argument.updated:
                continue
            if tensor.buffer.kind in ("input", "constant"):
                got = f"one of kind {tensor.buffer.kind!r}"
                checks.fail(checks.LayoutError, op.name, argument.name, "a tensor that may be updated", got)
            if sum(t is not None and t.buffer is tensor.buffer for t in inputs) > 1:
                checks.fail(checks.LayoutError, op.name, argument.name, "memory of its own", "a tensor given twice")
        outputs = tuple(
            self._tensor([dims[d] for d in a.dims], np.int64 if a.integer else dtype, "temporary", op.name)
            if not a.optional or a.name in want
            else None
            for a in op.outputs
        )
        self.calls.append(Call(op, tuple(inputs), outputs, params, dims))
        return outputs

    def output(self, tensor: Tensor) -> Tensor:
        """Declare a result of the program; it is written into an array that comes with every replay."""
        self._frozen()
        if tensor.buffer.kind != "temporary" or tensor.buffer.parent is not None:
            (copied,) = self.record(TABLE["linear"], [tensor.reshape(-1)], {})
            assert copied is not None
            tensor = copied.reshape(tensor.shape)
        tensor.buffer.kind = "output"
        self.outputs.append(tensor)
        return tensor

    def place(self, tensor: Tensor, into: Tensor, offset: int) -> None:
        """Let a temporary lie inside a state buffer, from element `offset` on."""
        self._frozen()
        if tensor.buffer.kind != "temporary" or tensor.buffer.parent is not None:
            (copied,) = self.record(TABLE["linear"], [tensor.reshape(-1)], {})
            assert copied is not None
            tensor = copied
        if into.dtype != tensor.dtype or not 0 <= offset <= into.size - tensor.size:
            checks.fail(checks.ShapeError, "program", "offset", f"a place within {into}", f"{offset} for {tensor}")
        tensor.buffer.parent, tensor.buffer.offset = into.buffer, offset

    def _frozen(self) -> None:
        if self._replay is not None:
            raise RuntimeError("the program has been replayed already and cannot be recorded further")

    # --- planning ----------------------------------------------------------------------------------------

    def prune(self) -> None:
        """Drop the calls and optional outputs that nothing reads."""
        read = {t.buffer for t in self.outputs}
        kept: list[Call] = []
        for call in reversed(self.calls):
            used = [t is not None and (t.buffer in read or t.buffer.parent is not None) for t in call.outputs]
            if not any(used) and not call.op.updates:
                continue
            call.outputs = tuple(
                None if a.optional and not u else t
                for a, t, u in zip(call.op.outputs, call.outputs, used, strict=True)
            )
            read.update(t.buffer for t in call.inputs if t is not None)
            kept.append(call)
        self.calls = kept[::-1]

    def plan(self) -> Plan:
        """Lay temporaries into one arena: two that are never alive together may share memory.

        Largest first, each at the lowest offset where it meets no other that lives at the same time.
        """
        life: dict[Buffer, list[int]] = {}
        for i, call in enumerate(self.calls):
            for tensor in call.arguments:
                if tensor is not None and tensor.buffer.kind == "temporary" and tensor.buffer.parent is None:
                    life.setdefault(tensor.buffer, [i, i])[1] = i
        size = {b: -(-max(b.size * b.dtype.itemsize, 1) // self.ALIGNMENT) * self.ALIGNMENT for b in life}
        buffers = sorted(life, key=lambda b: -b.size * b.dtype.itemsize)
        first, last = np.array([life[b] for b in buffers], dtype=np.int64).reshape(-1, 2).T
        begin, end = np.zeros((2, len(buffers)), dtype=np.int64)
        for i, buffer in enumerate(buffers):
            together = (first[:i] <= last[i]) & (first[i] <= last[:i])
            # Where k of them lie below a gap and the others above it, it reaches from the k-th end to the next begin.
            low = np.append(0, np.sort(end[:i][together]))
            high = np.append(np.sort(begin[:i][together]), np.iinfo(np.int64).max)
            begin[i] = low[np.argmax(high - low >= size[buffer])]
            end[i] = begin[i] + size[buffer]
        return Plan(dict(zip(buffers, begin.tolist(), strict=True)), int(end.max(initial=0)))

    # --- replay ------------------------------------------------------------------------------------------

    def compile(self) -> backends.Replay:
        """Make the program ready for replay; nothing can be recorded afterwards."""
        if self._replay is None:
            self.prune()
            self._replay = self.backend.compile(self)
        return self._replay

    def __call__(self, *arrays: Any, out: Sequence[Any] | None = None) -> tuple[Any, ...]:
        """Replay on these inputs; returns the outputs.

        Parameters
        ----------
        *arrays : array_like
            One for each input, of its shape and dtype.
        out : sequence of arrays, optional
            Arrays for the outputs.
        """
        if len(arrays) != len(self.inputs):
            checks.fail(checks.ShapeError, "program", "inputs", f"{len(self.inputs)} arrays", len(arrays))
        ready = tuple(self._ready(a, t) for a, t in zip(arrays, self.inputs, strict=True))
        if out is None:
            out = [self.backend.empty(t.shape, t.dtype) for t in self.outputs]
        else:
            if not isinstance(out, Sequence):
                checks.fail(TypeError, "program", "out", "a list or tuple of arrays", type(out).__name__)
            if len(out) != len(self.outputs):
                checks.fail(checks.ShapeError, "program", "out", f"{len(self.outputs)} arrays", len(out))
            given = out
            if self.backend.device:
                checks.same_place("program", out, True, self.backend.name)
                given = list(map(self.backend.accept, out))
            for array, tensor in zip(given, self.outputs, strict=True):
                checks.output("program", checks.OUT, array, tensor.shape, tensor.dtype, ready)
            checks.apart("program", given, ["out"] * len(out))
        self.compile().run(ready + tuple(out))
        return tuple(out)

    def _ready(self, array: Any, tensor: Tensor) -> Any:
        name = tensor.buffer.name
        if not self.backend.device:
            array = checks.host_array("program", name, array, tensor.dtype)
        checks.same_place("program", [array], self.backend.device, self.backend.name)
        if self.backend.device:
            array = self.backend.accept(array)
        if tuple(array.shape) != tensor.shape:
            checks.fail(checks.ShapeError, "program", name, f"shape {tensor.shape}", tuple(array.shape))
        return array

    # --- looking -----------------------------------------------------------------------------------------

    def nodes(self, *arrays: Any) -> list[Node]:
        """Every array of the graph with its value at these inputs, and its gradient; see `fastnn.nodes.nodes`."""
        from fastnn.nodes import nodes

        return nodes(self, arrays)

    def draw(self, path: str | Path | None = None, at: Sequence[Any] | None = None) -> str:
        """A picture of the graph as Graphviz DOT text; see `fastnn.drawing.draw`."""
        from fastnn.drawing import draw

        return draw(self, path, at)

    def __len__(self) -> int:
        return len(self.calls)

    def __repr__(self) -> str:
        lines = [f"Program on {self.backend.name}: {len(self.calls)} calls"]
        for call in self.calls:
            left = ", ".join(f"{t.buffer.name} {t.shown_shape}" for t in call.outputs if t is not None)
            right = ", ".join(t.buffer.name if t is not None else "-" for t in call.inputs)
            lines.append(f"  {left or '-'} = {call.op.name}({right})")
        return "\n".join(lines)
