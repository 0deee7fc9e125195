"""Losses: values, gradients, weights, and what is refused. The kernels have tests of their own in conformance/."""

from functools import partial

import numpy as np
import pytest

import fastnn as fn
from fastnn import losses

pytestmark = pytest.mark.usefixtures("on_backend")
ROWS, CLASSES = 12, 5


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def smooth(t, amount):
    return (1 - amount) * t + amount / t.shape[-1]


def huber(e, delta):
    return np.where(np.abs(e) <= delta, e * e / 2, delta * (np.abs(e) - delta / 2))


def log_cosh(e):
    return np.logaddexp(e, -e) - np.log(2)


def binary(p, t):
    return -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p), axis=1)


#: By description: the loss, how predictions and targets are drawn, and its formula, the loss of each row.
LOSSES = {
    "mse": (fn.MeanSquaredError(), "numbers", "numbers", lambda x, t: np.mean((x - t) ** 2, axis=1)),
    "mae": (fn.MeanAbsoluteError(), "numbers", "numbers", lambda x, t: np.mean(np.abs(x - t), axis=1)),
    "huber": (fn.Huber(), "numbers", "numbers", lambda x, t: np.mean(huber(x - t, 1.0), axis=1)),
    "huber, narrow": (fn.Huber(delta=0.3), "numbers", "numbers", lambda x, t: np.mean(huber(x - t, 0.3), axis=1)),
    "log_cosh": (fn.LogCosh(), "numbers", "numbers", lambda x, t: np.mean(log_cosh(x - t), axis=1)),
    "hinge": (fn.Hinge(), "numbers", "signs", lambda x, t: np.mean(np.maximum(0, 1 - t * x), axis=1)),
    "squared_hinge": (
        fn.SquaredHinge(),
        "numbers",
        "signs",
        lambda x, t: np.mean(np.maximum(0, 1 - t * x) ** 2, axis=1),
    ),
    "poisson": (fn.Poisson(), "numbers", "counts", lambda x, t: np.mean(np.exp(x) - t * x, axis=1)),
    "poisson, rates": (fn.Poisson(False), "shares", "counts", lambda p, t: np.mean(p - t * np.log(p), axis=1)),
    "binary": (fn.BinaryCrossEntropy(), "numbers", "shares", lambda x, t: binary(sigmoid(x), t)),
    "binary, smoothed": (
        fn.BinaryCrossEntropy(label_smoothing=0.2),
        "numbers",
        "shares",
        lambda x, t: binary(sigmoid(x), 0.8 * t + 0.1),
    ),
    "binary, probabilities": (fn.BinaryCrossEntropy(from_logits=False), "shares", "shares", binary),
    "classes": (fn.CrossEntropy(), "numbers", "distributions", lambda x, t: -np.sum(t * np.log(softmax(x)), axis=1)),
    "classes, smoothed": (
        fn.CrossEntropy(label_smoothing=0.2),
        "numbers",
        "distributions",
        lambda x, t: -np.sum(smooth(t, 0.2) * np.log(softmax(x)), axis=1),
    ),
    "classes, probabilities": (
        fn.CrossEntropy(from_logits=False),
        "distributions",
        "distributions",
        lambda p, t: -np.sum(t * np.log(p), axis=1),
    ),
    "classes, probabilities, smoothed": (
        fn.CrossEntropy(False, 0.2),
        "distributions",
        "distributions",
        lambda p, t: -np.sum(smooth(t, 0.2) * np.log(p), axis=1),
    ),
    "divergence": (
        fn.KLDivergence(),
        "numbers",
        "distributions",
        lambda x, t: np.sum(t * np.log(t / softmax(x)), axis=1),
    ),
    "divergence, probabilities": (
        fn.KLDivergence(from_logits=False),
        "distributions",
        "distributions",
        lambda p, t: np.sum(t * np.log(t / p), axis=1),
    ),
}


