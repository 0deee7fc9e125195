"""Linear regression, overfitting and regularisation

Gradient descent arrives at the least-squares solution (X'X)^-1 X'y. A polynomial of too low a degree underfits, one of
too high a degree overfits; an L2 penalty shrinks all coefficients, an L1 penalty makes some of them exactly zero.

Bishop 2006, Pattern Recognition and Machine Learning, sections 1.1 and 3.1; ridge regression: Hoerl and Kennard 1970;
lasso: Tibshirani 1996, by proximal steps (Beck and Teboulle 2009).
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fn
from fastnn.preprocessing import polynomial_features


def sine(n, rng):
    """Points x (n, 1) and noisy values y (n, 1) of a sine."""
    x = np.linspace(-1, 1, n)[:, None]
    return x, np.sin(np.pi * x) + rng.normal(scale=0.3, size=(n, 1))


def least_squares(X, y):
    """The closed form (X'X)^-1 X'y, computed without forming X'X, which for degree 15 is all but singular."""
    return np.linalg.lstsq(X, y, rcond=None)[0]


def descend(X, y, regularizer=None, steps=5000):
    """Coefficients after gradient descent with all rows at each step, and the losses."""
    model = fn.Sequential([fn.Dense(1, use_bias=False, kernel_regularizer=regularizer)], dtype="float64")
    model.compile(optimizer=fn.SGD(0.2), loss="mean_squared_error")
    history = model.fit(X, y, epochs=steps, batch_size=len(X), shuffle=False, verbose=0)
    return model.get_weights()[0], history.history["loss"]


def main(quick=False, out="06_regression.png"):
    """A quick run is the same."""
    rng = np.random.default_rng(4)
    (x, y), (x_new, y_new) = sine(20, rng), sine(201, rng)
    figure, ((line, fits), (errors, bars)) = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")

    X = polynomial_features(x, 1)
    exact = least_squares(X, y)
    found, losses = descend(X, y, steps=100)
    print(f"line: gradient descent {found.ravel()}, closed form {exact.ravel()}")
    line.semilogy(losses - np.mean((X @ exact - y) ** 2))
    line.set(xlabel="step", ylabel="loss above the least one", title="Gradient descent arrives at the closed form")

    degrees, training, validation = range(16), [], []
    for degree in degrees:
        w = least_squares(polynomial_features(x, degree), y)
        fitted = polynomial_features(x_new, degree) @ w
        training.append(float(np.mean((polynomial_features(x, degree) @ w - y) ** 2)))
        validation.append(float(np.mean((fitted - y_new) ** 2)))
        if degree in (1, 3, 8, 15):
            print(f"degree {degree:2}: error in training {training[-1]:.4f}, in validation {validation[-1]:.4f}")
            fits.plot(x_new, fitted, {1: ":", 3: "-", 8: "--", 15: "-."}[degree], label=f"degree {degree}")
    fits.plot(x, y, "ko", markersize=4)
    fits.set(xlabel="x", ylabel="y", ylim=(-2.5, 2), title="Degree 1 misses the sine, degree 15 follows the noise")
    fits.legend(loc="lower center", ncols=2)
    errors.semilogy(degrees, training, "o-", label="20 points to learn from")
    errors.semilogy(degrees, validation, "s--", label="201 new points")
    errors.set(xlabel="degree", ylabel="mean squared error", title="More coefficients help to learn, not to predict")
    errors.legend()

    X = polynomial_features(x, 8)
    penalties = {"L2 penalty": fn.L2(0.01), "L1 penalty": fn.L1(0.02, proximal=True)}
    w = {"no penalty": least_squares(X, y)} | {name: descend(X, y, penalty)[0] for name, penalty in penalties.items()}
    for number, (name, coefficients) in enumerate(w.items()):
        print(f"degree 8, {name}: " + " ".join(f"{c:6.2f}" for c in coefficients.ravel()))
        bars.bar(np.arange(9) + 0.3 * (number - 1), coefficients.ravel(), 0.3, label=name)
    bars.set(xlabel="power of x", ylabel="coefficient", title="L2 shrinks coefficients, L1 makes some of them zero")
    bars.set_yscale("symlog", linthresh=0.1)
    bars.set_ylim(-100, 30)
    bars.legend(loc="lower center", ncols=3)
    figure.savefig(out, dpi=100)
    return {"X": X, "y": y, "line": (found, exact), "training": training, "validation": validation, **w}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="06_regression.png", metavar="FILE")
    parser.add_argument("--quick", action="store_true")
    main(**vars(parser.parse_args()))
