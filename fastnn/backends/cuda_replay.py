"""Recorded programs on the `cuda` backend: launches prepared once, captured in CUDA graphs where the driver can."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.backends.cuda_batches import Batches
from fastnn.backends.host import lay_out

if TYPE_CHECKING:
    from fastnn.backends.numba_cuda import CudaBackend
    from fastnn.program import Call, Program


class Stretch:
    """Launches that are the same in every replay.

    They are queued one by one the first time, which compiles the kernels, captured in a graph the second time, and
    queued as that graph from then on.
    """

    def __init__(self, backend: CudaBackend) -> None:
        self.backend = backend
        self.launches: list[Callable[[], None]] = []
        self.compiled = False
        self.graph: Any = None

    def queue(self) -> None:
        """Queue the launches one by one."""
        for launch in self.launches:
            launch()

    def run(self) -> None:
        """Queue the launches."""
        if self.graph is None and self.compiled and len(self.launches) > 1 and self.backend.plain is None:
            self._capture()
        if self.graph is None:
            self.queue()
            self.compiled = True
        else:
            self.graph.launch()

    def _capture(self) -> None:
        graphs = self.backend.graphs
        try:
            self.graph = graphs.Graph(self.backend.stream, self.queue)
        except graphs.CaptureError as error:
            self.backend.plain = str(error)
            warnings.warn(f"cuda: kernels are launched one by one, without graphs: {error}", stacklevel=2)


class Numbers:
    """What changes from replay to replay: the tuples among a program's arguments, as arrays on the device.

    The arrays of each dtype lie side by side; a launch that carries the values writes them.
    """

    def __init__(self, backend: CudaBackend) -> None:
        self.backend = backend
        self.values: dict[np.dtype, list[Any]] = {}
        self.places: list[tuple[np.dtype, int, int]] = []
        self.arrays: dict[np.dtype, Any] = {}
        self.written: dict[np.dtype, list[Any]] = {}

    def add(self, values: tuple[Any, ...]) -> int:
        """Make room for a tuple of numbers of one type; returns its number."""
        known = self.values.setdefault(np.asarray(values).dtype, [])
        self.places.append((np.asarray(values).dtype, len(known), len(values)))
        known.extend(values)
        return len(self.places) - 1

    def allocate(self) -> None:
        """Make the arrays, when all tuples are known."""
        self.arrays = {dtype: self.backend.empty((len(v),), dtype) for dtype, v in self.values.items()}

    def array(self, index: int) -> Any:
        """The array that stands for a tuple."""
        dtype, start, size = self.places[index]
        return self.arrays[dtype][start : start + size]

    def set(self, index: int, values: tuple[Any, ...]) -> None:
        """New values for a tuple, to be written before the next replay."""
        dtype, start, size = self.places[index]
        self.values[dtype][start : start + size] = values

    def write(self) -> None:
        """Queue what brings the values that have changed to the device."""
        graphs = self.backend.graphs
        for dtype, values in self.values.items():
            written = self.written.get(dtype, [])
            for start in range(0, len(values), graphs.STORED):
                some = values[start : start + graphs.STORED]
                if some == written[start : start + graphs.STORED]:
                    continue
                carried = tuple(some) + (dtype.type(0),) * (graphs.STORED - len(some))
                self.backend.launch(graphs.store, 1, graphs.STORED, self.arrays[dtype], start, len(some), carried)
            self.written[dtype] = list(values)


class CudaReplay:
    """A program as stretches of prepared launches on the backend's stream.

    Inputs and outputs are copied into and out of arrays of the program's own, so that every launch has the same
    arguments in every replay; inputs may lie in main memory. What slots change is read from the device. Only a call
    whose kernel takes such numbers otherwise is prepared anew each time, between two stretches.
    """

    def __init__(self, backend: CudaBackend, program: Program) -> None:
        self.backend = backend
        ends = program.inputs + program.outputs
        self.inputs = [backend.empty(t.shape, t.dtype) for t in program.inputs]
        self.outputs = [backend.empty(t.shape, t.dtype) for t in program.outputs]
        #: Where batches in main memory are copied to; made at the first one.
        self.batches: Batches | None = None
        flat = lay_out(program, backend)
        flat |= {t.buffer: own.reshape(t.size) for t, own in zip(ends, self.inputs + self.outputs, strict=True)}
        needs = (backend.workspace_size(c.op, c.arguments, c.dims, c.current_params()) for c in program.calls)
        self.workspace = backend.empty((max(needs, default=0),), np.float64)
        self.numbers = Numbers(backend)
        #: Calls with tuples of numbers from slots, and the number of the first.
        self.changing: list[tuple[Call, list[Any], int]] = []
        self.steps: list[Callable[[], None]] = []
        prepared = []
        for call in program.calls:
            views = [None if t is None else flat[t.buffer].reshape(t.shape) for t in call.arguments]
            arrays = backend.present(call.op, views)
            launches: list[tuple[Any, ...]] = []
            self._queue(call, arrays, lambda *launch, into=launches: into.append(launch))
            slots = any(value is not call.params[name] for name, value in call.current_params().items())
            tuples = [a for launch in launches for a in launch if isinstance(a, tuple)]
            if slots and tuples:
                self.changing.append((call, arrays, len(self.numbers.places)))
                launches = [tuple(self._placed(a) for a in launch) for launch in launches]
            prepared.append((call, arrays, None if slots and not tuples else launches))
        self.numbers.allocate()
        self._lay_steps(prepared)

    def _placed(self, argument: Any) -> Any:
        """A tuple's number in place of the tuple."""
        return Place(self.numbers.add(argument)) if isinstance(argument, tuple) else argument

    def _lay_steps(self, prepared: list[tuple[Call, list[Any], list[tuple[Any, ...]] | None]]) -> None:
        stretch = None
        for call, arrays, launches in prepared:
            if launches is None:
                stretch = None
                self.steps.append(partial(self._queue, call, arrays, self.backend.launch))
                continue
            if stretch is None:
                stretch = Stretch(self.backend)
                self.steps.append(stretch.run)
            for launch in launches:
                arguments = (self.numbers.array(a.index) if isinstance(a, Place) else a for a in launch)
                stretch.launches.append(partial(self.backend.launch, *arguments))

    def _queue(self, call: Call, arrays: list[Any], launch: Callable[..., None]) -> None:
        self.backend.kernels[call.op.name](launch, arrays, self.workspace, call.dims, call.current_params())

    def _renew(self) -> None:
        """Bring the numbers that slots have changed to the device."""
        for call, arrays, first in self.changing:
            tuples: list[tuple[Any, ...]] = []
            self._queue(call, arrays, lambda *launch, into=tuples: into.extend(a for a in launch if type(a) is tuple))
            for i, values in enumerate(tuples):
                self.numbers.set(first + i, values)
        self.numbers.write()

    def run(self, arrays: tuple[Any, ...]) -> None:
        given = [self.backend.accept(a) for a in arrays]
        with self.backend.lock:
            self._take(given[: len(self.inputs)])
            self._renew()
            for step in self.steps:
                step()
            for own, array in zip(self.outputs, given[len(self.inputs) :], strict=True):
                self.backend.copy(own, array)

    def _take(self, given: list[Any]) -> None:
        """Queue copies of the inputs, which lie on the device, or all in main memory."""
        in_main_memory = any(isinstance(a, np.ndarray) for a in given)
        if in_main_memory:
            if self.batches is None:
                self.batches = Batches(self.backend, self.inputs)
            given = self.batches.bring(given)
        for own, array in zip(self.inputs, given, strict=True):
            self.backend.copy(array, own)
        if in_main_memory:
            self.batches.release()


class Place:
    """Stands for a tuple until its array is there."""

    def __init__(self, index: int) -> None:
        self.index = index
