"""Optimizers used alone on the `cuda` backend: one launch for all arrays, which reads gradients where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastnn.backends.cuda_replay import Numbers
from fastnn.backends.host import lay_out

if TYPE_CHECKING:
    from fastnn.backends.numba_cuda import CudaBackend
    from fastnn.program import Call, Program


def is_update(program: Program) -> bool:
    """Whether a program is one optimizer's update of some arrays, whose gradients are its inputs."""
    calls = program.calls
    return (
        bool(calls)
        and not program.outputs
        and calls[0].op.family == "optimizers"
        and all(call.op is calls[0].op and call.params == calls[0].params for call in calls)
        and len(calls) == len(program.inputs)
        and all(call.arguments[1] is gradient for call, gradient in zip(calls, program.inputs, strict=True))
    )


class Group:
    """Calls whose arrays have one dtype, and of whose optional arrays the same ones are present.

    The kernel finds all arrays by a table of addresses on the device, of which a step writes what has changed.
    """

    def __init__(self, backend: CudaBackend, calls: Sequence[tuple[int, Call, list[Any]]]) -> None:
        self.backend, self.first = backend, calls[0][1]
        self.launcher = backend.kernels[self.first.op.name]
        #: Which inputs of the program are the gradients.
        self.inputs = [index for index, _, _ in calls]
        arrays = [arrays for _, _, arrays in calls]
        self.T = arrays[0][0].dtype.type
        self.present = tuple(a is not None for a in self.first.arguments)
        self.sizes = [parameter.size for parameter, *_ in arrays]
        #: Addresses of all arrays, by argument; the gradients' are those of the parameters until a step brings them.
        self.columns = [
            [backend.shim.address(a) for a in column] for column in zip(*arrays, strict=True) if column[0] is not None
        ]
        self.numbers = Numbers(backend)
        values, self.blocks = self.launcher.rows(self.sizes, self.columns, self.T)
        self.numbers.add(values)
        self.numbers.allocate()
        self.table = self.numbers.array(0).reshape(2 + len(self.columns), len(self.sizes))

    def run(self, gradients: Sequence[Any]) -> None:
        """Queue the update with gradients of all the program's arrays."""
        self.columns[1] = [self.backend.shim.address(gradients[index]) for index in self.inputs]
        self.numbers.set(0, self.launcher.rows(self.sizes, self.columns, self.T)[0])
        self.numbers.write()
        params = self.first.current_params()
        self.launcher.many(self.backend.launch, self.table, self.blocks, self.present, self.T, params)


class CudaUpdate:
    """A program that `is_update`. Arrays without elements take no part."""

    def __init__(self, backend: CudaBackend, program: Program) -> None:
        self.backend = backend
        #: Keeps the arrays alive.
        self.arrays = lay_out(program, backend)
        groups: dict[Any, list[tuple[int, Call, list[Any]]]] = {}
        for index, call in enumerate(program.calls):
            parameter, _, *states = call.arguments
            if parameter.size > 0:
                own = self.arrays[parameter.buffer]
                arrays = [own, own, *(None if s is None else self.arrays[s.buffer] for s in states)]
                kind = parameter.dtype, tuple(s is None for s in states)
                groups.setdefault(kind, []).append((index, call, arrays))
        self.groups = [Group(backend, calls) for calls in groups.values()]

    def run(self, arrays: tuple[Any, ...]) -> None:
        given = [self.backend.accept(a) for a in arrays]
        with self.backend.lock:
            for group in self.groups:
                group.run(given)
