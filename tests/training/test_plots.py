"""What pictures hold: lines, numbers, titles, limits. How they look is for the eye."""

import subprocess
import sys

import numpy as np
import pytest
from small import data, fit, make

import fastnn as fn
from fastnn import plots

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def drawn():
    """Every picture can be rendered; then its figure is closed."""
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


def texts(ax):
    return [t.get_text() for t in ax.texts]


def test_into_given_axes():
    _, ax = plt.subplots()
    assert plots.learning_curves({"loss": [1, 2]}, ax=ax) is ax
    assert plots.loss_surface(lambda w, b: w * b, (0, 1), (0, 1), ax=ax) is ax
    assert plots.decision_regions(lambda x: x[:, 0], [[0, 0], [1, 1]], ax=ax) is ax
    assert plots.confusion_matrix([[1]], ax=ax) is ax
    assert plots.graph(fn.trace(fn.sin, 1.0), ax=ax) is ax
    assert len(plt.get_fignums()) == 1


def test_without_matplotlib():
    script = """
import sys
sys.modules["matplotlib"] = None
from fastnn import plots
try:
    plots.learning_curves({"loss": [1.0]})
except ImportError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == 'plots: matplotlib is not installed: pip install "fastnn[plot]"\n'


# --- training --------------------------------------------------------------------------------------------


def test_learning_curves(rng):
    model = make(metrics=["accuracy"])
    history = fit(model, *data(rng), epochs=4, validation_split=0.2)
    ax = plots.learning_curves(history)
    assert [line.get_label() for line in ax.lines] == ["loss, training", "loss, validation"]
    for line, key in zip(ax.lines, ("loss", "val_loss"), strict=True):
        assert line.get_xdata().tolist() == [1, 2, 3, 4] and line.get_ydata().tolist() == history.history[key]
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    ax = plots.learning_curves(history.history, ["accuracy", "loss"])
    assert len(ax.lines) == 4 and len({line.get_color() for line in ax.lines}) == 2
    assert len(plots.learning_curves({"loss": [1.0]}).lines) == 1
    with pytest.raises(ValueError, match=r"^learning_curves: metrics: expected one of 'loss', .*, got 'f1'$"):
        plots.learning_curves(history, ["f1"])


def test_loss_surface():
    path = np.array([[-2.0, 1.0], [-1.0, 0.5], [0.0, 0.0]])
    paths = {"SGD": path, "Adam": path[:2].tolist()}
    ax = plots.loss_surface(lambda w, b: w**2 + b**2, (-3, 3), (-2, 2), paths, labels=("slope", "offset"))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["SGD", "Adam"]
    assert np.array_equal(np.column_stack(ax.lines[0].get_data()), path)
    assert np.array_equal(np.ravel(ax.lines[1].get_data()), path[-1])
    assert ax.get_xlim() == (-3, 3) and ax.get_ylim() == (-2, 2)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("slope", "offset")
    contours = ax.collections[-1]
    for level, segments in zip(contours.levels, contours.allsegs, strict=True):
        for segment in segments:
            assert np.allclose((segment**2).sum(axis=1), level, atol=0.01)
    with pytest.raises(fn.ShapeError, match=r"^loss_surface: paths\['a'\]: expected shape \(steps, 2\), got \(3,\)$"):
        plots.loss_surface(lambda w, b: w, (0, 1), (0, 1), {"a": [1, 2, 3]})


def test_levels_of_a_surface():
    ax = plots.loss_surface(lambda w, b: w, (0, 1), (0, 1), levels=[0.0, 0.25, 1.0])
    assert ax.collections[0].levels.tolist() == [0, 0.25, 1]
    plots.loss_surface(lambda w, b: 3.0, (0, 1), (0, 1))  # a plane has no contours


# --- models ----------------------------------------------------------------------------------------------

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def regions(ax):
    """Classes of the picture's four quarters: left and right below, left and right above."""
    (image,) = ax.images
    pixels = np.asarray(image.get_array())
    half = len(pixels) // 2
    return [int(np.median(part)) for rows in (pixels[:half], pixels[half:]) for part in np.split(rows, 2, axis=1)]


@pytest.mark.parametrize(
    ("predict", "options", "expected"),
    [
        (lambda x: x[:, :1] - 0.5, {}, [0, 1, 0, 1]),
        (lambda x: x[:, 1], {"threshold": 0.5}, [0, 0, 1, 1]),
        (lambda x: (x[:, 0] > 0.5) + 2 * (x[:, 1] > 0.5), {}, [0, 1, 2, 3]),
        (lambda x: np.stack([x[:, 0], 1 - x[:, 0], x[:, 1] * 9 - 5], axis=1), {}, [1, 0, 2, 2]),
    ],
)
def test_decision_regions(predict, options, expected):
    ax = plots.decision_regions(predict, CORNERS, [0, 1, 0, 1], resolution=60, **options)
    assert regions(ax) == expected
    assert np.allclose([*ax.get_xlim(), *ax.get_ylim()], [-0.08, 1.08] * 2)
    names = [t.get_text() for t in ax.get_legend().get_texts()]
    assert names == [f"class {k}" for k in range(max(*expected, 1) + 1)]
    points = ax.collections[-len(names)].get_offsets()
    assert np.array_equal(points, CORNERS[[0, 2]])