def draw(rng, predictions, targets, dtype="float64"):
    """Predictions and targets; probabilities keep away from 0 and 1, where their logarithms have no differences."""
    kinds = {
        "numbers": lambda: rng.normal(size=(ROWS, CLASSES)),
        "shares": lambda: rng.uniform(0.2, 0.8, size=(ROWS, CLASSES)),
        "distributions": lambda: rng.dirichlet(np.full(CLASSES, 20.0), ROWS),
        "signs": lambda: rng.choice([-1.0, 1.0], (ROWS, CLASSES)),
        "counts": lambda: rng.poisson(1.5, (ROWS, CLASSES)),
    }
    return kinds[predictions]().astype(dtype), kinds[targets]().astype(dtype)


@pytest.mark.parametrize("description", LOSSES)
def test_value(backend, dtype, description, rng):
    loss, *kinds, formula = LOSSES[description]
    x, t = draw(rng, *kinds, dtype)
    expected = formula(x.astype(np.float64), t.astype(np.float64)).mean()
    found = loss(x, t)
    assert type(found) is float
    size = max(1.0, abs(expected))  # a divergence is a difference of entropies of about 1
    assert abs(found - expected) <= 8 * np.finfo(dtype).eps * size


@pytest.mark.parametrize("description", LOSSES)
def test_gradient_is_that_of_the_value(backend, description, rng):
    """Central differences in float64: their error is about 1e-10."""
    loss, *kinds, _ = LOSSES[description]
    x, t = draw(rng, *kinds)
    found = loss.gradient(x, t)
    assert found.shape == x.shape and found.dtype == x.dtype
    step = 1e-5
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        assert abs((loss(up, t) - loss(down, t)) / (2 * step) - found[place]) < 1e-9


@pytest.mark.parametrize("description", LOSSES)
def test_sample_weights(backend, description, rng):
    """Each row's loss is multiplied by its weight; the division is by the number of rows."""
    loss, *kinds, formula = LOSSES[description]
    x, t = draw(rng, *kinds)
    w = rng.uniform(0, 3, ROWS)
    w[3] = 0
    assert np.isclose(loss(x, t, w), np.mean(w * formula(x, t)), rtol=1e-13)
    assert np.allclose(loss.gradient(x, t, w), w[:, None] * loss.gradient(x, t), rtol=1e-13, atol=1e-17)
    assert np.isclose(loss(x, t, np.ones(ROWS)), loss(x, t), rtol=1e-15)


@pytest.mark.parametrize("description", LOSSES)
def test_value_and_gradient_as_in_pytorch(backend, description, rng):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    theirs = {
        "mse": functional.mse_loss,
        "mae": functional.l1_loss,
        "huber": functional.huber_loss,
        "huber, narrow": lambda x, t: functional.huber_loss(x, t, delta=0.3),
        "binary": functional.binary_cross_entropy_with_logits,
        "classes": functional.cross_entropy,
        "classes, smoothed": lambda x, t: functional.cross_entropy(x, t, label_smoothing=0.2),
        "log_cosh": lambda x, t: (x - t).cosh().log().mean(),
        "hinge": lambda x, t: functional.hinge_embedding_loss(t * x, -torch.ones_like(x)),
        "squared_hinge": lambda x, t: torch.relu(1 - t * x).square().mean(),
        "poisson": functional.poisson_nll_loss,
        "poisson, rates": lambda p, t: functional.poisson_nll_loss(p, t, log_input=False, eps=0.0),
        "binary, smoothed": lambda x, t: functional.binary_cross_entropy_with_logits(x, 0.8 * t + 0.1),
        "binary, probabilities": functional.binary_cross_entropy,
        "classes, probabilities": lambda p, t: -(t * p.log()).sum(1).mean(),
        "classes, probabilities, smoothed": lambda p, t: -(smooth(t, 0.2) * p.log()).sum(1).mean(),
        "divergence": lambda x, t: functional.kl_div(functional.log_softmax(x, 1), t, reduction="batchmean"),
        "divergence, probabilities": lambda p, t: functional.kl_div(p.log(), t, reduction="batchmean"),
    }[description]
    loss, *kinds, _ = LOSSES[description]
    x, t = draw(rng, *kinds)
    leaf = torch.tensor(x, requires_grad=True)
    value = theirs(leaf, torch.tensor(t))
    value.backward()
    assert np.isclose(loss(x, t), value.item(), rtol=1e-13, atol=1e-15)
    assert np.allclose(loss.gradient(x, t), leaf.grad.numpy(), rtol=1e-12, atol=1e-16)


