"""Inference: one row through a frozen program, and `predict` on many."""

from __future__ import annotations

import numpy as np

from .common import CPU_BACKENDS, NETWORKS, network, require, use_threads


class Inference:
    """One thread."""

    params = (tuple(NETWORKS), CPU_BACKENDS)
    param_names = ("network", "backend")
    timeout = 120

    def setup(self, name: str, backend: str) -> None:
        require(backend)
        use_threads(1)
        self.model, x, _ = network(name, backend)
        self.model.predict(x)
        self.rows = np.tile(x, (1024 // len(x), 1))
        self.row = x[:1].copy()
        self.out = np.empty((1, 10), np.float32)
        self.frozen = self.model.freeze(batch_size=1)
        self.frozen(self.row, out=self.out)
        self.model.predict(self.rows)

    def time_frozen_one_row(self, name: str, backend: str) -> None:
        self.frozen(self.row, out=self.out)

    def time_predict_1024_rows(self, name: str, backend: str) -> None:
        self.model.predict(self.rows)
