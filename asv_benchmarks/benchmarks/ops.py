"""Every op of the table on every backend: a new row is timed from its first commit on."""

from __future__ import annotations

from fastnn.table import TABLE

from .common import BACKENDS, OPS, arguments, require, use_threads


class Ops:
    """One call of a kernel on prepared arrays, float32, by one thread. What more of them gain, whole steps show."""

    params = (OPS, BACKENDS)
    param_names = ("op", "backend")
    timeout = 120

    def setup(self, op: str, backend: str) -> None:
        require(backend)
        use_threads(1)
        from fastnn import backends

        self.backend = backends.load(backend)
        self.op = TABLE[op]
        arrays, self.dims, self.parameters = arguments(self.op)
        self.arrays = [self.backend.to_device(a) for a in arrays]
        self.time_op(op, backend)

    def time_op(self, op: str, backend: str) -> None:
        self.backend.run(self.op, self.arrays, self.dims, self.parameters)
        if self.backend.device:
            self.backend.synchronize()
