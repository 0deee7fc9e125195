"""fastnn itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

import fastnn as fn
from fastnn import backends, ops
from fastnn.table import HALVES, SAVED

Thunk = Callable[[], Any]


class Fastnn:
    """One of fastnn's backends, through its public functions.

    Arrays are on the device where the backend computes there, but for what models are given: batches in main memory.
    """

    def __init__(self, backend: str) -> None:
        self.name = backend
        self.backend = backend
        self._memory = backends.load(backend)
        if self._memory.device:
            self.clock = self._memory.clock

    def _put(self, *arrays: np.ndarray) -> Any:
        """Arrays where the backend computes."""
        put = tuple(map(self._memory.to_device, arrays)) if self._memory.device else arrays
        return put if len(put) > 1 else put[0]

    def matmul(self, a: np.ndarray, b: np.ndarray) -> Thunk:
        """y = a b, where a or b may be a transposed view."""
        ta, tb = not a.flags.c_contiguous, not b.flags.c_contiguous
        a, b = self._put(a.T if ta else a, b.T if tb else b)
        out = self._memory.empty((a.shape[ta], b.shape[not tb]), a.dtype)
        return lambda: ops.matmul(a, b, transpose_a=ta, transpose_b=tb, out=out, backend=self.backend)

    def dense(self, x: np.ndarray, w: np.ndarray, b: np.ndarray, activation: str) -> Thunk:
        x, w, b = self._put(x, w, b)
        out = self._memory.empty((x.shape[0], w.shape[1]), x.dtype)
        return lambda: ops.dense(x, w, b, activation=activation, out=out, backend=self.backend)

    def _lowered(self, precision: str, method: Callable[..., Thunk], arrays: Sequence[np.ndarray], *rest: Any) -> Thunk:
        """What a method makes of float32 arrays under a policy, or of arrays of two bytes an element."""
        if precision in HALVES:
            import ml_dtypes  # noqa: F401  (tells NumPy of bfloat16)

            return method(*(x.astype(precision) for x in arrays), *rest)
        thunk = method(*arrays, *rest)

        def run() -> Any:
            with fn.matmul_precision(precision):
                return thunk()

        return run

    def lowered_matmul(self, precision: str, a: np.ndarray, b: np.ndarray) -> Thunk:
        return self._lowered(precision, self.matmul, (a, b))

    def lowered_dense(self, precision: str, x: np.ndarray, w: np.ndarray, b: np.ndarray, activation: str) -> Thunk:
        return self._lowered(precision, self.dense, (x, w, b), activation)

    def dense_backward(self, x: np.ndarray, w: np.ndarray, b: np.ndarray, activation: str, dy: np.ndarray) -> Thunk:
        """Gradients by x, w and b, from what the forward pass saved."""
        x, w, b, dy = self._put(x, w, b, dy)
        pre = ops.dense(x, w, b, backend=self.backend)
        saved = pre if SAVED[activation] == "x" else getattr(ops, activation)(pre, backend=self.backend)
        saved = None if activation == "linear" else saved
        return lambda: ops.dense_backward(dy, x, w, saved, activation=activation, backend=self.backend)

    def activation(self, name: str, x: np.ndarray) -> Thunk:
        x = self._put(x)
        f, out = getattr(ops, name), self._memory.empty(x.shape, x.dtype)
        return lambda: f(x, out=out, backend=self.backend)

    def activation_backward(self, name: str, dy: np.ndarray, x: np.ndarray) -> Thunk:
        dy, x = self._put(dy, x)
        saved = x if SAVED[name] == "x" else getattr(ops, name)(x, backend=self.backend)
        f, out = getattr(ops, f"{name}_backward"), self._memory.empty(x.shape, x.dtype)
        return lambda: f(dy, saved, out=out, backend=self.backend)

    def softmax(self, x: np.ndarray) -> Thunk:
        return self.activation("softmax", x)

    def log_softmax(self, x: np.ndarray) -> Thunk:
        return self.activation("log_softmax", x)

    def cross_entropy(self, x: np.ndarray, labels: np.ndarray) -> Thunk:
        """Loss and gradient by the logits x."""
        x, labels = self._put(x, labels)
        return lambda: ops.sparse_softmax_cross_entropy(x, labels, gradient=True, backend=self.backend)

    def adam(self, params: Sequence[np.ndarray], grads: Sequence[np.ndarray]) -> Thunk:
        """One update of all parameters, in place."""
        optimizer = fn.Adam(1e-3)
        mine, grads = [self._put(p.copy()) for p in params], [self._put(g) for g in grads]

        def step() -> list[np.ndarray]:
            with fn.use_backend(self.backend):
                optimizer.update(mine, grads)
            return mine

        return step

    def _model(self, weights: Sequence[np.ndarray]) -> fn.Sequential:
        layers: list[Any] = [fn.Dense(w.shape[1], activation="relu") for w in weights[:-2:2]]
        model = fn.Sequential(
            [*layers, fn.Dense(weights[-2].shape[1])], backend=self.backend, input_shape=(len(weights[0]),)
        )
        model.compile(fn.Adam(1e-3), "cross_entropy")
        model.set_weights(weights)
        return model

    def training_step(self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> Thunk:
        """One step of Adam on a relu network; returns the loss."""
        model = self._model(weights)
        return lambda: model.train_step(x, y)

    def inference(self, weights: Sequence[np.ndarray], x: np.ndarray) -> Thunk:
        """The network's outputs for one batch."""
        frozen = self._model(weights).freeze(len(x))
        out = np.empty((len(x), weights[-1].size), x.dtype)
        return lambda: frozen(x, out=out)

    def fit(self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray, epochs: int, batch_size: int) -> Thunk:
        """Training from the given weights; returns the trained network's classes for x."""

        def run() -> np.ndarray:
            model = self._model(weights)
            model.fit(x, y, epochs=epochs, batch_size=batch_size, verbose=0)
            return model.predict(x).argmax(1)

        return run

    def scaled_matmul(self, a: np.ndarray, b: np.ndarray) -> Thunk:
        return self.matmul(a, b)

    def scaled_training_step(self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> Thunk:
        return self.training_step(weights, x, y)

    def predictions(self, weights: Sequence[np.ndarray], x: np.ndarray) -> list[Thunk]:
        """Of as many networks as there are threads, each by one thread."""
        return [_alone(partial(self._model(weights).predict, x)) for _ in range(fn.get_num_threads())]

    def scaled_predict(self, weights: Sequence[np.ndarray], x: np.ndarray) -> Thunk:
        """Predictions at the same time."""
        predictions = self.predictions(weights, x)
        pool = ThreadPoolExecutor(len(predictions))
        return lambda: list(pool.map(lambda predict: predict(), predictions))


class OneThread:
    """A backend of fastnn in one thread, however many there are: beside it `cases.scaling` shows what more gain."""

    def __init__(self, backend: str) -> None:
        self.name = f"{backend} in one thread"
        self._fastnn = Fastnn(backend)

    def scaled_matmul(self, *data: Any) -> Thunk:
        return _alone(self._fastnn.matmul(*data))

    def scaled_training_step(self, *data: Any) -> Thunk:
        return _alone(self._fastnn.training_step(*data))

    def scaled_predict(self, *data: Any) -> Thunk:
        """One prediction after the other."""
        predictions = self._fastnn.predictions(*data)
        return lambda: [predict() for predict in predictions]


def _alone(thunk: Thunk) -> Thunk:
    def run() -> Any:
        with fn.threads(1):
            return thunk()

    return run
