"""Gradients of one's own, and what a graph's nodes hold."""

import numpy as np
import pytest

import fastnn as fn
from fastnn import ops

X = np.array([-2.0, -0.5, 0.0, 1.5])

#: A step whose gradient is passed straight through (Bengio, Leonard and Courville 2013).
straight = fn.custom_gradient(lambda x: ops.relu_backward(np.ones(x.shape), x), lambda dy, x, y: dy)


def test_the_rule_replaces_the_derivative(backend):
    with fn.use_backend(backend):
        value, slope = fn.value_and_grad(lambda x: fn.sum(straight(x) * 3.0))(X)
    assert value == 3.0
    np.testing.assert_array_equal(slope, [3, 3, 3, 3])


def test_arrays_run_forward_alone():
    np.testing.assert_array_equal(straight(X), [0, 0, 0, 1])


def test_used_twice_and_within_other_ops():
    f = fn.custom_gradient(lambda x: fn.exp(x) * 2.0, lambda dy, x, y: dy * y)
    fn.check_gradients(lambda x: fn.sum(f(fn.sin(x)) * f(x)), [X])


def test_inside_another():
    """The outer rule counts."""
    inner = fn.custom_gradient(lambda x: x * x, lambda dy, x, y: dy * 100.0)
    outer = fn.custom_gradient(lambda x: inner(x) + x, lambda dy, x, y: dy * 7.0)
    np.testing.assert_array_equal(fn.grad(lambda x: fn.sum(outer(x)))(X), [7] * 4)
    np.testing.assert_array_equal(fn.grad(lambda x: fn.sum(inner(x) + x))(X), [101] * 4)


def test_several_arguments():
    product = fn.custom_gradient(lambda a, b: a * b, lambda dy, a, b, y: (dy * b, dy * a))
    fn.check_gradients(lambda a, b: fn.sum(product(a, b) * a), [X, X[::-1] + 1])
    first = fn.custom_gradient(lambda a, b: a * b, lambda dy, a, b, y: dy * b)
    np.testing.assert_array_equal(fn.grad(lambda a: fn.sum(first(a, 3.0)))(X), [3] * 4)
    with pytest.raises(NotImplementedError, match="'custom_gradient' has no gradient by its input number 2"):
        fn.grad(lambda a, b: fn.sum(first(a, b)), 1)(X, X)


def test_a_function_that_returns_its_argument():
    """Gradient reversal (Ganin and Lempitsky 2015): forward computes nothing."""
    reverse = fn.custom_gradient(lambda x: x, lambda dy, x, y: -dy)
    np.testing.assert_array_equal(fn.grad(lambda x: fn.sum(reverse(x) * x))(X), X - X)
    np.testing.assert_array_equal(fn.grad(lambda x: fn.sum(reverse(x)))(X), [-1] * 4)


def test_wrong_rules():
    f = fn.custom_gradient(lambda x: x * 2.0, lambda dy, x, y: fn.sum(dy))
    with pytest.raises(fn.ShapeError) as caught:
        fn.grad(lambda x: fn.sum(f(x)))(X)
    assert str(caught.value) == "custom_gradient: backward: expected a tensor of shape (4,), got ()"
    f = fn.custom_gradient(lambda x: x * 2.0, lambda dy, x, y: np.ones(4))
    with pytest.raises(TypeError, match=r"^custom_gradient: backward: expected a tensor, got ndarray$"):
        fn.grad(lambda x: fn.sum(f(x)))(X)
    g = fn.custom_gradient(lambda x: 1.0, lambda dy, x, y: dy)
    with pytest.raises(TypeError, match="custom_gradient: forward's result: expected a tensor, got float"):
        fn.grad(lambda x: fn.sum(g(x)))(X)
    g = fn.custom_gradient(lambda x: x, lambda dy, x, y: None)
    with pytest.raises(NotImplementedError, match=r"^grad: 'custom_gradient' has no gradient by its input number 1$"):
        fn.grad(lambda x: fn.sum(g(x)))(X)
    with pytest.raises(TypeError, match=r"^custom_gradient: backward: expected a function of ops, got 2\.0$"):
        fn.custom_gradient(ops.relu, 2.0)