def test_decision_regions_of_models():
    class Probabilities(fn.MeanSquaredError):
        threshold = 0.5

    model = fn.Sequential([fn.Dense(1)], input_shape=(2,))
    model.set_weights([[[1.0], [0.0]], [0.0]])
    model.compile("sgd", Probabilities())
    ax = plots.decision_regions(model, CORNERS, np.array([[0], [1], [0], [1]]), labels=["no", "yes"])
    assert regions(ax) == [0, 1, 0, 1]
    boundary = ax.collections[0].allsegs[0][0]
    assert np.allclose(boundary[:, 0], 0.5)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["no", "yes"]
    model.compile("sgd", "binary_cross_entropy")
    assert np.mean(plots.decision_regions(model, CORNERS).images[0].get_array()) > 0.9  # all right of 0
    assert plots.decision_regions(model, CORNERS).get_legend() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 3)),), r"X: expected shape \(rows, 2\), got \(3, 3\)"),
        ((CORNERS, [0, 1]), r"y: expected 4 classes, got \(2,\)"),
        ((CORNERS, [0, 1, 2, 3], ["a", "b"]), r"labels: expected 4 names, got 2"),
    ],
)
def test_decision_regions_refuse(arguments, message):
    X, y, labels = (*arguments, None, None)[:3]
    with pytest.raises(ValueError, match=f"^decision_regions: {message}$"):
        plots.decision_regions(lambda x: x[:, 0], X, y, labels=labels)


@pytest.mark.parametrize("kind", ["activations", "gradients", "parameter_gradients"])
def test_layer_histograms(kind, rng):
    model, (x, y) = make(), data(rng)
    panels = plots.layer_histograms(model, x, y, kind=kind, bins=20)
    of = "parameters" if kind == "parameter_gradients" else "outputs"
    arrays = model.layer_outputs(x) if kind == "activations" else model.gradients(x, y, of=of)
    assert len(panels) == len(arrays)
    for panel, (name, values) in zip(panels, arrays.items(), strict=True):
        title, numbers = panel.get_title().split("\n")
        assert title == name and numbers == f"mean {values.mean():.3g}, std {values.std():.3g}"
        assert len(panel.patches) == 20 and sum(p.get_height() for p in panel.patches) == values.size


def test_layer_histograms_refuse(rng):
    model, (x, _) = make(), data(rng)
    _, given = plt.subplots(3)
    assert plots.layer_histograms(model, x, ax=given)[2] is given[2]
    for options, message in (
        ({"ax": given[:2]}, "ax: expected 3 Axes, got 2"),
        ({"kind": "gradients"}, "y: expected targets, for gradients, got None"),
        ({"kind": "weights"}, "kind: expected one of 'activations', .*, got 'weights'"),
    ):
        with pytest.raises(ValueError, match=f"^layer_histograms: {message}$"):
            plots.layer_histograms(model, x, **options)