def test_sample_weights_as_in_pytorch(backend, rng):
    """Value and gradient of ``mean(weight * loss)``, PyTorch's losses without reduction."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x, labels, w = rng.normal(size=(ROWS, CLASSES)), rng.integers(0, CLASSES, ROWS), rng.uniform(0, 2, ROWS)
    shares, counts = rng.uniform(size=(ROWS, CLASSES)), rng.poisson(2.0, (ROWS, CLASSES)).astype(float)
    for loss, theirs, t in (
        (fn.CrossEntropy(label_smoothing=0.1), partial(functional.cross_entropy, label_smoothing=0.1), labels),
        (fn.BinaryCrossEntropy(), functional.binary_cross_entropy_with_logits, shares),
        (fn.Poisson(), functional.poisson_nll_loss, counts),
        (fn.Huber(), functional.huber_loss, shares),
    ):
        leaf = torch.tensor(x, requires_grad=True)
        each = theirs(leaf, torch.tensor(t), reduction="none").reshape(ROWS, -1).mean(1)
        value = (torch.tensor(w) * each).mean()
        value.backward()
        assert np.isclose(loss(x, t, w), value.item(), rtol=1e-13)
        assert np.allclose(loss.gradient(x, t, w), leaf.grad.numpy(), rtol=1e-12, atol=1e-16)


# --- cross-entropy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_labels_one_hot_and_pytorch_agree(backend, smoothing, rng):
    x, labels = rng.normal(size=(ROWS, CLASSES)), rng.integers(0, CLASSES, ROWS)
    one_hot = np.eye(CLASSES)[labels]
    loss = fn.CrossEntropy(label_smoothing=smoothing)
    value, slope = loss(x, labels), loss.gradient(x, labels)
    hot = [one_hot, one_hot.astype(int), one_hot.astype(bool)]
    for same in (*hot, labels[:, None], labels.astype(float), list(labels)):
        assert np.isclose(loss(x, same), value, rtol=1e-14)
        assert np.allclose(loss.gradient(x, same), slope, rtol=1e-13, atol=1e-17)
    torch = pytest.importorskip("torch")
    leaf = torch.tensor(x, requires_grad=True)
    theirs = torch.nn.functional.cross_entropy(leaf, torch.tensor(labels), label_smoothing=smoothing)
    theirs.backward()
    assert np.isclose(value, theirs.item(), rtol=1e-13)
    assert np.allclose(slope, leaf.grad.numpy(), rtol=1e-12, atol=1e-16)


def test_each_position_of_a_sequence_is_classified(backend, rng):
    """Logits (rows, time, classes): the mean is over all positions, and a row's weight is that of its positions."""
    x, labels, w = rng.normal(size=(4, 3, CLASSES)), rng.integers(0, CLASSES, (4, 3)), rng.uniform(0, 2, 4)
    loss = fn.CrossEntropy()
    flat = x.reshape(12, CLASSES), labels.reshape(12), np.repeat(w, 3)
    assert np.isclose(loss(x, labels), loss(*flat[:2]), rtol=1e-14)
    assert np.isclose(loss(x, np.eye(CLASSES)[labels], w), loss(*flat), rtol=1e-14)
    assert np.allclose(loss.gradient(x, labels, w), loss.gradient(*flat).reshape(x.shape), rtol=1e-14)
    assert np.isclose(fn.MeanSquaredError()(x, x * 2, w), np.mean(w[:, None, None] * x * x), rtol=1e-13)


