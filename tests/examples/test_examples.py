"""Every example runs in its quick form, draws its picture, and comes to the results that can be checked by hand."""

import functools
import importlib.util
import itertools
import subprocess
import sys
from math import cos, exp, floor, inf, log, sin
from pathlib import Path

import numpy as np
import pytest

import fastnn

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

FOLDER = Path(__file__).resolve().parents[2] / "examples"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the examples are not beside the tests")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function that runs an example by its number, once, and returns what its main returns."""
    from matplotlib import pyplot

    @functools.cache
    def run_example(number, **options):
        (path,) = FOLDER.glob(f"{number:02}_*.py")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        picture = tmp_path_factory.mktemp("pictures") / "picture.png"
        result = module.main(quick=True, out=picture, **options)
        pyplot.close("all")
        assert picture.read_bytes().startswith(b"\x89PNG")
        return result

    return run_example


def test_01_losses_are_those_of_the_formula(run):
    result = run(1)

    def formula(w, b):
        return sum((1 / (1 + exp(-(w * x + b))) - y) ** 2 for x, y in ((0.5, 0.2), (2.5, 0.9))) / 2

    guesses = [(0.50, 0.00), (-0.10, 0.00), (0.94, -0.94), (1.42, -1.73), (1.65, -2.08), (1.78, -2.27)]
    np.testing.assert_allclose(result["losses"], [formula(*guess) for guess in guesses], rtol=1e-12)
    assert [round(loss, 4) for loss in result["losses"]] == [0.0731, 0.1481, 0.0217, 0.0029, 0.0003, 0.0000]
    # The lecture's losses are those of w and b that it shows rounded to two decimals, cut off after the fourth.
    lecture = [0.0730, 0.1481, 0.0214, 0.0028, 0.0003, 0.0000]
    corners = np.linspace(-0.005, 0.005, 11)
    for (w, b), expected in zip(guesses, lecture, strict=True):
        near = {floor(1e4 * formula(w + dw, b + db)) for dw in corners for db in corners}
        assert min(near) <= round(1e4 * expected) <= max(near)


def test_01_all_descents_arrive(run):
    epochs = run(1)["epochs"]
    assert len(epochs) == 5
    assert max(epochs.values()) < 1000
    assert epochs["Nesterov 0.9"] < epochs["momentum 0.9"] < epochs["gradient descent"]


def test_02_steps_on_paper(run):
    on_paper = [
        (1.1, 1.805, -1.9, 0.48, 1.38),
        (1.86, 0.6498, -1.14, 0.708, 1.608),
        (2.316, 0.2339, -0.684, 0.8448, 1.7448),
    ]
    np.testing.assert_array_equal(np.round(run(2), 4), on_paper)


def test_03_far_on_the_negative_side(run):
    result = run(3)
    assert result["sum"] == -6
    assert round(result["probability"], 3) == 0.002
    assert result["probability"] == pytest.approx(1 / (1 + exp(6)), rel=1e-12)


def test_04_probabilities_and_surprise(run):
    result = run(4)
    np.testing.assert_array_equal(np.round(result["probabilities"], 2), [0.05, 0, 0.95])
    losses = result["losses"]
    assert losses[1.0] == 0
    assert losses[0.5] == pytest.approx(log(2), rel=1e-6)
    assert losses[0.0] == inf


def test_05_partial_derivatives(run):
    result = run(5)
    x, y, z = 1.5, 0.5, 0.2
    inner = x**2 * y
    assert result["value"] == pytest.approx(sin(inner) + exp(z), rel=1e-12)
    assert result["gradient"] == pytest.approx([2 * x * y * cos(inner), x**2 * cos(inner), exp(z)], rel=1e-12)


def test_06_descent_arrives_at_the_closed_form(run):
    found, exact = run(6)["line"]
    np.testing.assert_allclose(found, exact, rtol=1e-3)


