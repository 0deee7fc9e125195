"""Backpropagation through a computation graph

A function is recorded as a graph of simple steps; going back through it, each step multiplies the gradient by its own
derivative: the chain rule.

f(x, y, z) = sin(x^2 y) + e^z, whose partial derivatives are 2 x y cos(x^2 y), x^2 cos(x^2 y) and e^z. Backpropagation:
Linnainmaa 1970; Rumelhart, Hinton and Williams 1986.
"""

import argparse
from math import cos, exp, sin

import matplotlib.pyplot as plt

import fastnn as fn

POINT = (1.5, 0.5, 0.2)


def f(x, y, z):
    return fn.sin(x**2 * y) + fn.exp(z)


def main(quick=False, out="05_computation_graph.png"):
    """A quick run is the same. With Graphviz, graph.draw("f.svg", at=POINT) draws values and gradients too."""
    graph = fn.trace(f, *POINT)
    print(graph)
    for node in graph.nodes(*POINT):
        print("  ", node)
    x, y, z = POINT
    value, gradient = fn.value_and_grad(f, argnums=(0, 1, 2))(x, y, z)
    formula = (2 * x * y * cos(x**2 * y), x**2 * cos(x**2 * y), exp(z))
    print(f"f{POINT} = {value:.6f}, by the formula {sin(x**2 * y) + exp(z):.6f}")
    for name, found, expected in zip("xyz", gradient, formula, strict=True):
        print(f"df/d{name} = {found:.6f}, by the formula {expected:.6f}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
    fn.plots.graph(graph, ax=left)
    left.set_title("f = sin(x^2 y) + e^z as a graph of simple steps")
    rows = [node for node in graph.nodes(*POINT) if node.gradient is not None]
    cells = [[node.name, f"{node.value:.4f}", f"{node.gradient:.4f}"] for node in rows]
    right.table(cells, colLabels=["node", "value", "gradient of f"], loc="center", cellLoc="center").scale(1, 1.8)
    right.set_title("Values, found downwards, and gradients, found upwards")
    right.axis("off")
    figure.savefig(out, dpi=100)
    return {"value": float(value), "gradient": [float(g) for g in gradient]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="05_computation_graph.png", metavar="FILE")
    parser.add_argument("--quick", action="store_true")
    main(**vars(parser.parse_args()))
