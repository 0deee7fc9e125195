"""Whole training steps: forward, loss, backward and update by Adam."""

from __future__ import annotations

from .common import BACKENDS, NETWORKS, THREADS, network, require, use_threads


class TrainingStep:
    """One `train_step` on one batch."""

    params = (tuple(NETWORKS), BACKENDS, THREADS)
    param_names = ("network", "backend", "threads")
    timeout = 120

    def setup(self, name: str, backend: str, threads: int) -> None:
        if threads > 1 and backend in ("cuda", "reference"):
            raise NotImplementedError("threads are the compiled CPU backends' own")
        require(backend)
        use_threads(threads)
        self.model, self.x, self.y = network(name, backend)
        self.model.train_step(self.x, self.y)

    def time_train_step(self, name: str, backend: str, threads: int) -> None:
        self.model.train_step(self.x, self.y)