def test_a_column_of_targets(backend):
    """Predictions (rows, 1) take targets of shape (rows,) as well."""
    x, t = np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 1.0, 1.0])
    for loss in (fn.MeanSquaredError(), fn.Huber(), fn.BinaryCrossEntropy(), fn.Hinge(), fn.Poisson()):
        assert loss(x, t) == loss(x, t[:, None])
        assert loss.gradient(x, t).shape == (3, 1)


def test_accepts_lists_and_every_layout(rng):
    x = np.asfortranarray(rng.normal(size=(6, 4)))
    x.setflags(write=False)
    t = rng.normal(size=(12, 8))[::2, ::2]
    assert fn.MeanSquaredError()(x, t) == fn.MeanSquaredError()(x.tolist(), t.tolist())
    assert np.array_equal(fn.MeanSquaredError().gradient(x, t), fn.MeanSquaredError().gradient(x.copy(), t.copy()))


# --- what is refused -------------------------------------------------------------------------------------


LOGITS = np.zeros((3, 4))


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 1, 4], fn.DataError, r"labels: expected integers from 0 to 3, got 0 to 4$"),
        ([-1, 1, 3], fn.DataError, r"labels: expected integers from 0 to 3, got -1 to 3$"),
        (np.array([0, 1, 2**64 - 1], np.uint64), fn.DataError, rf"y_true: expected .* {2**63 - 1}, got {2**64 - 1}$"),
        ([0.5, 1, 2], fn.DtypeError, r"y_true: expected integers, got float64$"),
        ([0, 1, np.nan], fn.DtypeError, r"y_true: expected integers, got float64$"),
        (["a", "b", "c"], fn.DtypeError, r"y_true: expected integers, got <U1$"),
        (np.zeros((3, 5)), fn.ShapeError, r"y_true: expected labels of shape \(rows,\) or .*4\), got \(3, 5\)$"),
        (np.zeros((3, 1, 1), int), fn.ShapeError, r"y_true: expected labels .*, got \(3, 1, 1\)$"),
    ],
)
def test_bad_labels(labels, error, message):
    for call in (fn.CrossEntropy(), fn.CrossEntropy().gradient):
        with pytest.raises(error, match="^CrossEntropy: " + message):
            call(LOGITS, labels)


def test_other_number_of_labels_than_rows():
    with pytest.raises(fn.ShapeError, match=r"cross_entropy: labels: expected shape \(3,\), got \(2,\)$"):
        fn.CrossEntropy()(LOGITS, [0, 1])
    with pytest.raises(fn.ShapeError, match=r"mean_squared_error: y_true: expected shape \(3, 4\), got \(2, 4\)$"):
        fn.MeanSquaredError()(LOGITS, LOGITS[:2])


def test_one_class_is_none():
    with pytest.raises(fn.ShapeError, match=r"^CrossEntropy: y_pred: expected at least two classes, got \(3, 1\)$"):
        fn.CrossEntropy()(LOGITS[:, :1], [0, 0, 0])


def test_targets_of_another_shape():
    others = fn.Hinge(), fn.Poisson(), fn.KLDivergence()
    for loss in (fn.MeanSquaredError(), fn.MeanAbsoluteError(), fn.Huber(), fn.BinaryCrossEntropy(), *others):
        name = type(loss).__name__
        with pytest.raises(fn.ShapeError, match=rf"^{name}: y_true: expected rows of shape \(4,\), got \(3,\)$"):
            loss(LOGITS, [0, 1, 0])


@pytest.mark.parametrize("targets", [[2.0, 0, 0], [-0.1, 0, 0], [np.nan, 0, 0]])
def test_targets_that_are_no_probabilities(targets):
    with pytest.raises(fn.DataError, match=r"^BinaryCrossEntropy: y_true: expected targets from 0 to 1, got "):
        fn.BinaryCrossEntropy()(LOGITS[:, :1], targets)