def test_06_under_and_overfitting(run):
    result = run(6)
    training, validation = result["training"], result["validation"]
    assert training[1] > training[3] > training[8] > training[15]
    assert min(validation[1], validation[8], validation[15]) > validation[3]
    assert validation[15] > 10 * training[15]


def test_06_penalties(run):
    result = run(6)
    X, y = result["X"], result["y"]
    free, ridge, lasso = (result[f"{kind} penalty"] for kind in ("no", "L2", "L1"))
    n, features = X.shape
    np.testing.assert_allclose(ridge, np.linalg.solve(X.T @ X + n * 0.01 * np.eye(features), X.T @ y), atol=1e-6)
    assert (np.abs(ridge) < np.abs(free)).all()
    assert (ridge != 0).all()
    assert 0 < np.sum(lasso == 0) < features
    slope = 2 / n * X.T @ (X @ lasso - y)  # the lasso's optimality: -l1 sign(w), and between them where w is 0
    assert (np.abs(slope) < 0.02 + 1e-6).all()
    np.testing.assert_allclose(slope[lasso != 0], -0.02 * np.sign(lasso[lasso != 0]), atol=1e-6)


def test_07_collapse_saturation_and_steadiness(run):
    result = run(7)
    small, large, scaled = result["deviations"].values()
    assert len(small) == len(large) == len(scaled) == 10
    assert all(later < 0.3 * earlier for earlier, later in itertools.pairwise(small))
    assert min(large) > 0.95
    assert min(scaled) > 0.2


def test_07_vanishing_gradient(run):
    gradients = run(7)["gradients"]
    assert gradients["sigmoid"][0] < 1e-5 * gradients["sigmoid"][-1]
    for activation in ("tanh", "relu"):
        assert 0.1 < gradients[activation][0] / gradients[activation][-1] < 10


def test_08_overfitting_and_its_cures(run):
    found = run(8)
    plain = found["no cure"]
    assert plain["history"]["loss"][-1] < 0.02
    assert plain["loss"] > 1.05 * min(plain["history"]["val_loss"])
    assert found["dropout 0.5"]["loss"] < plain["loss"]
    stopped = found["early stopping"]
    assert len(stopped["history"]["loss"]) < len(plain["history"]["loss"])
    assert stopped["loss"] == pytest.approx(min(plain["history"]["val_loss"]), rel=1e-5)


def test_09_momentum_and_adam_beat_plain_descent(run):
    final = run(9)
    problems = list(dict.fromkeys(problem for problem, _ in final))
    assert len(problems) == 3
    assert len(final) == 3 * 7
    for problem in problems:
        for name in ("momentum", "Adam"):
            assert final[problem, name] < 0.5 * final[problem, "gradient descent"]


def test_10_more_units_smaller_error(run):
    result = run(10)
    linear, two, six, fifty = result["errors"].values()
    assert linear > two > six > fifty
    assert fifty < 0.01
    assert result["accuracies"]["linear"] < 0.92 < 0.98 < result["accuracies"]["relu"]


def test_11_linear_autoencoder_is_pca(run):
    result = run(11)
    pca, linear, deep = result["errors"].values()
    assert pca <= linear * (1 + 1e-6) < 1.001 * pca
    assert deep < 0.7 * pca
    assert result["angles"].max() < 5


def test_11_reads_idx_files(run, capsys):
    data = Path(fastnn.__file__).parent / "data"
    images, labels = (data / f"digits-{name}-ubyte.gz" for name in ("images-idx3", "labels-idx1"))
    assert run(11, images=images, labels=labels)["errors"] == run(11)["errors"]
    assert "MNIST" in capsys.readouterr().out


def test_from_the_shell(tmp_path):
    (path,) = FOLDER.glob("02_*.py")
    command = [sys.executable, str(path), "--quick", "--out", "steps.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2.316" in done.stdout
    assert (tmp_path / "steps.png").is_file()
