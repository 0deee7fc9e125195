"""Five ways down the loss surface of one neuron

Momentum needs fewer epochs than plain gradient descent, but it overshoots the valley and has to turn back; Nesterov's
momentum looks ahead and overshoots less.

The neuron sigmoid(w x + b) and the points (0.5, 0.2) and (2.5, 0.9) are from M. Khapra's lectures on deep learning
(IIT Madras, CS7015, lectures 3 and 5). Momentum: Polyak 1964; Nesterov's: Sutskever et al. 2013.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fn

X, Y = np.array([0.5, 2.5]), np.array([0.2, 0.9])
GUESSES = [(0.50, 0.00), (-0.10, 0.00), (0.94, -0.94), (1.42, -1.73), (1.65, -2.08), (1.78, -2.27)]


def loss(w, b, x=X, y=Y):
    """Half the sum of the squared errors."""
    return 0.5 * fn.sum((fn.ops.sigmoid(w * x + b) - y) ** 2)


def descend(optimizer, batch_size=None, epochs=1000):
    """From (-2, -2) until the loss is under 1e-4, with all points at each step or a random batch; the path taken."""
    rng = np.random.default_rng(0)
    size = batch_size or len(X)
    w, b = np.array([-2.0]), np.array([-2.0])
    step = fn.trace(fn.value_and_grad(loss, argnums=(0, 1)), w, b, X[:size], Y[:size])  # recorded once
    path = [(w[0], b[0])]
    while loss(w, b) >= 1e-4 and len(path) <= epochs:
        for _ in range(len(X) // size):
            rows = rng.integers(len(X), size=size) if batch_size else [0, 1]
            _, *gradients = step(w, b, X[rows], Y[rows])  # and replayed
            optimizer.update([w, b], gradients)
        path.append((w[0], b[0]))
    return np.array(path)


def main(quick=False, out="01_sigmoid_neuron.png"):
    """A quick run draws the surface on a coarser grid."""
    losses = [float(loss(w, b)) for w, b in GUESSES]
    for (w, b), found in zip(GUESSES, losses, strict=True):
        print(f"w {w:5.2f}  b {b:5.2f}  loss {found:.4f}")
    paths = {
        "gradient descent": descend(fn.SGD(1.0)),
        "momentum 0.9": descend(fn.SGD(1.0, momentum=0.9)),
        "Nesterov 0.9": descend(fn.SGD(1.0, momentum=0.9, nesterov=True)),
        "stochastic": descend(fn.SGD(1.0), batch_size=1),
        "mini-batches of 2": descend(fn.SGD(1.0), batch_size=2),
    }
    for name, path in paths.items():
        print(f"{name:18}{len(path) - 1:4} epochs, loss {loss(*path[-1]):.1e}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
    fn.plots.loss_surface(loss, (-3, 4), (-6, 2), paths, resolution=20 if quick else 80, ax=left)
    left.set_title("Momentum overshoots the valley, Nesterov's less,")
    left.get_legend().remove()
    for number, (name, path) in enumerate(paths.items()):
        look = {"color": fn.plots.style.colour(number), "linestyle": "-" if number < 3 else "--"}
        right.semilogy([loss(*p) for p in path], label=f"{name}: {len(path) - 1} epochs", **look)
    right.set(xlabel="epoch", ylabel="loss", title="and yet the two arrive first")
    right.legend()
    figure.savefig(out, dpi=100)
    return {"losses": losses, "epochs": {name: len(path) - 1 for name, path in paths.items()}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="01_sigmoid_neuron.png", metavar="FILE")
    parser.add_argument("--quick", action="store_true")
    main(**vars(parser.parse_args()))