@pytest.mark.parametrize(
    ("loss", "targets", "expected"),
    [
        (fn.Hinge(), [-1, 0, 1], "targets of -1 and 1, or of 0 and 1, got 0.0"),
        (fn.Hinge(), [0, 1, 2], "targets of -1 and 1, or of 0 and 1, got 2.0"),
        (fn.SquaredHinge(), [1, np.nan, 1], "targets of -1 and 1, or of 0 and 1, got nan"),
        (fn.Poisson(), [1, 2, -1], "targets of at least 0, got -1.0 to 2.0"),
        (fn.CrossEntropy(), [[0.5, 0.5], [1, 0], [1.5, -0.5]], "targets of at least 0, got -0.5 to 1.5"),
        (fn.KLDivergence(), [[0.5, 0.5], [1, 0], [1.5, -0.5]], "targets of at least 0, got -0.5 to 1.5"),
    ],
)
def test_targets_out_of_a_losses_domain(loss, targets, expected):
    with pytest.raises(fn.DataError, match=rf"^{type(loss).__name__}: y_true: expected {expected}$"):
        loss(LOGITS[:, : np.ndim(targets[0]) + 1], targets)


def test_hinge_takes_labels_of_0_and_1():
    x = np.array([[0.5], [-2.0], [3.0]])
    for loss in (fn.Hinge(), fn.SquaredHinge()):
        for zeros in ([0, 1, 0], [False, True, False], [[0.0], [1.0], [0.0]]):
            assert loss(x, zeros) == loss(x, [-1, 1, -1])


def test_thresholds():
    """What metrics take for the positive class."""
    assert fn.BinaryCrossEntropy(from_logits=False).threshold == 0.5
    for loss in (fn.BinaryCrossEntropy(), fn.Hinge(), fn.MeanSquaredError()):
        assert loss.threshold == 0


@pytest.mark.parametrize("dtype_name", ["int64", "float16", "complex128"])
def test_predictions_of_another_dtype(dtype_name):
    with pytest.raises(fn.DtypeError, match=r"^MeanSquaredError: y_pred: expected float32 or float64, got "):
        fn.MeanSquaredError()(LOGITS.astype(dtype_name), LOGITS)


def test_predictions_without_rows():
    with pytest.raises(fn.ShapeError, match=r"^MeanSquaredError: y_pred: expected at least one dimension, got \(\)$"):
        fn.MeanSquaredError()(1.0, 2.0)
    with pytest.raises(fn.DataError, match=r"^mean_squared_error: y_pred: expected at least one row and one column"):
        fn.MeanSquaredError()(np.zeros((0, 4)), np.zeros((0, 4)))


def test_weights_of_another_shape():
    with pytest.raises(fn.ShapeError, match=r"^mean_squared_error: weight: expected shape \(b=3,\), got \(2,\)$"):
        fn.MeanSquaredError()(LOGITS, LOGITS, [1, 1])
    with pytest.raises(fn.DtypeError, match=r"^MeanSquaredError: sample_weight: expected float64 numbers, got <U1$"):
        fn.MeanSquaredError()(LOGITS, LOGITS, ["a", "b", "c"])


def test_arguments_out_of_range():
    with pytest.raises(ValueError, match=r"^Huber: delta: expected a number in \(0, inf\), got 0$"):
        fn.Huber(0)
    for loss in (fn.CrossEntropy, fn.BinaryCrossEntropy):
        message = rf"^{loss.__name__}: label_smoothing: expected a number in \[0, 1\], got 1.5$"
        with pytest.raises(ValueError, match=message):
            loss(label_smoothing=1.5)


# --- names -----------------------------------------------------------------------------------------------