def test_confusion_matrix():
    true, predicted = np.array(["b", "a", "a", "b", "a"]), np.array(["b", "a", "b", "b", "a"])
    ax = plots.confusion_matrix((true, predicted))
    assert texts(ax) == ["2", "1", "0", "2"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b"] == [t.get_text() for t in ax.get_yticklabels()]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert np.allclose(ax.images[0].get_array(), [[2 / 3, 1 / 3], [0, 1]])
    shares = fn.metrics.confusion_matrix(true, predicted, normalize="true")
    assert texts(plots.confusion_matrix(shares, ["first", "second"])) == ["0.67", "0.33", "0.00", "1.00"]
    for matrix, labels, message in (
        (np.ones((2, 3)), None, r"matrix: expected shape \(classes, classes\), got \(2, 3\)"),
        (np.ones((2, 2)), ["a"], "labels: expected 2 names, got 1"),
    ):
        with pytest.raises(ValueError, match=f"^confusion_matrix: {message}$"):
            plots.confusion_matrix(matrix, labels)


# --- graphs ----------------------------------------------------------------------------------------------


def boxes(ax):
    """Text, and left, right, bottom and top of each box."""
    patches = [p for p in ax.patches if isinstance(p, matplotlib.patches.FancyBboxPatch)]
    return {
        text.get_text(): (p.get_x(), p.get_x() + p.get_width(), p.get_y(), p.get_y() + p.get_height())
        for text, p in zip(ax.texts, patches, strict=True)
    }


def arrows(ax):
    return [p for p in ax.patches if isinstance(p, matplotlib.patches.FancyArrowPatch)]


def test_graph():
    program = fn.trace(lambda x, w, b: fn.sum(fn.ops.tanh(x @ w + b) - x), np.ones((3, 4)), np.ones((4, 4)), np.ones(4))
    ax = plots.graph(program)
    places = boxes(ax)
    assert set(places) == {
        "x\n3×4", "w\n4×4", "b\n4", "matmul\n3×4", "copy\n3×4", "add\n3×4", "tanh\n3×4", "subtract\n3×4", "sum\nnumber",
    }  # fmt: skip
    order = ["x\n3×4", "matmul\n3×4", "add\n3×4", "tanh\n3×4", "subtract\n3×4", "sum\nnumber"]
    heights = [places[name][2] for name in order]
    assert heights == sorted(heights, reverse=True)
    assert len(arrows(ax)) == 9  # one an argument


def test_boxes_do_not_overlap(rng):
    model, (x, y) = make(clip_norm=1.0, optimizer="adam"), data(rng)
    model.train_step(x, y)
    (program,) = model._programs.values()
    ax = plots.graph(program)
    patches = [p for p in ax.patches if isinstance(p, matplotlib.patches.FancyBboxPatch)]
    places = [(p.get_x(), p.get_x() + p.get_width(), p.get_y(), p.get_y() + p.get_height()) for p in patches]
    for i, a in enumerate(places):
        for b in places[:i]:
            assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]
    low, high = ax.get_xlim()
    assert all(low <= a[0] and a[1] <= high for a in places)
    ax.figure.canvas.draw()
    for text, patch in zip(ax.texts, patches, strict=True):  # every text fits into its box
        inner, outer = text.get_window_extent(), patch.get_window_extent()
        assert outer.x0 <= inner.x0 and inner.x1 <= outer.x1 and outer.y0 <= inner.y0 and inner.y1 <= outer.y1
    updating = [a for a in arrows(ax) if a.get_arrowstyle().__class__.__name__ == "CurveFilledAB"]
    assert len(updating) == 4  # gradients by the clipping; parameters and two moments by Adam


def test_graph_of_one_call():
    ax = plots.graph(fn.trace(lambda x: x * 2.0, np.ones(2)))
    assert texts(ax) == ["x\n2", "affine\n2"]


# --- odd numbers -----------------------------------------------------------------------------------------


def test_histograms_of_a_network_that_diverged(rng):
    """This is when one looks at them."""
    x, y = data(rng)
    model = make()
    model.fit(x, y, verbose=0)
    model.set_weights([w * (np.nan if i == 5 else 1) for i, w in enumerate(model.get_weights())])
    panels = plots.layer_histograms(model, x)
    assert panels[-1].get_title().endswith("\nno finite number") and "mean" in panels[0].get_title()
    model = fn.Sequential([fn.Dense(2)], input_shape=(1,))
    model.set_weights([[[1.0, np.inf]], [0.0, 0.0]])
    (panel,) = plots.layer_histograms(model, [[1.0], [2.0]])
    assert panel.get_title() == "dense_1\nmean 1.5, std 0.5; 2 not finite"


def test_a_surface_with_a_pole():
    ax = plots.loss_surface(lambda w, b: 1 / abs(w) if w else np.inf, (-1, 1), (0, 1), resolution=5)
    assert ax.get_xlim() == (-1, 1)
    with pytest.raises(fn.DataError, match=r"^loss_surface: f: expected finite values, got none$"):
        plots.loss_surface(lambda w, b: np.nan, (0, 1), (0, 1), resolution=3)


def test_regions_of_classes_minus_one_and_one():
    """Points of class -1 would not be drawn."""
    x = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    ax = plots.decision_regions(lambda p: np.where(p[:, 0] > 1, 1, -1), x, [-1, -1, 1], resolution=5)
    assert [len(points.get_offsets()) for points in ax.collections] == [2, 1]
    assert set(np.unique(ax.images[0].get_array())) == {0, 1}


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        ([[0, np.nan]], [0], fn.DataError, "X: expected finite numbers, got NaN"),
        ([[0, 0]], ["a"], fn.DtypeError, "y: expected class numbers, got <U1"),
        ([[0, 0]], [-2], fn.DataError, "y: expected class numbers from 0, or -1 and 1, got -2"),
        ([[0, 0]], [0.5], fn.DataError, "y: expected class numbers from 0, or -1 and 1, got 0.5"),
    ],
)
def test_regions_refused(x, y, error, message):
    with pytest.raises(error, match=f"^decision_regions: {message}"):
        plots.decision_regions(lambda p: p[:, 0], x, y)
