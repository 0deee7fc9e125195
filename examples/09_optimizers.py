"""Optimizers compared

Momentum and Adam leave plain gradient descent far behind in long narrow valleys, and all do on a network; Adadelta,
which needs no learning rate, starts slowly, and AdamW's decay towards zero keeps it from a minimum that lies elsewhere.

Each optimizer with the best of the same learning rates, on an ill-conditioned quadratic function, on Rosenbrock's
(1960) valley and on a network for the digits. Polyak 1964 (momentum), Duchi et al. 2011 (AdaGrad), Tieleman and Hinton
2012 (RMSProp), Zeiler 2012 (Adadelta), Kingma and Ba 2015 (Adam), Loshchilov and Hutter 2019 (AdamW).
"""

import argparse
from contextlib import suppress
from functools import partial

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fn
from fastnn.datasets import load_digits

OPTIMIZERS = {
    "gradient descent": fn.SGD,
    "momentum": lambda rate: fn.SGD(rate, momentum=0.9),
    "AdaGrad": fn.Adagrad,
    "RMSProp": fn.RMSprop,
    "Adadelta": fn.Adadelta,
    "Adam": fn.Adam,
    "AdamW": fn.AdamW,
}
FUNCTIONS = {
    "x^2 / 2 + 50 y^2 from (-8, 3)": (lambda x, y: x**2 / 2 + 50 * y**2, (-8.0, 3.0)),
    "Rosenbrock's valley from (-1.2, 1)": (lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2, (-1.2, 1.0)),
}
RATES = (0.001, 0.01, 0.1, 1.0)


def descend(f, start, optimizer, steps):
    """Values of f on the way down."""
    x, y = map(np.array, start)
    step = fn.trace(fn.value_and_grad(f, argnums=(0, 1)), x, y)  # recorded once
    values = []
    for _ in range(steps):
        value, *gradients = step(x, y)
        values.append(float(value))
        optimizer.update([x, y], gradients)
    return values


def train(optimizer, epochs):
    """Losses of a network for the digits."""
    digits = load_digits()
    model = fn.Sequential([fn.Dense(64, "relu"), fn.Dense(64, "relu"), fn.Dense(10)])
    model.compile(optimizer=optimizer, loss="cross_entropy")
    return model.fit(digits.X / 16, digits.y, epochs=epochs, batch_size=64, verbose=0).history["loss"]


def best(run, optimizer):
    """The rate and the values of the run that ends lowest."""
    runs = []
    for rate in RATES:
        with suppress(fn.NonFiniteLoss):  # too large a rate runs away
            runs.append((rate, run(optimizer(rate))))
    return min(runs, key=lambda item: np.nan_to_num(item[1][-1], nan=np.inf))


def main(quick=False, out="09_optimizers.png"):
    """A quick run takes fewer steps."""
    steps, epochs = (100, 2) if quick else (300, 15)
    problems = {name: partial(descend, *given, steps=steps) for name, given in FUNCTIONS.items()}
    problems["a network for the digits"] = partial(train, epochs=epochs)
    figure, grid = plt.subplots(1, 3, figsize=(13, 5), layout="constrained")
    final = {}
    for (problem, run), axes in zip(problems.items(), grid, strict=True):
        print(problem)
        for number, (name, optimizer) in enumerate(OPTIMIZERS.items()):
            rate, values = best(run, optimizer)
            final[problem, name] = values[-1]
            print(f"  {name:16} learning rate {rate:<6g} end {values[-1]:.2e}")
            axes.semilogy(values, ("-", "--", "-.")[number % 3], label=name)
        axes.set(xlabel="step", ylabel="value", title=problem)
    grid[0].set_ylim(bottom=1e-12)
    axes.set(xlabel="epoch", ylabel="training loss")
    figure.suptitle("No optimizer is the best everywhere, and plain gradient descent nowhere")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=7)
    figure.savefig(out, dpi=100)
    return final


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="09_optimizers.png", metavar="FILE")
    parser.add_argument("--quick", action="store_true")
    main(**vars(parser.parse_args()))
