"""Gradient descent by hand: three steps of one weight and one bias

The derivative of the loss says in which direction, and how strongly, to change the weight and the bias.

The worked example f = w x + b with x = 1, y = 3, w = 0.1, b = 1, the loss (f - y)^2 / 2 and the learning rate 0.2,
which can be followed on paper. Source of the method: Cauchy 1847, Comptes rendus 25, page 536.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fn

X, Y, LEARNING_RATE = 1.0, 3.0, 0.2


def loss(w, b):
    """Half the squared error."""
    return 0.5 * (w * X + b - Y) ** 2


def main(quick=False, out="02_one_weight_and_bias.png"):
    """A quick run is the same."""
    w, b = 0.1, 1.0
    lines, rows = [(w, b)], []
    print("step       h        L   dL/dw        w        b")
    for step in range(1, 4):
        h = w * X + b
        value, (dw, db) = fn.value_and_grad(loss, argnums=(0, 1))(w, b)
        w, b = w - LEARNING_RATE * dw, b - LEARNING_RATE * db
        rows.append([float(v) for v in (h, value, dw, w, b)])
        lines.append((w, b))
        print(f"{step:4}  {h:6.4g} {value:8.4f} {dw:7.4g} {w:8.4f} {b:8.4f}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    x = np.array([0.0, 1.6])
    for step, (w, b) in enumerate(lines):
        left.plot(x, w * x + b, color=plt.cm.Blues(0.35 + 0.2 * step), label=f"after {step} steps")
    left.plot(X, Y, "ro", label="the point (1, 3)")
    left.set(xlabel="x", ylabel="f(x) = w x + b", title="Each step brings the line closer to the point")
    left.legend(loc="upper left")
    losses = [loss(w, b) for w, b in lines]
    right.bar(range(4), losses, color="tab:blue")
    for step, value in enumerate(losses):
        right.annotate(f"{value:.4g}", (step, value), ha="center", va="bottom")
    right.set(xlabel="steps done", ylabel="loss", xticks=range(4), title="The loss falls to 36% at each step")
    figure.savefig(out, dpi=100)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="02_one_weight_and_bias.png", metavar="FILE")
    parser.add_argument("--quick", action="store_true")
    main(**vars(parser.parse_args()))
