"""Pictures of programs."""

import re
import shutil

import numpy as np
import pytest

import fastnn as fn
from fastnn import ops
from fastnn.ops.dispatch import apply
from fastnn.program import Program, Slot

X = np.ones((3, 4))


def graph(text: str) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Labels by node, and edges between labels, of DOT text."""
    assert text.startswith("digraph program {") and text.endswith("}\n")
    nodes = dict(re.findall(r'^  (\w+) \[.*label="([^"]*)"\];$', text, re.MULTILINE))
    edges = re.findall(r"^  (\w+) -> (\w+)(?: \[.*\])?;$", text, re.MULTILINE)
    assert {n for e in edges for n in e} <= nodes.keys()
    return nodes, {(nodes[a], nodes[b]) for a, b in edges}


def test_nodes_and_edges():
    nodes, edges = graph(fn.trace(lambda x, w: ops.relu(x @ w), X, np.ones((4, 2), float), backend="reference").draw())
    assert sorted(nodes.values()) == sorted(
        [r"x\n3x4 float64", r"w\n4x2 float64", r"matmul\n3x2 float64", "matmul", r"relu\n3x2 float64", "relu"]
    )
    assert (r"x\n3x4 float64", "matmul") in edges and ("matmul", r"matmul\n3x2 float64") in edges
    assert ("relu", r"relu\n3x2 float64") in edges and len(edges) == 5


def test_kinds_have_colours():
    text = fn.trace(lambda x: x + np.ones(4), X, backend="reference").draw()
    for colour in ("#cfe8fc", "#eeeeee", "#d5f0d3"):
        assert colour in text


def test_parameters_that_differ_are_shown():
    nodes, _ = graph(fn.trace(lambda x: ops.dense(x, np.ones((4, 2)), activation="elu", alpha=0.5), X).draw())
    assert r"dense\nactivation=elu\nalpha=0.5" in nodes.values()
    nodes, _ = graph(fn.trace(lambda x: fn.transpose(x), X).draw())
    assert any(label.startswith("copy") and "shape=" in label for label in nodes.values())


def test_updates_are_dashed():
    program = Program("reference")
    p = program.state("p", np.zeros(3))
    apply("sgd_update", p, fn.exp(program.input("g", (3,), float)), None, learning_rate=Slot("rate", 0.5))
    text = program.draw()
    assert text.count("style=dashed") == 1
    assert r"learning_rate=0.5" in text


def test_what_nothing_reads_is_not_drawn():
    def f(x):
        fn.log(x)
        return fn.exp(x)

    assert "log" not in fn.trace(f, X).draw()


def test_gradients_can_be_drawn():
    text = fn.trace(lambda x: fn.grad(lambda z: fn.sum(ops.gelu(z) * z))(x), X).draw()
    assert "gelu_backward" in text
    graph(text)


def test_drawing_does_not_change_the_program():
    program = fn.trace(lambda x: fn.exp(x) + 1, X)
    assert program.draw() == program.draw()
    np.testing.assert_allclose(program(X)[0], np.exp(X) + 1)
    program.draw()


def test_dot_file(tmp_path):
    program = fn.trace(fn.exp, X)
    text = program.draw(tmp_path / "graph.dot")
    assert (tmp_path / "graph.dot").read_text(encoding="utf-8") == text


def test_unknown_format(tmp_path):
    message = r"draw: path: expected a name ending in .dot, .svg, .png, .pdf, got 'graph.jpg'"
    with pytest.raises(ValueError, match=message):
        fn.trace(fn.exp, X).draw(tmp_path / "graph.jpg")
    assert not list(tmp_path.iterdir())


def test_image_without_graphviz(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match=r"images need Graphviz \(apt-get install graphviz\); a .dot file does not"):
        fn.trace(fn.exp, X).draw(tmp_path / "graph.svg")


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("name, start", [("graph.svg", b"<?xml"), ("graph.png", b"\x89PNG"), ("graph.pdf", b"%PDF")])
def test_image(tmp_path, name, start):
    fn.trace(fn.exp, X).draw(str(tmp_path / name))
    assert (tmp_path / name).read_bytes().startswith(start)
