"""PyTorch on the CPU: as written, with its fused optimizer, and compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

Thunk = Callable[[], Any]
#: fastnn's names of activations that are called otherwise, and what they are called with.
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "hard_sigmoid": functional.hardsigmoid,
    "hard_swish": functional.hardswish,
    "linear": lambda x: x,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}
#: Those that can write where they are told to.
_INTO: dict[str, Callable[..., Any]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": torch._C._nn.gelu,
    "gelu_tanh": lambda x, out: torch._C._nn.gelu(x, approximate="tanh", out=out),
    "silu": torch._C._nn.silu,
    "elu": torch._C._nn.elu,
    "softplus": torch._C._nn.softplus,
    "leaky_relu": torch._C._nn.leaky_relu,
    "relu": lambda x, out: torch.clamp_min(x, 0, out=out),
}


def function(name: str) -> Callable[[Any], Any]:
    return _FUNCTIONS.get(name) or getattr(functional, name)


def stepping(model: Any, optimizer: Any, x: torch.Tensor, y: torch.Tensor) -> Callable[[], torch.Tensor]:
    """A training step that returns its loss."""

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def compiled_stepping(model: Any, optimizer: Any, x: torch.Tensor, y: torch.Tensor) -> Callable[[], torch.Tensor]:
    """The same, compiled."""

    @torch.compile
    def step() -> torch.Tensor:
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


class Torch:
    """PyTorch as it is written by hand, with the foreach optimizer that is its default."""

    name = "torch"
    fused = False
    device = "cpu"

    def _put(self, array: np.ndarray, **options: Any) -> torch.Tensor:
        return torch.tensor(array, device=self.device, **options)

    def matmul(self, a: np.ndarray, b: np.ndarray) -> Thunk:
        """y = a b, where a or b may be a transposed view."""
        a, b = (self._put(x) if x.flags.c_contiguous else self._put(x.T).T for x in (a, b))
        out = torch.empty((len(a), b.shape[1]), dtype=a.dtype, device=self.device)
        return torch.inference_mode()(lambda: torch.mm(a, b, out=out))

    def dense(self, x: np.ndarray, w: np.ndarray, b: np.ndarray, activation: str) -> Thunk:
        x, w, b = (self._put(a) for a in (x, np.ascontiguousarray(w.T), b))
        f = function(activation)
        return torch.inference_mode()(lambda: f(functional.linear(x, w, b)))

    def dense_backward(self, x: np.ndarray, w: np.ndarray, b: np.ndarray, activation: str, dy: np.ndarray) -> Thunk:
        leaves = [self._put(a, requires_grad=True) for a in (x, np.ascontiguousarray(w.T), b)]
        y = function(activation)(functional.linear(*leaves))
        slope = self._put(dy)

        def backward() -> tuple[Any, ...]:
            dx, dw, db = torch.autograd.grad(y, leaves, slope, retain_graph=True)
            return dx, dw.T, db

        return backward

    def activation(self, name: str, x: np.ndarray) -> Thunk:
        x = self._put(x)
        if name in _INTO:
            f, out = _INTO[name], torch.empty_like(x)
            return torch.inference_mode()(lambda: f(x, out=out))
        f = function(name)
        return torch.inference_mode()(lambda: f(x))

    def activation_backward(self, name: str, dy: np.ndarray, x: np.ndarray) -> Thunk:
        leaf = self._put(x, requires_grad=True)
        y, slope = function(name)(leaf), self._put(dy)
        return lambda: torch.autograd.grad(y, leaf, slope, retain_graph=True)[0]

    def softmax(self, x: np.ndarray) -> Thunk:
        x = self._put(x)
        out = torch.empty_like(x)
        return torch.inference_mode()(lambda: torch.softmax(x, -1, out=out))

    def log_softmax(self, x: np.ndarray) -> Thunk:
        x = self._put(x)
        out = torch.empty_like(x)
        return torch.inference_mode()(lambda: torch.log_softmax(x, -1, out=out))

    def cross_entropy(self, x: np.ndarray, labels: np.ndarray) -> Thunk:
        x, labels = self._put(x, requires_grad=True), self._put(labels)

        def both() -> tuple[Any, Any]:
            loss = functional.cross_entropy(x, labels)
            return loss.detach().reshape(1), torch.autograd.grad(loss, x)[0]

        return both

    def adam(self, params: Sequence[np.ndarray], grads: Sequence[np.ndarray]) -> Thunk:
        mine = [torch.nn.Parameter(self._put(p)) for p in params]
        for p, g in zip(mine, grads, strict=True):
            p.grad = self._put(g)
        optimizer = torch.optim.Adam(mine, lr=1e-3, fused=self.fused)

        def step() -> list[Any]:
            optimizer.step()
            return [p.detach() for p in mine]

        return step

    def _model(self, weights: Sequence[np.ndarray]) -> Any:
        layers: list[Any] = []
        for w, b in zip(weights[::2], weights[1::2], strict=True):
            linear = torch.nn.Linear(*w.shape, device=self.device)
            linear.weight.data, linear.bias.data = self._put(np.ascontiguousarray(w.T)), self._put(b)
            layers += [linear, torch.nn.ReLU()]
        return torch.nn.Sequential(*layers[:-1])

    def training_step(self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> Thunk:
        model = self._model(weights)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=self.fused)
        step = stepping(model, optimizer, torch.from_numpy(x), torch.from_numpy(y))
        return lambda: step().item()


class TorchFused(Torch):
    """The same with ``Adam(fused=True)``; a whole fit and inference are measured here alone."""

    name = "torch fused"
    fused = True
    matmul = dense = dense_backward = activation = activation_backward = None  # type: ignore[assignment]
    softmax = log_softmax = cross_entropy = None  # type: ignore[assignment]

    def inference(self, weights: Sequence[np.ndarray], x: np.ndarray) -> Thunk:
        model, x = self._model(weights), torch.from_numpy(x)
        return torch.inference_mode()(lambda: model(x))

    def fit(self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray, epochs: int, batch_size: int) -> Thunk:
        x, y = torch.from_numpy(x), torch.from_numpy(y)

        def run() -> np.ndarray:
            model = self._model(weights)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
            for _ in range(epochs):
                order = torch.randperm(len(x))
                for rows in order.split(batch_size):
                    optimizer.zero_grad()
                    functional.cross_entropy(model(x[rows]), y[rows]).backward()
                    optimizer.step()
            with torch.inference_mode():
                return model(x).argmax(1).numpy()

        return run


class TorchCompiled(TorchFused):
    """The training step under ``torch.compile``, the optimizer's update included."""

    name = "torch.compile"
    fused = False
    adam = inference = fit = None  # type: ignore[assignment]

    def training_step(self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> Thunk:
        model = self._model(weights)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        step = compiled_stepping(model, optimizer, torch.from_numpy(x), torch.from_numpy(y))
        return lambda: step().item()


def competitors(threads: int) -> list[Any]:
    torch.set_num_threads(threads)
    return [Torch(), TorchFused(), TorchCompiled()]
