"""Every op of the table on every backend: a new row is timed from its first commit on."""

from __future__ import annotations

from fastnn.table import TABLE

from .common import BACKENDS, OPS, THREADS, arguments, require, use_threads


class Ops:
    """One call of a kernel on prepared arrays, float32."""

    params = (OPS, BACKENDS, THREADS)
    param_names = ("op", "backend", "threads")
    timeout = 120

    def setup(self, op: str, backend: str, threads: int) -> None:
        if threads > 1 and backend in ("cuda", "reference"):
            raise NotImplementedError("threads are the compiled CPU backends' own")
        require(backend)
        use_threads(threads)
        from fastnn import backends

        self.backend = backends.load(backend)
        self.op = TABLE[op]
        arrays, self.dims, self.parameters = arguments(self.op)
        self.arrays = [self.backend.to_device(a) for a in arrays]
        self.time_op(op, backend, threads)

    def time_op(self, op: str, backend: str, threads: int) -> None:
        self.backend.run(self.op, self.arrays, self.dims, self.parameters)
        if self.backend.device:
            self.backend.synchronize()
