"""PyTorch on a CUDA device: as written with its fused optimizer, compiled, and captured in a CUDA graph.

TF32 is off, as it is in fastnn's float32, but where a case lowers the precision: there it is on, or arrays are bfloat16
or float16 from the beginning; under the policy "bf16" this spares PyTorch the rounding that is in fastnn's time. Arrays
are on the device; a training step copies its batch from pinned memory without waiting, and reads its loss, as
`train_step` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from fastnn.bench.peers.torch_peer import Torch, compiled_stepping, function, stepping

Thunk = Callable[[], Any]
#: What numbers are in memory where a case lowers the precision, and TF32 is not what it asks for.
_HALVES = {"bf16": torch.bfloat16, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchCuda(Torch):
    """PyTorch as it is written by hand, with its fused optimizer."""

    fused = True

    def __init__(self, device: str = "cuda", dtype: torch.dtype | None = None) -> None:
        self.device, self.dtype = device, dtype

    def _put(self, array: np.ndarray, **options: Any) -> torch.Tensor:
        return super()._put(array, dtype=self.dtype, **options)

    def _lowered(self, kind: str, precision: str, *data: Any) -> Thunk:
        """What a method makes of its data, in two bytes an element or with TF32."""
        if precision in _HALVES:
            return getattr(type(self)(self.device, _HALVES[precision]), kind)(*data)
        thunk = getattr(self, kind)(*data)

        def run() -> Any:
            torch.backends.cuda.matmul.allow_tf32 = True
            try:
                return thunk()
            finally:
                torch.backends.cuda.matmul.allow_tf32 = False

        return run

    def lowered_matmul(self, precision: str, a: np.ndarray, b: np.ndarray) -> Thunk:
        return self._lowered("matmul", precision, a, b)

    def lowered_dense(self, precision: str, x: np.ndarray, w: np.ndarray, b: np.ndarray, activation: str) -> Thunk:
        return self._lowered("dense", precision, x, w, b, activation)

    def clock(self, thunk: Thunk, count: int) -> float:
        """Seconds of so many calls, between two events on the current stream."""
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        for _ in range(count):
            thunk()
        last.record()
        last.synchronize()
        return first.elapsed_time(last) / 1e3

    def _training(self, weights: Sequence[np.ndarray], **options: Any) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        model = self._model(weights)
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
        copy, *batch = self._batch(x, y)
        once = stepping(model, optimizer, *batch)

        def step() -> float:
            copy()
            return once().item()

        return step


class TorchCudaCompiled(TorchCuda):
    """What ``torch.compile`` makes of a layer and of the training step, the optimizer's update included."""

    name = "torch.compile"
    matmul = lowered_matmul = dense_backward = activation = activation_backward = None  # type: ignore[assignment]
    softmax = log_softmax = cross_entropy = adam = None  # type: ignore[assignment]

    def dense(self, x: np.ndarray, w: np.ndarray, b: np.ndarray, activation: str) -> Thunk:
        x, w, b = (self._put(a) for a in (x, np.ascontiguousarray(w.T), b))
        f = function(activation)
        return torch.inference_mode()(torch.compile(lambda: f(functional.linear(x, w, b))))

    def training_step(self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> Thunk:
        model, optimizer = self._training(weights)
        copy, *batch = self._batch(x, y)
        once = compiled_stepping(model, optimizer, *batch)

        def step() -> float:
            copy()
            return once().item()

        return step


class TorchCudaGraph(TorchCudaCompiled):
    """The training step captured in a CUDA graph, as PyTorch's own documentation does it."""

    name = "torch graph"
    dense = lowered_dense = None  # type: ignore[assignment]

    def training_step(self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> Thunk:
        model, optimizer = self._training(weights, capturable=True)
        start = {name: value.clone() for name, value in model.state_dict().items()}
        copy, *batch = self._batch(x, y)
        once = stepping(model, optimizer, *batch)
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
