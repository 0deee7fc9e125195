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


def network(activation, weights):
    """Ten layers of 500 units."""
    layers = [fn.Dense(500, activation, kernel_initializer=weights) for _ in range(10)]
    model = fn.Sequential(layers, input_shape=(500,))
    model.compile(loss="mean_squared_error")
    return model


def main(quick=False, out="07_initialization.png"):
    """A quick run takes fewer rows."""
    x = np.random.default_rng(0).normal(size=(100 if quick else 500, 500))
    figure = plt.figure(figsize=(12, 8), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(3, 2))
    upper.suptitle("Outputs of ten tanh layers: they collapse, saturate, or stay as they are")
    grid = upper.subplots(3, 10, sharex=True)
    deviations, norms = {}, {}
    for row, (name, weights) in enumerate(WEIGHTS.items()):
        outputs = network("tanh", weights).layer_outputs(x).values()
        deviations[name] = [float(h.std()) for h in outputs]
        print(f"{name:18} " + " ".join(f"{d:8.2g}" for d in deviations[name]))
        for number, h in enumerate(outputs):
            axes = grid[row, number]
            axes.hist(h.ravel(), 30, range=(-1, 1))
            axes.set(yticks=[], title=f"layer {number + 1}\n" * (row == 0) + f"std {h.std():.2g}")
        grid[row, 0].set_ylabel(name)

    axes = lower.subplots()
    for activation, weights in (("sigmoid", LecunNormal()), ("tanh", LecunNormal()), ("relu", HeNormal())):
        model = network(activation, weights)
        gradients = model.gradients(x[:100], np.zeros((100, 500)), of="outputs").values()
        norms[activation] = [float(np.linalg.norm(g)) for g in gradients]
        print(f"gradient, {activation:8} " + " ".join(f"{n:8.2g}" for n in norms[activation]))
        axes.semilogy(range(1, 11), norms[activation], "o-", label=f"{activation}, {type(weights).__name__}")
    axes.set(xlabel="layer", ylabel="norm of the gradient", xticks=range(1, 11))
    axes.set_title("On its way back, right to left, the gradient vanishes through sigmoid layers and not through relu")
    axes.legend()
    figure.savefig(out, dpi=100)
    return {"deviations": deviations, "gradients": norms}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="07_initialization.png", metavar="FILE")
    parser.add_argument("--quick", action="store_true")
    main(**vars(parser.parse_args()))
