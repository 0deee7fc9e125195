"""One hidden layer approximates any function, given enough units

A network with one hidden layer comes closer to a continuous function the more units it has; without the non-linearity
it draws a straight line through curves and classes alike, however many layers it has.

Cybenko 1989; Hornik, Stinchcombe and White 1989. The half-moons are those of scikit-learn's make_moons.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fn


def curve(x):
    """The function to approximate."""
    return np.sin(3 * x) + 0.3 * x + 0.4 * np.cos(8 * x)


def approximate(x, units, activation, epochs):
    """Fit a network with one hidden layer to the curve; returns its values at x (n, 1)."""
    steep, spread = fn.initializers.Normal(stddev=3.0), fn.initializers.Uniform(-5.0, 5.0)
    hidden = fn.Dense(units, activation, kernel_initializer=steep, bias_initializer=spread)
    model = fn.Sequential([hidden, fn.Dense(1)])
    model.compile(optimizer=fn.Adam(lambda step: 0.03 * 0.999**step), loss="mean_squared_error")
    model.fit(x, curve(x), epochs=epochs, batch_size=50, verbose=0)
    return model.predict(x)


def moons(n, noise=0.15, seed=0):
    """Two interleaved half circles with noise: points (2 n, 2) and classes (2 n,)."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, np.pi, n)
    upper = np.column_stack([np.cos(angle), np.sin(angle)])
    points = np.concatenate([upper, [1, 0.5] - upper])
    return points + rng.normal(scale=noise, size=points.shape), np.repeat([0, 1], n)


def classify(points, classes, activation, epochs):
    """A network with two outputs, trained on the points."""
    model = fn.Sequential([fn.Dense(32, activation), fn.Dense(32, activation), fn.Dense(2)])
    model.compile(optimizer=fn.Adam(0.01), loss="cross_entropy", metrics=["accuracy"])
    model.fit(points, classes, epochs=epochs, verbose=0)
    return model


def main(quick=False, out="10_universal_approximation.png"):
    """A quick run trains for fewer epochs."""
    figure, (left, *others) = plt.subplots(1, 3, figsize=(13, 4.5), layout="constrained", width_ratios=(5, 4, 4))
    x = np.linspace(-2, 2, 400)[:, None]
    left.plot(x, curve(x), "k", linewidth=4, alpha=0.25, label="the function")
    errors = {}
    for units, activation, style in ((50, "linear", "k:"), (2, "tanh", "--"), (6, "tanh", "-."), (50, "tanh", "-")):
        fitted = approximate(x, units, activation, 150 if quick else 1000)
        name = f"{units} units, {activation}"
        errors[name] = float(np.mean((fitted - curve(x)) ** 2))
        print(f"{name:17} mean squared error {errors[name]:.5f}")
        left.plot(x, fitted, style, label=f"{name}: {errors[name]:.4f}")
    left.set(xlabel="x", ylabel="y", title="More units, smaller error", ylim=(-3.6, 1.7))
    left.legend(title="mean squared error", loc="lower center")

    points, classes = moons(100 if quick else 300)
    accuracies = {}
    for activation, axes in zip(("linear", "relu"), others, strict=True):
        model = classify(points, classes, activation, 30 if quick else 60)
        accuracies[activation] = model.evaluate(points, classes)["accuracy"]
        print(f"half-moons, {activation:6} {accuracies[activation]:.1%} right")
        fn.plots.decision_regions(model, points, classes, ax=axes)
        axes.set_title(f"{activation} network: {accuracies[activation]:.1%} right")
    figure.savefig(out, dpi=100)
    return {"errors": errors, "accuracies": accuracies}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="10_universal_approximation.png", metavar="FILE")
    parser.add_argument("--quick", action="store_true")
    main(**vars(parser.parse_args()))
