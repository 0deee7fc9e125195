"""Softmax and cross-entropy

Softmax turns any numbers into probabilities; cross-entropy is the surprise, -log p, at the class that came true: none
when it was certain, infinite when it was held impossible.

The worked example softmax(7, -7.5, 10) = (0.05, 0.00, 0.95). Softmax: Bridle 1990; cross-entropy: Goodfellow, Bengio
and Courville 2016, Deep Learning, section 6.2.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fn

LOGITS = np.array([7.0, -7.5, 10.0])


def main(quick=False, out="04_softmax_cross_entropy.png"):
    """A quick run is the same."""
    probabilities = fn.ops.softmax(LOGITS)
    print(f"softmax{tuple(LOGITS.tolist())} = {probabilities.round(2)}")
    cross_entropy = fn.losses.CrossEntropy(from_logits=False)
    losses = {p: cross_entropy([[p, 1 - p]], [0]) for p in (1.0, 0.5, 0.0)}
    for p, loss in losses.items():
        print(f"probability {p:g} of the true class: cross-entropy {loss:.3f}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    bars = left.bar([f"class {i}\nlogit {v:g}" for i, v in enumerate(LOGITS)], probabilities)
    left.bar_label(bars, fmt="%.2f")
    left.set(ylabel="probability", ylim=(0, 1.1), title="Softmax makes probabilities of numbers")
    p = np.linspace(0.005, 1, 200)
    right.plot(p, [cross_entropy([[q, 1 - q]], [0]) for q in p])
    for q in (1.0, 0.5):
        right.plot(q, losses[q], "ko")
        right.annotate(f"{losses[q]:.3f}", (q, losses[q]), (0, 6), textcoords="offset points")
    right.annotate("infinite at 0", (0.0, 5.3), (0.12, 4.9), arrowprops={"arrowstyle": "->"})
    right.set(xlabel="probability p of the true class", ylabel="cross-entropy", xlim=(-0.03, 1.12))
    right.set_title("Cross-entropy: the surprise, -log p")
    figure.savefig(out, dpi=100)
    return {"probabilities": probabilities, "losses": losses}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="04_softmax_cross_entropy.png", metavar="FILE")
    parser.add_argument("--quick", action="store_true")
    main(**vars(parser.parse_args()))
