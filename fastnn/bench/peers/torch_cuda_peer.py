"""PyTorch on a CUDA device: as written with its fused optimizer, compiled, and captured in a CUDA graph.

TF32 is off, as it is in fastnn's float32. Arrays are on the device; a training step copies its batch from pinned memory
without waiting, and reads its loss, as `train_step` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from fastnn.bench.peers.torch_peer import INTO, function

Thunk = Callable[[], Any]


class TorchCuda:
    """PyTorch as it is written by hand, with its fused optimizer."""

    name = "torch"

    def __init__(self, device: str = "cuda") -> None:
        self.device = device

    def clock(self, thunk: Thunk, count: int) -> float:
        """Seconds of so many calls, between two events on the current stream."""
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        for _ in range(count):
            thunk()
        last.record()
        last.synchronize()
        return first.elapsed_time(last) / 1e3

    def _put(self, array: np.ndarray, **options: Any) -> torch.Tensor:
        return torch.tensor(array, device=self.device, **options)

    def matmul(self, a: np.ndarray, b: np.ndarray) -> Thunk:
        """y = a b, where a or b may be a transposed view."""
        a, b = (self._put(x) if x.flags.c_contiguous else self._put(x.T).T for x in (a, b))
        out = torch.empty((a.shape[0], b.shape[1]), dtype=a.dtype, device=self.device)
        return torch.inference_mode()(lambda: torch.mm(a, b, out=out))

    def dense(self, x: np.ndarray, w: np.ndarray, b: np.ndarray, activation: str) -> Thunk:
        x, w, b = (self._put(a) for a in (x, np.ascontiguousarray(w.T), b))
        f = function(activation)
        return torch.inference_mode()(lambda: f(functional.linear(x, w, b)))

    def dense_backward(self, x: np.ndarray, w: np.ndarray, b: np.ndarray, activation: str, dy: np.ndarray) -> Thunk:
        leaves = [self._put(a, requires_grad=True) for a in (x, np.ascontiguousarray(w.T), b)]
        y, slope = function(activation)(functional.linear(*leaves)), self._put(dy)

        def backward() -> tuple[Any, ...]:
            dx, dw, db = torch.autograd.grad(y, leaves, slope, retain_graph=True)
            return dx, dw.T, db

        return backward

    def activation(self, name: str, x: np.ndarray) -> Thunk:
        x = self._put(x)
        if name in INTO:
            f, out = INTO[name], torch.empty_like(x)
            return torch.inference_mode()(lambda: f(x, out=out))
        f = function(name)
        return torch.inference_mode()(lambda: f(x))

    def activation_backward(self, name: str, dy: np.ndarray, x: np.ndarray) -> Thunk:
        leaf = self._put(x, requires_grad=True)
        y, slope = function(name)(leaf), self._put(dy)
        return lambda: torch.autograd.grad(y, leaf, slope, retain_graph=True)[0]

    def softmax(self, x: np.ndarray) -> Thunk:
        x = self._put(x)
        return torch.inference_mode()(lambda: torch.softmax(x, -1))

    def log_softmax(self, x: np.ndarray) -> Thunk:
        x = self._put(x)
        return torch.inference_mode()(lambda: torch.log_softmax(x, -1))

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
        optimizer = torch.optim.Adam(mine, lr=1e-3, fused=True)

        def step() -> list[Any]:
            optimizer.step()
            return [p.detach() for p in mine]

        return step

    def _training(self, weights: Sequence[np.ndarray], **options: Any) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        layers: list[Any] = []
        for w, b in zip(weights[::2], weights[1::2], strict=True):
            linear = torch.nn.Linear(*w.shape, device=self.device)
            linear.weight.data, linear.bias.data = self._put(np.ascontiguousarray(w.T)), self._put(b)
            layers += [linear, torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers[:-1])
        return model, torch.optim.Adam(model.parameters(), lr=1e-3, fused=True, **options)

    def _batch(self, x: np.ndarray, y: np.ndarray) -> tuple[Callable[[], None], torch.Tensor, torch.Tensor]:
        """A batch on the device, and what copies it there once more."""
        hosts = [torch.from_numpy(a) for a in (x, y)]
        if self.device == "cuda":
            hosts = [h.pin_memory() for h in hosts]
        theirs = [h.to(self.device, copy=True) for h in hosts]

        def copy() -> None:
            for target, source in zip(theirs, hosts, strict=True):
                target.copy_(source, non_blocking=True)

        return copy, *theirs

    def training_step(self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> Thunk:
        model, optimizer = self._training(weights)
        copy, x, y = self._batch(x, y)

        def step() -> float:
            copy()
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.item()

        return step


class TorchCudaCompiled(TorchCuda):
    """What ``torch.compile`` makes of a layer and of the training step, the optimizer's update included."""

    name = "torch.compile"
    matmul = dense_backward = activation = activation_backward = None  # type: ignore[assignment]
    softmax = log_softmax = cross_entropy = adam = None  # type: ignore[assignment]

    def dense(self, x: np.ndarray, w: np.ndarray, b: np.ndarray, activation: str) -> Thunk:
        x, w, b = (self._put(a) for a in (x, np.ascontiguousarray(w.T), b))
        f = function(activation)
        return torch.inference_mode()(torch.compile(lambda: f(functional.linear(x, w, b))))

    def training_step(self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> Thunk:
        model, optimizer = self._training(weights)
        copy, x, y = self._batch(x, y)

        @torch.compile
        def compiled() -> Any:
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss

        def step() -> float:
            copy()
            return compiled().item()

        return step


class TorchCudaGraph(TorchCudaCompiled):
    """The training step captured in a CUDA graph, as PyTorch's own documentation does it."""

    name = "torch graph"
    dense = None  # type: ignore[assignment]

    def training_step(self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> Thunk:
        model, optimizer = self._training(weights, capturable=True)
        start = {name: value.clone() for name, value in model.state_dict().items()}
        copy, x, y = self._batch(x, y)

        def once() -> torch.Tensor:
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                once()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = once()
        # As if no step had been made yet: the first result is compared with the others'.
        with torch.no_grad():
            for name, value in model.state_dict().items():
                value.copy_(start[name])
            for state in optimizer.state.values():
                for value in state.values():
                    value.zero_()

        def step() -> float:
            copy()
            graph.replay()
            return loss.item()

        return step


def competitors(threads: int) -> list[Any]:
    if not torch.cuda.is_available():
        raise ImportError("this build of PyTorch finds no CUDA device")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return [TorchCuda(), TorchCudaCompiled(), TorchCudaGraph()]
