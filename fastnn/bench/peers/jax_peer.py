"""JAX: the whole step under ``jax.jit``, with optax's Adam."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Thunk = Callable[[], Any]


class Jax:
    name = "jax"

    @staticmethod
    def _logits(weights: list[Any], x: Any) -> Any:
        import jax

        for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            x = jax.nn.relu(x @ w + b)
        return x @ weights[-2] + weights[-1]

    def training_step(self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> Thunk:
        import jax
        import optax

        optimizer = optax.adam(1e-3)

        def loss(weights: list[Any], x: Any, y: Any) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(self._logits(weights, x), y).mean()

        @jax.jit
        def step(weights: list[Any], state: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
            value, slopes = jax.value_and_grad(loss)(weights, x, y)
            updates, state = optimizer.update(slopes, state)
            return optax.apply_updates(weights, updates), state, value

        held: list[Any] = [jax.device_put(list(weights))]
        held.append(optimizer.init(held[0]))
        x, y = jax.device_put(x), jax.device_put(y)

        def run() -> float:
            held[0], held[1], value = step(held[0], held[1], x, y)
            return float(value)

        return run

    def inference(self, weights: Sequence[np.ndarray], x: np.ndarray) -> Thunk:
        import jax

        f, weights = jax.jit(self._logits), jax.device_put(list(weights))
        return lambda: np.asarray(f(weights, x))


def competitors(threads: int) -> list[Any]:
    """XLA reads its number of threads once, when it starts."""
    if threads == 1:
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    import jax  # noqa: F401 - whether it is installed
    import optax  # noqa: F401

    return [Jax()]
