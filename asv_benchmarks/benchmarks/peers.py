"""Training steps beside PyTorch's: ratios of times taken alternately in one process, one thread each.

``python -m benchmarks.peers``, in the folder above, prints them as a table; a peer that is not installed is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from time import perf_counter
from typing import Any

from .common import CPU_BACKENDS, NETWORKS, network, require, use_threads


def torch_step(name: str, x: Any, y: Any) -> Callable[[], float]:
    """The same training step in PyTorch, with its fused Adam."""
    try:
        import torch
    except ImportError as error:
        raise NotImplementedError(f"PyTorch: {error}") from error
    torch.set_num_threads(1)
    sizes, _ = NETWORKS[name]
    layers: list[Any] = []
    for inputs, outputs in pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def best_times(steps: list[Callable[[], Any]], rounds: int = 9, seconds: float = 0.05) -> list[float]:
    """Shortest mean time of each step over rounds that take turns."""
    best = [float("inf")] * len(steps)
    counts = []
    for step in steps:
        step()
        start = perf_counter()
        step()
        counts.append(max(1, int(seconds / (perf_counter() - start))))
    for _ in range(rounds):
        for i, (step, count) in enumerate(zip(steps, counts, strict=True)):
            start = perf_counter()
            for _ in range(count):
                step()
            best[i] = min(best[i], (perf_counter() - start) / count)
    return best


def ratio(name: str, backend: str, peer: str) -> float:
    """The peer's time over the backend's for a training step of a network; above 1, fastnn is faster."""
    require(backend)
    use_threads(1)
    model, x, y = network(name, backend)
    if peer == "torch":
        other = torch_step(name, x, y)
    else:
        twin, _, _ = network(name, peer)

        def other() -> float:
            return twin.train_step(x, y)

    ours, theirs = best_times([lambda: model.train_step(x, y), other])
    return theirs / ours


class TrainingStepRatio:
    """PyTorch's time over ours."""

    params = (tuple(NETWORKS), CPU_BACKENDS)
    param_names = ("network", "backend")
    unit = "times as fast"
    timeout = 120

    def track_ratio_torch_fused(self, name: str, backend: str) -> float:
        return ratio(name, backend, "torch")

    def setup(self, name: str, backend: str) -> None:
        require(backend)
        try:
            import torch  # noqa: F401 - skipped here rather than failed later
        except ImportError as error:
            raise NotImplementedError(f"PyTorch: {error}") from error


def main() -> None:
    """Print all ratios."""
    print(f"{'network':<28} {'backend':<8} {'reference':>10} {'torch fused':>12}   (their time / ours, one thread)")
    for name in NETWORKS:
        for backend in CPU_BACKENDS:
            figures = []
            for peer in ("reference", "torch"):
                try:
                    figures.append(f"{ratio(name, backend, peer):.2f}")
                except NotImplementedError:
                    figures.append("missing")
            print(f"{name:<28} {backend:<8} {figures[0]:>10} {figures[1]:>12}", flush=True)


if __name__ == "__main__":
    main()
