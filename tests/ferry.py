"""The `cuda` backend for tests that hand over host arrays: what a call is given goes to the device and comes back."""

from collections.abc import Sequence
from typing import Any

from fastnn import backends
from fastnn.backends.host import HostBackend
from fastnn.program import Program
from fastnn.table import Op


class Ferry(HostBackend):
    """A backend's kernels, as those of a backend that computes in main memory."""

    def __init__(self, device: backends.Backend) -> None:
        self.name, self.there = device.name, device

    def supports(self, op: str, dtype: str) -> bool:
        return self.there.supports(op, dtype)

    def run(self, op: Op, arrays: Sequence[Any], dims: dict[str, int], params: dict[str, Any]) -> None:
        given = [None if a is None else self.there.to_device(a) for a in arrays]
        self.there.run(op, given, dims, params)
        for argument, host, array in zip(op.arguments, arrays, given, strict=True):
            if host is not None and (argument.updated or argument in op.outputs):
                host[...] = self.there.to_host(array)

    def compile(self, program: Program) -> backends.Replay:
        return FerryReplay(self.there, program)


class FerryReplay:
    """A program replayed on the device, whose arrays stay in main memory between replays."""

    def __init__(self, there: backends.Backend, program: Program) -> None:
        tensors = [t for call in program.calls for t in call.arguments if t is not None]
        buffers = {b for t in tensors for b in (t.buffer, t.buffer.parent) if b is not None and b.data is not None}
        hosts = {b: b.data for b in buffers}
        for buffer in buffers:
            buffer.data = there.to_device(buffer.data)
        self.there, self.inputs, self.replay = there, len(program.inputs), there.compile(program)
        # Arrays that share memory do not on the device: only those come back that the program writes.
        written = {
            t.buffer.parent or t.buffer
            for call in program.calls
            for argument, t in zip(call.op.arguments, call.arguments, strict=True)
            if t is not None and (argument.updated or argument in call.op.outputs)
        }
        self.held = [(hosts[b], b.data, b in written) for b in buffers]
        for buffer in buffers:
            buffer.data = hosts[buffer]

    def infer(self, x: Any, out: Any) -> None:
        """Leave it to the caller."""

    def run(self, arrays: tuple[Any, ...]) -> None:
        for host, array, _ in self.held:
            self.there.assign(array, host)
        given = [self.there.to_device(a) for a in arrays]
        self.replay.run(tuple(given))
        changed = [(host, array) for host, array, back in self.held if back]
        for host, array in changed + list(zip(arrays[self.inputs :], given[self.inputs :], strict=True)):
            host[...] = self.there.to_host(array)