# --- nodes -----------------------------------------------------------------------------------------------


def test_nodes(backend):
    """f = sin(x^2 y) + e^z and all its partial derivatives."""
    x, y, z = 0.7, 1.3, -0.4
    graph = fn.trace(lambda x, y, z: fn.sin(x**2 * y) + fn.exp(z), x, y, z, backend=backend)
    nodes = {node.name: node for node in graph.nodes(x, y, z)}
    slope = np.cos(x * x * y)
    expected = {
        "x": (x, 2 * x * y * slope), "y": (y, x * x * slope), "z": (z, np.exp(z)), "power": (x * x, y * slope),
        "multiply": (x * x * y, slope), "sin": (np.sin(x * x * y), 1), "exp": (np.exp(z), 1),
        "add": (np.sin(x * x * y) + np.exp(z), 1), "constant": (2, None),
    }  # fmt: skip
    assert set(nodes) == set(expected)
    for name, (value, gradient) in expected.items():
        np.testing.assert_allclose(nodes[name].value, value, rtol=1e-14, err_msg=name)
        if gradient is None:
            assert nodes[name].gradient is None
        else:
            np.testing.assert_allclose(nodes[name].gradient, gradient, rtol=1e-14, err_msg=name)
    assert nodes["multiply"].op == "multiply" and nodes["multiply"].inputs == ("power", "y")
    assert len(graph) == 5, "looking changes nothing"
    np.testing.assert_allclose(graph(x, y, z)[0], expected["add"][0], rtol=1e-14)


def test_nodes_of_arrays():
    w = np.linspace(-1, 1, 12).reshape(4, 3)
    graph = fn.trace(lambda x: fn.mean(ops.dense(x, w, activation="tanh") ** 2), np.ones((2, 4)))
    nodes = {node.name: node for node in graph.nodes(np.ones((2, 4)))}
    assert nodes["dense"].value.shape == nodes["dense"].gradient.shape == (2, 3)
    np.testing.assert_allclose(nodes["dense"].gradient, nodes["dense"].value * 2 / 6, rtol=1e-12)
    assert "dense (2, 3) = dense(x, constant): [[" in str(nodes["dense"])


def test_nodes_follow_custom_gradients():
    nodes = fn.trace(lambda x: fn.sum(straight(x) * 3.0), X).nodes(X)
    np.testing.assert_array_equal(nodes[0].gradient, [3, 3, 3, 3])


def test_nodes_of_labels():
    """Integers have a value, and no gradient."""
    labels = np.array([2, 0])
    loss = fn.losses.CrossEntropy()
    graph = fn.trace(lambda x: loss.record(x * 1.0, labels), np.eye(2, 3))
    nodes = {node.op: node for node in graph.nodes(np.eye(2, 3))}
    np.testing.assert_array_equal(nodes["constant"].value, labels)
    assert nodes["constant"].value.dtype == np.int64 and nodes["constant"].gradient is None
    np.testing.assert_allclose(nodes["input"].gradient, loss.gradient(np.eye(2, 3), labels), rtol=1e-15)


def test_nodes_without_one_value():
    assert all(n.gradient is None for n in fn.trace(lambda x: fn.exp(x), X).nodes(X))
    assert all(n.gradient is None for n in fn.trace(lambda x: (fn.sum(x), fn.mean(x)), X).nodes(X))


def test_values_are_drawn():
    graph = fn.trace(lambda x, y: fn.sum(x * y), X, 2.0)
    text = graph.draw(at=(X, 2.0))
    assert 'label="y\\nnumber float64\\nvalue 2\\ngradient -1"' in text
    assert "value -2, -0.5, 0, 1.5" in text and "value" not in graph.draw()
