"""Overfitting on MNIST, and two cures

A network with more parameters than it has images to learn from comes to know them by heart, while the validation loss
rises; dropout and early stopping prevent that.

784-100-200-10 with relu and cross-entropy. Dropout: Srivastava et al. 2014; early stopping: Prechelt 1998. On MNIST
(LeCun et al. 1998; --images, --labels) or, without it, on the digits that come with the package.
"""

import argparse

import matplotlib.pyplot as plt

import fastnn as fn
from fastnn.datasets import load_digits, load_idx


def network(rate):
    """The layers, with dropout at a rate."""
    hidden = [fn.Dense(100, "relu"), fn.Dropout(rate), fn.Dense(200, "relu"), fn.Dropout(rate)]
    return fn.Sequential([*hidden, fn.Dense(10)])


def main(quick=False, out="08_overfitting_mnist.png", images=None, labels=None):
    """A quick run takes fewer rows and epochs."""
    data, name = (load_idx(images, labels), "MNIST") if images else (load_digits(), "the digits of the package")
    x, y = data.X / data.X.max(), data.y
    rows, epochs = min(300 if quick else 3000, len(x) // 3), 40
    validation = (x[-rows:], y[-rows:])
    stop = fn.EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True)
    print(f"{rows} images of {name} to learn from, {rows} others for validation")
    figure, grid = plt.subplots(1, 3, figsize=(11, 4.5), sharex=True, layout="constrained")
    kinds = (("no cure", 0.0, ()), ("dropout 0.5", 0.5, ()), ("early stopping", 0.0, (stop,)))
    found = {}
    for (kind, rate, callbacks), axes in zip(kinds, grid, strict=True):
        model = network(rate)
        model.compile(optimizer=fn.Adam(1e-3), loss="cross_entropy", metrics=["accuracy"])
        options = {"validation_data": validation, "epochs": epochs, "callbacks": callbacks, "verbose": 0}
        history = model.fit(x[:rows], y[:rows], **options).history
        found[kind] = {"history": history, **model.evaluate(*validation)}
        loss, accuracy = found[kind]["loss"], found[kind]["accuracy"]
        print(f"{kind:15} {len(history['loss']):2} epochs, training loss {history['loss'][-1]:.4f}, "
              f"validation loss {loss:.4f}, {accuracy:.1%} right")
        fn.plots.learning_curves(history, ax=axes)
        axes.set(ylim=(0, 1), title=f"{kind}:\nvalidation loss {loss:.2f}, {accuracy:.1%} right")
    figure.suptitle(f"{x.shape[1]}-100-200-10 learns {rows} images of {name} by heart, unless something prevents it")
    figure.savefig(out, dpi=100)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", metavar="FILE", help="an IDX file of images, as MNIST's")
    parser.add_argument("--labels", metavar="FILE")
    parser.add_argument("--out", default="08_overfitting_mnist.png", metavar="FILE")
    parser.add_argument("--quick", action="store_true")
    main(**vars(parser.parse_args()))
