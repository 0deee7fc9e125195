"""Train a network under each precision policy, and write into docs/precision.md what comes of it.

The products are the AMX kernel's own, on the emulated unit of the tests, bit for bit, and take it where they would take
a real one. IMAGES and LABELS are 10,000 of MNIST's digits as IDX files: 8,000 are for training. Run it from the root of
the repository, where there is a C compiler, on a machine whose compiled kernels have FMA and no matrix unit (or with
FASTNN_ISA=avx2). It takes about a quarter of an hour:

    python tools/precision_training.py IMAGES LABELS
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from precision_table import ROOT, write

import fastnn as fn
from fastnn import backends, datasets
from fastnn.backends.compiled import CompiledBackend

sys.path.insert(0, str(ROOT / "tests" / "conformance"))

import emulated

#: What is compared: dtype, backend and policy.
RUNS = {
    "float64": ("float64", "cython", "float32"),
    "float32 FMA": ("float32", "cython", "float32"),
    "float32, the default (bf16x6)": ("float32", "emulated", "float32"),
    "bf16x3": ("float32", "emulated", "bf16x3"),
    "bf16": ("float32", "emulated", "bf16"),
}
SEEDS, EPOCHS, BATCH, TRAINING = 5, 2, 256, 8000
#: Steps whose losses are taken together: the first ones, an epoch, all.
STEPS = (4, 32, 64)


def available() -> None:
    """None: this module is the backend "emulated"."""


def make() -> CompiledBackend:
    """The package's kernels, with products as if there were a unit."""
    return emulated.backend(everything=False)


def network(seed: int, dtype: str, backend: str, precision: str) -> fn.Sequential:
    """784-1024-1024-10; all that have the same seed start from the same float32 weights."""
    layers = [fn.Dense(1024, activation="relu"), fn.Dense(1024, activation="relu"), fn.Dense(10)]
    model = fn.Sequential(layers, dtype=dtype, backend=backend, seed=seed)
    model.compile(optimizer=fn.Adam(1e-3), loss="cross_entropy", metrics=["accuracy"], precision=precision)
    model.build((784,))
    model.set_weights([w.astype(np.float32) for w in model.get_weights()])
    return model


def train(model: fn.Sequential, x: np.ndarray, y: np.ndarray, seed: int) -> list[float]:
    """The losses of all steps; the seed decides which rows are in which batch."""
    order = np.concatenate([np.random.default_rng((seed, epoch)).permutation(TRAINING) for epoch in range(EPOCHS)])
    batches = [rows[i : i + BATCH] for rows in order.reshape(EPOCHS, -1) for i in range(0, TRAINING, BATCH)]
    return [model.train_step(x[rows], y[rows]) for rows in batches]


def accuracy_table(accuracies: dict[str, np.ndarray]) -> list[str]:
    """Percent of the test digits, and the difference to float32 by FMA of the same seed."""
    lines = ["| policy | accuracy, % | standard deviation | difference to FMA | its standard error |", "|---" * 5 + "|"]
    for name, values in accuracies.items():
        difference = values - accuracies["float32 FMA"]
        error = difference.std(ddof=1) / np.sqrt(SEEDS)
        cells = f"{values.mean():.2f} | {values.std(ddof=1):.2f} | {difference.mean():+.2f} | {error:.2f}"
        lines.append(f"| {name} | {cells} |")
    return lines


def loss_table(losses: dict[str, np.ndarray]) -> list[str]:
    """How far losses are from those of float64: root mean squares, and in how many steps no farther than by FMA."""
    starts = (0, *STEPS[:-1])
    heads = " | ".join(f"steps {first + 1} to {last}" for first, last in zip(starts, STEPS, strict=True))
    lines = [f"| policy | {heads} | no farther than FMA |", "|---" * (len(STEPS) + 2) + "|"]
    far = {name: np.abs(values - losses["float64"]) for name, values in losses.items() if name != "float64"}
    for name, distances in far.items():
        squares = [np.square(distances[:, first:last]) for first, last in zip(starts, STEPS, strict=True)]
        cells = [f"{np.sqrt(square.mean()):.2g}" for square in squares]
        share = 100 * np.mean(distances <= far["float32 FMA"])
        lines.append(f"| {name} | {' | '.join(cells)} | {share:.0f}% of steps |")
    return lines


def main(images: str, labels: str) -> None:
    backends.MODULES["emulated"] = __name__
    data = datasets.load_idx(images, labels)
    x, y = data.X / 255, data.y
    losses: dict[str, list[list[float]]] = {name: [] for name in RUNS}
    accuracies: dict[str, list[float]] = {name: [] for name in RUNS}
    for seed in range(SEEDS):
        for name, (dtype, backend, precision) in RUNS.items():
            model = network(seed, dtype, backend, precision)
            losses[name].append(train(model, x[:TRAINING], y[:TRAINING], seed))
            accuracies[name].append(100 * model.evaluate(x[TRAINING:], y[TRAINING:])["accuracy"])
            print(seed, name, accuracies[name][-1], losses[name][-1][-1], flush=True)
    lines = accuracy_table({name: np.array(values) for name, values in accuracies.items()})
    lines += ["", *loss_table({name: np.array(values) for name, values in losses.items()})]
    write(Path(__file__).name, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
