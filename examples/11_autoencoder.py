"""Autoencoders: principal components, and beyond

A linear autoencoder finds the subspace of the principal components; a non-linear one with the same bottleneck keeps
more of the picture.

Baldi and Hornik 1989, Neural Networks and Principal Component Analysis; Hinton and Salakhutdinov 2006. On MNIST
(--images, --labels) or, without it, on the digits that come with the package.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fn
from fastnn.datasets import load_digits, load_idx

CODE = 12  # numbers that are left of an image


def principal_components(x, k):
    """Orthonormal directions (k, features) of largest variance, from the singular value decomposition."""
    return np.linalg.svd(x, full_matrices=False)[2][:k]


def principal_angles(a, b):
    """Angles between the subspaces spanned by the rows of a and of b, in degrees."""
    qa, qb = np.linalg.qr(a.T)[0], np.linalg.qr(b.T)[0]
    return np.degrees(np.arccos(np.clip(np.linalg.svd(qa.T @ qb, compute_uv=False), -1, 1)))


def train(layers, x, epochs):
    """An autoencoder: the network's target is its input. The learning rate falls to a hundredth."""
    model = fn.Sequential(layers)
    steps = epochs * len(x) / 50
    model.compile(optimizer=fn.Adam(lambda step: 0.01 * 0.01 ** (step / steps)), loss="mean_squared_error")
    model.fit(x, x, epochs=epochs, batch_size=50, verbose=0)
    return model


def main(quick=False, out="11_autoencoder.png", images=None, labels=None):
    """A quick run takes fewer rows and epochs."""
    data, name = (load_idx(images, labels), "MNIST") if images else (load_digits(), "the digits of the package")
    rows = data.X[: 500 if quick else 2000] / data.X.max()
    mean = rows.mean(axis=0)
    x, pixels = rows - mean, rows.shape[1]
    epochs = 200 if quick else 50
    linear = train([fn.Dense(CODE, use_bias=False), fn.Dense(pixels, use_bias=False)], x, epochs)
    deep = train([fn.Dense(128, "relu"), fn.Dense(CODE), fn.Dense(128, "relu"), fn.Dense(pixels)], x, epochs)
    components = principal_components(x, CODE)
    rebuilt = {
        "PCA": x @ components.T @ components,
        "linear autoencoder": linear.predict(x),
        "non-linear autoencoder": deep.predict(x),
    }
    errors = {which: float(np.mean((r - x) ** 2)) for which, r in rebuilt.items()}
    angles = principal_angles(linear.get_weights()[1], components)
    print(f"{len(x)} images of {name}, {pixels} pixels, {CODE} numbers left")
    for which, error in errors.items():
        print(f"{which:22} mean squared error {error:.5f}, {error / errors['PCA']:.3f} of PCA's")
    print(f"largest angle between the linear autoencoder's subspace and PCA's: {angles.max():.2f} degrees")

    figure, grid = plt.subplots(4, 10, figsize=(10, 4.6), layout="constrained")
    side = int(pixels**0.5)
    for (which, shown), row in zip({f"{pixels} pixels": x, **rebuilt}.items(), grid, strict=True):
        for image, axes in zip(shown, row, strict=False):
            axes.imshow((image + mean).reshape(side, side), cmap="gray_r", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(which.replace(" ", "\n"), rotation=0, ha="right", va="center")
    figure.suptitle(f"The non-linear autoencoder keeps more: images of {name} rebuilt from {CODE} numbers")
    figure.savefig(out, dpi=100)
    return {"errors": errors, "angles": angles}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", metavar="FILE", help="an IDX file of images, as MNIST's")
    parser.add_argument("--labels", metavar="FILE")
    parser.add_argument("--out", default="11_autoencoder.png", metavar="FILE")
    parser.add_argument("--quick", action="store_true")
    main(**vars(parser.parse_args()))