def test_names():
    assert type(losses.REGISTRY.get("mse")) is fn.MeanSquaredError
    assert losses.REGISTRY.get({"name": "huber", "delta": 2.0}).delta == 2.0
    with pytest.raises(ValueError, match=r"^loss: expected one of mean_squared_error, .*, got 'hinge_of_doom'$"):
        losses.REGISTRY.get("hinge_of_doom")
    for wrong in (fn.Huber, 3, None):
        with pytest.raises(TypeError, match=r"^loss: expected a name, a function or an object of class Loss, got "):
            losses.REGISTRY.get(wrong)


@pytest.mark.parametrize(
    ("loss", "described"),
    [
        (fn.CrossEntropy(True, 0.1), {"name": "cross_entropy", "from_logits": True, "label_smoothing": 0.1}),
        (fn.BinaryCrossEntropy(False), {"name": "binary_cross_entropy", "from_logits": False, "label_smoothing": 0.0}),
        (fn.Poisson(False), {"name": "poisson", "log_input": False}),
        (fn.KLDivergence(False), {"name": "kl_divergence", "from_logits": False}),
        (fn.LogCosh(), {"name": "log_cosh"}),
        (fn.Hinge(), {"name": "hinge"}),
        (fn.SquaredHinge(), {"name": "squared_hinge"}),
    ],
)
def test_files_keep_the_loss(loss, described, tmp_path):
    assert losses.REGISTRY.describe(loss) == described
    model = fn.Sequential([fn.Dense(2)], input_shape=(3,))
    model.compile(loss=loss)
    model.save(tmp_path / "m.safetensors")
    again = fn.load(tmp_path / "m.safetensors").loss
    assert type(again) is type(loss) and again.config() == loss.config()


@pytest.mark.parametrize(
    ("name", "last", "targets"),
    [
        ("log_cosh", "linear", lambda z: z),
        ("hinge", "linear", lambda z: np.sign(z)),
        ("squared_hinge", "linear", lambda z: (z > 0).astype(int)),
        ("poisson", "linear", lambda z: np.round(np.exp(z))),
        ({"name": "poisson", "log_input": False}, "softplus", lambda z: np.round(np.exp(z))),
        ({"name": "binary_cross_entropy", "from_logits": False}, "sigmoid", lambda z: z > 0),
        ("kl_divergence", "linear", lambda z: softmax(np.stack([z, -z], axis=1))),
        ({"name": "kl_divergence", "from_logits": False}, "softmax", lambda z: softmax(np.stack([z, -z], axis=1))),
        ({"name": "cross_entropy", "from_logits": False}, "softmax", lambda z: (z > 0).astype(int)),
    ],
)
def test_trains_by_name(backend, name, last, targets, rng):
    """A last layer of the kind that the docstring names: the loss falls by a fifth or more."""
    x = rng.normal(size=(64, 3))
    y = targets(x @ np.array([1.0, -0.5, 0.25]))
    outputs = 2 if np.ndim(y) == 2 or last == "softmax" else 1
    model = fn.Sequential([fn.Dense(outputs), fn.Activation(last)], backend=backend, input_shape=(3,))
    model.compile(fn.Adam(0.05), name)
    history = model.fit(x, y, epochs=40, batch_size=16, verbose=0).history["loss"]
    assert history[-1] < history[0] - 0.2 * abs(history[0])


def test_own_loss(backend):
    """A user's loss is written in ops and differentiated."""

    class Quartic(losses.Loss):
        def record(self, y_pred, y_true, weight=None, *, gradient=False):
            return fn.ops.mean((y_pred - y_true) ** 4.0)

    x, y = np.linspace(-1, 1, 20)[:, None], np.linspace(-2, 2, 20)[:, None]
    model = fn.Sequential([fn.Dense(1)], dtype="float64", backend=backend)
    model.compile(fn.Adam(0.05), Quartic())
    history = model.fit(x, y, epochs=200, batch_size=20, verbose=0).history["loss"]
    assert history[-1] < 1e-2 * history[0]
