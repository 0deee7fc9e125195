"""A perceptron's decision line

A neuron divides the plane by the straight line on which its weighted sum is zero; the weights are the direction in
which its output grows.

The perceptron (Rosenblatt 1958) with bias 1 and weights (3, -2), and sigmoid instead of a hard threshold: at (-1, 2)
it gives sigmoid(1 + 3 (-1) - 2 (2)) = sigmoid(-6) = 0.002. The example is from A. Amini's and A. Soleimany's lectures
(MIT 6.S191, Introduction to Deep Learning, lecture 1).
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fn

WEIGHTS, BIAS, POINT = np.array([3.0, -2.0]), 1.0, np.array([-1.0, 2.0])


def main(quick=False, out="03_perceptron.png"):
    """A quick run draws a coarser picture."""
    neuron = fn.Sequential([fn.Dense(1, activation="sigmoid")], dtype="float64", input_shape=(2,))
    neuron.set_weights([WEIGHTS[:, None], [BIAS]])
    total = POINT @ WEIGHTS + BIAS
    probability = neuron.predict(POINT[None])[0, 0]
    print(f"sigmoid({BIAS:g} + {WEIGHTS} . {POINT}) = sigmoid({total:g}) = {probability:.3f}")

    figure, axes = plt.subplots(figsize=(9, 6.2), layout="constrained")
    x1, x2 = np.meshgrid(np.linspace(-3, 3, 30 if quick else 300), np.linspace(-2, 3, 30 if quick else 300))
    outputs = neuron.predict(np.column_stack([x1.ravel(), x2.ravel()])).reshape(x1.shape)
    figure.colorbar(axes.contourf(x1, x2, outputs, 20, cmap="RdBu", vmin=-0.6, vmax=1.6), label="output of the neuron")
    line = np.array([-2.0, 2.0])
    axes.plot(line, (BIAS + WEIGHTS[0] * line) / -WEIGHTS[1], "k", label="1 + 3 x1 - 2 x2 = 0")
    axes.annotate("", (1.5, -0.5), (0, 0.5), arrowprops={"arrowstyle": "->", "linewidth": 2})
    axes.text(1.55, -0.55, "weights (3, -2)", va="center")
    axes.plot(*POINT, "ko")
    axes.annotate(f"(-1, 2): {probability:.3f}", POINT, (8, 6), textcoords="offset points")
    axes.set(xlim=(-3, 3), ylim=(-2, 3), aspect="equal", xlabel="x1", ylabel="x2")
    axes.set_title("One neuron divides the plane by a straight line")
    axes.legend(loc="upper left")
    figure.savefig(out, dpi=100)
    return {"sum": total, "probability": probability}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="03_perceptron.png", metavar="FILE")
    parser.add_argument("--quick", action="store_true")
    main(**vars(parser.parse_args()))
