"""Initial weights decide whether signals and gradients survive a deep network

Weights that are too small make the signal fade from layer to layer, too large ones saturate every neuron; a standard
deviation of 1 / sqrt(inputs) keeps it alive. Sigmoid layers make the gradient vanish; relu with He's weights cures it.

Ten tanh layers of 500 units and normal inputs, as in A. Karpathy's and J. Johnson's lectures (Stanford CS231n, lecture
5). LeCun et al. 1998; Glorot and Bengio 2010; He et al. 2015.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fn
from fastnn.initializers import HeNormal, LecunNormal, Normal

WEIGHTS = {"0.01 randn": Normal(stddev=0.01), "randn": Normal(stddev=1.0), "randn / sqrt(500)": LecunNormal()}


def network(activation, weights, layers=10, units=500):
    """Kernels of a deep network, as its layers would draw them."""
    dense = [fn.Dense(units, activation, kernel_initializer=weights, use_bias=False) for _ in range(layers)]
    return fn.Sequential(dense, input_shape=(units,)).get_weights()


def outputs(kernels, x, activation):
    """What each layer makes of x."""
    hidden = [x]
    for kernel in kernels:
        hidden.append(fn.ops.dense(hidden[-1], kernel, activation=activation))
    return hidden[1:]


def gradient_norms(kernels, x, activation):
    """Norm of the gradient of the mean squared output by each layer's weights."""
    gradients = fn.grad(lambda w: fn.mean(outputs(w, x, activation)[-1] ** 2))(kernels)
    return [np.linalg.norm(g) for g in gradients]


def main(quick=False, out="07_initialization.png"):
    """A quick run takes fewer rows."""
    x = np.random.default_rng(0).normal(size=(100 if quick else 500, 500)).astype("float32")
    figure = plt.figure(figsize=(12, 8), layout="constrained")
    rows = figure.subfigures(2, 1, height_ratios=(3, 2))
    grid = rows[0].subplots(3, 10, sharex=True)
    deviations = {}
    for (name, weights), row in zip(WEIGHTS.items(), grid, strict=True):
        hidden = outputs(network("tanh", weights), x, "tanh")
        deviations[name] = [float(h.std()) for h in hidden]
        print(f"{name:18} " + " ".join(f"{d:8.2g}" for d in deviations[name]))
        for number, (h, axes) in enumerate(zip(hidden, row, strict=True), 1):
            axes.hist(h.ravel(), 30, range=(-1, 1), color="tab:blue")
            axes.set(yticks=[])
            axes.set_title(f"layer {number}\nstd {h.std():.2g}" if row[0] is grid[0, 0] else f"std {h.std():.2g}")
        row[0].set_ylabel(name)
    rows[0].suptitle("Outputs of ten tanh layers: they collapse, saturate, or stay as they are")
    axes = rows[1].subplots()
    norms = {}
    for activation, weights in (("sigmoid", LecunNormal()), ("tanh", LecunNormal()), ("relu", HeNormal())):
        norms[activation] = gradient_norms(network(activation, weights), x[:100], activation)
        print(f"gradient, {activation:8} " + " ".join(f"{n:8.2g}" for n in norms[activation]))
        axes.semilogy(range(1, 11), norms[activation], "o-", label=f"{activation}, {type(weights).__name__}")
    axes.set(xlabel="layer", ylabel="norm of the gradient", xticks=range(1, 11))
    axes.set_title("The gradient vanishes on its way back through sigmoid layers (right to left), not through relu")
    axes.legend()
    figure.savefig(out, dpi=100)
    return {"deviations": deviations, "gradients": norms}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="07_initialization.png", metavar="FILE")
    parser.add_argument("--quick", action="store_true")
    main(**vars(parser.parse_args()))
